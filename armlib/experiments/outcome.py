"""What a training run was good for: BM25, the encoder before and after side by side, tested, and signs that training went wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import pandas as pd
import torch

from armlib.data.collection import Collection
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.token_stores import passage_tokens
from armlib.evaluation.equivalence import compare
from armlib.evaluation.evaluate import DEPTH, FULL_RANKING, RERANKING
from armlib.evaluation.measures import Evaluation, default_measures, evaluate
from armlib.experiments.defaults import LEARNING_RATE, encoder_kind
from armlib.experiments.experiment import Experiment
from armlib.experiments.result import Result
from armlib.experiments.store import RunStore
from armlib.experiments.training_data import TrainingData
from armlib.names import load_collection, written_here
from armlib.retrieval.encoding import encode_rows
from armlib.retrieval.rankings import without_own
from armlib.training.settings import MEASURE

BM25, BEFORE, AFTER = "BM25", "before training", "trained"
MARGIN = 0.05  # of nDCG@10, as in paper section 5.4
SAMPLE = 1000  # passages whose cosines are looked at
NEARLY_EQUAL = 0.99
"""Mean cosine of passages above which their embeddings have become one."""

# What an encoder is measured by; all other values of an experiment only change how it is trained.
MEASURED = ("collection", "relevant_from", "encoder", "pooling", "query_prompt", "passage_prompt", "query_length", "passage_length")
MEASURED += ("evaluation", "full_ranking", "index", "on_training_queries")


def before_training(experiment: Experiment) -> Experiment:
    """The experiment that measures the encoder as it is before any training, the same one for all ways of training."""
    return Experiment(steps=0, **{name: getattr(experiment, name) for name in MEASURED})


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
        """A row for each system: the means of all measures; ``difference`` (of nDCG@10, to the last), ``low``, ``high`` (90 %)."""
        means = pd.DataFrame({name: evaluation.mean for name, evaluation in self.systems.items()}).T
        return means.join(self._tests[["difference", "low", "high"]]).rename_axis("system")

    @cached_property
    def _tests(self) -> pd.DataFrame:
        return compare(self.systems, MEASURE, reference=list(self.systems)[-1], margin=MARGIN)

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


def comparisons(evaluations: Mapping[str, Mapping[str, Mapping[str, Evaluation]]]) -> list[Comparison]:
    """BM25, then other systems, on each collection.

    Args:
        evaluations: by collection, system and mode; the system that the others are compared with comes last.
    """
    found = []
    for name, systems in evaluations.items():
        modes = set.intersection(*(set(each) for each in systems.values()))
        mode = FULL_RANKING if FULL_RANKING in modes else RERANKING
        measured = {system: by_mode[mode] for system, by_mode in systems.items()}
        measures = list(next(iter(measured.values())).per_query.columns)
        found.append(Comparison(name, mode, {BM25: bm25(load_collection(name), measures), **measured}))
    return found


def outcome(result: Result, store: RunStore) -> list[Comparison]:
    """BM25, the encoder before training and the trained one on each collection that a result was measured on.

    The encoder before training is measured first, where the store has no such result yet.
    """
    if result.measures.empty:
        return []
    before = store.result(before_training(result.experiment))
    evaluations = {
        name: {
            system: {mode: each.per_query(name, mode) for mode in sorted(set(rows["mode"]))}
            for system, each in ((BEFORE, before), (AFTER, result))
        }
        for name, rows in result.measures.groupby("collection", sort=False)
    }
    return comparisons(evaluations)


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
    fresh = TrainingData(replace(asked, context=0, **{each.name: each.default for each in fields(Experiment) if each.name in CONTEXT}))
    fresh.encoder.to("cuda" if torch.cuda.is_available() else "cpu")
    kept = result.validations[result.validations.step == result.about["kept_step"]]
    if len(kept):
        before, after = fresh.validator()(fresh.encoder)[MEASURE], float(kept[MEASURE].iloc[0])
        if after < before:
            found.append(
                f"On validation queries nDCG@10 was {before:.3f} before training and is {after:.3f} now: training made the encoder "
                f"worse. {_advice(asked)}"
            )
    cosine = mean_cosine(result.encoder(), fresh.collection, asked.passage_length)
    if cosine > NEARLY_EQUAL:
        found.append(f"Two passages have a mean cosine of {cosine:.3f}: the embeddings have become nearly one. {_advice(asked)}")
    return found


CONTEXT = ("context_from", "context_dropout", "context_stage")


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
    return f"Try {'; '.join(tries)}."


def as_text(found: Iterable[Comparison]) -> str:
    """Comparisons for a terminal: a table for each collection, four decimals, and what the tests say."""
    from armlib.evaluation.tables import as_text as written

    return "\n\n".join(
        f"{written_here(each.collection)}, {each.mode}, {len(next(iter(each.systems.values())).per_query)} queries\n"
        + "\n".join([written(each.table), *each.sentences()])
        for each in found
    )
