"""The factorial of losses, batches and encoders drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from armbook.factorial import Cell, Measured
from armbook.style import GREY, STYLE, colour
from armlib.evaluation.evaluate import FULL_RANKING
from armlib.evaluation.measures import Evaluation
from armlib.training.settings import MEASURE

SHAPES = "osD^"  # of the conditions, in their order
ASIDE = 0.06  # how far the points of two losses are apart, so that their ranges can be seen


def by_condition(measured: Measured, collections: Sequence[str], levels: Mapping[str, Evaluation] | None = None) -> Figure:
    """nDCG@10 in full ranking by batches and encoder, a panel for each collection and a line for each loss.

    Args:
        measured: by cell and collection, one evaluation a seed.
        collections: one panel each.
        levels: by collection, what is drawn as a dotted line, such as BM25.

    Returns:
        A figure with means and the range over seeds.
    """
    conditions = list(dict.fromkeys((cell.batches, cell.encoder) for cell in measured))
    losses = list(dict.fromkeys(cell.loss for cell in measured))
    with plt.rc_context(STYLE):
        width = max(5.0, 3.6 * len(collections))
        figure, grid = plt.subplots(1, len(collections), figsize=(width, 4.4), layout="constrained", squeeze=False)
        for axes, collection in zip(grid[0], collections, strict=True):
            for number, loss in enumerate(losses):
                values = [_values(measured[Cell(loss, *each)][collection]) for each in conditions]
                means = np.array([np.mean(each) for each in values])
                around = [[mean - min(each) for mean, each in zip(means, values, strict=True)]]
                around += [[max(each) - mean for mean, each in zip(means, values, strict=True)]]
                places = np.arange(len(conditions)) + ASIDE * (number - (len(losses) - 1) / 2)
                axes.errorbar(places, means, yerr=around, color=colour(loss), marker="o", elinewidth=0.8, label=loss)
            if levels and collection in levels:
                axes.axhline(levels[collection].mean[MEASURE], color=GREY, linewidth=0.8, linestyle="dotted")
            axes.set_xticks(range(len(conditions)), ["\n".join(each) for each in conditions])
            axes.set_title(collection)
        grid[0, 0].set_ylabel(f"{MEASURE} ({FULL_RANKING})")
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(losses))
    return figure


def by_cost(measured: Measured, costs: Mapping[Cell, float], collections: Sequence[str]) -> Figure:
    """nDCG@10 in full ranking over what a step of training costs, a panel for each collection; means over seeds.

    Args:
        measured: by cell and collection, one evaluation a seed.
        costs: of each cell, in processor milliseconds a step.
        collections: one panel each.

    Returns:
        A figure with a marker for each cell: its colour is the loss, its shape batches and encoder.
    """
    conditions = list(dict.fromkeys((cell.batches, cell.encoder) for cell in measured))
    with plt.rc_context(STYLE):
        width = max(5.0, 3.6 * len(collections))
        figure, grid = plt.subplots(1, len(collections), figsize=(width, 4.4), layout="constrained", squeeze=False)
        for axes, collection in zip(grid[0], collections, strict=True):
            for cell, found in measured.items():
                shape = SHAPES[conditions.index((cell.batches, cell.encoder))]
                style = {"color": colour(cell.loss), "marker": shape, "linestyle": "none"}
                axes.plot(costs[cell], np.mean(_values(found[collection])), **style)
            axes.set(xlabel="milliseconds a step", title=collection, xlim=(0, None))
        grid[0, 0].set_ylabel(f"{MEASURE} ({FULL_RANKING})")
        handles = [plt.Line2D([], [], color=colour(loss), label=loss) for loss in dict.fromkeys(cell.loss for cell in measured)]
        for shape, condition in zip(SHAPES, conditions, strict=False):
            handles.append(plt.Line2D([], [], color=GREY, marker=shape, linestyle="none", label=", ".join(condition)))
        figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


def _values(evaluations: Sequence[Evaluation]) -> list[float]:
    return [each.mean[MEASURE] for each in evaluations]
