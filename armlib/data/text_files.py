"""Text files read line by line; whatever is wrong is told with the file and the line."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from armlib.errors import InputError


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file, plain or ``.gz``, with their numbers from 1; empty lines are passed over.

    Raises:
        InputError: the file is missing, is cut off, is not what its name says, or is not UTF-8.
    """
    number = 0
    try:
        # A carriage return inside a text is no line end: newline="\n".
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf8", newline="\n") as source:
            for number, line in enumerate(source, start=1):
                line = line.rstrip("\r\n")
                if line:
                    yield number, line
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder, expected a file") from error
    except EOFError as error:
        raise InputError(f"{path} is cut off after line {number}: fetch or write it again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} is not whole gzip data after line {number} ({error}): fetch or write it again") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}:{number + 1}: expected UTF-8 text ({error.reason})") from error


def columns(path: Path, names: tuple[str, ...]) -> Iterator[tuple[int, list[str]]]:
    """The tab-separated columns of a file, as many in each line as there are ``names``, none of them empty.

    Raises:
        InputError: a line has more or fewer columns, or an empty one.
    """
    for number, line in numbered_lines(path):
        yield number, split_columns(line, names, f"{path}:{number}")


def split_columns(line: str, names: tuple[str, ...], where: str) -> list[str]:
    """One line cut at its tabs; ``where`` is said where that does not give one text for each of ``names``."""
    cells = line.split("\t")
    check_columns(cells, names, where)
    return cells


def check_columns(cells: list[str], names: tuple[str, ...], where: str) -> None:
    """Refuse a row that does not hold one text for each of ``names``."""
    expected = f"expected {len(names)} columns separated by tabs ({', '.join(names)})"
    if len(cells) != len(names):
        raise InputError(f"{where}: {expected}, got {len(cells)}")
    for cell, name in zip(cells, names, strict=True):
        if not cell.strip():
            raise InputError(f"{where}: {expected}, but {name} is empty")


def write_columns(path: Path, rows: Iterable[tuple[object, ...]]) -> None:
    """Write tab-separated rows; a path that ends in ``.gz`` is compressed, equal rows giving equal bytes."""
    with open(path, "wb") as raw:
        target = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if path.suffix == ".gz" else raw
        for row in rows:
            target.write(("\t".join(map(str, row)) + "\n").encode())
        if target is not raw:
            target.close()
