"""Figures of changed losses: courses of the two readings, differences of ablations, and similarities during training."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from armlib.experiments import Profile
from armlib.figures import GREY, STYLE, colour, marker
from armlib.store import Result
from armlib.tables_differences import PAPER, REFERENCE, by_ablation, by_reading, gaps, scores
from armlib.training import MEASURE

SMOOTHED = 32  # batches, as in the paper's figure 6
POINTS = 400  # of a line at most: more cannot be seen, and make a large file
SEED, MEAN = "seed", "mean"  # what marks of an ablation stand for, in their gid behind its name
LABELS = ("paper", "released code")
SECOND = {"linestyle": (0, (4, 2)), "markerfacecolor": "none"}  # the second of two lines of one colour
FOLLOWED = ("distributed", "mean", "static", "distributed, stopped gradient")  # whose similarities figure 2 of the page follows


def readings(results: Sequence[Result]) -> Figure:
    """Each loss in the paper's reading and in the released code's: validation nDCG@10 above, mean of D+ x D- below.

    Args:
        results: such as those of `armlib.sweeps.readings`.

    Returns:
        A figure with a column for each loss; every axes has a line for each reading, the mean over seeds, whose gid is the reading,
        and the range over seeds where there are several.

    Raises:
        InputError: as `armlib.tables_differences.by_reading`.
    """
    losses = by_reading(results)
    with plt.rc_context(STYLE):
        figure, room = plt.subplots(
            2, len(losses), figsize=(1 + 2.9 * len(losses), 4.6), layout="constrained", sharex="col", sharey="row", squeeze=False
        )
        for (name, both), (above, below) in zip(losses.items(), room.T, strict=True):
            for reading, some in both.items():
                style = {"linestyle": "solid"} if reading == PAPER else SECOND
                shape = {"color": colour(name), "gid": reading, **style}
                _line(above, _courses(some), marker=marker(some[0].experiment.encoder), **shape)
                _line(below, _traces(some, lambda trace: trace.similarity_mean), **shape)
            above.set_title(name)
            below.set_xlabel("triples seen")
        room[0, 0].set_ylabel(f"validation {MEASURE}")
        room[1, 0].set_ylabel("mean cosine, D+ x D-")
        shape = marker(results[0].experiment.encoder)
        keys = [Line2D([], [], color=GREY, marker=shape, **({} if label == "paper" else SECOND), label=label) for label in LABELS]
        figure.legend(handles=keys, loc="outside lower center", ncols=2)
    return figure


def ablations(results: Sequence[Result], profile: Profile) -> Figure:
    """What each ablation changes in nDCG@10 against distributed targets: a point for each seed and a bar at their mean.

    Args:
        results: such as those of `armlib.sweeps.ablations`.
        profile: whose learning rate the others are named by.

    Returns:
        A figure with a row of axes for each collection and a column for each mode. Points have the gid ``<ablation>:seed``, bars
        ``<ablation>:mean``; a band shows how far the seeds of distributed targets lie from their own mean.

    Raises:
        InputError: as `armlib.tables_differences.by_ablation`.
    """
    found = by_ablation(results, profile)
    wanted = [score for score in scores(results) if score[2] == MEASURE]
    collections, modes = (list(dict.fromkeys(score[level] for score in wanted)) for level in (0, 1))
    names = [name for name in found if name != REFERENCE]
    with plt.rc_context(STYLE):
        size = (9, 0.9 + len(collections) * (0.7 + 0.24 * len(names)))
        figure, room = plt.subplots(
            len(collections), len(modes), figsize=size, layout="constrained", sharey=True, sharex="row", squeeze=False
        )
        for score in wanted:
            axes = room[collections.index(score[0]), modes.index(score[1])]
            own = pd.Series([result.value(*score) for result in found[REFERENCE]])
            axes.axvspan(own.min() - own.mean(), own.max() - own.mean(), color=colour(REFERENCE), alpha=0.15, linewidth=0)
            axes.axvline(0, color=colour(REFERENCE), linewidth=1)
            for place, name in enumerate(names):
                values, shade = gaps(found, score).loc[name], colour(name)
                shape = marker(found[name][0].experiment.encoder)
                axes.plot(values, [place] * len(values), shape, color=shade, markerfacecolor="none", gid=f"{name}:{SEED}")
                axes.plot(values.mean(), place, "|", color=shade, markersize=13, markeredgewidth=2.5, gid=f"{name}:{MEAN}")
            axes.set(title=f"{score[0]}, {score[1]}", yticks=range(len(names)), yticklabels=names)
            axes.tick_params(axis="y", length=0)
        room[0, 0].invert_yaxis()  # all share it
        for axes in room[-1]:
            axes.set_xlabel(f"difference in {MEASURE} to {REFERENCE}")
        shape = marker(results[0].experiment.encoder)
        keys = [
            Line2D([], [], color=GREY, marker=shape, linestyle="none", markerfacecolor="none", label="a seed"),
            Line2D([], [], color=GREY, marker="|", linestyle="none", markersize=13, markeredgewidth=2.5, label="mean of seeds"),
            Patch(color=colour(REFERENCE), alpha=0.3, label=f"seeds of {REFERENCE} around their mean"),
        ]
        figure.legend(handles=keys, loc="outside lower center", ncols=3)
    return figure


def similarities(results: Sequence[Result], profile: Profile) -> Figure:
    """The similarities of positives to negatives during training, of the losses that the second identity compares.

    Args:
        results: such as those of `armlib.sweeps.ablations`; those of distributed targets, of the explicit mean, of a static target
            with the penalty and of a stopped gradient are drawn, as far as they are there.
        profile: whose learning rate the others are named by.

    Returns:
        A figure with two axes, the mean of D+ x D- and its maximum minus its minimum, each a rolling mean of 32 batches; a line for
        each loss, the mean over seeds, whose gid is its name.

    Raises:
        InputError: as `armlib.tables_differences.by_ablation`.
    """
    found = {
        name: some for name, some in by_ablation(results, profile).items() if name.split("(")[0] in FOLLOWED or name in FOLLOWED
    }
    with plt.rc_context(STYLE):
        figure, (means, widths) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
        means.axhline(0, color=GREY, linewidth=0.8, linestyle=(0, (1, 2)))
        for name, some in found.items():
            shape = {"color": colour(name), "gid": name, **(SECOND if some[0].experiment.stop_gradient else {})}
            if some[0].experiment.target == "mean":
                shape["linestyle"] = (0, (1, 1.2))  # it may run along distributed's
            _line(means, _traces(some, lambda trace: trace.similarity_mean), label=name, **shape)
            _line(widths, _traces(some, lambda trace: trace.similarity_maximum - trace.similarity_minimum), **shape)
        means.set(xlabel="triples seen", ylabel="cosine similarity", title="mean of D+ x D-")
        widths.set(xlabel="triples seen", title="maximum minus minimum of D+ x D-")
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def _courses(results: Sequence[Result]) -> pd.DataFrame:
    """Validation nDCG@10 by triples seen, a column for each seed, where all seeds have it."""
    columns = [
        pd.Series(result.validations[MEASURE].to_numpy(), index=result.validations.step * result.experiment.batch_size)
        for result in results
    ]
    return pd.concat(columns, axis="columns").dropna()


def _traces(results: Sequence[Result], value: Callable[[pd.DataFrame], pd.Series]) -> pd.DataFrame:
    """A value of each step by triples seen, smoothed, a column for each seed, where all seeds have it."""
    columns = [
        pd.Series(value(result.trace).rolling(SMOOTHED, min_periods=1).mean().to_numpy(), index=result.trace.triples)
        for result in results
    ]
    table = pd.concat(columns, axis="columns").dropna()
    return table.iloc[:: max(1, len(table) // POINTS)]


def _line(axes: Axes, table: pd.DataFrame, **shape) -> None:
    axes.plot(table.index, table.mean(axis="columns"), **shape)
    if table.shape[1] > 1:
        low, high = table.min(axis="columns"), table.max(axis="columns")
        axes.fill_between(table.index, low, high, color=shape["color"], alpha=0.12, linewidth=0)
