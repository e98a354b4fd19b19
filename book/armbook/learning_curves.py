"""Figures 4 and 5: how validation scores go during training, with adaptive targets and with distributed ones by batch size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from armbook.claims.evidence import Missing
from armbook.results import (
    FinishedRun,
    named,
    spoken,
)
from armbook.style import STYLE, colour, draw_mean
from armlib.errors import InputError
from armlib.experiments.result import Result
from armlib.training.settings import MEASURE

COURSE = 8  # the fewest validations of a training that show when it was best


def mean_learning_curve(results: Sequence[FinishedRun]) -> pd.Series:
    """Validation nDCG@10 by step, averaged over seeds at the steps that all have.

    Raises:
        Missing: there are too few validations to see a course.
    """
    columns = [result.validations.set_index("step")[MEASURE] for result in results]
    mean_course = pd.concat(columns, axis="columns").dropna().mean(axis="columns").sort_index()
    if len(mean_course) < COURSE:
        one = results[0].experiment
        which = named(one.encoder, one.target, one.in_batch)
        raise Missing(f"{COURSE} validations of {which} with batches of {one.batch_size} ({len(mean_course)} there)")
    return mean_course


def best_point(results: Sequence[FinishedRun]) -> tuple[int, bool]:
    """Triples seen at the best validation of the mean course, and whether that is the last one: then the true best may come "
    "later."""
    found = mean_learning_curve(results)
    best = found.idxmax()
    return int(best) * results[0].experiment.batch_size, best == found.index[-1]


SMOOTHED = 32  # batches of the rolling mean, as in Figure 6
NEAR_ZERO = 0.1  # mean similarities this near to 0 are targets of 0.45 to 0.55


def settled_from(means: pd.Series) -> int | None:
    """The first batch, counted from 1, from which the smoothed mean of D+ x D- stays near 0; None where it does not.

    Args:
        means: of each batch, in order; smoothed over `SMOOTHED` batches, or as many as there are so far.
    """
    smooth = means.rolling(SMOOTHED, min_periods=1).mean()
    outside = np.flatnonzero(smooth.abs() > NEAR_ZERO)
    first = int(outside[-1]) + 2 if len(outside) else 1
    return first if first <= len(smooth) else None


VALIDATION_HITS = "Success"  # ir_measures' name of hits; the rest of it has the grade and the depth
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


def learning_curve(results: Sequence[Result], measure: str) -> pd.DataFrame:
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


def validation_measures(results: Sequence[Result]) -> tuple[str, str]:
    """The columns of nDCG@10 and of hits in the validations of results.

    Raises:
        InputError: the results do not share one column of hits.
    """
    found = {name for result in results for name in result.validations.columns if name.startswith(VALIDATION_HITS)}
    if len(found) != 1 or not all(found < set(result.validations.columns) for result in results):
        there = ", ".join(sorted(found)) or "none"
        raise InputError(f"courses need results whose validations share one measure of hits, not {there}")
    return MEASURE, found.pop()


