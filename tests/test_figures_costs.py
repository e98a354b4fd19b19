"""The timeline is read back from its bars: starts, lanes, idle times and colours of fabricated trainings."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from armbook.how_this_was_run import PARTS, schedule, timeline
from armbook.style import GREY, colour
from matplotlib.colors import to_rgb
from test_tables_costs import Fabricated

from armlib.experiments.experiment import Experiment

SECONDS = {"preparing": 60.0, "training": 300.0, "validating": 120.0, "evaluating": 120.0, "total": 600.0}


def ended(at: str, key: str, **values) -> Fabricated:
    """A training of ten minutes that ended at a time of one day."""
    about = {"seconds": SECONDS, "time": f"2026-01-01T{at}+00:00", "triples": 64}
    trace = pd.DataFrame({"waiting_seconds": [1.0], "padded_tokens": [2], "real_tokens": [1]})
    return Fabricated(key, Experiment(**values), about, trace)


RESULTS = [
    ended("10:10:00", "first", target="static(0.3)"),
    ended("10:19:59", "second", target="adaptive", in_batch=True),  # seems to start a second before the first ended
    ended("10:25:00", "beside", encoder="lsa/roberta"),
    ended("15:25:00", "later", steps=0, encoder="lsa/roberta"),
]


def test_trainings_one_after_the_other_share_a_lane() -> None:
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
            assert bars[encoder].get_width() == pytest.approx(2 * SECONDS[part] / 60)  # two trainings of each encoder
            end += bars[encoder].get_width()
        assert end == pytest.approx(20)
