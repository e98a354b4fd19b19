"""Where the targets go while distributed targets train: Figure 6 of arXiv 2407.21515, and its numbers as tables."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from armbook.learning_curves import NEAR_ZERO, SMOOTHED, settled_from, smoothed
from armbook.style import GREY, STYLE, colour, marker, short_name
from armlib.errors import InputError
from armlib.experiments.result import Result

SHOWN = 500  # batches at either end, as in Figure 6
STATISTICS = {"mean": "similarity_mean", "minimum": "similarity_minimum", "maximum": "similarity_maximum"}
BEFORE, AFTER = "first batch", f"last {SMOOTHED} batches"
_MARKS = 6  # markers on a line


def target_distributions(results: Sequence[Result]) -> Figure:
    """Minimum, mean and maximum of D+ x D- in each batch: a row an encoder, the first batches on the left, the last on the right.

    Rolling means over `SMOOTHED` batches (over as many as there are so far at the beginning) stand over the faint values of the
    first seed's batches; the other seeds' rolling means are thin. Where a training run is shorter than two times `SHOWN` batches,
    either panel has half of it. The axis on the right says which targets the similarities are, t = (1 + cos) / 2.

    Args:
        results: training runs with distributed targets, of one encoder or several, with one seed or several.

    Returns:
        A figure whose lines are labelled ``_<statistic> <seed>``, smoothed, and ``_each <statistic> <seed>``.

    Raises:
        InputError: there are no results, or one has a trace without batches.
    """
    by_encoder = _by_encoder(results)
    with plt.rc_context(STYLE):
        height = 1.9 * len(by_encoder) + 1
        figure, rows = plt.subplots(len(by_encoder), 2, figsize=(8.5, height), sharey=True, squeeze=False, layout="constrained")
        for (first, last), (encoder, seeds) in zip(rows, by_encoder.items(), strict=True):
            for number, result in enumerate(seeds):
                _draw(first, last, result, others=number > 0)
            first.set_title(short_name(encoder), loc="left")
            first.set_ylabel("cosine similarity")
            scale = last.secondary_yaxis("right", functions=(lambda cosine: (1 + cosine) / 2, lambda target: 2 * target - 1))
            scale.set_ylabel("target")
            for axes in (first, last):
                axes.axhline(0, color=GREY, linewidth=0.6, linestyle=":")
        rows[-1][0].set_xlabel("batch")
        rows[-1][1].set_xlabel("batches before the last")
        figure.legend(handles=_legend(max(map(len, by_encoder.values()))), loc="outside lower center", ncols=4)
    return figure


def before_and_after(results: Sequence[Result]) -> pd.DataFrame:
    """The distribution of D+ x D- before training and after it, in numbers.

    Args:
        results: as `target_distributions` takes them.

    Returns:
        A row for each encoder and seed. Columns, in two levels: under `BEFORE` (whose values are taken before the first
        update) and `AFTER` (averaged over those batches) ``mean``, ``minimum``, ``maximum``, and how far the extremes are from
        the mean, ``above`` and ``below``, all cosines; under ``settled`` the ``batch`` from which on the smoothed mean stays
        within 0.1 of 0 (missing where it does not) ``of`` how many.

    Raises:
        InputError: as `target_distributions`.
    """
    rows = {}
    for encoder, seeds in _by_encoder(results).items():
        for result in seeds:
            trace = result.trace
            row: dict[tuple[str, str], float | int | None] = {}
            for when, part in ((BEFORE, trace.head(1)), (AFTER, trace.tail(SMOOTHED))):
                found = {name: float(part[column].mean()) for name, column in STATISTICS.items()}
                found |= {"above": found["maximum"] - found["mean"], "below": found["mean"] - found["minimum"]}
                row |= {(when, name): value for name, value in found.items()}
            row |= {("settled", "batch"): settled_from(trace.similarity_mean), ("settled", "of"): len(trace)}
            rows[encoder, result.experiment.seed] = row
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(rows, names=["encoder", "seed"])
    table.columns = pd.MultiIndex.from_tuples(table.columns)
    return table.astype({("settled", "batch"): "Int64", ("settled", "of"): "Int64"})


def as_columns(table: pd.DataFrame) -> pd.DataFrame:
    """A table of `before_and_after` as text, a column for each training run: cosines with two digits, a dash for missing ones."""
    cells = {
        name: [("—" if pd.isna(value) else f"{value:.2f}" if isinstance(value, float) else str(value)) for value in column]
        for name, column in table.items()
    }
    return pd.DataFrame(cells, index=table.index).T


def summary(table: pd.DataFrame) -> str:
    """Two sentences on a table of `before_and_after`: in how many training runs the mean settles, and the maximum stands out."""
    settled, last = table["settled", "batch"].notna().sum(), table[AFTER]
    return (
        f"The mean comes to stay within {NEAR_ZERO} of 0 in {settled} of {len(table)} training runs. In the {AFTER} the maximum is "
        f"farther from the mean than the minimum in {(last.above > last.below).sum()} of {len(table)}."
    )


def between_encoders(table: pd.DataFrame) -> pd.DataFrame:
    """By how much encoders differ, largest less smallest of the encoders' means over seeds.

    Args:
        table: of `before_and_after`.

    Returns:
        Rows ``mean``, ``minimum``, ``maximum``; columns `BEFORE` and `AFTER`. Of a single encoder all values are missing.
    """
    means = table[[BEFORE, AFTER]].groupby(level="encoder").mean()
    ranges = (means.max() - means.min()) if len(means) > 1 else means.iloc[0] * np.nan
    return ranges.unstack(level=0).loc[list(STATISTICS), [BEFORE, AFTER]]


def _by_encoder(results: Sequence[Result]) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = {}
    for result in results:
        if not len(result.trace):
            raise InputError(f"the result {result.key} has a trace without batches: it was not trained")
        found.setdefault(result.experiment.encoder, []).append(result)
    if not found:
        raise InputError("the distribution of targets needs at least one training run, and there is none")
    return found


def _draw(first: Axes, last: Axes, result: Result, *, others: bool) -> None:
    experiment, trace = result.experiment, result.trace
    shade, count = colour(experiment.variant()), min(SHOWN, max(1, len(trace) // 2))
    smooth = smoothed(trace)
    panels = ((first, slice(None, count), 0), (last, slice(-count, None), len(trace)))
    for axes, part, start in panels:
        batches, own, rolling = trace.step.iloc[part] - start, trace.iloc[part], smooth.iloc[part]
        marks = {"marker": marker(experiment.encoder), "markevery": max(1, len(batches) // _MARKS), "markersize": 5}
        for name, column in STATISTICS.items():
            label, wide = f"{name} {experiment.seed}", name == "mean" and not others
            if not others:
                axes.plot(batches, own[column], color=shade, alpha=0.45, linewidth=0.5, label=f"_each {label}")
            axes.plot(
                batches,
                rolling[column],
                color=shade,
                alpha=0.6 if others else 1,
                linewidth=1.6 if wide else 0.8,
                label=f"_{label}",
                **(marks if wide else {}),
            )


def _legend(seeds: int) -> list[Line2D]:
    shade = colour("distributed")
    handles = [
        Line2D([], [], color=shade, linewidth=1.6, label="mean"),
        Line2D([], [], color=shade, linewidth=0.8, label="minimum, maximum"),
        Line2D([], [], color=shade, linewidth=0.5, alpha=0.45, label="not smoothed"),
    ]
    return handles + [Line2D([], [], color=shade, linewidth=0.8, alpha=0.6, label="other seeds")] * (seeds > 1)
