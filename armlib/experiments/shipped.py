"""Results that travel: a file of some 20 kB for each, with everything that is read of a result but weights, rankings and texts."""

from __future__ import annotations

import json
import lzma
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

from armlib import storage
from armlib.data.types import Run
from armlib.encoder.bi_encoder import BiEncoder
from armlib.errors import InputError
from armlib.evaluation.measures import Evaluation
from armlib.experiments.experiment import Experiment
from armlib.experiments.result import Result, checked_about

FORMAT = "armlib result 1"
ENDING = ".json.xz"
ABOUT = {"format", "key", "experiment", "about"}
SERIES = {"trace", "validations", "per_query"}
MACHINE = ("processor", "cores", "threads", "memory_gib", "gpu")
DIGITS = 5
"""Significant digits of what is measured in each training step; numbers that are whole are kept as they are."""
CLOCK = {"seconds": 3, "waiting_seconds": 3}
"""Significant digits of a step's times."""
LARGEST = 64 * 2**20
"""Bytes of an unpacked file, of which an experiment of 20,000 steps has 4 million."""
OF_RESULT = re.compile(r"(?:.*[/\\])?([0-9a-f]{12})[/\\]encoder")
LOCAL = re.compile(r"""(?:^|[\s'"(=])(?:~?[/\\]|\.{1,2}[/\\]|[A-Za-z]:[/\\])""")
"""A text that holds a path of the machine."""


@dataclass(frozen=True)
class ShippedResult(Result):
    """A result that was read from a file of a `Shipped` folder.

    It has the experiment, the measures of every query and the validations as they were, the trace to `DIGITS` significant digits,
    and the provenance without the machine's name. There is nothing below ``folder``, which stands for the key alone.

    Attributes:
        record: what the first line of the file holds.
    """

    record: Mapping[str, Any] = field(repr=False, compare=False)

    @cached_property
    def _series(self) -> dict[str, Any]:
        """What the second line of the file holds, read when it is first asked for."""
        return _read(self.folder.with_name(f"{self.key}{ENDING}"))[1]

    @cached_property
    def experiment(self) -> Experiment:
        """What was run; an encoder of another result is named by that one's folder."""
        values = dict(self.record["experiment"])
        if start := OF_RESULT.fullmatch(values["encoder"]):
            values["encoder"] = str(self.folder.parent / start[1] / "encoder")
        return Experiment(**values)

    @cached_property
    def about(self) -> dict:
        """As that of any result; of the machine it says what it is, and not its name."""
        return checked_about(self.record["about"], self.folder)

    @cached_property
    def trace(self) -> pd.DataFrame:
        """One row a step, to `DIGITS` significant digits."""
        return pd.DataFrame(self._series["trace"])

    @cached_property
    def validations(self) -> pd.DataFrame:
        """One row a validation."""
        return pd.DataFrame(self._series["validations"])

    def per_query(self, collection: str, mode: str) -> Evaluation:
        """The measures of every query, all digits of them."""
        for each in self._series["per_query"]:
            if (each["collection"], each["mode"]) == (collection, mode):
                return Evaluation.from_per_query(pd.DataFrame(each["values"], index=pd.Index(each["queries"], name="query")))
        there = ", ".join(sorted(f"{each['collection']} {each['mode']}" for each in self._series["per_query"]))
        raise InputError(f"result {self.key} has no measures of {collection} {mode}; it has {there or 'none'}")

    def run(self, collection: str, mode: str) -> Run:
        """Refused.

        Raises:
            InputError: always.
        """
        self._refuse("rankings")

    def encoder(self) -> BiEncoder:
        """Refused.

        Raises:
            InputError: always.
        """
        self._refuse("weights")

    def _file(self, name: str) -> Path:
        self._refuse(f"file {name}")

    def _refuse(self, what: str) -> NoReturn:
        raise InputError(
            f"the result {self.key} was shipped without {what}: {self.folder.parent} holds measures and learning curves; "
            f"whoever has {self.experiment.collection} trains it in a run store"
        )


