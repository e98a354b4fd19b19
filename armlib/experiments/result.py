"""A finished experiment, read from its folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import pandas as pd

from armlib import storage
from armlib.data.types import Run
from armlib.encoder.bi_encoder import BiEncoder
from armlib.errors import InputError
from armlib.evaluation.evaluate import file_name
from armlib.evaluation.measures import Evaluation
from armlib.evaluation.tables import EXACT, as_text, read_csv
from armlib.experiments.experiment import Experiment
from armlib.experiments.provenance import machine_line
from armlib.names import written_here
from armlib.retrieval.run_files import read_run
from armlib.training.settings import MEASURE

Content = TypeVar("Content")


@dataclass(frozen=True)
class Result:
    """A finished experiment in its folder.

    Attributes:
        key: the experiment's key, also the folder's name.
        folder: ``experiment.json``, ``result.json``, ``trace.csv``, ``validations.csv``, ``encoder/`` (a sentence-transformers
            model), and for each evaluation ``runs/*.run.gz`` and ``measures/*.csv`` (per query).
    """

    key: str
    folder: Path

    @cached_property
    def experiment(self) -> Experiment:
        """What was run."""
        values = storage.read_json(self._file("experiment.json"), dict)
        try:
            return Experiment(**values)
        except TypeError as error:
            raise InputError(f"{self.folder} is damaged: its experiment.json holds no experiment ({error})") from error

    @cached_property
    def about(self) -> dict:
        """Provenance, seconds, triples seen, the optimiser, how the step was chosen."""
        return checked_about(storage.read_json(self._file("result.json"), dict), self.folder)

    @cached_property
    def trace(self) -> pd.DataFrame:
        """One row a step; see `armlib.training.trace.Trace`."""
        return self._read("trace.csv", _numbers)

    @cached_property
    def validations(self) -> pd.DataFrame:
        """One row a validation."""
        return self._read("validations.csv", _numbers)

    @property
    def kept_validation(self) -> float:
        """Validation nDCG@10 of the weights that were kept; of the last validation where the kept step was not validated."""
        rows = self.validations.set_index("step")[MEASURE]
        kept = self.about["kept_step"]
        return float(rows[kept] if kept in rows.index else rows.iloc[-1])

    @cached_property
    def measures(self) -> pd.DataFrame:
        """One row for each evaluation collection, mode (``re-ranking``, ``full ranking``) and measure, with its mean value."""
        return pd.DataFrame(self.about["measures"], columns=["collection", "mode", "measure", "value"])

    def value(self, collection: str, mode: str, measure: str) -> float:
        """One mean value.

        Raises:
            InputError: it was not measured; what was is listed.
        """
        rows = self.measures
        found = rows[(rows.collection == collection) & (rows["mode"] == mode) & (rows.measure == measure)]
        if found.empty:
            there = sorted({f"{r.collection} {r['mode']} {r.measure}" for _, r in rows.iterrows()})
            raise InputError(f"result {self.key} has no {collection} {mode} {measure}; it has {', '.join(there)}")
        return float(found.value.iloc[0])

    def per_query(self, collection: str, mode: str) -> Evaluation:
        """The measures of every query, for tests of significance or equivalence."""

        def read(file: Path) -> Evaluation:
            return Evaluation.from_per_query(read_csv(file, "query").set_index("query"))

        return self._read(f"measures/{self._name(collection, mode)}.csv", read)

    def evaluations(self) -> dict[str, dict[str, Evaluation]]:
        """By collection and mode, the measures of every query."""
        found: dict[str, dict[str, Evaluation]] = {}
        for name, mode in self.measures[["collection", "mode"]].drop_duplicates().itertuples(index=False):
            found.setdefault(name, {})[mode] = self.per_query(name, mode)
        return found

    def run(self, collection: str, mode: str) -> Run:
        """The TREC run of an evaluation."""
        return read_run(self._file(f"runs/{self._name(collection, mode)}.run.gz"))

    def _name(self, collection: str, mode: str) -> str:
        return file_name(collection, mode, self.measures.collection)

    def _file(self, name: str) -> Path:
        """A file of the folder, with the contents that were written; an `InputError` says that it has others."""
        return storage.whole_file(self.folder, name)

    def _read(self, name: str, read: Callable[[Path], Content]) -> Content:
        file = self._file(name)
        try:
            return read(file)
        except (ValueError, KeyError) as error:
            raise InputError(f"{file} is damaged: expected CSV as armlib writes it, but {error}") from error

    def encoder(self) -> BiEncoder:
        """The trained encoder."""
        return BiEncoder.load(self.folder / "encoder")

    def provenance_line(self) -> str:
        """Experiment key, seed, machine and time in one line; and whether a set that is reported on chose the step."""
        made = self.about
        try:
            line = (
                f"{self.key}, seed {self.experiment.seed}, {machine_line(made)}, {made['time']}, {made['seconds']['total']:.0f} s"
            )
            again = [
                f", {count} queries of {written_here(name)} were trained on"
                for name, count in made.get("measured_again", {}).items()
            ]
            return (
                line + (f", step chosen on {made['validated_on']}, a test set" if self.chosen_on_test_set else "") + "".join(again)
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{self.folder} is damaged: its result.json does not say how the result was made") from error

    @property
    def chosen_on_test_set(self) -> bool:
        """Whether the step was selected by a collection that the result reports on, as the paper did with TREC-DL 2019."""
        return self.experiment.selection == "best" and self.about["validated_on"] in set(self.measures.collection)


class Draft(Result):
    """A result that is being written: its folder is not sealed yet."""

    def _file(self, name: str) -> Path:
        return self.folder / name


def _numbers(file: Path) -> pd.DataFrame:
    return pd.read_csv(file, **EXACT)


def checked_about(about: dict, folder: Path) -> dict:
    """What a result says of itself.

    Raises:
        InputError: it lacks what every result says.
    """
    rows = about.get("measures")
    if not _is_time(about.get("time")) or not isinstance(rows, list) or not all(map(_is_row, rows)):
        raise InputError(f"{folder} is damaged: its result.json lacks the time or the measures of a result")
    return about


def _is_time(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(datetime.fromisoformat(value))
    except ValueError:
        return False


def _is_row(row: object) -> bool:
    if not isinstance(row, dict) or not {"collection", "mode", "measure", "value"} <= row.keys():
        return False
    return all(isinstance(row[name], str) for name in ("collection", "mode", "measure")) and isinstance(row["value"], float | int)


def measures_as_text(measures: pd.DataFrame) -> str:
    """Measures for a terminal: a line for each collection and mode, a column for each measure, four decimals."""
    if measures.empty:
        return "not measured"
    measures = measures.assign(collection=measures.collection.map(written_here))
    wide = measures.pivot_table("value", ["collection", "mode"], "measure", sort=False)
    return as_text(wide)
