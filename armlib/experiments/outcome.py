"""What a training run was good for: BM25, the encoder before and after side by side, tested, and signs that training went wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from armlib.data.collection import Collection
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.token_stores import passage_tokens
from armlib.evaluation import tables
from armlib.evaluation.equivalence import compare
from armlib.evaluation.evaluate import DEPTH, FULL_RANKING, RERANKING, file_name
from armlib.evaluation.measures import Evaluation, default_measures, evaluate
from armlib.experiments.defaults import LEARNING_RATE, encoder_kind
from armlib.experiments.experiment import Experiment
from armlib.experiments.result import Result
from armlib.experiments.store import RunStore
from armlib.experiments.training_data import TrainingData
from armlib.names import written_here
from armlib.retrieval.encoding import encode_rows
from armlib.retrieval.rankings import without_own
from armlib.training.settings import MEASURE

BM25, BEFORE, AFTER = "BM25", "before training", "trained"
MARGIN = 0.05  # of nDCG@10, as in paper section 5.4
SAMPLE = 1000  # passages whose cosines are looked at
MUCH = 0.05  # of a collection's tokens
NEARLY_EQUAL = 0.99
"""Mean cosine of passages above which their embeddings have become one."""

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
        systems: measures by system; the one that the others are compared with comes last.
    """

    collection: str
    mode: str
    systems: Mapping[str, Evaluation]

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


def comparisons(
    collections: Iterable[Collection], systems: Mapping[str, Mapping[str, Mapping[str, Evaluation]]]
) -> list[Comparison]:
    """BM25, then other systems, on each collection.

    Args:
        collections: what was measured on.
        systems: evaluations by system, collection's name and mode; the system that the others are compared with comes last.
    """
    found = []
    for collection in collections:
        of_each = {system: by_collection[collection.name] for system, by_collection in systems.items()}
        modes = set.intersection(*map(set, of_each.values()))
        mode = FULL_RANKING if FULL_RANKING in modes else RERANKING
        measured = {system: by_mode[mode] for system, by_mode in of_each.items()}
        measures = list(next(iter(measured.values())).per_query.columns)
        found.append(Comparison(collection.name, mode, {BM25: bm25(collection, measures), **measured}))
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
    systems = {BEFORE: before, AFTER: result}
    measured = {system: measured_in(each.folder, result.measures) for system, each in systems.items()}
    return comparisons(TrainingData(result.experiment).evaluations, measured)


def cut_share(data: TrainingData) -> dict[str, float]:
    """The share of the tokens of ``queries`` and ``passages`` that is cut off, of each text's first 512."""
    asked = data.experiment
    found = {}
    for name, store, length in (("queries", data.queries, asked.query_length), ("passages", data.passages, asked.passage_length)):
        tokens = store.lengths - store.specials
        found[name] = float(np.maximum(store.lengths - length, 0).sum() / max(1, tokens.sum()))
    return found


def length_for(data: TrainingData, share: float) -> int:
    """The passage length, a multiple of ten, that cuts at most a share of the tokens off; not more than the encoder takes."""
    lengths = data.passages.lengths
    total = max(1, (lengths - data.passages.specials).sum())
    longest = min(int(lengths.max()), data.encoder.max_length or 1 << 62)
    fitting = (length for length in range(10, longest, 10) if np.maximum(lengths - length, 0).sum() <= share * total)
    return next(fitting, longest)


def mean_cosine(encoder: BiEncoder, collection: Collection, passage_length: int) -> float:
    """The mean cosine of two passages, of 1,000 that are drawn from a collection with seed 0."""
    passages = passage_tokens(collection, encoder, passage_length)
    encoder.bind(encoder.context_of(passages, passage_length))
    rows = np.sort(np.random.default_rng(0).permutation(len(passages))[:SAMPLE])
    vectors = encode_rows(encoder, passages, rows, passage_length, description="passages").astype(np.float64)
    count = len(vectors)
    return float((np.square(vectors.sum(0)).sum() - count) / (count * (count - 1))) if count > 1 else 0.0


def troubles(result: Result) -> list[str]:
    """Signs that training made an encoder worse, each a sentence with what to try; none where there are none."""
    asked, found = result.experiment, []
    fresh = TrainingData(asked, TrainingData(asked).untrained_encoder())
    fresh.encoder.to("cuda" if torch.cuda.is_available() else "cpu")
    kept = result.validations[result.validations.step == result.about["kept_step"]]
    if len(kept):
        before, after = fresh.validator()(fresh.encoder)[MEASURE], float(kept[MEASURE].iloc[0])
        if after < before:
            found.append(
                f"on validation queries nDCG@10 was {before:.3f} before training and is {after:.3f} now: training made the encoder "
                f"worse; {_advice(asked)}"
            )
    cosine = mean_cosine(result.encoder(), fresh.collection, asked.passage_length)
    if cosine > NEARLY_EQUAL:
        found.append(f"two passages have a mean cosine of {cosine:.3f}: the embeddings have become nearly one; {_advice(asked)}")
    return found


def _advice(asked: Experiment) -> str:
    usual = LEARNING_RATE[encoder_kind(asked.encoder)]
    tries = []
    if asked.learning_rate > usual:
        tries.append(f"--learning-rate {usual:g} in place of {asked.learning_rate:g}")
    else:
        tries.append(f"--learning-rate {asked.learning_rate / 4:.2g} in place of {asked.learning_rate:g}")
    if asked.selection != "best":
        tries.append("--selection best, which keeps the weights of the best validation")
    tries.append("another loss, such as --target distributed or --loss 'infonce(20)'")
    return f"try {', or '.join(tries)}"


def as_text(found: Iterable[Comparison]) -> str:
    """Comparisons for a terminal: a table for each collection, four decimals, and what the tests say."""
    return "\n\n".join(
        f"{written_here(each.collection)}, {each.mode}, {len(next(iter(each.systems.values())).per_query)} queries\n"
        + "\n".join([tables.as_text(each.table), *each.sentences()])
        for each in found
    )
