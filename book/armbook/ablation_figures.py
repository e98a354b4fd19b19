"""What ablations of distributed targets change in nDCG@10, and in similarities during training, drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from armbook.ablations import FOLLOWED, MEAN, REFERENCE, STOPPED, Sources, by_ablation, gaps, settings
from armbook.learning_curves import SECOND_LINE, draw_curve, smoothed_traces
from armbook.results import Score
from armbook.style import GREY, STYLE, colour, marker
from armlib.experiments.result import Result
from armlib.training.settings import MEASURE

SEED, AVERAGE = "seed", "mean"  # what marks of an ablation stand for, in their gid behind its name


def ablations_figure(shown: Sources) -> Figure:
    """What each ablation changes in nDCG@10 against distributed targets: a point for each seed and a bar at their mean.

    Returns:
        A figure with a row of axes for each collection of a source and a column for each mode. Points have the gid
        ``<ablation>:seed``, bars ``<ablation>:mean``; a band shows how far the seeds of distributed targets lie from their own
        mean.

    Raises:
        InputError: as `by_ablation`.
    """
    found = {source: by_ablation(results) for source, results in shown.items()}
    scores = {source: settings(results) for source, results in shown.items()}
    rows = [(source, collection) for source, some in scores.items() for collection in dict.fromkeys(score[0] for score in some)]
    modes = list(dict.fromkeys(score[1] for some in scores.values() for score in some))
    names = [name for name in next(iter(found.values())) if name != REFERENCE]
    with plt.rc_context(STYLE):
        size = (7.6, 0.7 + len(rows) * (0.6 + 0.22 * len(names)))
        figure, panels = plt.subplots(
            len(rows), len(modes), figsize=size, layout="constrained", sharey=True, sharex="row", squeeze=False
        )
        for source, some in scores.items():
            for score in some:
                axes = panels[rows.index((source, score[0])), modes.index(score[1])]
                _draw_gaps(axes, found[source], score, names)
        panels[0, 0].invert_yaxis()  # all share it
        for axes in panels[-1]:
            axes.set_xlabel(f"difference in {MEASURE}")
        shape = marker(next(iter(shown.values()))[0].experiment.encoder)
        keys = [
            Line2D([], [], color=GREY, marker=shape, linestyle="none", markerfacecolor="none", label="a seed"),
            Line2D([], [], color=GREY, marker="|", linestyle="none", markersize=11, markeredgewidth=2.5, label="mean of seeds"),
            Patch(color=colour(REFERENCE), alpha=0.3, label=f"seeds of {REFERENCE}"),
        ]
        figure.legend(handles=keys, loc="outside lower center", ncols=3)
    return figure


def _draw_gaps(axes: plt.Axes, found: Mapping[str, Sequence[Result]], score: Score, names: Sequence[str]) -> None:
    own = pd.Series([result.value(*score) for result in found[REFERENCE]])
    axes.axvspan(own.min() - own.mean(), own.max() - own.mean(), color=colour(REFERENCE), alpha=0.15, linewidth=0)
    axes.axvline(0, color=colour(REFERENCE), linewidth=1)
    changes = gaps(found, score)
    for height, name in enumerate(names):
        if name in found:
            values, first = changes.loc[name], found[name][0].experiment
            shade, shape = colour(first.variant()), marker(first.encoder)
            axes.plot(values, [height] * len(values), shape, color=shade, markerfacecolor="none", gid=f"{name}:{SEED}")
            axes.plot(values.mean(), height, "|", color=shade, markersize=11, markeredgewidth=2.5, gid=f"{name}:{AVERAGE}")
    axes.set(yticks=range(len(names)), yticklabels=names)
    axes.set_title(f"{score[0]}\n{score[1]}", fontsize="small")
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(plt.MaxNLocator(4))


def similarities_figure(shown: Sources) -> Figure:
    """The similarities of positives to negatives during training, of the losses that the second identity compares.

    Args:
        shown: distributed targets, the explicit mean, a static target with the penalty and a stopped gradient are drawn.

    Returns:
        A figure with a row of axes for each source and in it the mean of D+ x D- and its maximum minus its minimum, each a rolling
        mean of 32 batches; a line for each loss, the mean over seeds, whose gid is its name.

    Raises:
        InputError: as `by_ablation`.
    """
    with plt.rc_context(STYLE):
        size = (7.6, 0.6 + 2.7 * len(shown))
        figure, panels = plt.subplots(len(shown), 2, figsize=size, layout="constrained", squeeze=False, sharex="row")
        for (source, results), (means, widths) in zip(shown.items(), panels, strict=True):
            found = by_ablation(results)
            means.axhline(0, color=GREY, linewidth=0.8, linestyle=(0, (1, 2)))
            for name in FOLLOWED:
                some = found.get(name, ())
                for axes, value in ((means, _mean), (widths, _width)) if some else ():
                    shape = {"color": colour(some[0].experiment.variant()), "gid": name, "label": name, **_LOOKS.get(name, {})}
                    draw_curve(axes, smoothed_traces(some, value), **shape)
            means.set_title(f"{source}\nmean", fontsize="small")
            widths.set_title("\nmaximum minus minimum", fontsize="small")
            means.set_ylabel("cosine of D+ x D-")
            means.xaxis.set_major_locator(plt.MaxNLocator(4))
        for axes in panels[-1]:
            axes.set_xlabel("triples seen")
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


# The explicit mean may run along distributed targets, whose line is broad so that both are seen.
_LOOKS = {REFERENCE: {"linewidth": 4, "alpha": 0.5}, MEAN: {"linewidth": 1.3}, STOPPED: SECOND_LINE}


def _mean(trace: pd.DataFrame) -> pd.Series:
    return trace.similarity_mean


def _width(trace: pd.DataFrame) -> pd.Series:
    return trace.similarity_maximum - trace.similarity_minimum
