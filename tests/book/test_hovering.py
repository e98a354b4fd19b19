"""Lines carry the values that a page shows under the pointer."""

from __future__ import annotations

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from armbook import style
from armbook.hovering import MOST, VALUES, mark_values


def marked(figure) -> list[dict]:
    mark_values(figure)
    gids = [line.get_gid() for axes in figure.axes for line in axes.lines]
    return [json.loads(gid.removeprefix(VALUES)) if gid else None for gid in gids]


def test_lines_are_named_by_their_encoder_and_the_legend() -> None:
    figure, (left, right) = plt.subplots(1, 2)
    seeds = pd.DataFrame({0: [0.1, 0.2], 1: [0.2, 0.4]}, index=[0, 500])
    style.draw_mean(left, seeds, encoder="lsa/roberta", shade=style.colour("adaptive"))
    right.plot([1, 2], [1 / 3, 20_000], color="red", label="own label")
    figure.legend(handles=[plt.Line2D([], [], color=style.colour("adaptive"), label="adaptive")])
    mean, maximum, own = marked(figure)
    assert mean == {"name": "lsa/roberta, adaptive", "x": ["0", "500"], "y": ["0.15", "0.3"]} and maximum is None
    assert own == {"name": "own label", "x": ["1", "2"], "y": ["0.3333", "20000"]}
    plt.close(figure)


def test_what_has_no_values_to_point_at_is_left_out() -> None:
    figure, axes = plt.subplots()
    axes.axhline(0.5)
    axes.plot([1], [1])
    axes.plot([0, 1, 2], [1, np.nan, 2])
    axes.plot(np.arange(MOST + 1), np.arange(MOST + 1))
    axes.plot(np.arange(MOST), np.arange(MOST))
    assert [each is not None for each in marked(figure)] == [False, False, False, False, True]
    plt.close(figure)
