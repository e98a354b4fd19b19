"""The factorial of losses, batches and encoders drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from armbook.factorial import Cell, Measured
from armbook.style import GREY, STYLE, colour
from armlib.evaluation.evaluate import FULL_RANKING
from armlib.evaluation.measures import Evaluation
from armlib.training.settings import MEASURE

SHAPES = "osD^"  # of the conditions, in their order
ASIDE = 0.06  # how far the points of two losses are apart, so that their ranges can be seen
WIDTH, HEIGHT, KEY = 3.8, 3.0, 0.9  # inches of a panel, and the height of a legend


def by_condition(shown: Sequence[Measured], levels: Mapping[str, Evaluation] | None = None) -> Figure:
    """nDCG@10 in full ranking by batches and encoder, a panel for each collection and a line for each loss.

    Args:
        shown: of each source, by cell and collection, one evaluation a seed; no two sources share a collection.
        levels: by collection, what is drawn as a dotted line, such as BM25.

    Returns:
        A figure with means and the range over seeds.
    """
    with plt.rc_context(STYLE):
        figure, panels = _panels(shown)
        for axes, measured, collection in panels:
            conditions = list(dict.fromkeys((cell.batches, cell.encoder) for cell in measured))
            losses = list(dict.fromkeys(cell.loss for cell in measured))
            for number, loss in enumerate(losses):
                values = [_values(measured[Cell(loss, *each)][collection]) for each in conditions]
                means = np.array([np.mean(each) for each in values])
                around = [[mean - min(each) for mean, each in zip(means, values, strict=True)]]
                around += [[max(each) - mean for mean, each in zip(means, values, strict=True)]]
                places = np.arange(len(conditions)) + ASIDE * (number - (len(losses) - 1) / 2)
                axes.errorbar(places, means, yerr=around, color=colour(loss), marker="o", elinewidth=0.8, label=loss)
            if levels and collection in levels:
                axes.axhline(levels[collection].mean[MEASURE], color=GREY, linewidth=0.8, linestyle="dotted")
            axes.set_xticks(range(len(conditions)), ["\n".join(each) for each in conditions], fontsize="small")
        figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def by_cost(measured: Measured, costs: Mapping[Cell, float]) -> Figure:
    """nDCG@10 in full ranking over what a step of training costs, a panel for each collection; means over seeds.

    Args:
        measured: by cell and collection, one evaluation a seed.
        costs: of each cell, in processor milliseconds a step.

    Returns:
        A figure with a marker for each cell: its colour is the loss, its shape batches and encoder.
    """
    conditions = list(dict.fromkeys((cell.batches, cell.encoder) for cell in measured))
    with plt.rc_context(STYLE):
        figure, panels = _panels([measured])
        for axes, _, collection in panels:
            for cell, found in measured.items():
                shape = SHAPES[conditions.index((cell.batches, cell.encoder))]
                style = {"color": colour(cell.loss), "marker": shape, "linestyle": "none"}
                axes.plot(costs[cell], np.mean(_values(found[collection])), **style)
            axes.set(xlabel="milliseconds a step", xlim=(0, None))
        handles = [plt.Line2D([], [], color=colour(loss), label=loss) for loss in dict.fromkeys(cell.loss for cell in measured)]
        for shape, condition in zip(SHAPES, conditions, strict=False):
            handles.append(plt.Line2D([], [], color=GREY, marker=shape, linestyle="none", label=", ".join(condition)))
        figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _panels(shown: Sequence[Measured]) -> tuple[Figure, list[tuple[Axes, Measured, str]]]:
    """A figure of two panels a row, one for each collection of each source."""
    wanted = [(measured, collection) for measured in shown for collection in next(iter(measured.values()))]
    columns = min(2, len(wanted))
    rows = -(-len(wanted) // columns)
    size = (WIDTH * columns + (1.6 if columns == 1 else 0), HEIGHT * rows + KEY)
    figure, grid = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for axes in grid.flat[len(wanted) :]:
        axes.set_visible(False)
    for axes, (_, collection) in zip(grid.flat, wanted, strict=False):
        axes.set_title(collection)
    for row in grid:
        row[0].set_ylabel(f"{MEASURE} ({FULL_RANKING})")
    return figure, [(axes, *one) for axes, one in zip(grid.flat, wanted, strict=False)]


def _values(evaluations: Sequence[Evaluation]) -> list[float]:
    return [each.mean[MEASURE] for each in evaluations]
