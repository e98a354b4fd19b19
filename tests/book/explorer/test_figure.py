"""The figure of three targets holds the numbers of armlib's losses: goals that meet the targets, arrows that are the gradients."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.quiver import Quiver

from armbook.explorer.circle import ROLES, loss_on_circle, points
from armbook.explorer.figure import ARROW, FAN, goals, three_targets
from armbook.style import colour, save
from armlib.errors import InputError
from armlib.losses import MarginLoss

TARGETS = ("static(0.4)", "adaptive", "distributed")


@pytest.fixture
def figure():
    made = three_targets(value=0.4)
    yield made
    plt.close(made)


def test_arrows_are_tangent_and_as_long_as_the_gradients(figure):
    for axes, target in zip(figure.axes[:3], TARGETS, strict=True):
        arrows = next(artist for artist in axes.collections if isinstance(artist, Quiver))
        at, along = np.column_stack([arrows.X, arrows.Y]), np.column_stack([arrows.U, arrows.V])
        np.testing.assert_allclose((at * along).sum(1), 0, atol=1e-12)
        pulls = loss_on_circle(FAN, MarginLoss(target)).pulls
        expected = [float(pulls["queries"].sum()), float(pulls["positives"].sum()), *pulls["negatives"].tolist()]
        counter_clockwise = np.column_stack([-at[:, 1], at[:, 0]])
        np.testing.assert_allclose((counter_clockwise * along).sum(1), ARROW * np.array(expected), atol=1e-12)
        np.testing.assert_allclose(arrows.get_facecolor()[0, :3], colour(target))


def test_ticks_are_where_the_margin_meets_the_target(figure):
    ticks = [[line for line in axes.lines if len(line.get_xdata()) == 2] for axes in figure.axes[:3]]
    assert [len(lines) for lines in ticks] == [2, 4, 4]
    for target in TARGETS:
        loss = MarginLoss(target)
        measured = loss_on_circle(FAN, loss)
        places = goals(FAN, measured)
        for k, row in enumerate(places):
            for j, degrees in enumerate(row):
                moved = {**FAN, "negatives": [degrees] * 4}
                margins, _ = MarginLoss("static(0)").terms(*(points(moved[role]) for role in ROLES))
                wanted = measured.targets.reshape(4, -1)[k, j]
                assert float(margins[k]) == pytest.approx(float(wanted), abs=1e-9), (target, k, j)
    shown = sorted(np.degrees(np.arctan2(line.get_ydata()[0], line.get_xdata()[0])) % 360 for line in ticks[1])
    np.testing.assert_allclose(shown, sorted(goals(FAN, loss_on_circle(FAN, MarginLoss("adaptive"))).ravel()), atol=1e-5)


def test_the_negative_nearest_to_the_positive_is_sent_farthest():
    places = goals(FAN, loss_on_circle(FAN, MarginLoss("adaptive")))[:3, 0]  # those on one side of the query
    away = (np.array(FAN["queries"][:3]) - places) % 360
    assert list(np.argsort(-away)) == [0, 1, 2]


def test_every_tick_has_the_number_of_its_negative_and_no_two_numbers_collide(figure):
    figure.canvas.draw()
    for axes in figure.axes[:3]:
        numbers = [text for text in axes.texts if text.get_text().replace(", ", "").isdigit()]
        assert sorted(digit for text in numbers for digit in text.get_text().split(", ")) == ["1", "2", "3", "4"]
        boxes = [text.get_window_extent() for text in numbers]
        assert not any(one.overlaps(other) for k, one in enumerate(boxes) for other in boxes[:k])


def test_a_target_out_of_reach_has_no_tick():
    assert np.isnan(goals(FAN, loss_on_circle(FAN, MarginLoss("static(2)")))).all()
    with pytest.raises(InputError, match="from -2 to 2"):
        three_targets(value=3)


def test_the_export_is_the_same_each_time(figure, tmp_path, monkeypatch):
    monkeypatch.setenv("ARMLIB_FIGURES", str(tmp_path))
    first = [path.read_bytes() for path in save(figure, "circle")]
    again = three_targets(value=0.4)
    assert [path.read_bytes() for path in save(again, "circle")] == first
    plt.close(again)
