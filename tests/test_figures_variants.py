"""The figure of effectiveness against cost: what is drawn is what the tables say."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest
from armbook.comparison import effectiveness_and_cost, training_costs, variant_scores
from armbook.style import colour, marker
from matplotlib.colors import to_rgb
from test_tables_variants import COLLECTIONS, world


@pytest.fixture
def figure():
    made = effectiveness_and_cost(world())
    yield made
    plt.close(made)


def test_points_are_at_the_cost_and_the_score(figure) -> None:
    cost = training_costs(world()).set_index(["encoder", "target", "in_batch"])
    measured = variant_scores(world()).query("measure == 'nDCG@10'")
    assert [axes.get_title() for axes in figure.axes] == list(COLLECTIONS)
    for axes in figure.axes:
        rows = measured[measured.collection == axes.get_title()].to_dict("records")
        assert len(axes.containers) == len(rows) == 10 and axes.get_xscale() == "log"
        for drawn, row in zip(axes.containers, rows, strict=True):
            point, _, (bar,) = drawn.lines
            seconds = cost.loc[row["encoder"], row["target"], row["in_batch"]].seconds_with_sweep
            assert (point.get_xdata()[0], point.get_ydata()[0]) == (seconds, row["mean"])
            low, high = bar.get_segments()[0][:, 1]
            assert (low, high) == pytest.approx((row["mean"] - row["spread"], row["mean"] + row["spread"]))
            assert to_rgb(point.get_color()) == to_rgb(colour(row["target"] + (", in-batch" if row["in_batch"] else "")))
            assert point.get_marker() == marker(row["encoder"])


def test_a_line_leads_back_to_one_training_of_a_static_target(figure) -> None:
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    assert len(lines) == 4 and all(list(line.get_xdata()) == [10.5, 21.0] for line in lines)
    assert all(line.get_ydata()[0] == line.get_ydata()[1] for line in lines)


def test_the_legend_names_variants_and_encoders() -> None:
    figure = effectiveness_and_cost(world(("mine",), seeds=(0,), collections=COLLECTIONS[:1]))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["static", "static, in-batch", "adaptive", "adaptive, in-batch", "distributed", "mine"]
    plt.close(figure)
