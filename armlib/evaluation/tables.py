"""Tables for people: printed without control characters, and written as CSV in which no spreadsheet finds a formula."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from armlib.errors import printable
from armlib.storage import atomic_file

_FORMULA = re.compile(r"'*[=+\-@\t]")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


def write_csv(table: pd.DataFrame, path: Path, *, index: bool = True) -> None:
    """Write a table as CSV. Texts that a spreadsheet would take for a formula get an apostrophe in front, numbers do not.

    Raises:
        InputError: the file cannot be written.
    """
    safe = table.map(_quoted).rename(columns=_quoted)
    if index:
        safe = safe.rename(index=_quoted).rename_axis(index=_quoted)
    with atomic_file(path) as draft:
        safe.to_csv(draft, index=index, encoding="utf8")


EXACT: dict[str, Any] = {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
"""What makes pandas read just the numbers that it wrote: before 3.1 the last digit could be another one by default."""


def read_csv(path: Path, texts: str) -> pd.DataFrame:
    """Read what `write_csv` wrote, with exactly the numbers and texts that it got: ids such as ``NA`` or ``007`` stay as they are.

    Args:
        path: the file.
        texts: the column that holds texts; all others hold numbers.
    """
    table = pd.read_csv(path, dtype={texts: str}, keep_default_na=False, encoding="utf8", **EXACT)
    return table.rename(columns=_unquoted).assign(**{texts: table[texts].map(_unquoted)})


def _quoted(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    cell = cell.replace("\r", r"\r")  # else a new row to spreadsheets, which pandas puts into no quotation marks
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell


def _unquoted(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def as_text(table: pd.DataFrame, *, index: bool = True) -> str:
    """A table for a terminal: all rows and columns, four decimals, and no control characters in names and texts."""
    shown = table.map(_shown).rename(index=_shown, columns=_shown).rename_axis(index=_shown)
    return shown.to_string(index=index, float_format="{:.4f}".format, na_rep="")


def _shown(cell: object) -> object:
    return printable(cell) if isinstance(cell, str) else cell
