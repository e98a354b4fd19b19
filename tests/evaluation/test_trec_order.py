"""One order of ties in all measures, trec_eval's: against pytrec_eval and against the definitions, with scores that tie."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import pytrec_eval
from hypothesis import strategies as st

from armlib.data.types import Qrels, Run
from armlib.evaluation.measures import evaluate, trec_order
from armlib.names import read_qrels
from armlib.retrieval.run_files import read_run
from fuzzing import tried_on

TREC_EVAL = {
    "nDCG@1": "ndcg_cut_1",
    "nDCG@10": "ndcg_cut_10",
    "nDCG@100": "ndcg_cut_100",
    "nDCG": "ndcg",
    "AP": "map",
    "AP@10": "map_cut_10",
    "RR": "recip_rank",
    "P@1": "P_1",
    "P@10": "P_10",
    "R@10": "recall_10",
    "R@1000": "recall_1000",
    "Success@1": "success_1",
    "Success@10": "success_10",
    "Rprec": "Rprec",
    "Bpref": "bpref",
    "infAP": "infAP",
    "IPrec@0.1": "iprec_at_recall_0.10",
    "SetP": "set_P",
    "SetR": "set_recall",
    "SetF": "set_F",
    "SetAP": "set_map",
}


def trec_eval(run: Run, qrels: Qrels, relevant_from: int = 1) -> dict[str, dict[str, float]]:
    """What trec_eval itself says, by query and by our names; of queries with results, and with a grade that it counts."""
    qrels = {query: grades for query, grades in qrels.items() if max(grades.values(), default=-1) >= 0}
    found = pytrec_eval.RelevanceEvaluator(qrels, set(TREC_EVAL.values()), relevance_level=relevant_from).evaluate(run)
    return {query: {ours: values[theirs] for ours, theirs in TREC_EVAL.items()} for query, values in found.items()}


@pytest.mark.parametrize("year", ["dl19", "dl20"])
@pytest.mark.parametrize("system", ["bm25.terrier", "bm25-rm3.terrier", "doct5query", "ance", "bm25-bert"])
def test_all_measures_of_the_shipped_runs_are_trec_evals(shared_data: Path, year: str, system: str) -> None:
    run = read_run(shared_data / "runs" / f"{year}.{system}.run.gz")
    qrels = read_qrels(shared_data / "trec-dl" / f"qrels.{year}-passage.txt")
    both = {"R(rel=2)@1000": "R@1000", "AP(rel=2)": "AP", "RR(rel=2)": "RR", "Bpref(rel=2)": "Bpref"}
    evaluation = evaluate(run, qrels, [*TREC_EVAL, "RR@10", *both])
    expected, stricter = trec_eval(run, qrels), trec_eval(run, qrels, 2)
    assert set(evaluation.per_query.index) == set(qrels) >= set(expected)
    for query, values in evaluation.per_query.to_dict("index").items():
        theirs = expected[query]
        assert {name: values[name] for name in TREC_EVAL} == pytest.approx(theirs, abs=1e-9)
        assert {name: values[name] for name in both} == pytest.approx({n: stricter[query][of] for n, of in both.items()}, abs=1e-9)
        assert values["RR@10"] == (theirs["RR"] if theirs["RR"] > 0.0999 else 0.0)


def test_no_measure_breaks_a_tie_in_another_way(shared: Path) -> None:
    folder = shared / "cases" / "rr-ties"
    names = ["RR@10", "RR", "P@1", "Success@1", "nDCG@1", "AP", "R@1", "Judged@1", "Compat"]
    mean = evaluate(read_run(folder / "ties.run"), read_qrels(folder / "ties.qrels"), names).mean
    assert mean == dict.fromkeys(names, 1.0)


@pytest.mark.parametrize(
    ("scores", "order"),
    [
        ({"a": 1.0, "b": 1.0 + 1e-9, "c": 1.0}, "cba"),
        ({"a": 1e39, "b": 1e300, "c": 1e38}, "bac"),
        ({"a": -1e39, "b": -1e300, "c": -1e38}, "cba"),
        ({"a": 0.0, "b": -0.0, "c": 1e-46}, "cba"),
        ({"a": 16777216, "b": 16777217, "c": 16777218}, "cba"),
        ({"Z": 1.0, "a\u0301": 1.0, "z": 1.0, "é": 1.0, "\uffff": 1.0, "😀": 1.0}, ["😀", "\uffff", "é", "z", "a\u0301", "Z"]),
    ],
)
def test_order_is_that_of_single_precision_and_bytes(scores: dict[str, float], order: str | list[str]) -> None:
    ordered = trec_order(scores)
    assert list(ordered) == list(order) and list(ordered.values()) == sorted(set(ordered.values()), reverse=True)
    for rank, document in enumerate(ordered, start=1):
        found = pytrec_eval.RelevanceEvaluator({"q": {document: 1}}, {"recip_rank"}).evaluate({"q": scores})
        assert found["q"]["recip_rank"] == pytest.approx(1 / rank)


def test_gains_and_grades_are_kept_apart() -> None:
    """ir_measures takes nDCG with gains and without for one measure, if it is asked for both."""
    run, qrels = {"q": {"a": 2.0, "b": 1.0}}, {"q": {"a": 1, "b": 2}}
    names = ["nDCG@10", "nDCG(gains={1:0,2:1})@10", "nDCG(gains={1:3,2:3})@10"]
    for order in itertools.permutations(names):
        mean = evaluate(run, qrels, order).mean
        assert [round(mean[name], 4) for name in names] == [0.8597, 0.6309, 1.0]


def test_nothing_is_kept_from_one_query_to_the_next() -> None:
    """trec_eval crashes where all grades are below 0, and has names for queries of its own."""
    run = {query: {"a": 2.0, "b": 1.0, "c": 0.5} for query in ("1", "2", "no_query", "no-query")}
    qrels = {"1": {"a": 1, "b": 2, "z": 3}, "2": {"a": -1, "c": -2}, "no_query": {"b": 1}, "no-query": {"z": 1}}
    for _ in range(20):
        frame = evaluate(run, qrels, ["nDCG", "AP", "Bpref", "R@3", "Judged@3", "infAP"]).per_query
        assert frame.loc["2"].to_dict() == {"nDCG": 0, "AP": 0, "Bpref": 0, "R@3": 0, "Judged@3": pytest.approx(2 / 3), "infAP": 0}
        assert (
            frame.loc["no_query", "AP"] == 0.5
            and frame.loc["no-query", "AP"] == 0
            and frame.loc["1", "R@3"] == pytest.approx(2 / 3)
        )


IDS = st.sampled_from(["d1", "d2", "D10", "é", "😀", "\uffff", "a+b", "=1", "-"])
SCORES = st.sampled_from([0, 1, -1.0, 0.5, 0.5 + 1e-9, 1e39, -1e300, 16777217, 1e-46]) | st.floats(-1e3, 1e3, width=16)
GRADES = st.sampled_from([-2, 0, 1, 2, 3, 1000])
QUERIES = st.sampled_from(["1", "q2", "NA", "null", "nan", "é"])


@tried_on(
    "evaluate",
    st.dictionaries(QUERIES, st.dictionaries(IDS, SCORES, max_size=8), min_size=2, max_size=5),
    st.dictionaries(QUERIES, st.dictionaries(IDS, GRADES, max_size=6), min_size=2, max_size=5),
)
def test_any_run_is_measured_as_trec_eval_does(folder: Path, run: Run, qrels: Qrels) -> None:
    names = [*TREC_EVAL, "RR@2", "Judged@3", "Judged"]
    evaluation = evaluate(run, qrels, names)
    qrels = {query: grades for query, grades in qrels.items() if grades}
    run = {query: results for query, results in run.items() if results and query in qrels}
    expected = trec_eval(run, qrels)
    assert list(evaluation.per_query.index) == sorted(qrels) and set(expected) <= set(run)
    for query, values in evaluation.per_query.to_dict("index").items():
        theirs = expected.get(query, dict.fromkeys(TREC_EVAL, 0.0))
        assert {name: values[name] for name in TREC_EVAL} == pytest.approx(theirs, abs=1e-9)
        order = list(trec_order(run.get(query, {})))
        ranks = [rank for rank, document in enumerate(order, start=1) if qrels[query].get(document, 0) >= 1]
        assert values["RR"] == pytest.approx(1 / ranks[0] if ranks else 0.0)
        assert values["RR@2"] == pytest.approx(1 / ranks[0] if ranks and ranks[0] <= 2 else 0.0)
        for name, some in {"Judged@3": order[:3], "Judged": order}.items():
            assert values[name] == pytest.approx(sum(each in qrels[query] for each in some) / len(some) if some else 0.0)
