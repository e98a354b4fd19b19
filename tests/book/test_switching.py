"""What is drawn says which entries of the legend it belongs to, and panels of which row they are."""

from __future__ import annotations

import json

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from armbook import style
from armbook.hovering import VALUES, mark_values
from armbook.switching import ENTRY, OF, ROW, entries_of, mark_rows


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def texts(figure, axes: Axes) -> list[list[str]]:
    """The entries of what is drawn in some axes, in its order."""
    found = entries_of(figure)
    return [found[one] for one in axes.get_children() if one in found]


def entry(name: str, colour: str = style.GREY, **look: object) -> Line2D:
    return Line2D([], [], color=colour, label=name, **{"linestyle": "none"} | look)


def test_a_band_and_a_dot_go_with_their_line() -> None:
    figure, axes = plt.subplots()
    seeds = pd.DataFrame({0: [0.1, 0.2], 1: [0.2, 0.4]}, index=[0, 500])
    for encoder, shade in (("lsa/roberta", "red"), ("lsa/mpnet", "blue")):
        style.draw_mean(axes, seeds, encoder=encoder, shade=shade)
    axes.axhline(0.3, color="green")
    figure.legend(handles=[entry("lsa/roberta", "red", linestyle="-"), entry("lsa/mpnet", "blue", linestyle="-")])
    assert texts(figure, axes) == [["lsa/roberta"]] * 3 + [["lsa/mpnet"]] * 3 + [[]]
    mark_values(figure)
    line, band, dot = (json.loads(one.get_gid().removeprefix(VALUES)) for one in axes.get_children()[:3])
    assert line == {"entries": ["a0"], "name": "lsa/roberta", "x": ["0", "500"], "y": ["0.15", "0.3"]}
    assert band == dot == {"entries": ["a0"]} and axes.lines[-1].get_gid() is None
    assert [text.get_gid() for text in figure.legends[0].get_texts()] == [f"{ENTRY}a0", f"{ENTRY}a1"]


def test_variants_have_a_colour_and_encoders_dashes_or_markers() -> None:
    figure, (left, right) = plt.subplots(1, 2)
    for shade in ("red", "blue"):
        for dash, shape in (("-", "o"), ("--", "s")):
            left.plot([1, 2], [1, 2], color=shade, linestyle=dash)
            left.fill_between([1, 2], [1, 2], [2, 3], color=shade, alpha=0.1)
            right.errorbar(1, 2, yerr=1, color=shade, linestyle="none", marker=shape, label=f"{shade} {shape}")
    right.plot([1, 2], [1, 1], color="red", label=f"{OF}solid")
    looks = {"solid": {"linestyle": "-", "marker": "o"}, "dashed": {"linestyle": "--", "marker": "s"}}
    encoders = [entry(name, **look) for name, look in looks.items()]
    figure.legend(handles=[entry("A", "red", linestyle="-"), entry("B", "blue", linestyle="-"), *encoders])
    both = [[variant, encoder] for variant in "AB" for encoder in ("solid", "dashed") for _ in range(2)]
    assert texts(figure, left) == both, "a line and its band"
    assert texts(figure, right) == [*both, ["solid", "A"]], "a point and its bars; a line that says its encoder"
    mark_values(figure)
    names = {text.get_text(): text.get_gid().removeprefix(ENTRY)[0] for text in figure.legends[0].get_texts()}
    assert names == {"A": "a", "B": "a", "solid": "b", "dashed": "b"}


def test_a_label_decides_alone_where_colours_are_shared() -> None:
    figure, (left, right) = plt.subplots(1, 2)
    for factor, dash in ((4, "-"), (1, ":")):
        left.errorbar([1, 2], [1, 2], yerr=1, color="red", linestyle=dash, label=f"factor {factor}")
        right.plot([1, 2], [1, 2], color="red", linestyle=dash, label=f"_factor {factor}")
    right.plot([1, 2], [3, 3], color="red", linestyle=":")
    figure.legend()
    assert texts(figure, left) == [["factor 4"]] * 2 + [["factor 1"]] * 2
    assert texts(figure, right)[:2] == [["factor 4"], ["factor 1"]]
    plain, axes = plt.subplots()
    axes.plot([1, 2], [1, 2], color="red", linestyle=":")
    plain.legend(handles=[entry("solid", "red", linestyle="-"), entry("dotted", "red", linestyle=":")])
    assert texts(plain, axes) == [["dotted"]], "of two in one colour, the one with its dashes"


def test_one_entry_is_no_choice() -> None:
    figure, axes = plt.subplots()
    axes.plot([1, 2], [1, 2], color="red", label="alone")
    figure.legend(handles=[*axes.lines, entry("of nothing", "blue")])
    mark_values(figure)
    assert "entries" not in json.loads(axes.lines[0].get_gid().removeprefix(VALUES))
    assert [text.get_gid() for text in figure.legends[0].get_texts()] == [None, None]


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (("nDCG@10", "cosine of $d^+$"), ["nDCG@10", "cosine of d+"]),
        (("A\nnDCG@10", "B\nnDCG@10"), ["A", "B"]),
        (("nDCG@10", "nDCG@10"), [None, None]),
        (("nDCG@10", ""), [None, None]),
    ],
)
def test_rows_are_named_by_what_tells_them_apart(labels, names) -> None:
    figure, panels = plt.subplots(2, 2)
    for row, label in zip(panels, labels, strict=True):
        row[0].set_ylabel(label)
    mark_rows(figure)
    expected = [name and f"{ROW}{name}" for name in names]
    assert [[axes.get_gid() for axes in row] for row in panels] == [[each] * 2 for each in expected]


def test_rows_of_several_sources_have_one_name() -> None:
    figure = plt.figure()
    for part in figure.subfigures(2, 1):
        for axes, label in zip(part.subplots(2, 1), ("nDCG@10", "hits"), strict=True):
            axes.set_ylabel(label)
    mark_rows(figure)
    assert [axes.get_gid() for axes in figure.axes] == [f"{ROW}nDCG@10", f"{ROW}hits"] * 2
