"""Table 4 drawn: what retrievers achieve against what they and their teachers cost, how they learn, which are equivalent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from armbook.baselines import Baseline
from armbook.results import one_measure
from armbook.style import GREY, STYLE, colour, kind
from armbook.tables import DASH
from armbook.teacher_costs import line_of
from armbook.tuned_losses import TEACHER, Tuning
from armlib.data.candidate_lists import parse_lists
from armlib.evaluation.equivalence import DAGGER, Equivalence, compare_pairs, equivalence
from armlib.evaluation.evaluate import FULL_RANKING
from armlib.experiments.result import Result
from armlib.losses import ListKL, Loss, MarginLoss, Static
from armlib.training.settings import MEASURE

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


def effectiveness_and_teachers(rows: Sequence[Baseline], collections: Sequence[str]) -> Figure:
    """nDCG@10 in full ranking over seconds, a panel for each evaluation collection.

    Returns:
        A figure in which every trained row is a marker at its seconds with the teachers' training and scoring, with a line that
        leads back to what is left where all students share the teachers; half the range over seeds goes up and down.
    """
    trained = [row for row in rows if row.cost is not None]
    looks = _looks(row.loss for row in trained)
    with plt.rc_context(STYLE):
        width = min(10.5, max(7.5, 3.8 * len(collections)))
        figure, grid = plt.subplots(1, len(collections), figsize=(width, 5.2), layout="constrained", squeeze=False)
        for axes, collection in zip(grid[0], collections, strict=True):
            for row in trained:
                values = [each.mean[MEASURE] for each in row.evaluations[collection]]
                shade, shape = looks[row.loss]
                mean, spread = float(np.mean(values)), float(np.ptp(values)) / 2
                axes.plot([row.cost.amortised, row.cost.full], [mean] * 2, color=shade, linewidth=0.8, zorder=1)
                style = {"color": shade, "marker": shape, "linestyle": "none", "elinewidth": 0.8}
                axes.errorbar(row.cost.full, mean, yerr=spread, label=row.loss, **style)
            for row in rows:
                if not row.retrieves and collection in row.evaluations:
                    axes.axhline(row.mean(collection).mean[MEASURE], color=GREY, linewidth=0.8, linestyle="dotted")
            axes.set(xscale="log", xlabel="seconds, the teacher included", title=collection)
            _plain_numbers(axes)
        grid[0, 0].set_ylabel(f"{MEASURE} ({FULL_RANKING})")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _plain_numbers(axes: Axes) -> None:
    """10 and 100 on a logarithmic axis, not powers."""
    for set_formatter in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        set_formatter(LogFormatter(minor_thresholds=(1, 0.5)))


def learning(rows: Sequence[Baseline], tuning: Tuning) -> Figure:
    """Validation nDCG@10 over texts seen (left) and over seconds, teachers included (right); means over seeds.

    Args:
        rows: that were trained.
        tuning: by which they were.

    Returns:
        A figure with a line for each row. One that goes on from another begins where that one ended.
    """
    looks = _looks(row.loss for row in rows)
    with plt.rc_context(STYLE):
        figure, (by_texts, by_seconds) = plt.subplots(1, 2, figsize=(9.5, 4.6), layout="constrained", sharey=True)
        for row in rows:
            curves = [_curve(line_of(row.loss, tuning, number)) for number in range(len(row.results))]
            mean = sum(curves[1:], start=curves[0]) / len(curves)
            shade, shape = looks[row.loss]
            style = {"color": shade, "marker": shape, "markersize": 4, "label": row.loss}
            by_texts.plot(mean.texts, mean[MEASURE], **style)
            by_seconds.plot(mean.seconds + row.cost.full - row.cost.training, mean[MEASURE], **style)
        by_texts.set(xlabel="texts seen", ylabel=f"validation {MEASURE}")
        by_seconds.set(xlabel="seconds, the teacher included", xscale="log")
        by_texts.xaxis.set_major_locator(plt.MaxNLocator(4))
        _plain_numbers(by_seconds)
        handles, labels = by_texts.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
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


def pairs_figure(rows: Sequence[Baseline], collections: Sequence[str]) -> Figure:
    """Differences of nDCG@10 between all rows of each collection, with a dagger where two are equivalent."""
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(len(collections), 1, figsize=(9.5, 7.2 * len(collections)), layout="constrained", squeeze=False)
        for axes, collection in zip(grid[:, 0], collections, strict=True):
            _draw_pairs(axes, every_pair(rows, collection))
            axes.set_title(f"{MEASURE} on {collection}: row less column")
    return figure


def _draw_pairs(axes: Axes, pairs: pd.DataFrame) -> None:
    names = list(dict.fromkeys([*pairs.system, *pairs.baseline]))
    places = {name: place for place, name in enumerate(names)}
    values = np.full((len(names), len(names)), np.nan)
    for pair in pairs.itertuples():
        values[places[pair.baseline], places[pair.system]] = -pair.difference
    largest = float(np.nanmax(np.abs(values)))
    axes.imshow(values, cmap="PuOr", vmin=-largest, vmax=largest)
    for pair in pairs.itertuples():
        mark = f" {DAGGER}" if pair.equivalent else ""
        row, column = places[pair.baseline], places[pair.system]
        dark = abs(pair.difference) > 0.6 * largest
        style = {"ha": "center", "va": "center", "fontsize": 6, "color": "white" if dark else "black"}
        thousandths = round(-1000 * pair.difference)
        axes.text(column, row, f"{thousandths:+d}{mark}" if thousandths else f"0{mark}", **style)
    axes.set_xticks(range(len(names) - 1), names[:-1], rotation=60, ha="right", fontsize=7)
    axes.set_yticks(range(1, len(names)), names[1:], fontsize=7)
    axes.set(xlim=(-0.5, len(names) - 1.5), ylim=(len(names) - 0.5, 0.5))


def beside(
    rows: Sequence[Baseline], one: str, others: Sequence[str], collections: Sequence[str]
) -> dict[str, tuple[str, Equivalence]]:
    """On each collection, the best of some rows by nDCG@10 and the test of another row against it.

    Args:
        rows: of Table 4.
        one: the row that is tested.
        others: the rows that it is tested against the best of.
        collections: names.

    Returns:
        By collection, the name of the best of the others and the test of ``one`` less that, not corrected.
    """
    named = {row.loss: row for row in rows}
    found = {}
    for collection in collections:
        best = max(others, key=lambda name: named[name].mean(collection).mean[MEASURE])
        scores = [named[name].mean(collection).scores(MEASURE) for name in (one, best)]
        found[collection] = (best, equivalence(*scores))
    return found


def in_words(name: str, tests: dict[str, tuple[str, Equivalence]]) -> str:
    """Sentences on what `beside` found."""
    texts = []
    for collection, (best, test) in tests.items():
        if test.low > 0 or test.high < 0:
            verdict = f"{'ahead of' if test.low > 0 else 'behind'} {best}"
            verdict += f" by less than {test.margin:g}" if test.equivalent else ""
        else:
            verdict = f"{'equivalent to' if test.equivalent else 'not told apart from'} {best}"
        interval = f"{test.difference:+.3f}, 90% confidence {test.low:+.3f} to {test.high:+.3f}"
        texts.append(f"on {collection} {name} is {verdict} ({interval})")
    return f"{'; '.join(texts)}.".replace("on ", "On ", 1)
