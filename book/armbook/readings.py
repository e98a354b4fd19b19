"""The two readings of the losses, the paper's and the released code's, trained and compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from statsmodels.stats.multitest import multipletests

from armbook.claims.verdicts import MARGIN
from armbook.learning_curves import SECOND_LINE, draw_curve, learning_curve, smoothed_traces
from armbook.results import half_range, over_seeds, seeds_of, spoken, telling_scores
from armbook.style import GREY, STYLE, colour, marker
from armlib.errors import InputError
from armlib.evaluation.equivalence import DAGGER, equivalence
from armlib.experiments.result import Result
from armlib.losses import READINGS
from armlib.training.settings import MEASURE

LABELS = ("paper", "released code")
PAPER, RELEASED = READINGS


def readings_figure(shown: Mapping[str, Sequence[Result]]) -> Figure:
    """Each loss in the paper's reading and in the released code's: validation nDCG@10 above, mean of D+ x D- below.

    Args:
        shown: by source, results such as those of `armbook.chapters.readings`.

    Returns:
        A figure with two rows a source and a column for each loss; every axes has a line for each reading, the mean over seeds,
        whose gid is the reading, and the range over seeds where there are several.

    Raises:
        InputError: as `by_reading`.
    """
    found = {source: by_reading(results) for source, results in shown.items()}
    columns = max(map(len, found.values()))
    with plt.rc_context(STYLE):
        size = (0.6 + 2.6 * columns, 0.6 + 4.4 * len(found))
        figure, panels = plt.subplots(2 * len(found), columns, figsize=size, layout="constrained", sharey="row", squeeze=False)
        for (source, losses), above_all, below_all in zip(found.items(), panels[::2], panels[1::2], strict=True):
            for (name, both), above, below in zip(losses.items(), above_all, below_all, strict=False):
                _draw_readings(name, both, above, below)
                above.set_title(name if len(found) == 1 else f"{source}\n{name}", fontsize="small")
            above_all[0].set_ylabel(f"validation {MEASURE}")
            below_all[0].set_ylabel("mean cosine, D+ x D-")
        shape = marker(next(iter(shown.values()))[0].experiment.encoder)
        keys = [
            Line2D([], [], color=GREY, marker=shape, **({} if label == "paper" else SECOND_LINE), label=label) for label in LABELS
        ]
        figure.legend(handles=keys, loc="outside lower center", ncols=2)
    return figure


def _draw_readings(name: str, both: Mapping[str, Sequence[Result]], above: Axes, below: Axes) -> None:
    for reading, some in both.items():
        style = {"linestyle": "solid"} if reading == PAPER else SECOND_LINE
        shape = {"color": colour(name), "gid": reading, **style}
        draw_curve(above, learning_curve(some), marker=marker(some[0].experiment.encoder), **shape)
        draw_curve(below, smoothed_traces(some, lambda trace: trace.similarity_mean), **shape)
    above.sharex(below)
    above.tick_params(labelbottom=False)
    below.set_xlabel("triples seen")
    below.xaxis.set_major_locator(plt.MaxNLocator(3))


def by_reading(results: Iterable[Result]) -> dict[str, dict[str, list[Result]]]:
    """Results by loss (its name without the reading) and reading, in the order of their seeds; losses in the order given.

    Raises:
        InputError: a loss was not trained with the same seeds in both readings.
    """
    found: dict[str, dict[str, list[Result]]] = {}
    for result in results:
        made = result.experiment
        name = f"{made.target}, in-batch" if made.in_batch else made.target
        found.setdefault(name, {reading: [] for reading in READINGS})[made.reading].append(result)
    for name, both in found.items():
        for some in both.values():
            some.sort(key=lambda result: result.experiment.seed)
        first, second = (seeds_of(both[reading]) for reading in READINGS)
        if first != second:
            raise InputError(f"{name} has the seeds {first} in the {PAPER} reading and {second} in the other; expected the same")
    return found


def readings_table(results: Sequence[Result]) -> pd.DataFrame:
    """The two readings of each loss, trained and compared: what the difference comes to.

    Paired TOST within 0.05 of the queries' means over seeds, Bonferroni-corrected for the losses that are tested on one measure, as
    the paper corrects a group of tests.

    Args:
        results: such as those of `armbook.chapters.readings`.

    Returns:
        A row for each loss, collection, mode and measure; columns ``loss``, ``collection``, ``mode``, ``measure``, ``paper`` and
        ``released code`` (means over seeds), ``difference`` (released code minus paper), ``spread`` (half the range over seeds,
        the larger of the two; missing for one seed), ``low`` and ``high`` (90 % interval of the difference, over queries),
        ``corrected p`` and ``equivalent`` (bool).

    Raises:
        InputError: as `by_reading` and `armbook.results.telling_scores`.
    """
    rows = []
    for score in telling_scores(results):
        tested = []
        for loss, both in by_reading(results).items():
            values = {reading: [result.value(*score) for result in some] for reading, some in both.items()}
            perquery = {reading: over_seeds(some, *score[:2]).scores(score[2]) for reading, some in both.items()}
            test = equivalence(perquery[RELEASED], perquery[PAPER], MARGIN)
            spread = max(half_range(some) for some in values.values())
            tested.append(
                {
                    "loss": loss,
                    **dict(zip(("collection", "mode", "measure"), score, strict=True)),
                    "paper": np.mean(values[PAPER]),
                    "released code": np.mean(values[RELEASED]),
                    "difference": np.mean(values[RELEASED]) - np.mean(values[PAPER]),
                    "spread": spread,
                    "low": test.low,
                    "high": test.high,
                    "corrected p": test.p,
                }
            )
        corrected = multipletests([row["corrected p"] for row in tested], method="bonferroni")[1]
        rows += [row | {"corrected p": p, "equivalent": bool(p < 0.05)} for row, p in zip(tested, corrected, strict=True)]
    order = {loss: number for number, loss in enumerate(by_reading(results))}
    table = pd.DataFrame(rows)
    return table.sort_values("loss", key=lambda names: names.map(order), kind="stable", ignore_index=True)


def readings_text(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `readings_table` as text for a page: three decimals, an interval, a dagger where the readings are equivalent."""
    shown = table[["loss", "collection", "mode", "measure"]].copy()
    shown["measure"] = shown.measure.map(spoken)
    for column in ("paper", "released code"):
        shown[column] = table[column].map("{:.3f}".format)
    marks = table.equivalent.map({True: f" {DAGGER}", False: ""})
    shown["difference"] = table.difference.map("{:+.3f}".format) + marks
    shown["half range of seeds"] = ["" if np.isnan(spread) else f"{spread:.3f}" for spread in table.spread]
    shown["90 % interval"] = [f"{low:+.3f} to {high:+.3f}" for low, high in zip(table.low, table.high, strict=True)]
    shown["corrected p"] = table["corrected p"].map("{:.2g}".format)
    return shown


def readings_summary(table: pd.DataFrame) -> str:
    """What the table of `readings_table` comes to, in two sentences."""
    size = table.difference.abs()
    widest = table.loc[size.idxmax()]
    where = f"{widest.loss}, {spoken(widest.measure)}, {widest['mode']} on {widest.collection}"
    count = len(table)
    alike = "all" if table.equivalent.all() else f"{table.equivalent.sum()} of"
    if table.spread.isna().all():
        seeds = "with one seed, nothing can be said of other seeds"
    else:
        seeds = f"they differ by more than half the range of seeds in {(size > table.spread).sum() or 'none'}"
    return (
        f"The two readings are equivalent in {alike} {count} comparisons; {seeds}. The largest difference, released code minus "
        f"paper, is {widest.difference:+.3f} ({where})."
    )
