"""The results in the repository: small, whole, of nobody's machine, and what chapters need where MS MARCO is not at hand."""

from __future__ import annotations

import argparse
import json
import lzma
import math
import re
import shlex
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from armbook import baselines, chapters, evidence, factorial, learning_curves, tables, teacher_figures
from armbook.shipped_rankings import DEPTH, RANKINGS
from armbook.tuned_losses import Tuning
from armlib import evaluate, names
from armlib.cli.experiment_options import add_experiment_options
from armlib.cli.options import asked_experiment
from armlib.errors import InputError
from armlib.evaluation.evaluate import FULL_RANKING, RERANKING
from armlib.experiments import training_data
from armlib.experiments.profile import load_profile
from armlib.experiments.provenance import provenance
from armlib.experiments.run_metadata import ENDING
from armlib.experiments.shipped import Shipped, ShippedResult
from armlib.experiments.store import RunStore
from armlib.retrieval.run_files import read_run

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "results" / "msmarco-mini"
FILES = sorted(FOLDER.glob("*.json.xz"))
MOST = 8 * 2**20
QUERIES = {"msmarco-mini/dev": 1183, "msmarco-mini/trec-dl-2019": 43, "msmarco-mini/trec-dl-2020": 54}
SMALL = load_profile("small")


@cache
def unpacked(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A file as one reads it with Python's own library."""
    record, series, _ = lzma.decompress(file.read_bytes()).decode().splitlines()
    return json.loads(record), json.loads(series)


@pytest.fixture
def without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may ask for a collection, and nothing may be trained."""
    for module in (names, training_data):
        monkeypatch.setattr(module, "load_collection", lambda name: pytest.fail(f"{name} is read"))
    monkeypatch.setattr(sys.modules[RunStore.__module__], "run_experiment", lambda *_: pytest.fail("an experiment is trained"))


@pytest.fixture
def found(tmp_path: Path, without_data: None) -> dict:
    """What all chapters find with no training run of one's own and no data."""
    shipped = evidence.find(SMALL.experiment.collection, Path(__file__).parent)
    assert shipped is not None and shipped.path == FOLDER
    return chapters.every_round_there(SMALL, evidence.Evidence(RunStore(tmp_path / "runs"), shipped).there)


def test_all_of_it_is_small() -> None:
    assert FILES and sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) < MOST


def test_the_mean_of_every_measure_is_that_of_its_queries() -> None:
    for file in FILES:
        record, series = unpacked(file)
        means = {(row["collection"], row["mode"], row["measure"]): row["value"] for row in record["about"]["measures"]}
        again = {}
        for each in series["per_query"]:
            assert len(each["queries"]) == len(set(each["queries"])) == QUERIES[each["collection"]]
            for measure, values in each["values"].items():
                assert len(values) == len(each["queries"]) and all(0 <= value <= 1 for value in values)
                again[each["collection"], each["mode"], measure] = math.fsum(values) / len(values)
        assert means == again, file.name
        assert {(collection, mode) for collection, mode, _ in means} == {(c, m) for c in QUERIES for m in (RERANKING, FULL_RANKING)}
        steps = record["about"]["steps"]
        assert all(len(column) == steps for column in series["trace"].values())
        assert record["about"]["kept_step"] == record["experiment"]["steps"] == (series["validations"]["step"] or [0])[-1]


def test_every_file_is_read_as_a_result() -> None:
    shipped = Shipped(FOLDER).results()
    assert {f"{each.key}.json.xz" for each in shipped} == {file.name for file in FILES}
    for each in shipped:
        assert each.key in each.provenance_line() and len(each.trace) == each.experiment.steps
        for collection in QUERIES:
            evaluation = each.per_query(collection, FULL_RANKING)
            assert all(each.value(collection, FULL_RANKING, name) == mean for name, mean in evaluation.mean.items())


def test_no_file_names_a_machine_or_a_path_or_holds_a_text() -> None:
    parts = set(provenance()["machine"]) - {"name"}
    for file in FILES:
        record, series = unpacked(file)
        assert set(record["about"]["machine"]) == parts and record["about"]["machine"]["system"] in ("Linux", "Darwin", "Windows")
        written = re.findall(r'"((?:[^"\\]|\\.)*)"', json.dumps([record, series]))
        assert not [text for text in written if re.search(r"(^|\W)(/|~|\.\./|[A-Z]:\\)", text)], file.name
        assert max(map(len, written)) < 160, file.name  # a variant in words; passages are longer


def test_chapters_find_all_of_them_without_the_data(found: dict, tmp_path: Path) -> None:
    there = {result.key for some in found.values() for result in some.values()}
    assert there == {file.name.partition(".")[0] for file in FILES} and not (tmp_path / "runs").exists()
    assert all(isinstance(result, ShippedResult) for some in found.values() for result in some.values())
    assert all(result.experiment == asked for some in found.values() for asked, result in some.items())


