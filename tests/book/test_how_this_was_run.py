"""Costs of fabricated results, whose seconds and tokens are chosen so that every sum can be done in the head."""

from __future__ import annotations

from dataclasses import replace

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from armbook import chapters
from armbook.how_this_was_run import (
    CONTINUED,
    PARTS,
    answer,
    costs,
    counted,
    lasting,
    machines,
    profiles,
    schedule,
    time_by_chapter,
    time_spent,
    timeline,
    versions,
)
from armbook.style import GREY, colour
from armlib.errors import InputError
from armlib.experiments.experiment import Experiment
from armlib.experiments.profile import Profile, load_profile
from fabricated import Fabricated, fabricated, with_experiment

PROFILE = Profile(
    "fabricated",
    Experiment(steps=4, batch_size=2, validate_every=2),
    ("lsa/distilbert", "lsa/roberta"),
    static=(0.1, 0.5),
    batch_sizes=(1, 2),
    seeds=(0, 1),
    sweep_seeds=(0,),
    jobs=1,
    about="Made up for tests.",
)


def of_16_seconds(experiment: Experiment, gpu: str | None = None, torch: str = "2") -> Fabricated:
    """A training run of 4 steps of 2 triples in 8 s, 2 s of them waiting; 1 s preparing, 3 s validating, 4 s evaluating."""
    machine = {"system": "Linux", "processor": "Processor", "gpu": gpu, "threads": 1, "cores": 2, "memory_gib": 4.0}
    about = {
        "seconds": {"preparing": 1.0, "training": 8.0, "validating": 3.0, "evaluating": 4.0, "total": 16.0},
        "triples": 8,
        "kept_step": 4,
        "machine": machine,
        "precision": "bf16" if gpu else "no",
        "versions": {"python": "3", "torch": torch},
        "time": "2026-01-01T00:00:00+00:00",
    }
    trace = pd.DataFrame({"waiting_seconds": [0.5] * 4, "padded_tokens": [150] * 4, "real_tokens": [100] * 4})
    return fabricated(experiment, about=about, trace=trace)


@pytest.fixture(scope="module")
def results() -> list[Fabricated]:
    return [of_16_seconds(experiment) for experiment in chapters.first_round(PROFILE)]


def test_costs_add_up_by_encoder_and_in_all(results) -> None:
    table = time_spent(results).set_index("encoder")
    assert list(table.index) == [*PROFILE.encoders, "all"]
    for encoder in PROFILE.encoders:
        count = sum(result.experiment.encoder == encoder for result in results)
        row = table.loc[encoder]
        assert row["training runs"] == count and row.triples == 8 * count and row.total == 16 * count and row.preparing == count
    assert table.loc["all", "training runs"] == len(results)
    assert set(table["triples per second"]) == {1.0} and set(table.waiting) == {0.25} and set(table["padded over real"]) == {1.5}


def test_costs_of_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="no results"):
        time_spent([])


def test_chapters_share_training_runs_and_count_each_once() -> None:
    names = ("distributed", "adaptive", "static_sweep", "baselines")
    every: dict[Experiment, Fabricated] = {}

    def get(experiments):
        for one in experiments:
            every.setdefault(one, replace(of_16_seconds(one), validations=pd.DataFrame({"step": [4], "nDCG@10": [0.5]})))
        return {one: every[one] for one in experiments}

    found = chapters.every_round(PROFILE, get, names)
    table = time_by_chapter(found).set_index("chapter")
    assert list(table.index) == [name.replace("_", " ") for name in names]
    assert table.loc["distributed", "training runs"] == table.loc["distributed", "new training runs"] == 4
    tuned = table.loc["static sweep"]
    assert (
        tuned["new training runs"] == tuned["training runs"] == 2 * 2 * 2 + 2 * 2
    )  # the sweep, and the other seed of what it tunes
    assert table["new training runs"].sum() == len(every)
    assert table["new minutes"].sum() == pytest.approx(len(every) * 16 / 60)
    assert table.loc["distributed", "minutes"] == pytest.approx(4 * 16 / 60)


def test_a_trained_encoder_is_no_encoder_of_its_own_in_the_costs(results) -> None:
    first = with_experiment(results[0], encoder="/runs/0123456789ab/encoder")
    table = time_spent([*results, first]).set_index("encoder")
    assert table.loc[CONTINUED, "training runs"] == 1


def test_machines_and_versions_are_counted_apart(results) -> None:
    some = [results[0], of_16_seconds(results[1].experiment, "NVIDIA H100", torch="3"), results[2]]
    shown = {"elsewhere": some, "this copy": results[:2]}
    table = machines(shown)
    assert table.source.tolist() == ["elsewhere", "elsewhere", "this copy"]
    assert list(table["training runs"]) == [2, 1, 2] and list(table.precision) == ["float32", "bf16", "float32"]
    assert table.machine[1] == "NVIDIA H100, 1 of 2 cores, 4.0 GiB" and table.time[0] == "0:00:32"
    assert versions(shown).values.tolist() == [["python", "3", "3"], ["torch", "2 (2), 3 (1)", "2"]]


def test_costs_on_a_page_are_those_of_each_source(results) -> None:
    table = costs({"elsewhere": results, "this copy": results[:1]})
    assert table.source.tolist() == ["elsewhere"] * 3 + ["this copy"] * 2
    assert table.encoder.tolist() == ["distilbert", "roberta", "all", "distilbert", "all"]
    row = table.iloc[-1]
    assert (row.training, row.total, row.waiting, row.triples) == ("0:00:08", "0:00:16", "25.0%", "0.00M")


