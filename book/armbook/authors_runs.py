"""Which row of Table 3 a run file belongs to: told by its name, or by a map that lies beside the files.

The paper's run files are published apart from the paper (https://zenodo.org/records/11197962), and their names are not ours to
choose. A name has to tell the encoder, the target and the year, and for static and adaptive targets whether negatives are in-batch:

=============================================  ==========================================
``distilbert-static-without.dl19.run``         static targets, TREC-DL 2019
``roberta-adaptive-in-batch.2020.run.gz``      adaptive targets with in-batch negatives
``trec-dl-2020/mpnet-distributed.txt``         what a name does not say, its folders may
=============================================  ==========================================

``with`` and ``without`` alone are read as the authors' configurations have them, with and without in-batch negatives; neither means
without. Other names take a map: ``runs.csv`` with the columns file, model, target, in_batch, year, or ``runs.toml`` with a table
for each file.
"""

from __future__ import annotations

import csv
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from armbook import published
from armbook.results import DISTRIBUTED, VARIANTS, named
from armlib.data.text_files import numbered_lines
from armlib.errors import InputError, unknown
from armlib.storage import disk_errors

MAPS = ("runs.csv", "runs.toml")
COLUMNS = ("file", "model", "target", "in_batch", "year")
EXAMPLE = "distilbert-static-in-batch.dl19.run"
QRELS = "qrels"  # files of judgments have it in their names
_TARGETS = tuple(dict.fromkeys(target for target, _ in VARIANTS))
_YEAR = re.compile(r"(?<!\d)(?:20|dl[-_. ]?)(19|20)(?!\d)")
_WITHOUT = re.compile(r"(?<![a-z])(?:without|no|not)(?![a-z])")
_WITH = re.compile(r"in[-_. ]?batch|(?<![a-z])(?:with|ib)(?![a-z])")
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Place(NamedTuple):
    """A row of Table 3 and the years of its scores.

    Attributes:
        model: one of `armbook.published.MODELS`.
        target, in_batch: one of `armbook.results.VARIANTS`.
        year: a key of `armbook.published.SETS`.
    """

    model: str
    target: str
    in_batch: bool
    year: str

    def __str__(self) -> str:
        return f"{named(self.model, self.target, self.in_batch)} on {published.SETS[self.year]}"


def find_runs(folder: str | Path) -> dict[Place, Path]:
    """The run files of a folder, in the order of Table 3.

    Files whose names tell no encoder, such as a README, are passed over. With a map, only the files that it names are taken.

    Args:
        folder: looked through with the folders in it.

    Raises:
        InputError: there is no such folder; a name tells too little, or two different things; two files have one place; a map is
            not as described; there are no run files; or an encoder has some of its five variants in a year, but not all, so that
            they cannot be tested against the best.
    """
    path = Path(os.path.expanduser(folder))
    if not path.is_dir():
        raise InputError(f"there is no folder {str(folder)!r} of run files")
    with disk_errors(path, "read"):
        files = sorted(file for file in path.rglob("*") if file.is_file() and not _hidden(file.relative_to(path)))
    maps = [path / name for name in MAPS if path / name in files]
    if len(maps) > 1:
        raise InputError(f"{folder} has both {' and '.join(MAPS)}; expected one of them")
    pairs = _by_map(maps[0]) if maps else _by_name(path, files)
    found: dict[Place, Path] = {}
    for place, file in pairs:
        if place in found:
            first, second = (os.path.relpath(each, path) for each in (found[place], file))
            raise InputError(f"{first} and {second} are both the run of {place}")
        found[place] = file
    if not found:
        there = ", ".join(str(file.relative_to(path)) for file in files[:5]) or "no files"
        raise InputError(
            f"{folder} has no run file whose name tells its encoder, such as {EXAMPLE}, and no {MAPS[0]}; it has {there}"
        )
    return {place: found[place] for place in _complete(found)}


def judgments_file(folder: str | Path, year: str) -> Path | None:
    """The file of judgments of a year that lies in the folder of the runs; None without one.

    Raises:
        InputError: there are two.
    """
    path = Path(os.path.expanduser(folder))
    found = [file for file in sorted(path.rglob("*")) if QRELS in file.name.lower() and file.is_file()]
    found = [file for file in found if _years(file.name.lower()) == {year}]
    if len(found) > 1:
        raise InputError(f"{found[0].name} and {found[1].name} are both judgments of {published.SETS[year]}; expected one file")
    return found[0] if found else None


