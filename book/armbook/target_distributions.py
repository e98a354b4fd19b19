"""Where the targets go while distributed targets train: Figure 6 of arXiv 2407.21515, and its numbers as tables."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator

from armbook import published
from armbook.curve_figures import blocks, encoder_colours, legend, line_widths
from armbook.learning_curves import NEAR_ZERO, SMOOTHED, Shown, settled_from, smoothed
from armbook.sentences import listed_in_words, range_in_words
from armbook.style import GREY, STYLE
from armlib.errors import InputError
from armlib.experiments.result import Result

SHOWN = 500  # batches at either end, as in Figure 6
PUBLISHED_BATCH = 128  # triples, of the paper's training runs (section 4)
STATISTICS = {"mean": "similarity_mean", "minimum": "similarity_minimum", "maximum": "similarity_maximum"}
BEFORE, AFTER = "first batch", f"last {SMOOTHED} batches"


def target_distributions(shown: Shown) -> Figure:
    """Minimum, mean and maximum of D+ x D- in each batch for each source: the first batches on the left, the last on the right.

    Lines are rolling means over `SMOOTHED` batches (over as many as there are so far at the beginning), averaged over seeds, with
    the range of the seeds where there are several. Where a training run is shorter than two times `SHOWN` batches, either panel
    has half of it. The axis on the right says which targets the similarities are, t = (1 + cos) / 2.

    Args:
        shown: by their source, training runs with distributed targets, of one encoder or several, with one seed or several.

    Returns:
        A figure whose lines are labelled ``_<statistic> <encoder>``.

    Raises:
        InputError: there are no results, or one has a trace without batches.
    """
    runs = {source: _by_encoder(results) for source, results in shown.items()}
    shades = encoder_colours(encoder for found in runs.values() for encoder in found)
    with plt.rc_context(STYLE):
        figure, parts = blocks(shown, height=2.9)
        panels: list[Axes] = []
        for source, found in runs.items():
            first, last = parts[source].subplots(1, 2, sharey=True)
            count = batches_shown(shown[source])
            ends = ((first, slice(None, count), range(1, count + 1)), (last, slice(-count, None), range(1 - count, 1)))
            for (encoder, seeds), width in zip(found.items(), line_widths(len(found)), strict=True):
                smooth = [smoothed(each.trace) for each in seeds]
                for axes, part, batches in ends:
                    _draw(axes, [each.iloc[part] for each in smooth], batches, encoder, color=shades[encoder], linewidth=width)
            first.set(xlabel="batch", ylabel="cosine similarity")
            last.set_xlabel("batches before the last")
            scale = last.secondary_yaxis("right", functions=(lambda cosine: (1 + cosine) / 2, lambda target: 2 * target - 1))
            scale.set_ylabel("target")
            scale.yaxis.set_major_locator(MultipleLocator(0.25))
            for axes in (first, last):
                axes.axhline(0, color=GREY, linewidth=0.6, linestyle=":")
                axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
                axes.yaxis.set_major_locator(MultipleLocator(0.5))
            panels.append(first)
        limits = [axes.get_ylim() for axes in panels]
        for axes in panels:  # the same for all sources, so that they can be compared
            axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
        legend(figure, shades, dashed=False)
    return figure


def batches_shown(results: Sequence[Result]) -> int:
    """How many batches either panel of the figure has: `SHOWN`, or half of the shortest training run."""
    return min(SHOWN, max(1, min(len(each.trace) for each in results) // 2))


def span_in_words(shown: Shown) -> str:
    """How much of training the figure has, beside the paper's, in Markdown."""
    parts = [
        f"{batches_shown(results)} of {range_in_words((len(each.trace) for each in results), ',')} batches ({source})"
        for source, results in shown.items()
    ]
    whole = published.TRIPLES // PUBLISHED_BATCH
    return f"The paper shows the first and the last {SHOWN} of {whole:,} batches. Here either panel has {listed_in_words(parts)}."


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


