"""Measures of runs through ir_measures, and equivalence of runs by paired TOST (paper sections 4 and 5.4)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ir_measures
import numpy as np
import pandas as pd
from ir_measures import Measure
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW, ttost_paired

from armlib.errors import InputError, unknown
from armlib.runs import Run, read_run

COMMON = (
    "nDCG@10", "nDCG@100", "R@100", "R@1000", "R(rel=2)@1000", "Success@100", "Success(rel=2)@100", "RR@10",
    "RR(rel=2)@10", "AP", "AP(rel=2)", "AP@1000", "P@10", "P(rel=2)@10", "Judged@10",
)  # fmt: skip
DAGGER = "†"


def parse_measures(names: Iterable[str | Measure] | str) -> list[Measure]:
    """Measures from their names as ir_measures writes them, such as ``nDCG@10`` or ``R(rel=2)@1000``.

    Raises:
        InputError: a name cannot be read, or nothing that is installed can compute it; lists the common ones.
    """
    return [_parse(name) for name in ([names] if isinstance(names, str) else names)]


def _parse(name: str | Measure) -> Measure:
    try:
        measure = ir_measures.parse_measure(name)
        if measure.params.get("cutoff") != 0 and ir_measures.DefaultPipeline.supports(measure):
            return measure
    except (NameError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise unknown("measure", str(name), COMMON) from error
    raise unknown("measure", str(name), COMMON)


def default_measures(relevant_from: int = 1) -> list[str]:
    """The paper's measures: nDCG@10, Recall@1000 and Hits@100 (``Success@100``).

    Args:
        relevant_from: the lowest grade that counts as relevant in the two binary measures: 2 on TREC-DL, as its
            organisers have it, where a cut at 1 gives other numbers.
    """
    names = ("nDCG@10", f"R(rel={relevant_from})@1000", f"Success(rel={relevant_from})@100")
    return [str(measure) for measure in parse_measures(names)]


@dataclass(frozen=True)
class Evaluation:
    """Measures of one run.

    Attributes:
        per_query: one row for each judged query (index: query ids in order), one column for each measure.
    """

    per_query: pd.DataFrame

    @classmethod
    def from_per_query(cls, frame: pd.DataFrame) -> Evaluation:
        """An evaluation from a table of queries (index) and measures (columns), such as was written to a file."""
        frame = frame.set_axis(frame.index.map(str), axis="index")
        return cls(frame.sort_index(axis="index").sort_index(axis="columns").astype(float))

    @property
    def mean(self) -> dict[str, float]:
        """Each measure's mean over all judged queries, by the measure's name in sorted order."""
        # Summed exactly, so that the mean depends neither on the order of queries nor on the process.
        return {name: math.fsum(self.per_query[name]) / len(self.per_query) for name in self.per_query.columns}

    def scores(self, measure: str | Measure) -> pd.Series:
        """A measure of each query.

        Raises:
            InputError: it was not measured.
        """
        name = str(_parse(measure))
        if name not in self.per_query.columns:
            raise unknown("measure of this evaluation", name, self.per_query.columns)
        return self.per_query[name]


def mean_evaluation(evaluations: Iterable[Evaluation]) -> Evaluation:
    """The mean of each query's measures over evaluations of the same queries, such as those of several seeds."""
    frames = [evaluation.per_query for evaluation in evaluations]
    return Evaluation.from_per_query(pd.concat(frames).groupby(level=0).mean())


