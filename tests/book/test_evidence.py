"""Where chapters look for results: the reader's own first, then what came with the repository, then training."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from armbook import chapters, evidence
from armbook.evidence import Evidence
from armlib.experiments.experiment import Experiment
from armlib.experiments.result import Result
from armlib.experiments.shipped import Shipped, ShippedResult
from armlib.experiments.store import RunStore


@pytest.fixture
def shipped(portable_store: RunStore, portable_experiment: Experiment, tmp_path: Path) -> Shipped:
    """What was shipped: one result."""
    found = Shipped(tmp_path / "results" / "texts")
    found.add(portable_store.result(portable_experiment))
    return found


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[RunStore.__module__], "run_experiment", lambda *_: pytest.fail("an experiment is trained"))


def test_one_s_own_result_comes_before_the_shipped_one(shipped, portable_store, portable_experiment, tmp_path, untrained) -> None:
    theirs = Evidence(RunStore(tmp_path / "runs"), shipped)
    ours = Evidence(portable_store, shipped)
    (found,) = theirs.results([portable_experiment])
    assert isinstance(found, ShippedResult) and not (tmp_path / "runs").exists()
    (own,) = ours.results([portable_experiment])
    assert type(own) is Result and own.folder.parent == portable_store.path
    assert own.experiment == found.experiment == portable_experiment and own.key == found.key
    assert own.per_query("texts/test", "re-ranking").mean == found.per_query("texts/test", "re-ranking").mean
    assert theirs.there([portable_experiment]) == {portable_experiment: found}


def test_a_damaged_result_of_one_s_own_does_not_count(shipped, portable_experiment, tmp_path) -> None:
    runs = RunStore(tmp_path / "runs")
    (shipped_one,) = shipped.results()
    (runs.path / shipped_one.key).mkdir(parents=True)
    (found,) = Evidence(runs, shipped).results([portable_experiment])
    assert isinstance(found, ShippedResult)


def test_what_is_not_shipped_is_trained_and_nothing_else(shipped, portable_experiment, tmp_path) -> None:
    runs = RunStore(tmp_path / "runs")
    other = replace(portable_experiment, seed=1, steps=2)
    both = Evidence(runs, shipped)
    assert both.there([other]) == {}
    first, second, third = both.results([portable_experiment, other, portable_experiment])
    assert isinstance(first, ShippedResult) and first == third and type(second) is Result
    assert [each.key for each in runs.finished()] == [second.key] == [other.key()]
    assert Evidence(runs, None).results([other]) == [second] and Evidence(runs, None).there([other]) == {}


def test_an_experiment_that_starts_from_a_shipped_result_has_it_trained_again(shipped, portable_experiment, tmp_path) -> None:
    runs = RunStore(tmp_path / "runs")
    (first,) = shipped.results()
    after = replace(portable_experiment, encoder=str(first.folder / "encoder"), steps=2)
    (found,) = Evidence(runs, shipped).results([after])
    assert {each.key for each in runs.finished()} == {first.key, found.key}
    assert found.experiment.encoder == str(runs.path / first.key / "encoder")


def test_rounds_end_where_not_all_is_shipped(shipped, portable_experiment, tmp_path, untrained, monkeypatch) -> None:
    asked: list[list[Experiment]] = []
    monkeypatch.setattr(
        chapters, "CHAPTERS", {"one": lambda _: [portable_experiment], "two": lambda _: [replace(portable_experiment, seed=5)]}
    )
    later = {name: lambda _, found, name=name: asked.append([name, *found]) or [] for name in ("one", "two")}
    monkeypatch.setattr(chapters, "LATER", later)
    profile = type("Profile", (), {"encoders": ("lsa/distilbert",)})
    found = chapters.every_round(profile, Evidence(RunStore(tmp_path / "runs"), shipped).there, ["one", "two"])
    assert list(found["one"]) == [portable_experiment] and found["two"] == {} and asked == [["one", portable_experiment]]


def test_the_folder_is_looked_for_in_the_folders_above(shipped: Shipped, tmp_path: Path, monkeypatch) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    for start in (tmp_path, below, tmp_path / "results"):
        assert evidence.find("texts", start).path == shipped.path
    monkeypatch.chdir(below)
    assert evidence.find("texts").path == shipped.path
    for none in ("docstrings", "..", ".", "", str(shipped.path), "../results/texts", "texts/test"):
        assert evidence.find(none, below) is None