def place_of(name: str | Path) -> Place | None:
    """What the name of a run file tells; what the last part does not say is looked for in the folders before it.

    Returns:
        None where no encoder is named.

    Raises:
        InputError: the target or the year is not told, or something is told in two ways.
    """
    path = Path(name)
    parts = [path.name.lower(), path.parent.as_posix().lower()]
    model = _told(
        parts, lambda text: {each for each in published.MODELS if each.lower() in text}, "encoder", name, published.MODELS
    )
    if model is None:
        return None
    target = _told(parts, lambda text: {each for each in _TARGETS if each in text}, "target", name, _TARGETS)
    year = _told(parts, _years, "year", name, tuple(published.SETS))
    if target is None or year is None:
        missing = "target" if target is None else "year"
        raise InputError(f"the name of {name} does not tell its {missing}; expected one such as {EXAMPLE}, or a {MAPS[0]}")
    return Place(model, target, target != DISTRIBUTED and _in_batch(parts), year)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _told(parts: Iterable[str], look: Callable[[str], set[str]], what: str, name: str | Path, known: Iterable[str]) -> str | None:
    for part in parts:
        found = look(part)
        if len(found) > 1:
            raise InputError(f"the name of {name} tells more than one {what}: {', '.join(x for x in known if x in found)}")
        if found:
            return found.pop()
    return None


def _years(text: str) -> set[str]:
    return {f"dl{year}" for year in _YEAR.findall(text)}


def _in_batch(parts: Iterable[str]) -> bool:
    for part in parts:
        if _WITHOUT.search(part):
            return False
        if _WITH.search(part):
            return True
    return False


def _by_name(folder: Path, files: Iterable[Path]) -> Iterator[tuple[Place, Path]]:
    for file in files:
        place = None if QRELS in file.name.lower() else place_of(file.relative_to(folder))
        if place:
            yield place, file


def _by_map(path: Path) -> Iterator[tuple[Place, Path]]:
    for where, row in _rows(path):
        if set(row) != set(COLUMNS):
            raise InputError(f"{where}: expected {', '.join(COLUMNS)}, found {', '.join(map(str, row)) or 'nothing'}")
        file = path.parent / str(row["file"])
        if not file.is_file():
            raise InputError(f"{where}: there is no file {str(row['file'])!r} beside it")
        yield _placed(row, where), file


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    if path.suffix == ".csv":
        for number, row in enumerate(csv.DictReader(line for _, line in numbered_lines(path)), start=1):
            cells = {str(name): value for name, value in row.items() if value is not None}
            yield f"{path.name}, row {number}", cells
        return
    try:
        with disk_errors(path, "read"):
            tables = tomllib.loads(path.read_text(encoding="utf8"))
    except ValueError as error:
        raise error if isinstance(error, InputError) else InputError(f"{path.name} is not TOML: {error}") from error
    for file, values in tables.items():
        if not isinstance(values, dict):
            raise InputError(f"{path.name}: expected a table for each file, such as [{EXAMPLE!r}], found {file} = {values!r}")
        yield f"{path.name}, [{file}]", {"file": file, **values}


def _placed(row: Mapping[str, object], where: str) -> Place:
    given = {name: str(row[name]).strip().lower() for name in COLUMNS}
    models = {each.lower(): each for each in published.MODELS}
    years = {spelling: year for year in published.SETS for spelling in (year, year[2:], f"20{year[2:]}")}
    for kind, known in (("model", models), ("target", _TARGETS), ("in_batch", _WORDS), ("year", years)):
        if given[kind] not in known:
            error = unknown(kind, str(row[kind]), models.values() if kind == "model" else known)
            raise InputError(f"{where}: {error}")
    target = given["target"]
    return Place(models[given["model"]], target, target != DISTRIBUTED and _WORDS[given["in_batch"]], years[given["year"]])


def _complete(found: Iterable[Place]) -> Iterator[Place]:
    """The places in the order of Table 3; all five variants of an encoder and year, or none."""
    there = set(found)
    for year in published.SETS:
        for model in published.MODELS:
            group = [Place(model, target, in_batch, year) for target, in_batch in VARIANTS]
            missing = [place for place in group if place not in there]
            if missing and len(missing) < len(group):
                raise InputError(
                    f"there is no run of {missing[0]}, but of other variants: each is tested against the best of all five, "
                    "so all are needed"
                )
            yield from (place for place in group if place in there)
