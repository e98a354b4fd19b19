"""``armlib measure`` and ``armlib compare``, called as a user calls them: the shipped runs, in a terminal and as JSON."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pytest

from armlib.cli import main
from armlib.evaluation.equivalence import equivalence
from armlib.evaluation.measures import evaluate
from armlib.names import read_qrels
from armlib.retrieval.run_files import read_run, write_run

pytestmark = pytest.mark.filterwarnings("default")  # the command line prints warnings

RUN = {"q1": {"a": 2.0, "b": 1.0}, "NA": {"b": 0.5}, "null": {"a": 1.0}, "unjudged": {"a": 1.0}}
JUDGMENTS = "q1 0 a 0\nq1 0 b 1\nNA 0 b 1\nnull 0 a 1\nnan 0 a 1\n"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Two small runs and judgments."""
    found = {name: tmp_path / name for name in ("first.run", "second.run.gz", "qrels.txt")}
    write_run(found["first.run"], RUN)
    write_run(found["second.run.gz"], {query: {"b": 1.0, "a": 0.5} for query in RUN})
    found["qrels.txt"].write_text(JUDGMENTS)
    return found


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def strict(text: str) -> dict:
    """JSON without the values that only Python knows."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_runs_are_measured_in_a_terminal(files: dict[str, Path], capsys: pytest.CaptureFixture) -> None:
    first, second, qrels = files.values()
    assert run("measure", first, second, "--qrels", qrels, "--measure", "mrr@10", "ndcg_cut_1", "--per-query") == 0
    printed, said = capsys.readouterr()
    warned = [f"1 of 4 judged queries have no results in run '{each}', such as 'nan'; each counts as 0" for each in (first, second)]
    assert said.splitlines() == [f"armlib: warning: {each}" for each in warned]
    per_query, means = printed.strip().split("\n\n")
    assert means.splitlines()[0].split() == ["RR@10", "nDCG@1"]
    assert [line.split() for line in means.splitlines()[2:]] == [
        [str(first), "0.6250", "0.5000"],
        [str(second), "0.6250", "0.5000"],
    ]
    assert sorted(line.split()[-3] for line in per_query.splitlines()[2:]) == sorted([*"NA nan null q1".split()] * 2)


def test_measures_are_strict_json(files: dict[str, Path], capsys: pytest.CaptureFixture) -> None:
    first, second, qrels = files.values()
    assert run("measure", first, second, "--qrels", qrels, "--measure", "map", "--per-query", "--json") == 0
    found = strict(capsys.readouterr().out)
    assert {name: found[name] for name in ("qrels", "queries", "measures")} == {
        "qrels": str(qrels),
        "queries": 4,
        "measures": ["AP"],
    }
    assert [(each["run"], each["mean"]) for each in found["runs"]] == [(str(first), {"AP": 0.625}), (str(second), {"AP": 0.625})]
    assert {query: values["AP"] for query, values in found["runs"][0]["per_query"].items()} == {
        "q1": 0.5,
        "NA": 1,
        "null": 1,
        "nan": 0,
    }


def test_default_measures_are_those_of_the_collection(beir_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    qrels = read_qrels(f"{beir_folder}/test")
    write_run(tmp_path / "a.run", {query: dict.fromkeys(grades, 1.0) for query, grades in qrels.items()})
    assert run("measure", tmp_path / "a.run", "--qrels", f"{beir_folder}/test", "--json") == 0
    assert strict(capsys.readouterr().out)["runs"][0]["mean"] == {"R@1000": 1.0, "Success@100": 1.0, "nDCG@10": 1.0}


@pytest.mark.slow
def test_shipped_runs_are_compared(shared_data: Path, capsys: pytest.CaptureFixture) -> None:
    runs = sorted((shared_data / "runs").glob("dl20.*"))[:4]
    qrels = shared_data / "trec-dl" / "qrels.dl20-passage.txt"
    measures = ["nDCG@10", "RR@10"]
    evaluations = [evaluate(read_run(path), read_qrels(qrels), measures) for path in runs]
    settings = ["--qrels", qrels, "--measure", *measures, "--margin", 0.1, "--alpha", 0.1]
    for all_pairs in (False, True):
        assert run("compare", *runs, *settings, "--json", *["--all-pairs"] * all_pairs) == 0
        found = strict(capsys.readouterr().out)
        pairs = list(combinations(range(4), 2)) if all_pairs else [(0, other) for other in range(1, 4)]
        assert found["tests"] == len(found["comparisons"]) == 2 * len(pairs)
        said = {name: found[name] for name in ("queries", "measures", "margin", "alpha", "confidence", "correction")}
        assert said == {
            "queries": 54,
            "measures": ["RR@10", "nDCG@10"],
            "margin": 0.1,
            "alpha": 0.1,
            "confidence": pytest.approx(0.8),
            "correction": "bonferroni",
        }
        assert found["means"] == {str(path): each.mean for path, each in zip(runs, evaluations, strict=True)}
        wanted = [(measure, pair) for measure in ("RR@10", "nDCG@10") for pair in pairs]
        for row, (measure, (baseline, other)) in zip(found["comparisons"], wanted, strict=True):
            test = equivalence(evaluations[other].scores(measure), evaluations[baseline].scores(measure), 0.1, 0.1)
            corrected = min(1.0, test.p * found["tests"])
            assert row == {
                "measure": measure,
                "run": str(runs[other]),
                "baseline": str(runs[baseline]),
                "difference": test.difference,
                "low": test.low,
                "high": test.high,
                "p": test.p,
                "corrected_p": pytest.approx(corrected),
                "equivalent": corrected < 0.1,
            }
    assert any(row["equivalent"] for row in found["comparisons"]) and not all(row["equivalent"] for row in found["comparisons"])


def test_comparisons_are_shown_in_a_terminal(files: dict[str, Path], capsys: pytest.CaptureFixture) -> None:
    first, second, qrels = files.values()
    assert run("compare", first, second, "--qrels", qrels, "--measure", "map") == 0
    means, table, said = capsys.readouterr().out.strip().split("\n\n")
    assert [line.split()[-1] for line in means.splitlines()[2:]] == ["0.6250", "0.6250"]
    assert table.split()[:8] == ["measure", "run", "difference", "low", "high", "p", "corrected", "p"]
    assert f"difference: run minus {first}" in said and "4 queries" in said and "Bonferroni over 1 tests" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["measure", "{first}", "--qrels", "{qrels}", "--measure", "mmr@10"], "unknown measure 'mmr@10'; did you mean 'RR@10'?"),
        (["measure", "nowhere.run", "--qrels", "{qrels}", "--measure", "P"], "unknown measure 'P'"),
        (["measure", "nowhere.run", "--qrels", "{qrels}"], "nowhere.run does not exist"),
        (["measure", "{first}", "--qrels", "nowhere"], "there is no file of judgments 'nowhere', nor such a collection"),
        (["measure", "{first}", "--qrels", "{first}"], "first.run:1: expected"),
        (["measure", "{first}", "{first}", "--qrels", "{qrels}"], "first.run' is given twice"),
        (["measure", "{qrels}", "--qrels", "{qrels}"], "qrels.txt:1: expected 6 columns"),
        (["compare", "{first}", "--qrels", "{qrels}"], "expected two runs or more"),
        (["compare", "{first}", "{second}", "--qrels", "{qrels}", "--margin", "0"], "expected a margin above 0"),
        (["compare", "{first}", "{second}", "--qrels", "{qrels}", "--margin", "inf"], "expected a margin above 0"),
        (["compare", "{first}", "{second}", "--qrels", "{qrels}", "--margin", "nan"], "expected a margin above 0"),
        (["compare", "{first}", "{second}", "--qrels", "{qrels}", "--alpha", "0.5"], "an alpha between 0 and 0.5"),
        (["compare", "{first}", "{second}", "--qrels", "{one}"], "two at least, found 1 and 1"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], said: str, files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "one.txt").write_text("q1 0 a 1\n")
    places = {
        "first": files["first.run"],
        "second": files["second.run.gz"],
        "qrels": files["qrels.txt"],
        "one": tmp_path / "one.txt",
    }
    assert run(*(argument.format(**places) for argument in arguments)) == 2
    printed, error = capsys.readouterr()
    assert said in error and len(error.strip().splitlines()) == 1 and not printed
