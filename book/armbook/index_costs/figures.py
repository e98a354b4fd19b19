"""What an index costs: recall against exact search over time and over nprobe, and time by size."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from armbook.index_costs.measurements import FLAT, HNSW, IVF, K_FACTORS, PAPER, IndexMeasurements
from armbook.index_costs.summary import NAMES
from armbook.style import GREY, STYLE

# Kinds of index are no variants of the loss, so none has a variant's colour; markers and dashes tell them apart in grey.
LOOKS = {
    FLAT: (GREY, "P", "solid"),
    IVF: ("#bd9e39", "s", "solid"),
    HNSW: ("#a55194", "^", (0, (5, 2))),
    PAPER: ("#6b6ecf", "o", "solid"),
}
RELEASED_LABEL = "released code: nprobe=1, k_factor=1"
_RELEASED_LOOK = {"marker": "X", "color": "#d6616b", "markersize": 11, "linestyle": "none", "markeredgecolor": GREY, "zorder": 5}
LABELS = NAMES | {FLAT: "flat (exact)"}


def recall_and_cost(costs: IndexMeasurements, depth: int = 0) -> Figure:
    """Recall against exact search over the time of a query on the left, over ``nprobe`` on the right.

    A line is one kind of index, a point one setting; bars are the range of the rounds. The paper's index has a line for each
    ``k_factor`` of the sweep. What the released code does has a mark of its own.

    Args:
        costs: a sweep.
        depth: of the recall, one of those in the sweep's columns; 0 takes the deepest.
    """
    column = f"recall@{depth or costs.depth}"
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 4.3), layout="constrained", sharey=True)
        for kind, factor, rows in _lines(costs.table):
            look = _look(kind, factor)
            spread = [rows.ms - rows["ms low"], rows["ms high"] - rows.ms]
            left.errorbar(rows.ms, rows[column], xerr=spread, elinewidth=0.8, label=_name(kind, factor), **look)
            if rows.nprobe.notna().all():
                right.plot(rows.nprobe.astype(float), rows[column], label=f"_{_name(kind, factor)}", **look)
        for axes, coordinate in ((left, "ms"), (right, "nprobe")):
            for _, row in costs.table[costs.table.released].iterrows():
                axes.plot(
                    row[coordinate], row[column], label=RELEASED_LABEL if axes is left else f"_{RELEASED_LABEL}", **_RELEASED_LOOK
                )
                axes.annotate(
                    "released code", (row[coordinate], row[column]), (8, -13), textcoords="offset points", fontsize="small"
                )
        left.set(xscale="log", xlabel="milliseconds a query, one thread", ylabel=f"{column} against exact search")
        right.set(xscale="log", xlabel="nprobe: lists looked at")
        left.set_ylim(-0.13, 1.06)
        for axes in (left, right):
            _plain_numbers(axes)
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def time_by_size(growth: pd.DataFrame) -> Figure:
    """Time of a query over the number of vectors, a line for each kind of index; bars are the range of the rounds.

    Args:
        growth: what `armbook.index_costs.growth.grow` measured.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(5.2, 3.4), layout="constrained")
        for (kind, released), rows in growth.groupby(["kind", "released"], sort=False):
            look = {**_RELEASED_LOOK, "linestyle": "dotted"} if released else _look(kind, None)
            label = RELEASED_LABEL if released else f"{LABELS[kind]}{_settings(rows['index'].iloc[-1])}"
            spread = [rows.ms - rows["ms low"], rows["ms high"] - rows.ms]
            axes.errorbar(rows["size"], rows.ms, yerr=spread, elinewidth=0.8, label=label, **look)
        axes.set(xscale="log", yscale="log", xlabel="vectors", ylabel="milliseconds a query, one thread")
        axes.set_xticks(sorted(growth["size"].unique()))
        axes.xaxis.set_major_formatter(lambda size, _: f"{size:,.0f}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_formatter(NullFormatter())
        figure.legend(loc="outside lower center", ncols=1)
    return figure


def _lines(table: pd.DataFrame) -> list[tuple[str, float | None, pd.DataFrame]]:
    """Kind, k_factor and rows of each line; of the paper's index those whose k_factor was swept over all nprobe."""
    found = []
    for kind in table.kind.unique():
        rows = table[table.kind == kind]
        for factor in K_FACTORS if kind == PAPER else (None,):
            some = rows if factor is None else rows[rows.k_factor == factor]
            found.append((kind, factor, some.sort_values(["nprobe", "efSearch"])))
    return found


def _look(kind: str, factor: float | None) -> dict:
    shade, shape, dashes = LOOKS[kind]
    first = factor in (None, K_FACTORS[0])
    return {
        "color": shade,
        "marker": shape,
        "markersize": 8 if kind == IVF else 5,
        "linestyle": dashes if first else (0, (1, 1.2)),
        "markerfacecolor": shade if first and kind != IVF else "none",  # IVF's line lies below the paper's over nprobe
    }


def _name(kind: str, factor: float | None) -> str:
    return LABELS[kind] if factor is None else f"{LABELS[kind]}, k_factor={factor:g}"


def _settings(index: str) -> str:
    shown = [part for part in index.partition(":")[2].split(",") if part and not part.startswith("efConstruction")]
    return f", {', '.join(shown)}" if shown else ""


def _plain_numbers(axes: Axes) -> None:
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
