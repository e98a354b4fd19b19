"""Files of graded judgments, plain or gzip-compressed, in the two layouts that there are.

```
BEIR   query-id, corpus-id, score (the header line), then these three columns
TREC   query id, iteration (read past), document id, grade; no header
```

Columns are separated by tabs or other white space.
"""

from __future__ import annotations

from pathlib import Path

from armlib.data.characters import check_id
from armlib.data.text_files import numbered_lines, whole_number
from armlib.data.types import HIGHEST_GRADE, Qrels
from armlib.errors import InputError

HEADER = ("query-id", "corpus-id", "score")
TREC_COLUMNS = ("query id", "iteration", "document id", "grade")


def read_qrels_file(path: Path) -> Qrels:
    """The judgments of a file, queries and documents in its order.

    Raises:
        InputError: the file cannot be read or holds no judgments; or by line, columns are missing, an id could not stand
            in a TREC run, a grade is no whole number or beyond `HIGHEST_GRADE`, or contradicts one in a line before.
    """
    qrels: Qrels = {}
    file, names = str(path), tuple[str, ...]()
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        if not names:
            names = HEADER if is_header(line) else TREC_COLUMNS
            if names == HEADER:
                continue
        cells = line.split("\t")
        if len(cells) != len(names):
            cells = line.split()
        if len(cells) != len(names):
            raise _not_so_many_columns(cells, names, where)
        query, document, written = cells[0], cells[-2], cells[-1]
        check_id(query, "query id", where)
        check_id(document, "document id", where)
        grade = whole_number(written.strip())
        if grade is None:
            raise InputError(f"{where}: expected a whole number as score, got {written!r}")
        check_grade(grade, where)
        if qrels.setdefault(query, {}).setdefault(document, grade) != grade:
            raise InputError(
                f"{where}: query {query!r} and document {document!r} are judged {grade}, "
                f"but {qrels[query][document]} in a line before"
            )
    if not qrels:
        raise InputError(f"{path} holds no judgments: expected {_layouts()}")
    return qrels


def check_grade(grade: int, where: str) -> None:
    """Refuse a grade that nobody gives and that measures cannot be computed from.

    Raises:
        InputError: it is beyond `HIGHEST_GRADE`, which says why.
    """
    if abs(grade) > HIGHEST_GRADE:
        raise InputError(f"{where}: the grade {grade} is out of range: expected one from {-HIGHEST_GRADE:,} to {HIGHEST_GRADE:,}")


def is_header(line: str) -> bool:
    """Whether a line names the three columns of the BEIR layout, in any case and with hyphens or underscores."""
    return tuple(line.lower().replace("_", "-").split()) == HEADER


def _layouts() -> str:
    return f"the header {' TAB '.join(HEADER)} and these columns, or the {len(TREC_COLUMNS)} columns {', '.join(TREC_COLUMNS)}"


def _not_so_many_columns(cells: list[str], names: tuple[str, ...], where: str) -> InputError:
    if names == HEADER:
        return InputError(f"{where}: expected 3 columns separated by tabs ({', '.join(HEADER)}), got {len(cells)}")
    return InputError(f"{where}: expected {_layouts()}, got {len(cells)} columns: {', '.join(cells)}")