class Shipped:
    """A folder of results without weights, rankings and texts, each in a file ``KEY.json.xz``; other files in it do not count.

    Unpacked, such a file has three lines: JSON of what the result is, JSON of its measures and curves, and their SHA-256
    (`armlib.storage.digest`). All files are checked when the first result is asked for.

    Args:
        folder: where they are; made when a result is added.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = storage.canonical(folder)

    def results(self) -> list[ShippedResult]:
        """All that there are, the newest last.

        Raises:
            InputError: a file is damaged, or is none of these; it names the file.
        """
        return sorted(self._by_values.values(), key=lambda each: (each.about["time"], each.key))

    def find(self, experiment: Experiment) -> ShippedResult | None:
        """The result of an experiment by its values alone, so that nothing is read of its data; None where there is none.

        The key, which depends on the data, too, is that of whoever trained it.

        Raises:
            InputError: as `results`.
        """
        found = self._by_values.get(_values(experiment))
        if found is None:
            return None
        asked = ShippedResult(found.key, found.folder, found.record)
        vars(asked)["experiment"] = experiment  # as it was asked for, as a run store does
        return asked

    def start(self, experiment: Experiment) -> ShippedResult | None:
        """The result here whose encoder an experiment starts from, named by that result's folder; None where it is none of these.

        Raises:
            InputError: as `results`.
        """
        named = OF_RESULT.fullmatch(experiment.encoder)
        if named is None or Path(experiment.encoder).parent.parent != self.path:
            return None
        return next((each for each in self._by_values.values() if each.key == named[1]), None)

    def add(self, result: Result) -> bool:
        """Write the file of a finished result, in place of one of the same values and another key; one of this key is kept.

        Returns:
            Whether it was written.

        Raises:
            InputError: a path of this machine is part of the result, a mean is not that of its queries, the result is damaged, or
                the file cannot be written.
        """
        before = self._by_values.get(_values(result.experiment))
        if before is not None and before.key == result.key:
            return False
        record, series = _record(result), _series(result)
        _write(self.path / f"{result.key}{ENDING}", record, series)
        if before is not None:
            storage.remove(self.path / f"{before.key}{ENDING}")
        self._by_values[_values(result.experiment)] = ShippedResult(result.key, self.path / result.key, record)
        return True

    @cached_property
    def _by_values(self) -> dict[str, ShippedResult]:
        found: dict[str, ShippedResult] = {}
        with storage.disk_errors(self.path, "read"):
            files = sorted(self.path.glob(f"[!.]*{ENDING}")) if self.path.is_dir() else []
        for file in files:
            result = _result(file)
            values = _values(result.experiment)
            if values in found:
                raise InputError(f"{file} holds the same experiment as {found[values].key}{ENDING}; expected one of the two")
            found[values] = result
        return found


def _values(experiment: Experiment) -> str:
    """What a result is found by."""
    return json.dumps(_portable(experiment), sort_keys=True)


def _portable(experiment: Experiment) -> dict[str, Any]:
    """The values that a key depends on; an encoder that another result ended with is named by that one's key."""
    values = experiment.values()
    start = OF_RESULT.fullmatch(experiment.encoder)
    return values | ({"encoder": f"{start[1]}/encoder"} if start else {})


def _record(result: Result) -> dict[str, Any]:
    """What a result is and how it was made, without names and paths of the machine."""
    made = result.about["machine"]
    machine = {"system": made["system"].partition("-")[0], **{name: made[name] for name in MACHINE}}
    about = result.about | {"machine": machine}
    record = {"format": FORMAT, "key": result.key, "experiment": _portable(result.experiment), "about": about}
    for text in _texts(record):
        if LOCAL.search(text):
            raise InputError(f"the result {result.key} names a path of this machine, {text!r}, and cannot be shipped")
    return record


def _texts(part: Any) -> list[str]:
    """All texts in plain values, names too."""
    if isinstance(part, str):
        return [part]
    if isinstance(part, Mapping):
        return [text for pair in part.items() for each in pair for text in _texts(each)]
    return [text for each in part for text in _texts(each)] if isinstance(part, list | tuple) else []


def _series(result: Result) -> dict[str, Any]:
    """The trace, the validations, and the measures of every query of a result."""
    per_query = []
    for collection, mode in dict.fromkeys(zip(result.measures.collection, result.measures["mode"], strict=True)):
        evaluation = result.per_query(collection, mode)
        for measure, mean in evaluation.mean.items():
            if mean != result.value(collection, mode, measure):
                raise InputError(f"{result.folder} is damaged: {measure} of {collection} {mode} is not the mean of its queries")
        table = evaluation.per_query
        values = {name: table[name].tolist() for name in table}
        per_query.append({"collection": collection, "mode": mode, "queries": table.index.tolist(), "values": values})
    return {
        "trace": {name: _rounded(result.trace[name]) for name in result.trace},
        "validations": {name: result.validations[name].tolist() for name in result.validations},
        "per_query": per_query,
    }


def _rounded(column: pd.Series) -> list[Any]:
    if column.dtype.kind != "f":
        return column.tolist()
    digits = CLOCK.get(str(column.name), DIGITS)
    return [float(f"{value:.{digits}g}") for value in column]


def _write(file: Path, record: Mapping[str, Any], series: Mapping[str, Any]) -> None:
    parts = [json.dumps(part, separators=(",", ":")) for part in (record, series)]
    with storage.atomic_file(file) as draft:
        text = "\n".join([*parts, storage.digest(*parts), ""])
        draft.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))


def _read(file: Path, series: bool = True) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a file says of its result, and its series where they are asked for.

    Raises:
        InputError: the file is damaged or none of these, or may not be read.
    """
    with storage.disk_errors(file, "read"):
        data = file.read_bytes()
    try:
        lines = lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(data, LARGEST).decode().split("\n")
        record, values = lines[0], lines[1] if len(lines) > 1 else ""
        if lines[2:] != [storage.digest(record, values), ""]:
            raise ValueError("its SHA-256 is not that of its contents")
        parts = json.loads(record), json.loads(values) if series else {}
        if parts[0]["format"] != FORMAT or set(parts[0]) != ABOUT or not set(parts[1]) <= SERIES:
            raise ValueError(f"it is not in the format {FORMAT!r}")
        if parts[0]["key"] != file.name.removesuffix(ENDING):
            raise ValueError(f"it holds the result {parts[0]['key']}")
    except (lzma.LZMAError, EOFError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"{file} is damaged, or no shipped result: {error or type(error).__name__}") from error
    return parts


def _result(file: Path) -> ShippedResult:
    """The result of a file, of which it is seen that all is there."""
    record, _ = _read(file, series=False)
    result = ShippedResult(record["key"], file.with_name(record["key"]), record)
    try:
        _ = result.experiment, result.provenance_line()
        if not all(math.isfinite(value) for value in result.measures.value):
            raise ValueError("a measure is no number")
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{file} is of another version of armlib: {error}") from error
    return result
