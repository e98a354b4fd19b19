"""How scores and similarities go during training: learning curves and traces, drawn, tabulated and told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from armbook.results import spoken
from armbook.style import STYLE, colour, draw_mean
from armlib.errors import InputError
from armlib.experiments.result import Result
from armlib.training.settings import MEASURE

SMOOTHED = 32  # batches of a rolling mean, as in Figure 6 of the paper
NEAR_ZERO = 0.1  # mean similarities this near to 0 are targets of 0.45 to 0.55
POINTS = 400  # of a line at most: more cannot be seen, and make a large file
SECOND_LINE = {"linestyle": (0, (4, 2)), "markerfacecolor": "none"}  # the second of two lines of one colour
Setting = tuple[str, str, int]  # encoder, variant and batch size: what seeds are averaged over


def by_setting(results: Iterable[Result]) -> dict[Setting, list[Result]]:
    """Results by encoder, variant and batch size, in the order given."""
    found: dict[Setting, list[Result]] = {}
    for result in results:
        each = result.experiment
        found.setdefault((each.encoder, each.variant(), each.batch_size), []).append(result)
    return found


def with_common_seeds(results: Sequence[Result]) -> list[Result]:
    """The results whose seed every setting has, so that settings can be compared.

    Raises:
        InputError: no seed is common to all settings.
    """
    seeds = [{result.experiment.seed for result in some} for some in by_setting(results).values()]
    common = set.intersection(*seeds) if seeds else set()
    if not common:
        raise InputError("settings are compared on seeds that all of them have, and there are none")
    return [result for result in results if result.experiment.seed in common]


def learning_curve(results: Sequence[Result], measure: str = MEASURE) -> pd.DataFrame:
    """A validation measure during training.

    Args:
        results: of one setting, one a seed.
        measure: a column of their validations.

    Returns:
        Index ``triples`` seen, at the validations that all seeds reached; a column for each seed.
    """
    columns = {each.experiment.seed: each.validations.set_index("step")[measure] for each in results}
    frame = pd.DataFrame(columns).dropna().sort_index()
    frame.index = pd.Index(frame.index * results[0].experiment.batch_size, name="triples")
    return frame


def smoothed(trace: pd.DataFrame | pd.Series) -> pd.DataFrame | pd.Series:
    """Rolling means over `SMOOTHED` batches, or as many as there are so far."""
    return trace.rolling(SMOOTHED, min_periods=1).mean()


def smoothed_traces(results: Sequence[Result], value: Callable[[pd.DataFrame], pd.Series]) -> pd.DataFrame:
    """A value of each step by triples seen, smoothed, a column for each seed, where all seeds have it."""
    columns = [pd.Series(smoothed(value(result.trace)).to_numpy(), index=result.trace.triples) for result in results]
    table = pd.concat(columns, axis="columns").dropna()
    return table.iloc[:: max(1, len(table) // POINTS)]


def settled_from(means: pd.Series) -> int | None:
    """The first batch, counted from 1, from which the smoothed mean of D+ x D- stays near 0; None where it does not.

    Args:
        means: of each batch, in order.
    """
    smooth = smoothed(means)
    outside = np.flatnonzero(smooth.abs() > NEAR_ZERO)
    first = int(outside[-1]) + 2 if len(outside) else 1
    return first if first <= len(smooth) else None


def validation_measures(results: Sequence[Result]) -> tuple[str, str]:
    """The columns of nDCG@10 and of hits in the validations of results.

    Raises:
        InputError: the results do not share one column of hits.
    """
    found = {name for result in results for name in result.validations.columns if name.startswith("Success")}
    if len(found) != 1 or not all(found < set(result.validations.columns) for result in results):
        there = ", ".join(sorted(found)) or "none"
        raise InputError(f"learning curves need results whose validations share one measure of hits, not {there}")
    return MEASURE, found.pop()


def learning_curve_table(results: Sequence[Result]) -> pd.DataFrame:
    """What learning curves are read for: when the mean over seeds is best, and what becomes of it.

    Args:
        results: of any settings.

    Returns:
        One row for each setting and measure. Columns ``encoder``, ``variant``, ``batch size``, ``measure``, ``seeds``, ``best``
        (the highest mean over seeds), ``triples at best``, ``share of training`` (those triples by the triples of the last
        validation; 1 where it was still rising) and ``last``, the mean at the last validation.
    """
    rows = []
    for (encoder, variant, size), some in by_setting(results).items():
        for measure in validation_measures(results):
            seeds = learning_curve(some, measure)
            means = seeds.mean(axis="columns")
            best = int(means.idxmax())
            row = {"encoder": encoder, "variant": variant, "batch size": size, "measure": spoken(measure)}
            row |= {"seeds": seeds.shape[1], "best": means[best], "triples at best": best}
            rows.append(row | {"share of training": best / means.index[-1], "last": means.iloc[-1]})
    return pd.DataFrame(rows)


def draw_panels(
    found: Mapping[Setting, Sequence[Result]],
    titles: Mapping[Setting, str],
    lines: Mapping[Setting, str | tuple],
    handles: list[Line2D],
    measures: Sequence[str],
) -> Figure:
    """A row a measure, a column a title; each setting is a line, dashed in its way, in the column of its title."""
    columns = list(dict.fromkeys(titles.values()))
    with plt.rc_context(STYLE):
        shape = {"figsize": (max(4.5, 3.2 * len(columns)), 5), "layout": "constrained", "squeeze": False}
        figure, panels = plt.subplots(len(measures), len(columns), **shape, sharex=True, sharey="row")
        for measure, row in zip(measures, panels, strict=True):
            row[0].set_ylabel(f"validation {spoken(measure)}")
            for setting, results in found.items():
                axes, look = row[columns.index(titles[setting])], {"shade": colour(setting[1]), "line": lines[setting]}
                draw_mean(axes, learning_curve(results, measure), encoder=setting[0], **look)
        for title, top, bottom in zip(columns, panels[0], panels[-1], strict=True):
            top.set_title(title)
            bottom.set_xlabel("triples seen")
            bottom.xaxis.set_major_locator(plt.MaxNLocator(4))
        figure.legend(handles=handles, loc="outside lower center", ncols=min(3, len(handles)))
    return figure


def draw_curve(axes: Axes, table: pd.DataFrame, **shape: object) -> None:
    """A line through the means over seeds, the columns, and the range of the seeds where there are several."""
    axes.plot(table.index, table.mean(axis="columns"), **shape)
    if table.shape[1] > 1:
        low, high = table.min(axis="columns"), table.max(axis="columns")
        axes.fill_between(table.index, low, high, color=shape["color"], alpha=0.12, linewidth=0)


def training_in_words(results: Sequence[Result]) -> str:
    """How much the training runs saw and with which learning rate they started, in Markdown."""
    triples = [result.about["triples"] for result in results]
    shares = [result.about["triples"] / result.about["available_triples"] for result in results]
    rates = [result.experiment.learning_rate for result in results]
    sizes = sorted({result.experiment.batch_size for result in results})
    batches = ", ".join(map(str, sizes[:-1])) + f" and {sizes[-1]}" if len(sizes) > 1 else str(sizes[0])
    return (
        f"Each training run sees {range_in_words(triples, ',')} triples, {range_in_words(shares, '.2g')} of an epoch, "
        f"in batches of {batches}. The learning rate starts at {range_in_words(rates, 'g')}."
    )


def range_in_words(values: Iterable[float], form: str) -> str:
    """Lowest and highest value in a format, such as ``0.1 to 0.3``; one where they look alike."""
    listed = list(values)
    low, high = format(min(listed), form), format(max(listed), form)
    return low if low == high else f"{low} to {high}"


def encoders_in_words(rows: pd.DataFrame) -> str:
    """How many encoders a table has."""
    count = rows.encoder.nunique()
    return "1 encoder" if count == 1 else f"{count} encoders"


def seeds_in_words(table: pd.DataFrame) -> str:
    """How many seeds the values of a table are means over."""
    count = int(table.seeds.min())
    return "One seed of each: no spread to compare with." if count == 1 else f"Means over {count} seeds of each."


def as_list(lines: Iterable[str]) -> str:
    """Sentences as a list in Markdown."""
    return "\n".join(f"- {line}" for line in lines)
