"""The figures of what an index costs hold the measured numbers (here made up), and mark what the released code does."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from armbook.index_costs.figures import LOOKS, RELEASED_LABEL, recall_and_cost, time_by_size
from armbook.index_costs.growth import one_list
from armbook.index_costs.measurements import FLAT, HNSW, IVF, KINDS, PAPER, IndexMeasurements, settings
from armbook.style import COLOURS, save
from armlib.errors import InputError


def fabricated(kinds=KINDS) -> IndexMeasurements:
    """A sweep whose recalls and times follow from the place in the list of settings."""
    rows = []
    for number, point in enumerate(settings(20_000, kinds)):
        parameters = {name: point.parameters.get(name) for name in ("nprobe", "efSearch", "k_factor")}
        recall, time = 1 - 0.03 * number, 0.2 + 0.1 * number
        times = {"ms": time, "ms low": 0.9 * time, "ms high": 1.3 * time}
        recalls = {"recall@10": recall, "recall@100": recall - 0.05, "recall@1000": recall - 0.1}
        rows.append({"kind": point.kind, **parameters, **recalls, **times, "found": 50.0, "released": point.released})
    table = pd.DataFrame(rows).astype(dict.fromkeys(("nprobe", "efSearch", "k_factor"), "Int64"))
    return IndexMeasurements(table, pd.DataFrame(), np.array([10, 30]), {})


@pytest.fixture
def figure():
    made = recall_and_cost(fabricated())
    yield made
    plt.close(made)


def test_points_are_settings(figure) -> None:
    table, (left, right) = fabricated().table, figure.axes
    drawn = {bars.get_label(): bars for bars in left.containers}
    paper = {f"paper's factory, k_factor={factor}": (table.kind == PAPER) & (table.k_factor == factor) for factor in (4, 1)}
    expected = {"flat (exact)": table.kind == FLAT, "IVF": table.kind == IVF, "HNSW": table.kind == HNSW, **paper}
    assert list(drawn) == list(expected) and left.get_xscale() == right.get_xscale() == "log"
    for label, chosen in expected.items():
        rows = table[chosen].sort_values(["nprobe", "efSearch"])
        line, _, (bars,) = drawn[label].lines
        np.testing.assert_allclose(line.get_xdata(orig=False), rows.ms)
        np.testing.assert_allclose(line.get_ydata(orig=False), rows["recall@1000"])
        ends = np.array([segment[:, 0] for segment in bars.get_segments()])
        np.testing.assert_allclose(ends, rows[["ms low", "ms high"]])
        assert to_rgb(line.get_color()) == to_rgb(LOOKS[rows.kind.iloc[0]][0])
    swept = [table[chosen] for label, chosen in expected.items() if label not in ("flat (exact)", "HNSW")]
    for line, rows in zip(right.lines, swept, strict=False):
        np.testing.assert_allclose(line.get_xdata(orig=False), rows.nprobe.astype(float))
        np.testing.assert_allclose(line.get_ydata(orig=False), rows["recall@1000"])
    assert len(right.lines) == len(swept) + 1  # and the mark


def test_the_released_code_has_a_mark_and_a_label(figure) -> None:
    released = fabricated().released
    for axes, place in zip(figure.axes, ("ms", "nprobe"), strict=True):
        (mark,) = [line for line in axes.lines if line.get_marker() == "X"]
        assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (released[place], released["recall@1000"])
        assert [text.get_text() for text in axes.texts] == ["released code"]
    assert RELEASED_LABEL in [text.get_text() for text in figure.legends[0].get_texts()]


def test_depths_and_kinds_can_be_chosen() -> None:
    costs = fabricated([FLAT, IVF])
    figure = recall_and_cost(costs, 10)
    assert figure.axes[0].get_ylabel() == "recall@10 against exact search"
    line = figure.axes[1].lines[0]
    np.testing.assert_allclose(line.get_ydata(orig=False), costs.table[costs.table.kind == IVF]["recall@10"])
    assert len(figure.axes[1].lines) == 1 and not figure.axes[0].texts
    plt.close(figure)
    with pytest.raises(InputError, match="lack 'paper'"):
        one_list(costs)


def test_no_kind_of_index_looks_like_a_variant_of_the_loss() -> None:
    shades = {to_rgb(shade) for shade, _, _ in LOOKS.values()}
    assert len(shades) == len(LOOKS) == len({shape for _, shape, _ in LOOKS.values()}) and not shades & set(COLOURS.values())


def test_times_are_drawn_by_size(tmp_path, monkeypatch) -> None:
    rows = [
        {
            "size": size,
            "kind": kind,
            "index": f"x:nprobe={7 + released},efConstruction=128",
            "released": released,
            "ms": size / 1000 + number,
            "ms low": size / 2000,
            "ms high": size / 500 + number,
        }
        for size in (1000, 4000)
        for number, (kind, released) in enumerate(((FLAT, False), (PAPER, False), (PAPER, True)))
    ]
    growth = pd.DataFrame(rows)
    figure = time_by_size(growth)
    (axes,) = figure.axes
    assert [bars.get_label() for bars in axes.containers] == ["flat (exact), nprobe=7", "paper's factory, nprobe=7", RELEASED_LABEL]
    for number, bars in enumerate(axes.containers):
        line, _, (ranges,) = bars.lines
        np.testing.assert_allclose(line.get_xdata(orig=False), [1000, 4000])
        np.testing.assert_allclose(line.get_ydata(orig=False), [1 + number, 4 + number])
        np.testing.assert_allclose(ranges.get_segments()[1][:, 1], [2, 8 + number])
    assert axes.get_xscale() == axes.get_yscale() == "log"
    monkeypatch.setenv("ARMLIB_FIGURES", str(tmp_path))
    first = [path.read_bytes() for path in save(figure, "growth")]
    assert [path.read_bytes() for path in save(time_by_size(growth), "growth")] == first
    plt.close("all")
