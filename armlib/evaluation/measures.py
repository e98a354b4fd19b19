"""Measures of runs through ir_measures (paper section 4)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import ir_measures
import pandas as pd
from ir_measures import Measure

from armlib.errors import InputError, unknown

COMMON = tuple(
    "nDCG@10 nDCG@100 R@100 R@1000 R(rel=2)@1000 Success@100 Success(rel=2)@100 RR@10 RR(rel=2)@10 "
    "AP AP(rel=2) AP@1000 P@10 P(rel=2)@10 Judged@10".split()
)


def parse_measures(names: Iterable[str | Measure] | str) -> list[Measure]:
    """Measures from their names as ir_measures writes them, such as ``nDCG@10`` or ``R(rel=2)@1000``.

    Raises:
        InputError: a name cannot be read, or nothing that is installed can compute it; lists the common ones.
    """
    return [_parse(name) for name in ([names] if isinstance(names, str) else names)]


def _parse(name: str | Measure) -> Measure:
    try:
        measure = ir_measures.parse_measure(str(name))
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