def test_chapters_show_what_they_show_of_results(found: dict) -> None:
    one = replace(SMALL, encoders=SMALL.encoders[:1])
    tuning = Tuning(one, {**found["baselines"], **found["teachers"]})
    rows = baselines.trained(tuning)
    costs = teacher_figures.cost_table(rows)
    assert len(costs) > 10 and costs.notna().any(axis=None)
    crossed = factorial.Factorial(Tuning(one, found["contextual"], factorial.systems(one)))
    scores = factorial.scores(crossed.in_domain(list(QUERIES)), list(QUERIES), crossed.results)
    assert len(scores) == 4 * len(factorial.LOSSES)
    results = list(found["distributed"].values())
    table = learning_curves.learning_curve_table(results)
    assert set(table.encoder) == {each.experiment.encoder for each in results}
    assert all(each.key in tables.provenance(results) for each in results)
    with pytest.raises(InputError, match="was shipped without weights"):
        results[0].encoder()


def test_rankings_are_those_of_shipped_results() -> None:
    runs, shipped = sorted((FOLDER / RANKINGS).glob("*.run.gz")), {each.key: each for each in Shipped(FOLDER).results()}
    parser, of_variants = argparse.ArgumentParser(), set()
    add_experiment_options(parser)
    for file in runs:
        told = yaml.safe_load(file.with_name(file.name.replace(".run.gz", ENDING)).read_text())
        name, result = told["data"]["test collection"]["name"], shipped[told["tag"]]
        _, _, *words = shlex.split(told["implementation"]["executable"]["cmd"])
        asked = asked_experiment(parser.parse_args(words))
        assert asked == result.experiment
        run = read_run(file)
        assert set(run) == set(result.per_query(name, FULL_RANKING).per_query.index)
        assert len(run) == QUERIES[name] and {len(found) for found in run.values()} == {DEPTH}
        of_variants.add((result.experiment.variant(), name))
    assert len(runs) == len(of_variants) == 5 * 2


@pytest.mark.slow
def test_rankings_have_the_measures_of_their_results(ir_datasets_home: Path) -> None:
    shipped = {each.key: each for each in Shipped(FOLDER).results()}
    for file in (FOLDER / RANKINGS).glob("*.run.gz"):
        told = yaml.safe_load(file.with_name(file.name.replace(".run.gz", ENDING)).read_text())
        name = told["data"]["test collection"]["name"]
        again = evaluate(read_run(file), names.load_collection(name).qrels(), ["nDCG@10"]).per_query["nDCG@10"]
        assert again.equals(shipped[told["tag"]].per_query(name, FULL_RANKING).per_query["nDCG@10"]), file.name


def test_the_other_profiles_have_none() -> None:
    assert evidence.find(load_profile("demo").experiment.collection, REPOSITORY) is None
    assert evidence.find(load_profile("paper").experiment.collection, REPOSITORY) is None


def on_this_machine(result: ShippedResult) -> None:
    """Skip where other versions or processors may compute another last digit."""
    made, here = result.about, provenance()
    theirs, ours = ((each["versions"]["torch"], each["machine"]["processor"]) for each in (made, here))
    if theirs != ours:
        pytest.skip(f"shipped results were trained with torch and processor {theirs}; here are {ours}")


@pytest.mark.slow
def test_keys_are_those_of_the_data(ir_datasets_home: Path) -> None:
    own = [each for each in Shipped(FOLDER).results() if each.experiment.encoder in SMALL.encoders]
    assert len(own) > len(FILES) / 2
    assert {each.key for each in own} == {each.experiment.key() for each in own}


@pytest.mark.slow
def test_one_of_them_trained_again_has_the_same_numbers(ir_datasets_home: Path, tmp_path: Path) -> None:
    trained = [each for each in Shipped(FOLDER).results() if each.experiment.steps and each.experiment.encoder in SMALL.encoders]
    cheapest = min((each for each in trained if not each.experiment.teacher), key=lambda each: each.about["seconds"]["total"])
    on_this_machine(cheapest)
    again = RunStore(tmp_path, device="cpu").result(cheapest.experiment)
    assert again.key == cheapest.key and again.about["measures"] == cheapest.about["measures"]
    for collection, mode in {(row["collection"], row["mode"]) for row in again.about["measures"]}:
        assert again.per_query(collection, mode).per_query.equals(cheapest.per_query(collection, mode).per_query)
    columns = ["step", "nDCG@10", "Success@5"]
    assert again.validations[columns].equals(cheapest.validations[columns])
    assert again.kept_validation == cheapest.kept_validation
    rounded = again.trace.loss.map(lambda value: float(f"{value:.5g}"))
    assert rounded.tolist() == cheapest.trace.loss.tolist()