def evaluate(
    run: Mapping[str, Mapping[str, float]], qrels: Mapping[str, Mapping[str, int]], measures: Iterable[str | Measure]
) -> Evaluation:
    """Measure a run.

    The mean is over the judged queries: one without results counts as 0 (``trec_eval -c``); queries of the run without
    judgments are left out. trec_eval, which computes the measures, compares scores in single precision and orders equal
    ones by descending document id.

    Args:
        run: query id to document id to score.
        qrels: query id to document id to grade.
        measures: names or measures, as `parse_measures` takes them.

    Raises:
        InputError: a measure is unknown, a score is not finite, there is nothing to measure or to measure by, or no
            query of the run is judged.

    Warns:
        UserWarning: queries are judged, but no document of the run is: every measure will be 0.
    """
    parsed = parse_measures(measures)
    if not parsed:
        raise InputError("there are no measures to compute; expected some such as nDCG@10")
    qrels = {query: dict(grades) for query, grades in qrels.items() if grades}
    judged = {query: {name: float(score) for name, score in run[query].items()} for query in qrels if run.get(query)}
    _check_overlap(run, qrels, judged)
    for query, results in judged.items():
        if not all(map(math.isfinite, results.values())):
            raise InputError(f"the run has a score for query {query!r} that is not a finite number")
    columns = sorted({str(measure) for measure in parsed})
    table = pd.DataFrame(0.0, index=pd.Index(sorted(qrels), name="query"), columns=columns)
    values: dict[str, dict[str, float]] = {name: {} for name in columns}
    for metric in ir_measures.iter_calc(parsed, qrels, judged):
        values[str(metric.measure)][metric.query_id] = metric.value
    for name in columns:
        table[name] = pd.Series(values[name], dtype=float).reindex(table.index).fillna(0.0)
    return Evaluation(table)


def _check_overlap(run: Mapping, qrels: Mapping, judged: Mapping) -> None:
    if not qrels:
        raise InputError("there are no judgments to measure by")
    if not any(run.values()):
        raise InputError("there is nothing to measure: the run holds no results")
    if not judged:
        ours, theirs = _examples(run), _examples(qrels)
        raise InputError(f"no query of the run is judged: its queries look like {ours}, the judged ones like {theirs}")
    documents = {document for grades in qrels.values() for document in grades}
    if documents.isdisjoint(document for results in judged.values() for document in results):
        found = _examples(document for results in judged.values() for document in results)
        expected = _examples(sorted(documents)[:3])
        warnings.warn(
            "no document of the run is judged, so every measure is 0: "
            f"its documents look like {found}, the judged ones like {expected}",
            stacklevel=3,
        )


def _examples(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name, _ in zip(names, range(3), strict=False))


@dataclass(frozen=True)
class Equivalence:
    """A paired test of two one-sided hypotheses (TOST): are the means of two systems nearer than a margin?

    Attributes:
        difference: mean of the first system minus that of the second.
        p: the larger p-value of the two one-sided tests; below alpha, the systems are equivalent within the margin.
        low, high: bounds of the difference with confidence 1 - 2 alpha; equivalent just where they lie in the margin.
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
    """
    if not margin > 0 or not 0 < alpha < 0.5:
        raise InputError(f"expected a margin above 0 and an alpha between 0 and 0.5, found {margin} and {alpha}")
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


def compare(
    evaluations: Mapping[str, Evaluation], measure: str, reference: str | None = None, margin: float = 0.05,
    alpha: float = 0.05,
) -> pd.DataFrame:  # fmt: skip
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
    runs: Mapping[str, str | Path | Run], qrels: Mapping[str, Mapping[str, int]], measure: str,
    reference: str | None = None, margin: float = 0.05, alpha: float = 0.05,
) -> pd.DataFrame:  # fmt: skip
    """Compare runs, in memory or in TREC run files of whatever origin, as `compare` does.

    Args:
        runs: by name, each a run or the path of a run file.
        qrels: judgments that all are measured by.
        measure, reference, margin, alpha: as for `compare`.

    Raises:
        InputError: what `armlib.runs.read_run`, `evaluate` and `compare` raise, with the name of the run.
    """
    evaluations = {}
    for name, run in runs.items():
        try:
            evaluations[name] = evaluate(run if isinstance(run, Mapping) else read_run(run), qrels, [measure])
        except InputError as error:
            raise InputError(f"run {name!r}: {error}") from error
    return compare(evaluations, measure, reference, margin, alpha)


def _same_queries(queries: Mapping[str, pd.Index]) -> None:
    (first, expected), *others = queries.items()
    for name, index in others:
        if differing := sorted(set(expected) ^ set(index)):
            counts = f"{len(expected)} queries of {first!r} and {len(index)} of {name!r}"
            raise InputError(
                f"a paired test needs the same queries of every system; of {counts}, {len(differing)} have no partner, "
                f"the first is {differing[0]!r}"
            )