def learning_curve_table(results: Sequence[Result]) -> pd.DataFrame:
    """What the courses are read for: when the mean over seeds is best, and what becomes of it.

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
            rows.append({
                "encoder": encoder, "variant": variant, "batch size": size, "measure": spoken(measure), "seeds": seeds.shape[1],
                "best": means[best], "triples at best": best, "share of training": best / means.index[-1], "last": means.iloc[-1],
            })  # fmt: skip
    return pd.DataFrame(rows)


def training_in_words(results: Sequence[Result]) -> str:
    """How much the trainings saw and with which learning rate they started, in Markdown."""
    triples, rates = ({get(r) for r in results} for get in (_triples, lambda r: r.experiment.learning_rate))
    shares = [_triples(result) / result.about["available_triples"] for result in results]
    sizes = sorted({result.experiment.batch_size for result in results})
    batches = ", ".join(map(str, sizes[:-1])) + f" and {sizes[-1]}" if len(sizes) > 1 else str(sizes[0])
    return (
        f"Trainings see {range_in_words(triples, ',')} triples, {range_in_words(shares, '.2g')} of an epoch, in batches of {batches}. The learning "
        f"rate starts at {range_in_words(rates, 'g')}."
    )


def draw_panels(
    found: Mapping[Setting, Sequence[Result]], titles: Mapping[Setting, str], lines: Mapping[Setting, str | tuple],
    handles: list[Line2D], rows: Sequence[str],
) -> Figure:  # fmt: skip
    """A row a measure, a column a title; each setting is a line, dashed in its way, in the column of its title."""
    columns = list(dict.fromkeys(titles.values()))
    with plt.rc_context(STYLE):
        size = (max(4.5, 3.2 * len(columns)), 5)
        figure, room = plt.subplots(
            len(rows), len(columns), figsize=size, layout="constrained", sharex=True, sharey="row", squeeze=False
        )  # fmt: skip
        for measure, panels in zip(rows, room, strict=True):
            panels[0].set_ylabel(f"validation {spoken(measure)}")
            for setting, results in found.items():
                axes, look = panels[columns.index(titles[setting])], {"shade": colour(setting[1]), "line": lines[setting]}
                draw_mean(axes, learning_curve(results, measure), encoder=setting[0], **look)
        for title, top, bottom in zip(columns, room[0], room[-1], strict=True):
            top.set_title(title)
            bottom.set_xlabel("triples seen")
            bottom.xaxis.set_major_locator(plt.MaxNLocator(4))
        figure.legend(handles=handles, loc="outside lower center", ncols=min(3, len(handles)))
    return figure


def _triples(result: Result) -> int:
    return result.about["triples"]


def range_in_words(values: Iterable[float], form: str) -> str:
    listed = list(values)
    low, high = format(min(listed), form), format(max(listed), form)
    return low if low == high else f"{low} to {high}"


def encoders_in_words(rows: pd.DataFrame) -> str:
    count = rows.encoder.nunique()
    return "1 encoder" if count == 1 else f"{count} encoders"


def seeds_in_words(table: pd.DataFrame) -> str:
    count = int(table.seeds.min())
    return "One seed of each: no spread to compare with." if count == 1 else f"Means over {count} seeds of each."


def as_list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


_SMOOTHED2 = 32  # batches, as in the paper's figure 6
_POINTS = 400  # of a line at most: more cannot be seen, and make a large file
SECOND_LINE = {"linestyle": (0, (4, 2)), "markerfacecolor": "none"}  # the second of two lines of one colour


def curves_by_triples(results: Sequence[Result]) -> pd.DataFrame:
    """Validation nDCG@10 by triples seen, a column for each seed, where all seeds have it."""
    columns = [
        pd.Series(result.validations[MEASURE].to_numpy(), index=result.validations.step * result.experiment.batch_size)
        for result in results
    ]
    return pd.concat(columns, axis="columns").dropna()


def traces_by_triples(results: Sequence[Result], value: Callable[[pd.DataFrame], pd.Series]) -> pd.DataFrame:
    """A value of each step by triples seen, smoothed, a column for each seed, where all seeds have it."""
    columns = [
        pd.Series(value(result.trace).rolling(_SMOOTHED2, min_periods=1).mean().to_numpy(), index=result.trace.triples)
        for result in results
    ]
    table = pd.concat(columns, axis="columns").dropna()
    return table.iloc[:: max(1, len(table) // _POINTS)]


def draw_curve(axes: Axes, table: pd.DataFrame, **shape) -> None:
    axes.plot(table.index, table.mean(axis="columns"), **shape)
    if table.shape[1] > 1:
        low, high = table.min(axis="columns"), table.max(axis="columns")
        axes.fill_between(table.index, low, high, color=shape["color"], alpha=0.12, linewidth=0)
