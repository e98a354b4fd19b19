"""Measures of runs through ir_measures (paper section 4)."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from armlib.data.characters import check_id, check_ids
from armlib.data.qrels_file import check_grade
from armlib.data.types import Qrels, Run
from armlib.errors import InputError, unknown
from armlib.evaluation.measure_names import cut_off, parse_measures, providers
from armlib.retrieval.run_files import read_run

if TYPE_CHECKING:
    from ir_measures import Measure


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
        (name,) = map(str, parse_measures([measure]))
        if name not in self.per_query.columns:
            raise unknown("measure of this evaluation", name, self.per_query.columns)
        return self.per_query[name]


def mean_evaluation(evaluations: Iterable[Evaluation]) -> Evaluation:
    """The mean of each query's measures over evaluations of the same queries, such as those of several seeds."""
    frames = [evaluation.per_query for evaluation in evaluations]
    return Evaluation.from_per_query(pd.concat(frames).groupby(level=0).mean())


def evaluate(
    run: Mapping[str, Mapping[str, float]],
    qrels: Mapping[str, Mapping[str, int]],
    measures: Iterable[str | Measure] | str,
    name: str = "the run",
) -> Evaluation:
    """Measure a run.

    The mean is over the judged queries: one without results counts as 0 (``trec_eval -c``); queries of the run without
    judgments are left out. All measures see one order of the results, trec_eval's (see `trec_order`).

    Args:
        run: query id to document id to score.
        qrels: query id to document id to grade.
        measures: names or measures, as `parse_measures` takes them.
        name: of the run, for messages.

    Raises:
        InputError: a measure is unknown, an id could not stand in a TREC run, a score is no finite number, a grade is no
            whole number or out of range, there is nothing to measure or to measure by, or no query of the run is judged.

    Warns:
        UserWarning: judged queries have no results; or queries are judged, but no document of the run is, so that every
            measure is 0.

    Examples:
        >>> from armlib import evaluate
        >>> run = {"q1": {"a": 2.0, "b": 1.0}, "q2": {"a": 0.5}}
        >>> found = evaluate(run, {"q1": {"b": 1}, "q2": {"a": 1}}, ["nDCG@10", "RR@10"])
        >>> found.mean["RR@10"]
        0.75
        >>> found.per_query["nDCG@10"].round(4).to_dict()  # 1 / log2(3) of the second rank
        {'q1': 0.6309, 'q2': 1.0}
    """
    parsed = parse_measures(measures)
    if not parsed:
        raise InputError("there are no measures to compute; expected some such as nDCG@10")
    qrels = checked_qrels(qrels)
    judged = {query: _scores(query, run[query], name) for query in qrels if run.get(query)}
    _check_overlap(run, qrels, judged, name)
    # Numbers for names: trec_eval keeps what it computed last under a name of its own, which a query may have.
    rows = {str(row): query for row, query in enumerate(judged)}
    ordered = {row: trec_order(judged[query]) for row, query in rows.items()}
    pools = {row: _pool(qrels[query]) for row, query in rows.items()}
    values: dict[Measure, dict[str, float]] = defaultdict(dict)
    whole = {cut_off(measure)[0] for measure in parsed}
    # Those with gains alone: ir_measures takes nDCG with gains and without for one measure.
    for group in [[each for each in whole if "gains" not in each.params], *([each] for each in whole if "gains" in each.params)]:
        for metric in providers().iter_calc(group, pools, ordered) if group else ():
            values[metric.measure][rows[metric.query_id]] = metric.value
    table = pd.DataFrame(index=pd.Index(sorted(qrels), name="query"))
    for measure in sorted(set(parsed), key=str):
        of, cutoff = cut_off(measure)
        column = pd.Series(values[of], dtype=float).reindex(table.index).fillna(0.0)
        # A reciprocal rank is 0 beyond the cutoff.
        table[str(measure)] = column if cutoff is None else column.where(column * cutoff > 1 - 1e-9, 0.0)
    return Evaluation(table)