def test_the_answer_says_what_each_source_cost(results) -> None:
    alone = answer({"this copy": results[:1]})
    assert alone == (
        "In this copy, 1 training run took 16 seconds on Processor (2 cores, 4.0 GiB). The largest part was training, 50%; padding "
        "added 50% to the tokens of the texts, and training waited for data in 25.0% of its time."
    )
    some = [results[0], of_16_seconds(results[1].experiment, "NVIDIA H100")]
    both = answer({"MS MARCO in miniature": some, "this copy": results[:1]})
    assert both.startswith("In MS MARCO in miniature, 2 training runs took 32 seconds on 2 machines. ")
    assert both.endswith("A training run took 16 seconds on average in MS MARCO in miniature, and 16 seconds in this copy.")


def test_training_runs_are_counted_once_and_what_they_tune_apart(results) -> None:
    first = len(results)
    assert counted(PROFILE, results) == f"Profile `fabricated` started with {first} training runs."
    tuned = with_experiment(results[0], target="static(0.7)")
    assert counted(PROFILE, [*results, tuned, tuned]).endswith(f"and 1 more that tuning added: {first + 1} in all.")


def test_times_are_written_in_words() -> None:
    assert [lasting(seconds) for seconds in (1.26, 45, 840, 2 * 3600)] == ["1.3 seconds", "45 seconds", "14 minutes", "2.0 hours"]


def test_profiles_show_what_differs_and_a_readers_own() -> None:
    table = profiles(load_profile("demo"))
    assert list(table.columns) == ["demo", "small", "paper"]
    assert table.loc["training runs to start with", "demo"] == str(len(chapters.first_round(load_profile("demo"))))
    assert table.loc["experiment: passage_length", "paper"] == "200"
    assert "experiment: clip_norm" not in table.index and "experiment: encoder" not in table.index
    own = profiles(load_profile("demo", "msmarco-mini", "lsa/roberta"), replace(PROFILE, name="mine"))
    assert own.loc["encoders", "this page"] == "lsa/roberta" and own.loc["experiment: steps", "mine"] == "4"
    assert own.loc["static targets", "mine"] == "0.1, 0.5"


# The timeline


SECONDS = {"preparing": 60.0, "training": 300.0, "validating": 120.0, "evaluating": 120.0, "total": 600.0}


def ended(at: str, key: str, **values) -> Fabricated:
    """A training run of ten minutes that ended at a time of one day."""
    about = {"seconds": SECONDS, "time": f"2026-01-01T{at}+00:00", "triples": 64}
    trace = pd.DataFrame({"waiting_seconds": [1.0], "padded_tokens": [2], "real_tokens": [1]})
    return fabricated(Experiment(**values), key, about=about, trace=trace)


RESULTS = [
    ended("10:10:00", "first", target="static(0.3)"),
    ended("10:19:59", "second", target="adaptive", in_batch=True),  # seems to start a second before the first ended
    ended("10:25:00", "beside", encoder="lsa/roberta"),
    ended("15:25:00", "later", steps=0, encoder="lsa/roberta"),
]


def test_training_runs_one_after_the_other_share_a_lane() -> None:
    table = schedule(RESULTS).set_index("key")
    assert list(table.index) == ["first", "second", "beside", "later"]
    assert dict(table.lane) == {"first": 0, "second": 0, "beside": 1, "later": 0}


def test_times_in_which_nothing_ran_are_taken_out() -> None:
    table = schedule(RESULTS).set_index("key")
    assert table.start["second"] == pytest.approx(599 / 3600) and table.start["beside"] == pytest.approx(0.25)
    assert table.idle["beside"] == 0 and table.idle["later"] == pytest.approx(4 + 50 / 60)
    assert table.start["later"] == pytest.approx(25 / 60) and list(table.hours) == pytest.approx([1 / 6] * 4)


@pytest.fixture
def figure():
    made = timeline(RESULTS)
    yield made
    plt.close(made)


def test_bars_are_the_schedule_in_minutes_and_in_the_colours_of_variants(figure) -> None:
    left = figure.axes[0]
    shades = [colour("static(0.3)"), colour("adaptive, in-batch"), colour("distributed"), to_rgb(GREY)]
    for (_, row), bars, shade in zip(schedule(RESULTS).iterrows(), left.containers, shades, strict=True):
        [bar] = bars
        assert bars.get_label() == row.key
        assert (bar.get_x(), bar.get_width()) == (pytest.approx(60 * row.start), pytest.approx(10))
        assert bar.get_y() + bar.get_height() / 2 == pytest.approx(row.lane)
        assert to_rgb(bar.get_facecolor()) == pytest.approx(shade)
    assert left.get_xlabel() == "minutes (4.8 idle hours left out)"


def test_parts_of_the_time_stand_one_behind_the_other(figure) -> None:
    right = figure.axes[1]
    assert [text.get_text() for text in right.get_yticklabels()] == ["distilbert", "roberta"]
    for encoder in (0, 1):
        end = 0.0
        for part, bars in zip(PARTS, right.containers, strict=True):
            assert bars[encoder].get_x() == pytest.approx(end) and bars.get_label() == part
            assert bars[encoder].get_width() == pytest.approx(2 * SECONDS[part] / 60)  # two training runs of each encoder
            end += bars[encoder].get_width()
        assert end == pytest.approx(20)
