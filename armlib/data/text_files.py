"""Text files read line by line; whatever is wrong is told with the file and the line."""

from __future__ import annotations

import codecs
import gzip
import io
import math
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from armlib.errors import InputError

_GZIP_START = b"\x1f\x8b"
_WHOLE = re.compile(r"([+-]?[0-9]+)(\.0+)?\Z")


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file with their numbers from 1; empty lines are passed over, byte order marks are read away.

    Whether the file is compressed by gzip is told by its contents, since names are often wrong.

    Raises:
        InputError: the file is missing or cannot be read, is cut off or damaged, or is not UTF-8 text.
    """
    number = 0
    try:
        with open(path, "rb") as raw:
            # Lines end at b"\n" alone: a carriage return or a Unicode separator inside a text is no line end.
            source = io.BufferedReader(gzip.open(raw)) if raw.peek(2)[:2] == _GZIP_START else raw
            for number, data in enumerate(source, start=1):
                if number == 1 and data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                    raise InputError(f"{path} is UTF-16 text: expected UTF-8, which 'iconv -f UTF-16 -t UTF-8' makes of it")
                # Also a later line may begin with a mark, in files that were put together.
                line = data.decode("utf8").lstrip("\ufeff").rstrip("\r\n")
                if "\0" in line:
                    raise InputError(f"{path}:{number}: expected UTF-8 text, got a NUL character, as UTF-16 and binary files have")
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
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}:{number}: expected UTF-8 text ({error.reason})") from error
    except ValueError as error:  # the path itself holds a NUL character
        raise InputError(f"cannot read {path}: {error}") from error


def whole_number(text: str) -> int | None:
    """The whole number that ASCII digits write, also as ``1.0``; None for everything else, such as Python's ``1_0``."""
    # Nothing that is counted has more digits, and Python refuses to convert thousands of them.
    found = _WHOLE.match(text) if len(text) <= 100 else None
    return int(found[1]) if found else None


def finite_number(text: str) -> float | None:
    """The finite number that ASCII digits write; None for everything else, such as ``nan``, ``1e999`` and Python's ``1_0``."""
    try:
        number = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def columns(path: Path, names: tuple[str, ...]) -> Iterator[tuple[int, list[str]]]:
    """The tab-separated columns of a file, as many in each line as there are ``names``, none of them empty.

    Raises:
        InputError: a line has more or fewer columns, or an empty one.
    """
    name = str(path)
    for number, line in numbered_lines(path):
        yield number, split_columns(line, names, f"{name}:{number}")


def split_columns(line: str, names: tuple[str, ...], where: str) -> list[str]:
    """One line cut at its tabs; ``where`` is said where that does not give one text for each of ``names``."""
    cells = line.split("\t")
    check_columns(cells, names, where)
    return cells


def check_columns(cells: list[str], names: tuple[str, ...], where: str) -> None:
    """Refuse a row that does not hold one text for each of ``names``."""
    if len(cells) == len(names) and all(map(str.strip, cells)):
        return
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
