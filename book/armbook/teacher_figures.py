"""Table 4 drawn: what retrievers achieve against what they and their teachers cost, how they learn, which are equivalent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from armbook.baselines import Baseline
from armbook.counts import clock
from armbook.results import one_measure
from armbook.style import GREY, STYLE, colour, kind
from armbook.table4_sources import Source
from armbook.tables import DASH
from armbook.teacher_costs import line_of
from armbook.tuned_losses import TEACHER, Tuning
from armlib.data.candidate_lists import parse_lists
from armlib.evaluation.equivalence import DAGGER, compare_pairs
from armlib.experiments.result import Result
from armlib.losses import ListKL, Loss, MarginLoss, Static
from armlib.training.settings import MEASURE

WIDTH = 6.4  # inches: text stays readable on a narrow screen
SHAPES = "osD^vP*X"  # of systems that share a colour, in their order


def settings_found(rows: Sequence[Baseline], tuning: Tuning) -> pd.DataFrame:
    """What tuning chose for each trained row.

    Returns:
        A row for each; columns ``system``; the chosen ``setting`` and ``learning rate``; how many ``training runs`` there were to
        choose from; the ``validation`` nDCG@10 of the kept weights, as a mean over seeds. Numbers are text.
    """
    lines = []
    for row in rows:
        if row.cost is not None:
            own = [result.kept_validation for result in row.results]
            experiment = row.results[0].experiment
            search = len(tuning.searched(row.loss))
            setting, rate = _setting(experiment.make_loss()), f"{experiment.learning_rate:g}"
            lines.append((row.loss, setting, rate, search, f"{np.mean(own):.3f}"))
    return pd.DataFrame(lines, columns=["system", "setting", "learning rate", "training runs", "validation"])


def _setting(loss: Loss) -> str:
    """What tuning chose of a loss; a dash where there is nothing to choose."""
    if isinstance(loss, MarginLoss):
        return str(loss.target) if isinstance(loss.target, Static) else DASH
    return f"temperature {loss.temperature:g}" if isinstance(loss, ListKL) else f"scale {loss.scale:g}"


def cost_table(rows: Iterable[Baseline]) -> pd.DataFrame:
    """Seconds of each trained row.

    Returns:
        Columns ``system``; ``training`` of one student, of the systems that it goes on from included; ``teacher's training`` and
        ``scoring``, missing where there is none or nobody knows; ``in all``, the sum; ``shared``, what is left where all students
        here share the teachers, both missing where a part is not known; ``search``, of the training runs that its settings were
        chosen from.
    """
    lines = [
        {
            "system": row.loss,
            "training": row.cost.training,
            "teacher's training": row.cost.teacher_training if row.group == TEACHER else None,
            "scoring": row.cost.scoring if row.group == TEACHER else None,
            "in all": None if None in (row.cost.teacher_training, row.cost.scoring) else row.cost.full,
            "shared": None if None in (row.cost.teacher_training, row.cost.scoring) else row.cost.amortised,
            "search": row.cost.search,
        }
        for row in rows
        if row.cost is not None
    ]
    return pd.DataFrame(lines).astype(dict.fromkeys(lines[0].keys() - {"system"}, float))


def settings_table(sources: Mapping[str, Source]) -> pd.DataFrame:
    """`settings_found` of all sources below each other, with the source in the first column."""
    return _stacked({name: settings_found(source.rows, source.tuning) for name, source in sources.items()})


def clocks(sources: Mapping[str, Source]) -> pd.DataFrame:
    """`cost_table` of all sources below each other, times as text (h:mm:ss) and the source in the first column."""
    told = {}
    for name, source in sources.items():
        table = cost_table(source.rows)
        times = table.drop(columns="system").map(clock, na_action="ignore").astype(object)
        told[name] = pd.concat([table[["system"]], times], axis="columns")
    return _stacked(told)


def _stacked(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(tables, names=["source"]).reset_index("source").reset_index(drop=True)


def effectiveness_and_teachers(sources: Mapping[str, Source]) -> Figure:
    """nDCG@10 in full ranking over seconds, a panel for each source, on the collection of it with the most queries.

    Returns:
        A figure in which every trained row is a marker at its seconds with the teachers' training and scoring, with a line that
        leads back to what is left where all students share the teachers; half the range over seeds goes up and down. BM25 and the
        teacher itself are dashed and dotted lines.
    """
    looks = _looks(dict.fromkeys(row.loss for source in sources.values() for row in source.trained))
    with plt.rc_context(STYLE):
        height = 2.9 * len(sources) + 0.23 * (len(looks) / 2 + 2)
        figure, grid = plt.subplots(len(sources), 1, figsize=(WIDTH, height), layout="constrained", squeeze=False)
        for axes, (name, source) in zip(grid[:, 0], sources.items(), strict=True):
            where = source.largest
            for row in source.trained:
                values = [each.mean[MEASURE] for each in row.evaluations[where]]
                shade, shape = looks[row.loss]
                mean, spread = float(np.mean(values)), float(np.ptp(values)) / 2
                ends = [row.cost.amortised, row.cost.full]
                axes.plot(ends, [mean] * 2, color=shade, linewidth=0.8, zorder=1, label=f"_{row.loss}")
                style = {"color": shade, "marker": shape, "linestyle": "none", "elinewidth": 0.8}
                axes.errorbar(row.cost.full, mean, yerr=spread, label=row.loss, **style)
            for row in source.rows:
                line = "dotted" if not row.retrieves else "dashed" if row.loss == "BM25" else None
                if line and where in row.evaluations:
                    level = row.mean(where).mean[MEASURE]
                    axes.axhline(level, color=GREY, linewidth=0.8, linestyle=line, label=f"_{row.loss}")
            axes.set(xscale="log", ylabel=MEASURE, title=f"{name}: {where}")
            _plain_numbers(axes)
        grid[-1, 0].set_xlabel("seconds, the teacher included")
        handles = {label: handle for axes in grid[:, 0] for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        lines = [Line2D([], [], color=GREY, linestyle="dashed"), Line2D([], [], color=GREY, linestyle="dotted")]
        labels = [*handles, "BM25", "the teacher, re-ranking"]
        figure.legend([*handles.values(), *lines], labels, loc="outside lower center", ncols=2)
    return figure


def _plain_numbers(axes: Axes) -> None:
    """1, 2, 5, 10 on a logarithmic axis, not powers."""
    axes.xaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
    for set_formatter in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        set_formatter(lambda seconds, _: f"{seconds:g}")


def learning(sources: Mapping[str, Source], losses: Sequence[str]) -> Figure:
    """Validation nDCG@10 over texts seen (left) and over seconds, teachers included (right); means over seeds.

    Args:
        sources: a row of panels for each.
        losses: the trained rows that are drawn.

    Returns:
        A figure with a line for each of the rows. One that goes on from another begins where that one ended.
    """
    looks = _looks(losses)
    with plt.rc_context(STYLE):
        height = 2.7 * len(sources) + 0.23 * (len(losses) / 2 + 1)
        figure, grid = plt.subplots(len(sources), 2, figsize=(WIDTH, height), layout="constrained", sharey="row", squeeze=False)
        for (by_texts, by_seconds), (name, source) in zip(grid, sources.items(), strict=True):
            for row in map(source.row, losses):
                curves = [_curve(line_of(row.loss, source.tuning, number)) for number in range(len(row.results))]
                mean = sum(curves[1:], start=curves[0]) / len(curves)
                shade, shape = looks[row.loss]
                style = {"color": shade, "marker": shape, "markersize": 4, "label": row.loss}
                by_texts.plot(mean.texts / 1000, mean[MEASURE], **style)
                by_seconds.plot(mean.seconds + row.cost.full - row.cost.training, mean[MEASURE], **style)
            by_texts.set(ylabel=f"validation {MEASURE}")
            by_texts.set_title(name, loc="left")
            by_seconds.set(xscale="log")
            by_texts.xaxis.set_major_locator(plt.MaxNLocator(4))
            _plain_numbers(by_seconds)
        grid[-1, 0].set_xlabel("thousand texts seen")
        grid[-1, 1].set_xlabel("seconds, the teacher included")
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _curve(line: Sequence[Result]) -> pd.DataFrame:
    """The validations of the last of some training runs that go on from one another, with texts and seconds since the first."""
    texts, seconds = 0, 0.0
    for result in line:
        steps, spent = result.validations.step.to_numpy(), result.trace.seconds.cumsum().to_numpy()
        lists = result.experiment.lists
        a_step = result.experiment.batch_size * (1 + (parse_lists(lists).passages if lists else 2))
        shown = pd.DataFrame({"texts": texts + steps * a_step, "seconds": seconds + spent[steps - 1]})
        texts, seconds = texts + len(spent) * a_step, seconds + float(spent[-1])
    return shown.assign(**{MEASURE: line[-1].validations[MEASURE].to_numpy()})


def _looks(names: Iterable[str]) -> dict[str, tuple[tuple[float, float, float] | str, str]]:
    """The colour and the shape of each system; those of one colour differ in shape."""
    seen: dict[str, int] = {}
    looks = {}
    for name in names:
        of = kind(name)
        looks[name] = (colour(name), SHAPES[seen.get(of, 0) % len(SHAPES)])
        seen[of] = seen.get(of, 0) + 1
    return looks


def every_pair(rows: Sequence[Baseline], collection: str) -> pd.DataFrame:
    """Paired tests of equivalence between all rows, as `armlib.evaluation.equivalence.compare_pairs` makes them, of nDCG@10."""
    measured = {row.loss: one_measure(row.mean(collection)) for row in rows if collection in row.evaluations}
    return compare_pairs(measured, list(combinations(measured, 2)))


def pairs_figure(sources: Mapping[str, Source], losses: Sequence[str]) -> Figure:
    """Differences of nDCG@10 between some rows, a panel for each source, with a dagger where two are equivalent.

    Args:
        sources: each on its collection with the most queries.
        losses: the rows that are drawn.
    """
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(len(sources), 1, figsize=(WIDTH, 4.4 * len(sources)), layout="constrained", squeeze=False)
        for axes, (name, source) in zip(grid[:, 0], sources.items(), strict=True):
            _draw_pairs(axes, every_pair([source.row(loss) for loss in losses], source.largest))
            axes.set_title(f"{name}: {source.largest}")
    return figure


def _draw_pairs(axes: Axes, pairs: pd.DataFrame) -> None:
    names = list(dict.fromkeys([*pairs.system, *pairs.baseline]))
    places = {name: place for place, name in enumerate(names)}
    values = np.full((len(names), len(names)), np.nan)
    for pair in pairs.itertuples():
        values[places[pair.baseline], places[pair.system]] = -pair.difference
    largest = float(np.nanmax(np.abs(values))) or 1.0
    axes.imshow(values, cmap="PuOr", vmin=-largest, vmax=largest, aspect="auto")
    for pair in pairs.itertuples():
        mark = f" {DAGGER}" if pair.equivalent else ""
        row, column = places[pair.baseline], places[pair.system]
        dark = abs(pair.difference) > 0.6 * largest
        style = {"ha": "center", "va": "center", "fontsize": 8, "color": "white" if dark else "black"}
        thousandths = round(-1000 * pair.difference)
        axes.text(column, row, f"{thousandths:+d}{mark}" if thousandths else f"0{mark}", **style)
    axes.set_xticks(range(len(names) - 1), names[:-1], rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(1, len(names)), names[1:])
    axes.set(xlim=(-0.5, len(names) - 1.5), ylim=(len(names) - 0.5, 0.5))
