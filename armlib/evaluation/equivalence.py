"""Equivalence of systems by paired TOST, with Bonferroni correction (paper sections 4 and 5.4)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW, ttost_paired

from armlib.data.types import Run
from armlib.errors import InputError, unknown
from armlib.evaluation.measures import Evaluation, measure_runs

DAGGER = "†"


@dataclass(frozen=True)
class Equivalence:
    """A paired test of two one-sided hypotheses (TOST): are the means of two systems nearer than a margin?

    Attributes:
        difference: mean of the first system minus that of the second.
        p: the larger p-value of the two one-sided tests; below alpha, the systems are equivalent within the margin.
        low: lower bound of the difference, with confidence 1 - 2 alpha.
        high: upper bound, likewise; the systems are equivalent just where both bounds lie in the margin.
        margin: the largest difference that counts as none.
        alpha: the level that ``low`` and ``high`` belong to.
        queries: how many pairs.
    """

    difference: float
    p: float
    low: float
    high: float
    margin: float
    alpha: float
    queries: int

    @property
    def equivalent(self) -> bool:
        """Whether the test alone, without correction for others beside it, finds equivalence."""
        return self.p < self.alpha


def equivalence(
    a: pd.Series | Sequence[float], b: pd.Series | Sequence[float], margin: float = 0.05, alpha: float = 0.05
) -> Equivalence:
    """Test two systems for equivalence on the same queries, as the paper does (section 5.4, margin 0.05).

    Where every query has the same difference d there is no variance to test with; then p is 0 if |d| is below the
    margin and 1 otherwise, and the confidence interval is d alone.

    Args:
        a, b: a measure of each query; as Series they are paired by index, else by position.
        margin: in units of the measure, above 0.
        alpha: level of the test.

    Raises:
        InputError: the queries differ, there are fewer than two, a value is not finite, or the margin is not above 0.

    Examples:
        >>> from armlib.evaluation.equivalence import equivalence
        >>> test = equivalence([0.50, 0.40, 0.60, 0.55], [0.51, 0.41, 0.59, 0.56])
        >>> test.equivalent, f"{test.difference:.3f}, from {test.low:.3f} to {test.high:.3f}"
        (True, '-0.005, from -0.017 to 0.007')
    """
    check_levels(margin, alpha)
    if isinstance(a, pd.Series) and isinstance(b, pd.Series):
        _same_queries({"the first": a.index, "the second": b.index})
        b = b.reindex(a.index)
    first, second = np.asarray(a, float), np.asarray(b, float)
    if first.shape != second.shape or first.ndim != 1 or len(first) < 2:
        found = f"{len(first)} and {len(second)}"
        raise InputError(f"expected the same queries of both systems, two at least, found {found}")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise InputError("expected finite values of each query, found others")
    differences = first - second
    difference = float(differences.mean())
    if np.ptp(differences) < 1e-12:
        p, low, high = float(abs(difference) >= margin), difference, difference
    else:
        p = float(ttost_paired(first, second, -margin, margin)[0])
        low, high = map(float, DescrStatsW(differences).tconfint_mean(alpha=2 * alpha))
    return Equivalence(difference, p, low, high, margin, alpha, len(differences))


def check_levels(margin: float, alpha: float) -> None:
    """Refuse a margin and a level of a test that it cannot be made with.

    Raises:
        InputError: the margin is not above 0 and finite, or alpha is not between 0 and 0.5.
    """
    if not 0 < margin < math.inf or not 0 < alpha < 0.5:
        raise InputError(f"expected a margin above 0 and an alpha between 0 and 0.5, found {margin} and {alpha}")


def compare(
    evaluations: Mapping[str, Evaluation], measure: str, reference: str | None = None, margin: float = 0.05, alpha: float = 0.05
) -> pd.DataFrame:
    """Compare a group of systems on one measure, as in Table 3: each with the best, by TOST with Bonferroni correction.

    Args:
        evaluations: the group by name, measured on the same queries.
        measure: such as ``nDCG@10``.
        reference: the system that the others are tested against (Table 4 takes a published run); None: the best one,
            the first named of equals.
        margin, alpha: as for `equivalence`.

    Returns:
        A row for each system, in the given order: ``mean``; ``difference`` (its mean minus the reference's); ``low``
        and ``high`` (confidence 1 - 2 alpha, not corrected); ``p``; ``corrected p`` (times the number of tests of the
        group, at most 1); ``equivalent``; ``best`` (the highest mean); ``mark`` (a dagger where equivalent). The
        reference is not tested against itself: its p-values are missing and it is not marked equivalent.

    Raises:
        InputError: there are no systems, their queries differ, a measure was not taken, or the reference is unknown.

    Examples:
        >>> from armlib import compare, evaluate
        >>> qrels = {f"q{number}": {"d": 1} for number in range(8)}
        >>> first = {query: {"d": 1.0} for query in qrels}
        >>> second = {query: {"d": 1.0, "e": 2.0} for query in qrels}  # "e" comes first
        >>> runs = {"first": first, "second": second}
        >>> measured = {name: evaluate(run, qrels, "RR@10") for name, run in runs.items()}
        >>> compare(measured, "RR@10")[["mean", "difference", "equivalent"]]
                mean  difference  equivalent
        system
        first    1.0         0.0       False
        second   0.5        -0.5       False
    """
    if not evaluations:
        raise InputError("there are no evaluations to compare")
    scores = {name: evaluation.scores(measure) for name, evaluation in evaluations.items()}
    _same_queries({name: series.index for name, series in scores.items()})
    means = {name: math.fsum(series) / len(series) for name, series in scores.items()}
    if reference is None:
        reference = max(means, key=means.__getitem__)
    elif reference not in scores:
        raise unknown("system to compare with", reference, scores)
    others = [name for name in scores if name != reference]
    tests = {name: equivalence(scores[name], scores[reference], margin, alpha) for name in others}
    corrected = multipletests([tests[name].p for name in others], alpha, method="bonferroni") if others else ([], [])
    table = pd.DataFrame({"mean": pd.Series(means)})
    table["difference"] = table["mean"] - means[reference]
    for column in ("low", "high", "p"):
        table[column] = pd.Series({name: getattr(test, column) for name, test in tests.items()}, dtype=float)
    table["corrected p"] = pd.Series(dict(zip(others, corrected[1], strict=True)), dtype=float)
    table["equivalent"] = [bool(p < alpha) for p in table["corrected p"]]
    table["best"] = table["mean"] >= table["mean"].max() - 1e-12
    table["mark"] = [DAGGER if equivalent else "" for equivalent in table["equivalent"]]
    return table.rename_axis("system")


def compare_runs(
    runs: Mapping[str, str | Path | Run],
    qrels: Mapping[str, Mapping[str, int]],
    measure: str,
    reference: str | None = None,
    margin: float = 0.05,
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Compare runs, in memory or in TREC run files of whatever origin, as `compare` does.

    Args:
        runs: by name, each a run or the path of a run file.
        qrels: judgments that all are measured by.
        measure, reference, margin, alpha: as for `compare`.

    Raises:
        InputError: what `armlib.evaluation.measures.measure_runs` and `compare` raise.
    """
    return compare(measure_runs(runs, qrels, [measure]), measure, reference, margin, alpha)


def compare_pairs(
    evaluations: Mapping[str, Evaluation], pairs: Sequence[tuple[str, str]], margin: float = 0.05, alpha: float = 0.05
) -> pd.DataFrame:
    """Compare pairs of systems on all measures that were taken, by TOST with Bonferroni correction over pairs and measures.

    Args:
        evaluations: by name, with the same measures of the same queries.
        pairs: names of a system and of its baseline.
        margin, alpha: as for `equivalence`, for every measure.

    Returns:
        A row for each measure and pair: ``measure``, ``system``, ``baseline``, ``difference`` (mean of the system minus that of
        the baseline), ``low`` and ``high`` (confidence 1 - 2 alpha, not corrected), ``p``, ``corrected p`` (times the number of
        rows, at most 1) and ``equivalent``.

    Raises:
        InputError: a system was not measured as the others were, or `equivalence` refuses two of them.
    """
    measures = list(next(iter(evaluations.values())).per_query) if evaluations else []
    tests = {
        (measure, system, baseline): equivalence(
            evaluations[system].scores(measure), evaluations[baseline].scores(measure), margin, alpha
        )
        for measure in measures
        for system, baseline in pairs
    }
    table = pd.DataFrame(tests.keys(), columns=["measure", "system", "baseline"])
    for column in ("difference", "low", "high", "p"):
        table[column] = [getattr(test, column) for test in tests.values()]
    table["corrected p"] = multipletests(table["p"], alpha, method="bonferroni")[1] if tests else []
    table["equivalent"] = table["corrected p"] < alpha
    return table


def _same_queries(queries: Mapping[str, pd.Index]) -> None:
    (first, expected), *others = queries.items()
    for name, index in others:
        if differing := sorted(set(expected) ^ set(index)):
            counts = f"{len(expected)} queries of {first!r} and {len(index)} of {name!r}"
            raise InputError(
                f"a paired test needs the same queries of every system; of {counts}, {len(differing)} have no partner, "
                f"the first is {differing[0]!r}"
            )
