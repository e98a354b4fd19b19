"""A finished experiment, read from its folder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from armlib import storage
from armlib.data.types import Run
from armlib.encoder.bi_encoder import BiEncoder
from armlib.errors import InputError
from armlib.evaluation.evaluate import file_name
from armlib.evaluation.measures import Evaluation
from armlib.experiments.experiment import Experiment
from armlib.experiments.provenance import machine_line
from armlib.retrieval.run_files import read_run


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
        return Experiment(**storage.read_json(self.folder / "experiment.json"))

    @cached_property
    def about(self) -> dict:
        """Provenance, seconds, triples seen, the optimiser, how the step was chosen."""
        return storage.read_json(self.folder / "result.json")

    @cached_property
    def trace(self) -> pd.DataFrame:
        """One row a step; see `armlib.training.trace.Trace`."""
        return pd.read_csv(self.folder / "trace.csv")

    @cached_property
    def validations(self) -> pd.DataFrame:
        """One row a validation."""
        return pd.read_csv(self.folder / "validations.csv")

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
        frame = pd.read_csv(self.folder / "measures" / f"{file_name(collection, mode)}.csv", dtype={"query": str})
        return Evaluation.from_per_query(frame.set_index("query"))

    def run(self, collection: str, mode: str) -> Run:
        """The TREC run of an evaluation."""
        return read_run(self.folder / "runs" / f"{file_name(collection, mode)}.run.gz")

    def encoder(self) -> BiEncoder:
        """The trained encoder."""
        return BiEncoder.load(self.folder / "encoder")

    def provenance_line(self) -> str:
        """Experiment key, seed, machine and time in one line; and whether a set that is reported on chose the step."""
        made = self.about
        line = f"{self.key}, seed {self.experiment.seed}, {machine_line(made)}, {made['time']}, {made['seconds']['total']:.0f} s"
        return line + (f", step chosen on {made['validated_on']}, a test set" if self.chosen_on_test_set else "")

    @property
    def chosen_on_test_set(self) -> bool:
        """Whether the step was selected by a collection that the result reports on, as the paper did with TREC-DL 2019."""
        return self.experiment.selection == "best" and self.about["validated_on"] in set(self.measures.collection)


def measures_as_text(measures: pd.DataFrame) -> str:
    """Measures for a terminal: a line for each collection and mode, a column for each measure, four decimals."""
    if measures.empty:
        return "not measured"
    wide = measures.pivot_table("value", ["collection", "mode"], "measure", sort=False)
    return wide.to_string(float_format="{:.4f}".format)
