"""Two ways to a target: arrows join the boxes they name, texts fit, and only one needs a teacher."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from armbook.style import GREY
from armbook.why_margins import two_ways


@pytest.fixture(scope="module")
def panels():
    figure = two_ways()
    figure.canvas.draw()
    yield {axes.get_title(): axes for axes in figure.axes}
    plt.close(figure)


def boxes(axes) -> dict[str, matplotlib.transforms.Bbox]:
    found = {patch.get_gid(): patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)}
    return {name: matplotlib.transforms.Bbox.from_bounds(*patch.get_bbox().bounds) for name, patch in found.items()}


def arrows(axes) -> dict[tuple[str, str], FancyArrowPatch]:
    return {tuple(a.get_gid().split(" to ")): a for a in axes.patches if isinstance(a, FancyArrowPatch)}


def on_edge(point, box) -> bool:
    x, y = point
    across, along = np.isclose(y, [box.y0, box.y1]).any(), np.isclose(x, [box.x0, box.x1]).any()
    return (across and box.x0 <= x <= box.x1) or (along and box.y0 <= y <= box.y1)


def test_arrows_start_and_end_at_the_boxes_they_join(panels) -> None:
    for axes in panels.values():
        around = boxes(axes)
        for (start, end), arrow in arrows(axes).items():
            (tail, head) = arrow._posA_posB
            assert on_edge(tail, around[start]) and on_edge(head, around[end]), (start, end)
            for name, box in around.items():
                if name not in (start, end):
                    line = np.linspace(tail, head, 50)
                    inside = (line > [box.x0, box.y0]) & (line < [box.x1, box.y1])
                    assert not inside.all(axis=1).any(), f"the arrow from {start} to {end} crosses {name}"


def test_texts_fit_their_boxes_and_boxes_their_panel(panels) -> None:
    for axes in panels.values():
        patches = {patch.get_gid(): patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)}
        assert {text.get_gid() for text in axes.texts} == set(patches)
        for text in axes.texts:
            inner, outer = text.get_window_extent(), patches[text.get_gid()].get_window_extent()
            assert outer.x0 <= inner.x0 and inner.x1 <= outer.x1, text.get_text()
            assert inner.height <= outer.height * 1.05, text.get_text()
            assert axes.bbox.x0 <= outer.x0 and outer.x1 <= axes.bbox.x1
            assert text.get_fontsize() >= 10, "to be read in a narrow window"


def test_only_the_teachers_way_asks_a_teacher(panels) -> None:
    left, right = arrows(panels["with a teacher"]), arrows(panels["self-distillation"])
    assert "teacher" in boxes(panels["with a teacher"]) and "teacher" not in boxes(panels["self-distillation"])
    targets = [{start for (start, end) in side if end == "target"} for side in (left, right)]
    assert targets == [{"scored"}, {"encoder"}]
    assert [{start for (start, end) in side if end == "batches"} for side in (left, right)] == [{"scored"}, {"triples"}]
    for side in (left, right):
        dashed = {names for names, arrow in side.items() if arrow.get_linestyle() == "--"}
        assert dashed == {names for names in side if "target" in names}
        assert {start for start, end in side if end == "loss"} == {"margin", "target"}


def test_what_both_panels_share_stands_at_the_same_place(panels) -> None:
    left, right = (boxes(axes) for axes in panels.values())
    assert set(right) < set(left) and all(np.allclose(left[name].bounds, right[name].bounds) for name in right)


def test_everything_is_grey(panels) -> None:
    for axes in panels.values():
        assert {to_hex(text.get_color()) for text in axes.texts} | {to_hex(p.get_edgecolor()) for p in axes.patches} == {GREY}