def distributions_table(shown: Shown) -> pd.DataFrame:
    """The distribution of D+ x D- in the first batch and in the last ones as a table for a page: a row a source and encoder.

    Of several seeds cells have the mean.
    """
    rows = []
    for source, results in shown.items():
        table = before_and_after(results)
        for encoder, seeds in table.groupby(level="encoder", sort=False):
            row = {"source": source, "encoder": encoder}
            ends = (("first", BEFORE), ("last", AFTER))
            row |= {f"{name}, {end}": f"{seeds[when, name].mean():.2f}" for name in STATISTICS for end, when in ends}
            settled = seeds["settled", "batch"]
            never = settled.isna().any()
            rows.append(row | {"settled from": "–" if never else range_in_words(settled, "d")})
    return pd.DataFrame(rows)


def answer(results: Sequence[Result]) -> str:
    """What came out, in some sentences: whether the mean settles at 0, which extreme is farther, and how encoders differ."""
    table = before_and_after(results)
    settled, last, runs = table["settled", "batch"], table[AFTER], len(table)
    start, end = (range_in_words(table[when, "mean"], ".2f") for when in (BEFORE, AFTER))
    near = f"within {NEAR_ZERO} of 0, a target of one half"
    if settled.notna().any():
        when = range_in_words(settled.dropna(), "d")
        reached = f"comes to stay {near}, at batch {when}, in {settled.notna().sum()} of {runs} training runs"
    else:
        reached = f"ends at {end}; in none of {runs} training runs does it come to stay {near}"
    above = int((last.above > last.below).sum())
    skew = f"The maximum ends farther from the mean than the minimum in {above} of {runs} training runs."
    return f"The mean similarity of positives to negatives starts at {start} and {reached}. {skew}{_alike(table)}"


def observations(shown: Shown) -> pd.DataFrame:
    """The readings of Figure 6 beside those of each source: a row a reading, a column a source."""
    rows = {
        "mean stays near 0 (target one half)": "rapidly",
        "maximum farther from the mean than minimum": "yes",
        "difference between encoders, first batch": "significant",
        "difference between encoders, last batches": "largely identical",
    }
    found = pd.DataFrame({"reading": list(rows), "published": list(rows.values())})
    for source, results in shown.items():
        table = before_and_after(results)
        settled, last, ranges = table["settled", "batch"], table[AFTER], between_encoders(table)
        when = f" (from batch {range_in_words(settled.dropna(), 'd')} on)" if settled.notna().any() else ""
        said = [f"{settled.notna().sum()} of {len(table)} runs{when}", f"{(last.above > last.below).sum()} of {len(table)} runs"]
        found[source] = said + [
            "–" if ranges.isna().any(axis=None) else f"up to {ranges[column].max():.2f}" for column in (BEFORE, AFTER)
        ]
    return found


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


def _draw(axes: Axes, seeds: Sequence[pd.DataFrame], batches: range, encoder: str, **shape: object) -> None:
    for name, column in STATISTICS.items():
        values = np.stack([each[column] for each in seeds])
        axes.plot(batches, values.mean(axis=0), label=f"_{name} {encoder}", **shape)
        if len(seeds) > 1:
            axes.fill_between(batches, values.min(axis=0), values.max(axis=0), color=shape["color"], alpha=0.3, linewidth=0)


def _alike(table: pd.DataFrame) -> str:
    """How much encoders differ before and after, in a sentence; nothing of one encoder."""
    ranges = between_encoders(table)
    if ranges.isna().any(axis=None):
        return ""
    before, after = ranges[BEFORE].max(), ranges[AFTER].max()
    change = "brings the encoders closer together" if after < before - 0.005 else "leaves the encoders no closer together"
    return f" Training {change}: they differ by up to {before:.2f} in the first batch and {after:.2f} at the end."
