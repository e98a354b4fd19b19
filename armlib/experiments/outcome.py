"""What a training run was good for: BM25, the encoder before and after side by side, tested."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from armlib.data.collection import Collection
from armlib.encoder.token_stores import passage_tokens
from armlib.evaluation import tables
from armlib.evaluation.equivalence import compare
from armlib.evaluation.evaluate import DEPTH, FULL_RANKING, RERANKING, file_name
from armlib.evaluation.measures import Evaluation, default_measures, evaluate
from armlib.experiments.experiment import Experiment
from armlib.experiments.result import Result
from armlib.experiments.store import RunStore
from armlib.experiments.training_data import TrainingData
from armlib.names import written_here
from armlib.retrieval.rankings import without_own
from armlib.training.settings import MEASURE

BM25, BEFORE, AFTER = "BM25", "before training", "trained"
MARGIN = 0.05  # of nDCG@10, as in paper section 5.4
LARGE = 1_000_000
"""Documents above which BM25 is left out: its index of MS MARCO would take longer than many a training run."""

# What an encoder is measured by; all other values of an experiment only change how it is trained.
MEASURED = (
    *("collection", "relevant_from", "encoder", "pooling", "query_prompt", "passage_prompt", "query_length", "passage_length"),
    *("evaluation", "full_ranking", "index", "on_training_queries"),
)


def before_training(experiment: Experiment) -> Experiment:
    """The experiment that measures the encoder as it is before any training, the same one for all ways of training."""
    # Nothing is validated without a step.
    return Experiment(steps=0, validation_queries=1, **{name: getattr(experiment, name) for name in MEASURED})


def bm25(collection: Collection, measures: Iterable[str] = ()) -> Evaluation:
    """BM25's best 1,000 documents of every judged query, measured as encoders are.

    Args:
        collection: what to search.
        measures: as ir_measures writes them; by default those of the paper, at the collection's own grade.
    """
    run = without_own(collection.bm25_run(DEPTH), collection.queries_in_corpus())
    return evaluate(run, collection.qrels(), measures or default_measures(collection.relevant_from), f"BM25 on {collection.name}")


@dataclass(frozen=True)
class Comparison:
    """Systems on one collection: each beside the trained encoder.

    Attributes:
        collection: its name.
        mode: ``full ranking``, or ``re-ranking`` where nothing else was measured; BM25 ranks the whole collection in both.
        systems: measures by system, two at least; the one that the others are compared with comes last.
    """

    collection: str
    mode: str
    systems: Mapping[str, Evaluation]

    @property
    def queries(self) -> int:
        """How many queries were measured."""
        return len(next(iter(self.systems.values())).per_query)

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row for each system: the means of all measures, and how much more nDCG@10 the last one has, with bounds (90 %)."""
        means, last = pd.DataFrame({name: evaluation.mean for name, evaluation in self.systems.items()}).T, list(self.systems)[-1]
        others = self._tests.drop(index=last)
        ahead = pd.DataFrame({f"{last} is ahead by": -others.difference, "low": -others.high, "high": -others.low})
        return means.join(ahead).rename_axis("system")

    @cached_property
    def _tests(self) -> pd.DataFrame:
        return compare(self.systems, MEASURE, reference=list(self.systems)[-1], margin=MARGIN)

    def as_values(self) -> dict[str, Any]:
        """Collection, mode, the rows of the table and the sentences as plain values."""
        rows = self.table.astype(object).where(self.table.notna(), None).to_dict("index")
        return {"collection": self.collection, "mode": self.mode, "systems": rows, "sentences": self.sentences()}

    def sentences(self) -> list[str]:
        """What is to be said of each system beside the last one."""
        last, said = list(self.systems)[-1], []
        for name, row in self._tests.iterrows():
            if name == last:
                continue
            interval = f"90% from {-row.high:+.3f} to {-row.low:+.3f}"
            if row.equivalent:
                found = f"equivalent to {name} within {MARGIN} nDCG@10"
            elif row.low > 0:
                found = f"behind {name}"
            elif row.high < 0:
                found = f"ahead of {name}"
            else:
                found = f"not told apart from {name}"
            said.append(f"{last}: {found} ({-row.difference:+.3f}, {interval})")
        return said


def comparisons(sized: Mapping[Collection, int], systems: Mapping[str, Mapping[str, Mapping[str, Evaluation]]]) -> list[Comparison]:
    """BM25, then other systems, on each collection of two queries or more; BM25 is left out of `LARGE` ones.

    Args:
        sized: what was measured on, each with its number of documents.
        systems: evaluations by system, collection's name and mode; the system that the others are compared with comes last.
    """
    found = []
    for collection, size in sized.items():
        of_each = {system: by_collection[collection.name] for system, by_collection in systems.items()}
        modes = set.intersection(*map(set, of_each.values()))
        mode = FULL_RANKING if FULL_RANKING in modes else RERANKING
        measured = {system: by_mode[mode] for system, by_mode in of_each.items()}
        some = next(iter(measured.values())).per_query
        if size <= LARGE:
            measured = {BM25: bm25(collection, list(some.columns)), **measured}
        if len(measured) > 1 and len(some) > 1:
            found.append(Comparison(collection.name, mode, measured))
    return found


def measured_in(folder: Path, measures: pd.DataFrame) -> dict[str, dict[str, Evaluation]]:
    """By collection and mode, the measures of every query that an `armlib.evaluation.evaluate.Evaluator` wrote below a folder.

    Args:
        folder: the one that it was given.
        measures: its rows, with ``collection`` and ``mode``.
    """
    names = list(dict.fromkeys(measures.collection))
    found: dict[str, dict[str, Evaluation]] = {}
    for name, mode in measures[["collection", "mode"]].drop_duplicates().itertuples(index=False):
        file = folder / "measures" / f"{file_name(name, mode, names)}.csv"
        found.setdefault(name, {})[mode] = Evaluation.from_per_query(tables.read_csv(file, "query").set_index("query"))
    return found


def outcome(result: Result, store: RunStore) -> list[Comparison]:
    """BM25, the encoder before training and the trained one on each collection that a result was measured on.

    The encoder before training is measured first, where the store has no such result yet.
    """
    if result.measures.empty:
        return []
    before = store.result(before_training(result.experiment))
    return comparisons(sizes(TrainingData(result.experiment)), {BEFORE: before.evaluations(), AFTER: result.evaluations()})


def sizes(data: TrainingData) -> dict[Collection, int]:
    """The collections that an experiment measures on, each with its number of documents."""
    return {each: len(passage_tokens(each, data.encoder, data.experiment.passage_length)) for each in data.evaluations}


def as_text(found: Iterable[Comparison]) -> str:
    """Comparisons for a terminal: a table for each collection, four decimals, and what the tests say."""
    return "\n\n".join(
        f"{written_here(each.collection)}, {each.mode}, {each.queries} queries\n"
        + "\n".join([tables.as_text(each.table), *each.sentences()])
        for each in found
    )
