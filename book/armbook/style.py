"""Figures of the book: one style, one colour a variant, one marker an encoder, one function a figure."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from armbook.hovering import mark_values
from armbook.switching import OF
from armlib.storage import disk_errors

# Load the backend now: the one of notebooks turns on interactive drawing, which the end of an rc_context would take back.
plt.switch_backend(matplotlib.get_backend())


# The colour-blind palette in an order whose brightness differs, so that variants stay apart in grey; the colours of it that are too
# pale for a line on white are darker here, so that each has a contrast of 3:1 or more on a light page and on a dark one.
_PALETTE = seaborn.color_palette("colorblind")
COLOURS = {
    "static": _PALETTE[0],
    "static, in-batch": to_rgb("#3a9bd9"),
    "adaptive": to_rgb("#c98204"),
    "adaptive, in-batch": _PALETTE[3],
    "distributed": _PALETTE[2],
    "mean": _PALETTE[4],
    "variance": _PALETTE[7],
}
BESIDE = {
    "InfoNCE": to_rgb("#8e5bd0"),
    "MarginMSE": to_rgb("#b8804f"),
    "MarginMSE, in-batch": to_rgb("#8a5a2b"),
    "list-wise KL": to_rgb("#968a00"),
    "PairDistill": to_rgb("#d0568f"),
}  # of losses that are no margin losses
MARKERS = {"distilbert": "o", "roberta": "s", "mpnet": "^"}
DASHES = {"distilbert": "solid", "roberta": (0, (5, 2)), "mpnet": (0, (1, 1.2))}  # where lines of several encoders share a colour
EXPORTED = "exported-"  # begins the name that a figure has on a page
MAXIMUM = "_maximum"  # the label of a dot at a maximum; the underscore keeps it out of legends
GREY = "#767676"  # text and axes: 4.5:1 on white; on the book's pages it becomes the colour of the text, light or dark
DENSE = 5000  # points from which on a part of a figure is a picture inside the SVG, so that pages stay small
STYLE = {
    "figure.dpi": 110,
    "savefig.transparent": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "axes.titlecolor": GREY,
    "axes.titlesize": "medium",
    "text.color": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "legend.frameon": False,
    "svg.hashsalt": "armlib",
    "svg.fonttype": "none",
}


def _show_as_svg() -> None:
    """In a notebook, show figures as SVG with text that can be selected; the same data give the same SVG."""
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return
    from matplotlib_inline.config import InlineBackend

    # Figures are shown when their cell has ended, outside any rc_context.
    matplotlib.rcParams.update({name: STYLE[name] for name in ("svg.hashsalt", "svg.fonttype")})
    shown = InlineBackend.instance(parent=shell)
    shown.print_figure_kwargs = {"bbox_inches": "tight", "metadata": {"Date": None}, "dpi": 200}  # dots are those of its pictures
    shown.figure_formats = {"svg"}


_show_as_svg()


def colour(variant: str) -> tuple[float, float, float]:
    """The colour of a variant in every figure, whatever its static value, such as ``static(0.3), in-batch``."""
    return (COLOURS | BESIDE)[kind(variant)]


def kind(variant: str) -> str:
    """What shares a colour with a variant: its target without a value, and whether it is in-batch."""
    target = variant.split("(")[0].split(",")[0]
    return f"{target}, in-batch" if "in-batch" in variant and target != "distributed" else target


def marker(encoder: str) -> str:
    """The marker of an encoder in every figure."""
    return next((shape for name, shape in MARKERS.items() if name in encoder.lower()), "D")


def dashes(encoder: str) -> str | tuple:
    """How the line of an encoder is dashed in every figure, as matplotlib's ``linestyle``."""
    return next((style for name, style in DASHES.items() if name in encoder.lower()), (0, (6, 2, 1, 2)))


def short_name(encoder: str) -> str:
    """An encoder's name where there is little room: of a folder the last two parts of its path, else the whole."""
    path = Path(encoder)
    return "/".join(path.parts[-2:]) if path.is_absolute() else encoder


def encoder_lines(encoders: Iterable[str]) -> list[Line2D]:
    """What a legend shows for encoders that are told apart by dashes and markers."""
    return [Line2D([], [], color=GREY, linestyle=dashes(name), marker=marker(name), label=short_name(name)) for name in encoders]


def draw_mean(
    axes: Axes,
    seeds: pd.DataFrame,
    *,
    encoder: str,
    shade: tuple[float, float, float],
    line: str | tuple = "",
    dotted: bool = False,
) -> None:
    """A line through the means over seeds, the range of the seeds where there are several, and a larger dot at the highest mean.

    Args:
        axes: where to draw.
        seeds: a row for each point of the x axis, which is the index, and a column for each seed.
        encoder: decides the marker.
        shade: the colour.
        line: how it is dashed; empty takes what `dashes` gives for the encoder.
        dotted: whether every point is dotted, the highest one larger.
    """
    means = seeds.mean(axis="columns")
    shape = {"marker": marker(encoder) if dotted else "", "markersize": 4}
    axes.plot(means.index, means, color=shade, linestyle=line or dashes(encoder), **shape, label=f"{OF}{short_name(encoder)}")
    if seeds.shape[1] > 1:
        axes.fill_between(seeds.index, seeds.min(axis="columns"), seeds.max(axis="columns"), color=shade, alpha=0.15, linewidth=0)
    best = means.idxmax()
    axes.plot(best, means[best], marker(encoder), color=shade, markersize=9, markeredgecolor=GREY, label=MAXIMUM)


def maxima(figure: Figure) -> list[list[tuple[float, float]]]:
    """The dots at maxima that `draw_mean` drew, as (x, y), by axes in the figure's order; what a page checks its figure by."""
    dots = ([line for line in axes.lines if line.get_label() == MAXIMUM] for axes in figure.axes)
    return [[(float(dot.get_xdata()[0]), float(dot.get_ydata()[0])) for dot in found] for found in dots]


def save(figure: Figure, name: str) -> list[Path]:
    """Export a figure as SVG and PDF into ``$ARMLIB_FIGURES``, by default ``figures/generated``.

    The same data give the same bytes. The figure then carries its name, by which a page finds the files, the values of its lines,
    which a page shows under the pointer, and what belongs to which entry of the legend and which row, which a page switches.
    """
    folder = Path(os.environ.get("ARMLIB_FIGURES", "figures/generated"))
    made = []
    _thin_out(figure)
    with plt.rc_context(STYLE), disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for suffix, stamp in (("svg", {"Date": None}), ("pdf", {"CreationDate": None})):
            made.append(folder / f"{name}.{suffix}")
            figure.savefig(made[-1], metadata=stamp, dpi=200)
    figure.set_gid(f"{EXPORTED}{name}")
    mark_values(figure)
    return made


def _thin_out(figure: Figure) -> None:
    """Draw what has `DENSE` points or more as a picture."""
    for part in figure.findobj(Line2D):
        if len(part.get_xdata()) >= DENSE:
            part.set_rasterized(True)
    for part in figure.findobj(PathCollection):
        if len(part.get_offsets()) >= DENSE:
            part.set_rasterized(True)