def measure_runs(
    runs: Mapping[str, str | Path | Run], qrels: Mapping[str, Mapping[str, int]], measures: Iterable[str | Measure] | str
) -> dict[str, Evaluation]:
    """Measure several runs, in memory or in TREC run files of whatever origin.

    Args:
        runs: by name, each a run or the path of a run file.
        qrels: judgments that all are measured by.
        measures: names or measures, as `parse_measures` takes them.

    Raises:
        InputError: what `armlib.retrieval.run_files.read_run` and `evaluate` raise, with the name of the run.
    """
    measures = parse_measures(measures)
    evaluations = {}
    for name, run in runs.items():
        try:
            found = run if isinstance(run, Mapping) else read_run(run)
        except InputError as error:
            raise error if str(run) == name else InputError(f"run {name!r}: {error}") from error
        evaluations[name] = evaluate(found, qrels, measures, f"run {name!r}")
    return evaluations


def trec_order(scores: Mapping[str, float]) -> dict[str, float]:
    """The documents of one query in the order of trec_eval, best first, with scores that say so by themselves: N down to 1.

    trec_eval compares scores in single precision and puts equal ones in descending order of their ids, as bytes of UTF-8
    (``comp_sim_docno``). Other providers of measures have other orders of equal scores, and so none may be left.
    """
    with np.errstate(over="ignore"):  # too large for single precision is infinite, as in trec_eval
        single = np.array(list(scores.values()), np.float64).astype(np.float32)
    # Pairs are compared by score, then by id; code points are in the order of their bytes in UTF-8.
    order = sorted(zip(single.tolist(), scores, strict=True), reverse=True)
    return {name: rank for (_, name), rank in zip(order, map(float, range(len(order), 0, -1)), strict=True)}


def checked_qrels(qrels: Mapping[str, Mapping[str, int]]) -> Qrels:
    """Judgments without the queries that have none, if measures can be computed from them.

    Raises:
        InputError: there are none, an id could not stand in a TREC run, or a grade is no whole number or out of range.
    """
    judged: Qrels = {}
    for query, grades in qrels.items():
        check_id(query, "query id", "the judgments")
        where = f"the judgments of query {query!r}"
        check_ids(grades, "document id", where)
        for document, grade in grades.items():
            if not isinstance(grade, Integral):
                raise InputError(f"{where}: expected a whole number as grade of {document!r}, found {grade!r}")
            check_grade(int(grade), where)
            judged.setdefault(query, {})[document] = int(grade)
    if not judged:
        raise InputError("there are no judgments to measure by")
    return judged


def _scores(query: str, results: Mapping[str, float], name: str) -> dict[str, float]:
    check_ids(results, "document id", name)
    if set(map(type, results.values())) == {float} and all(map(math.isfinite, results.values())):
        return dict(results)
    scores: dict[str, float] = {}
    for document, score in results.items():
        try:
            scores[document] = float(score) if isinstance(score, (float, Real)) else math.nan
        except OverflowError:  # a whole number of hundreds of digits
            scores[document] = math.inf
        if not math.isfinite(scores[document]):
            raise InputError(f"{name} has a score for query {query!r} that is not a finite number: {score!r} of {document!r}")
    return scores


def _pool(grades: dict[str, int]) -> dict[str, int]:
    """Judgments that trec_eval can read: it crashes, or takes another query's, where all grades are below 0.

    One more, 0 for a document that no run can hold, changes no measure.
    """
    return grades if max(grades.values()) >= 0 else grades | {" ": 0}


def _check_overlap(run: Mapping, qrels: Mapping, judged: Mapping, name: str) -> None:
    if not any(run.values()):
        raise InputError(f"there is nothing to measure: {name} holds no results")
    if not judged:
        ours, theirs = _examples(run), _examples(qrels)
        raise InputError(f"no query of {name} is judged: its queries look like {ours}, the judged ones like {theirs}")
    if without := [query for query in qrels if query not in judged]:
        said = f"{len(without)} of {len(qrels)} judged queries have no results in {name}, such as {without[0]!r}"
        warnings.warn(f"{said}; each counts as 0", stacklevel=3)
    documents = {document for grades in qrels.values() for document in grades}
    if documents.isdisjoint(document for results in judged.values() for document in results):
        found = _examples(document for results in judged.values() for document in results)
        expected = _examples(sorted(documents)[:3])
        warnings.warn(
            f"no document of {name} is judged, so every measure is 0: "
            f"its documents look like {found}, the judged ones like {expected}",
            stacklevel=3,
        )


def _examples(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name, _ in zip(names, range(3), strict=False))
