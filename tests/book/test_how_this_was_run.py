"""Costs of fabricated results, whose seconds and tokens are chosen so that every sum can be done in the head."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd
import pytest
from armbook.how_this_was_run import machines, profiles, time_by_chapter, time_spent, versions

from armlib.errors import InputError
from armlib.experiments.experiment import Experiment
from armlib.experiments.profile import Profile, load_profile

PROFILE = Profile(
    "fabricated", Experiment(steps=4, batch_size=2, validate_every=2), ("lsa/distilbert", "lsa/roberta"), static=(0.1, 0.5),
    batch_sizes=(1, 2), seeds=(0, 1), sweep_seeds=(0,), jobs=1, about="Made up for tests.",
)  # fmt: skip


@dataclass
class Fabricated:
    """What tables of costs read of `armlib.experiments.result.Result`."""

    key: str
    experiment: Experiment
    about: dict
    trace: pd.DataFrame


def fabricate(experiment: Experiment, gpu: str | None = None, torch: str = "2") -> Fabricated:
    """A training of 4 steps of 2 triples in 8 s, 2 s of them waiting; 1 s preparing, 3 s validating, 4 s evaluating."""
    machine = {"system": "Linux", "processor": "Processor", "gpu": gpu, "threads": 1, "cores": 2, "memory_gib": 4.0}
    seconds = {"preparing": 1.0, "training": 8.0, "validating": 3.0, "evaluating": 4.0, "total": 16.0}
    about = {
        "seconds": seconds, "triples": 8, "machine": machine, "precision": "bf16" if gpu else "no",
        "versions": {"python": "3", "torch": torch}, "time": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    trace = pd.DataFrame({"waiting_seconds": [0.5] * 4, "padded_tokens": [150] * 4, "real_tokens": [100] * 4})
    return Fabricated(str(experiment), experiment, about, trace)


@pytest.fixture(scope="module")
def results() -> list[Fabricated]:
    return [fabricate(experiment) for experiment in time_by_chapter.first_round(PROFILE)]


def test_costs_add_up_by_encoder_and_in_all(results) -> None:
    table = time_spent(results).set_index("encoder")
    assert list(table.index) == [*PROFILE.encoders, "all"]
    for encoder in PROFILE.encoders:
        count = sum(result.experiment.encoder == encoder for result in results)
        row = table.loc[encoder]
        assert row.trainings == count and row.triples == 8 * count and row.total == 16 * count and row.preparing == count
    assert table.loc["all", "trainings"] == len(results)
    assert set(table["triples per second"]) == {1.0} and set(table.waiting) == {0.25} and set(table["padded over real"]) == {1.5}


def test_costs_of_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="no results"):
        time_spent([])


def test_chapters_share_trainings_and_count_each_once(results) -> None:
    tuned = [PROFILE.vary(target="static(0.5)", seed=seed) for seed in PROFILE.seeds]
    every = [*results, fabricate(tuned[1])]  # seed 0 is in the sweep
    table = time_by_chapter(PROFILE, every, tuned).set_index("chapter")
    assert list(table.index) == [*(name.replace("_", " ") for name in time_by_chapter.CHAPTERS), "comparison of variants"]
    assert table.loc["distributed", "trainings"] == table.loc["distributed", "of its own"] == 4
    assert table.loc["comparison of variants", "trainings"] == 2 + 8 + 4 and table.loc["comparison of variants", "of its own"] == 1
    assert table["of its own"].sum() == len(every)
    assert table["minutes of its own"].sum() == pytest.approx(len(every) * 16 / 60)
    assert table.loc["distributed", "minutes"] == pytest.approx(4 * 16 / 60)


def test_a_chapter_without_its_training_is_refused(results) -> None:
    with pytest.raises(InputError, match="the chapter on distributed shows a training that is not among the results"):
        time_by_chapter(PROFILE, results[1:])


def test_machines_and_versions_are_counted_apart(results) -> None:
    some = [results[0], fabricate(results[1].experiment, "NVIDIA H100", torch="3"), results[2]]
    table = machines(some)
    assert list(table.trainings) == [2, 1] and list(table.precision) == ["float32", "bf16"]
    assert table.machine[1] == "NVIDIA H100, 1 of 2 cores, 4.0 GiB" and table.minutes[0] == pytest.approx(32 / 60)
    assert versions(some).values.tolist() == [["python", "3", 3], ["torch", "2", 2], ["torch", "3", 1]]


def test_profiles_show_what_differs_and_a_readers_own() -> None:
    table = profiles(load_profile("demo"))
    assert list(table.columns) == ["demo", "small", "paper"]
    assert table.loc["trainings", "demo"] == str(len(time_by_chapter.first_round(load_profile("demo"))))
    assert table.loc["experiment: passage_length", "paper"] == "200"
    assert "experiment: clip_norm" not in table.index and "experiment: encoder" not in table.index
    own = profiles(load_profile("demo", "msmarco-mini", "lsa/roberta"), replace(PROFILE, name="mine"))
    assert own.loc["encoders", "this page"] == "lsa/roberta" and own.loc["experiment: steps", "mine"] == "4"
    assert own.loc["static targets", "mine"] == "0.1, 0.5"
