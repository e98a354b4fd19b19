"""Ablations of distributed targets: what each changes in scores and similarities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from armbook.learning_curves import SMOOTHED
from armbook.results import Score, headed, seeds_of, telling_scores
from armbook.tables import value_text
from armlib.errors import InputError
from armlib.evaluation.evaluate import RERANKING
from armlib.experiments.result import Result
from armlib.training.settings import MEASURE

REFERENCE = "distributed"  # what every ablation changes in one respect
MEAN, PENALTY, BOTH, STOPPED = "explicit mean", "penalty alone", "static 0.5 with penalty", "stopped gradient"
NAMES = {"mean": MEAN, "variance": PENALTY, "static(0.5, variance=1.0)": BOTH}
RATE = "learning rate ×"
FOLLOWED = (REFERENCE, MEAN, BOTH, STOPPED)  # whose similarities are drawn
Sources = Mapping[str, Sequence[Result]]
"""By the name of a source, such as `armbook.miniature.NAME`, its results, such as those of `armbook.chapters.ablations`."""


def settings(results: Sequence[Result]) -> list[Score]:
    """Collections and modes whose nDCG@10 tells results apart."""
    return [score for score in telling_scores(results) if score[2] == MEASURE]


def average_gaps(results: Sequence[Result]) -> pd.Series:
    """By ablation, the change in nDCG@10 against distributed targets, averaged over seeds, collections and modes."""
    found = by_ablation(results)
    return pd.concat([gaps(found, score).mean(axis="columns") for score in settings(results)], axis="columns").mean(axis="columns")


def by_ablation(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Results by what they change, in the order given, each in the order of its seeds.

    A learning rate is named as a multiple of the one that most of the results have.

    Raises:
        InputError: distributed targets are not among them, or an ablation has other seeds than they.
    """
    every, found = list(results), {}
    rates = Counter(result.experiment.learning_rate for result in every)
    usual = max(rates, key=rates.__getitem__, default=0.0)
    for result in every:
        factor = result.experiment.learning_rate / usual
        variant = result.experiment.variant()
        changed = NAMES.get(variant, variant.removeprefix(f"{REFERENCE}, "))
        found.setdefault(changed if abs(factor - 1) < 1e-9 else f"{RATE} {factor:g}", []).append(result)
    if REFERENCE not in found:
        raise InputError(f"ablations are compared with {REFERENCE} targets; the results have {', '.join(found)}")
    for name, some in found.items():
        some.sort(key=lambda result: result.experiment.seed)
        if seeds_of(some) != seeds_of(found[REFERENCE]):
            raise InputError(
                f"{name} has the seeds {seeds_of(some)} and {REFERENCE} {seeds_of(found[REFERENCE])}; expected the same"
            )
    return found


def gaps(results: Mapping[str, Sequence[Result]], score: Score) -> pd.DataFrame:
    """Differences to distributed targets at equal seeds, which also share the order of the triples.

    Args:
        results: as `by_ablation` gives them.
        score: collection, mode and measure.

    Returns:
        A row for each ablation, a column for each seed; the row of distributed targets is 0.
    """
    columns = seeds_of(results[REFERENCE])
    values = {name: [result.value(*score) for result in some] for name, some in results.items()}
    table = pd.DataFrame.from_dict(values, orient="index", columns=columns)
    return table - table.loc[REFERENCE]


def ablations_table(results: Sequence[Result]) -> pd.DataFrame:
    """Distributed targets and their ablations, as text.

    Args:
        results: such as those of `armbook.chapters.ablations`.

    Returns:
        A row for each collection and ablation: ``collection``, ``ablation``, ``D+ x D-`` (mean over the last 32 steps), and for
        each mode its measures (binary ones cut at the collection's own grade), as mean ``±`` half the range over seeds, such as
        ``nDCG@10, re-ranked``.

    Raises:
        InputError: as `by_ablation` and `armbook.results.telling_scores`.
    """
    found = by_ablation(results)
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for collection, mode, measure in telling_scores(results):
        head = headed(measure)
        for name, some in found.items():
            row = rows.setdefault(
                (collection, name), {"collection": collection, "ablation": name, "D+ x D-": f"{settled(some):.3f}"}
            )
            values = [result.value(collection, mode, measure) for result in some]
            row[f"{head}, {'re-ranked' if mode == RERANKING else 'full'}"] = value_text(values)
    return pd.DataFrame(rows.values())


def settled(results: Sequence[Result]) -> float:
    """The mean of D+ x D- over the last 32 steps, averaged over results."""
    return float(np.mean([result.trace.similarity_mean.tail(SMOOTHED).mean() for result in results]))
