"""How scores and similarities go during training: learning curves with their peaks, and traces, tabulated and told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from armbook.results import spoken
from armbook.sentences import listed_in_words, range_in_words
from armbook.tables import value_text
from armlib.errors import InputError
from armlib.experiments.result import Result
from armlib.training.settings import MEASURE

SMOOTHED = 32  # batches of a rolling mean, as in Figure 6 of the paper
NEAR_ZERO = 0.1  # mean similarities this near to 0 are targets of 0.45 to 0.55
POINTS = 400  # of a line at most: more cannot be seen, and make a large file
SECOND_LINE = {"linestyle": (0, (4, 2)), "markerfacecolor": "none"}  # the second of two lines of one colour
HIGHER, LOWER, OPEN = "higher in every seed", "lower in every seed", "not told apart"
Setting = tuple[str, str, int]  # encoder, variant and batch size: what seeds are averaged over
Shown = Mapping[str, Sequence[Result]]  # results by their source, which stand side by side


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


@dataclass(frozen=True)
class Peak:
    """Where the mean over seeds of a learning curve is highest.

    The highest of several noisy values is biased upwards. What is left of it is seen by choosing the validation on some seeds and
    reading it off another: ``held_out`` is free of the bias that seeds cause, not of that of the validation queries, and is too low
    where noise chose the wrong validation. Differences between the peaks of equally long curves keep little of the bias.

    Attributes:
        triples: seen at the peak.
        epoch: the same as a share of all training triples.
        at_end: whether it is the last validation, so that the true peak may come later.
        best: the mean over seeds there, biased upwards.
        there: by seed, the value there.
        held_out: by seed, the value at the validation where the mean of the other seeds is highest; of one seed alone its own peak.
        last: by seed, the value at the last validation.
    """

    triples: int
    epoch: float
    at_end: bool
    best: float
    there: pd.Series
    held_out: pd.Series
    last: pd.Series


def peak(results: Sequence[Result], measure: str = MEASURE) -> Peak:
    """The peak of a learning curve; arguments as those of `learning_curve`."""
    seeds = learning_curve(results, measure)
    means = seeds.mean(axis="columns")
    triples = int(means.idxmax())
    others = {seed: seeds.drop(columns=seed).mean(axis="columns") if seeds.shape[1] > 1 else means for seed in seeds}
    return Peak(
        triples=triples,
        epoch=triples / results[0].about["available_triples"],
        at_end=triples == means.index[-1],
        best=float(means.max()),
        there=seeds.loc[triples],
        held_out=pd.Series({seed: seeds.loc[line.idxmax(), seed] for seed, line in others.items()}),
        last=seeds.iloc[-1],
    )


def told_apart(first: pd.Series, second: pd.Series) -> str:
    """Whether the first is `HIGHER` or `LOWER` in every seed of at least two that both have; else `OPEN`."""
    gaps = (first - second).dropna()
    if len(gaps) > 1 and (gaps > 0).all():
        return HIGHER
    return LOWER if len(gaps) > 1 and (gaps < 0).all() else OPEN


def outcomes_in_words(outcomes: Sequence[str]) -> str:
    """Outcomes of encoders, counted, such as ``higher in every seed for 2 of 3 encoders and not told apart for 1``."""
    counts = Counter(outcomes)
    known = [name for name in (HIGHER, LOWER, OPEN) if counts[name]]
    if len(outcomes) == 1:
        return known[0]
    if len(known) == 1:
        count = len(outcomes)
        return f"{known[0]} for any encoder" if known[0] == OPEN else f"{known[0]} for {encoders_in_words(count, count)}"
    first, *others = known
    parts = [f"{first} for {counts[first]} of {len(outcomes)} encoders", *(f"{name} for {counts[name]}" for name in others)]
    return listed_in_words(parts)


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
        One row for each setting and measure. Columns ``encoder``, ``variant``, ``batch size``, ``measure``, ``seeds``; ``best``
        (the highest mean over seeds), ``held out`` and ``last`` (the mean over seeds of those of `Peak`); ``triples at best``,
        and ``epoch``, the same as a share of all training triples.
    """
    rows = []
    for (encoder, variant, size), some in by_setting(results).items():
        for measure in validation_measures(results):
            found = peak(some, measure)
            row = {"encoder": encoder, "variant": variant, "batch size": size, "measure": spoken(measure)}
            row |= {"seeds": len(found.last), "best": found.best, "held out": found.held_out.mean(), "last": found.last.mean()}
            rows.append(row | {"triples at best": found.triples, "epoch": found.epoch})
    return pd.DataFrame(rows)


def peaks_side_by_side(shown: Shown, tell: Callable[[Setting], Mapping[str, object]]) -> pd.DataFrame:
    """The peaks of learning curves of several sources as a table for a page.

    Args:
        shown: results by their source.
        tell: the columns that tell settings of one encoder apart.

    Returns:
        One row for each setting and measure, of values over seeds the mean and half the range.
    """
    rows = []
    for source, results in shown.items():
        for setting, some in by_setting(results).items():
            for measure in validation_measures(results):
                found = peak(some, measure)
                row = {"source": source, "encoder": setting[0], **tell(setting), "measure": spoken(measure)}
                row |= {"seeds": len(found.last), "peak": value_text(found.there)}
                row |= {"held out": value_text(found.held_out), "end": value_text(found.last)}
                rows.append(row | {"triples": found.triples, "epoch": f"{found.epoch:.3f}"})
    return pd.DataFrame(rows)


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
    return (
        f"A training run sees {range_in_words(triples, ',')} triples, {range_in_words(shares, '.2g')} of an epoch, "
        f"in batches of {listed_in_words(map(str, sizes))}; the learning rate starts at {range_in_words(rates, 'g')}."
    )


def encoders_in_words(count: int, of: int) -> str:
    """How many of some encoders, such as ``2 of 3 encoders``."""
    if of == 1:
        return "the one encoder" if count else "no encoder"
    every = "both encoders" if of == 2 else f"all {of} encoders"
    return every if count == of else f"{count or 'none'} of {of} encoders"


def as_list(lines: Iterable[str]) -> str:
    """Sentences as a list in Markdown."""
    return "\n".join(f"- {line}" for line in lines)
