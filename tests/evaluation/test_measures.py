"""Measures, on the shipped TREC runs and against what is stated for them."""

from __future__ import annotations

import subprocess
import sys

import ir_measures
import pandas as pd
import pytest

from armlib.errors import InputError
from armlib.evaluation.measures import Evaluation, default_measures, evaluate, parse_measures
from armlib.retrieval.run_files import read_run

# nDCG@10 of TREC-DL 2019 and 2020, as the collections' README states them.
STATED = {
    "bm25.terrier": (0.4795, 0.4936),
    "bm25-rm3.terrier": (0.5156, 0.5043),
    "doct5query": (0.6308, 0.6228),
    "ance": (0.6537, 0.6447),
    "bm25-bert": (0.6855, 0.6716),
}
QUERIES = {"dl19": 43, "dl20": 54}


@pytest.mark.parametrize(
    ("year", "system", "stated"),
    [(year, system, values[place]) for system, values in STATED.items() for place, year in enumerate(QUERIES)],
)
def test_shipped_runs_score_what_is_stated(shared_data, qrels, year, system, stated):
    evaluation = evaluate(read_run(shared_data / "runs" / f"{year}.{system}.run.gz"), qrels[year], default_measures(2))
    assert round(evaluation.mean["nDCG@10"], 4) == stated
    assert evaluation.per_query.shape == (QUERIES[year], 3)
    assert list(evaluation.mean) == ["R(rel=2)@1000", "Success(rel=2)@100", "nDCG@10"]


def test_means_are_those_of_ir_measures(shared_data, qrels):
    run = read_run(shared_data / "runs" / "dl19.ance.run.gz")
    measures = parse_measures([*default_measures(2), "AP(rel=2)", "RR@10", "Judged@10"])
    theirs = {str(m): value for m, value in ir_measures.calc_aggregate(measures, qrels["dl19"], run).items()}
    assert evaluate(run, qrels["dl19"], measures).mean == pytest.approx(theirs)


def test_grade_of_relevance_moves_recall(shared_data, qrels):
    run = read_run(shared_data / "runs" / "dl19.ance.run.gz")
    mean = evaluate(run, qrels["dl19"], [*default_measures(1), *default_measures(2)]).mean
    assert list(mean) == ["R(rel=2)@1000", "R@1000", "Success(rel=2)@100", "Success@100", "nDCG@10"]
    assert mean["R(rel=2)@1000"] > mean["R@1000"] + 0.05


def test_judged_queries_without_results_count_as_zero():
    qrels = {"1": {"a": 1}, "2": {"b": 1}, "3": {"c": 0}, "5": {}}
    run = {"4": {"a": 1.0}, "1": {"a": 1.0}, "2": {}}
    evaluation = evaluate(run, qrels, ["nDCG@10", "R@10"])
    assert evaluation.per_query["nDCG@10"].to_dict() == {"1": 1.0, "2": 0.0, "3": 0.0}
    assert evaluation.mean == {"R@10": pytest.approx(1 / 3), "nDCG@10": pytest.approx(1 / 3)}


def test_result_does_not_depend_on_hash_order(shared_data):
    program = (
        "import ir_measures\nfrom armlib.evaluation.measures import *\nfrom armlib.retrieval.run_files import *\nqrels = {}\n"
        f"for j in ir_measures.read_trec_qrels({str(shared_data / 'trec-dl' / 'qrels.dl20-passage.txt')!r}):\n"
        "    qrels.setdefault(j.query_id, {})[j.doc_id] = j.relevance\n"
        f"run = read_run({str(shared_data / 'runs' / 'dl20.ance.run.gz')!r})\n"
        "e = evaluate(run, qrels, ['RR@10', 'AP', *default_measures(2)])\nprint(e.mean)\nprint(e.per_query.to_csv())"
    )
    outputs = {
        subprocess.run([sys.executable, "-c", program], env={"PYTHONHASHSEED": str(seed)}, capture_output=True, check=True).stdout
        for seed in (1, 2)
    }
    assert len(outputs) == 1
    assert b"AP" in outputs.pop()


@pytest.mark.parametrize(
    "name",
    ["nDGC@10", "ndcg_cut_10", "nDCG@", "nDCG(rel=2)@10", "P", "nDCG@10.5", "R(foo=3)@10", "import os", "nDCG@0", "alpha_nDCG@10"],
)
def test_unknown_measures_are_named_with_common_ones(name):
    with pytest.raises(InputError, match=r"unknown measure .*R\(rel=2\)@1000") as caught:
        parse_measures(["nDCG@10", name])
    assert repr(name) in str(caught.value)


def test_runs_that_cannot_be_measured_are_refused():
    qrels = {"7": {"d9": 1}}
    with pytest.raises(InputError, match="no query of the run is judged: .* like 'q1', 'q2', 'q3', the judged ones like '7'"):
        evaluate({f"q{i}": {"d9": 1.0} for i in range(1, 5)}, qrels, ["nDCG@10"])
    with pytest.warns(UserWarning, match="no document of the run is judged.*'MS-9'.*'d9'"):
        assert evaluate({"7": {"MS-9": 1.0}}, qrels, ["nDCG@10"]).mean == {"nDCG@10": 0.0}
    for run, judged, measures, complaint in [
        ({}, qrels, ["nDCG@10"], "no results"),
        ({"7": {"d9": 1.0}}, {}, ["nDCG@10"], "no judgments"),
        ({"7": {"d9": float("nan")}}, qrels, ["nDCG@10"], "'7' that is not a finite"),
        ({"7": {"d9": 1.0}}, qrels, [], "no measures"),
    ]:
        with pytest.raises(InputError, match=complaint):
            evaluate(run, judged, measures)


def test_evaluation_comes_back_from_its_table(tmp_path, shared_data, qrels):
    evaluation = evaluate(read_run(shared_data / "runs" / "dl19.ance.run.gz"), qrels["dl19"], default_measures(2))
    evaluation.per_query.to_csv(tmp_path / "a.csv")
    frame = pd.read_csv(tmp_path / "a.csv", dtype={"query": str}).set_index("query")
    back = Evaluation.from_per_query(frame)
    pd.testing.assert_frame_equal(back.per_query, evaluation.per_query, check_exact=True)
    assert back.mean == evaluation.mean
    with pytest.raises(InputError, match="measure of this evaluation 'AP'"):
        back.scores("AP")
