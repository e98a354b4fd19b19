"""Measures, on the shipped TREC runs and against what is stated for them."""

from __future__ import annotations

import subprocess
import sys

import ir_measures
import numpy as np
import pandas as pd
import pytest

from armlib.errors import InputError
from armlib.evaluation.measure_names import parse_measures
from armlib.evaluation.measures import Evaluation, default_measures, evaluate, measure_runs
from armlib.evaluation.tables import read_csv, write_csv
from armlib.retrieval.run_files import read_run, write_run

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
    with pytest.warns(UserWarning, match="^2 of 3 judged queries have no results in the run, such as '2'; each counts as 0$"):
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
    "name", ["nDGC@10", "nDCG@", "nDCG(rel=2)@10", "P", "nDCG@10.5", "R(foo=3)@10", "import os", "nDCG@0", "alpha_nDCG@10"]
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
        ({"7": {"d9": 10**400}}, qrels, ["nDCG@10"], "'7' that is not a finite number"),
        ({"7": {"d9": "1.0"}}, qrels, ["nDCG@10"], "'7' that is not a finite number: '1.0' of 'd9'"),
        ({"7": {"d 9": 1.0}}, qrels, ["nDCG@10"], "the run: the document id 'd 9' cannot stand in a TREC run"),
        ({"7": {9: 1.0}}, qrels, ["nDCG@10"], "document id 9 cannot stand"),
        ({"7": {"d9": 1.0}}, {"7": {"d9": 1.0}}, ["nDCG@10"], "query '7': expected a whole number as grade of 'd9', found 1.0"),
        ({"7": {"d9": 1.0}}, {"7": {"d9": "1"}}, ["nDCG@10"], "expected a whole number as grade of 'd9', found '1'"),
        ({"7": {"d9": 1.0}}, {"7": {"d9": 2**31}}, ["nDCG@10"], "the grade 2147483648 is out of range"),
        ({"7": {"d9": 1.0}}, {"7": {"d9": -(2**63)}}, ["nDCG@10"], "out of range"),
        ({"7": {"d9": 1.0}}, {7: {"d9": 1}}, ["nDCG@10"], "the judgments: the query id 7 cannot stand"),
        ({"7": {"d9": 1.0}}, {"7": {"d\0": 1}}, ["nDCG@10"], r"document id 'd.*x00' cannot stand"),
        ({"7": {"d9": 1.0}}, {"7": {"d\ud800": 1}}, ["nDCG@10"], "document id .* cannot stand"),
    ]:
        with pytest.raises(InputError, match=complaint):
            evaluate(run, judged, measures)


def test_grades_and_scores_of_numpy_are_numbers():
    run = {"7": {"a": np.float32(0.5), "b": np.int64(1), "c": True}}
    assert evaluate(run, {"7": {"a": np.int64(1), "b": True}}, ["P@2"]).mean == {"P@2": 0.5}


def test_runs_are_named_in_what_is_said_of_them(tmp_path):
    write_run(tmp_path / "a.run", {"q": {"d": 1.0}})
    with pytest.warns(UserWarning, match="1 of 2 judged queries have no results in run 'mine', such as 'r'"):
        found = measure_runs(
            {"mine": tmp_path / "a.run", "other": {"q": {"d": 1}, "r": {"e": 1}}}, {"q": {"d": 1}, "r": {"e": 1}}, "mrr"
        )
    assert {name: each.mean for name, each in found.items()} == {"mine": {"RR": 0.5}, "other": {"RR": 1.0}}
    with pytest.raises(InputError, match="no query of run 'mine' is judged"):
        measure_runs({"mine": tmp_path / "a.run"}, {"7": {"d": 1}}, ["AP"])


def test_evaluation_comes_back_from_its_table(tmp_path, shared_data, qrels):
    evaluation = evaluate(read_run(shared_data / "runs" / "dl19.ance.run.gz"), qrels["dl19"], default_measures(2))
    write_csv(evaluation.per_query, tmp_path / "a.csv")
    back = Evaluation.from_per_query(read_csv(tmp_path / "a.csv", "query").set_index("query"))
    pd.testing.assert_frame_equal(back.per_query, evaluation.per_query, check_exact=True)
    assert back.mean == evaluation.mean
    with pytest.raises(InputError, match="measure of this evaluation 'AP'"):
        back.scores("AP")
