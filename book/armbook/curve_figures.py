"""Learning curves side by side: a block of panels for each source, an encoder or a variant a line, no line hidden by another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from armbook.learning_curves import Setting, Shown, by_setting, learning_curve, validation_measures
from armbook.results import spoken
from armbook.style import GREY, MARKERS, MAXIMUM, STYLE, colour, dashes, marker, short_name
from armlib.errors import InputError
from armlib.experiments.result import Result
from armlib.training.settings import MEASURE

Colour = tuple[float, float, float]
# Of encoders where they are what is compared; at least 3:1 on white and on dark pages, and apart in brightness.
ENCODERS = dict(zip(MARKERS, map(to_rgb, ("#3a86c8", "#a8730a", "#c0509a")), strict=True))
OTHERS = tuple(map(to_rgb, ("#3f9142", "#d1495b", "#7d6bd0")))
WIDTH = 5.8  # inches: text of 10 points is read on a phone, too


def encoder_colours(encoders: Iterable[str]) -> dict[str, Colour]:
    """A colour for each encoder: those of the paper keep theirs, others take what is left in turn."""
    found: dict[str, Colour] = {}
    for encoder in dict.fromkeys(encoders):
        own = next((shade for name, shade in ENCODERS.items() if name in encoder.lower()), None)
        left = [shade for shade in (*OTHERS, *ENCODERS.values()) if shade not in found.values()]
        found[encoder] = own if own and own not in found.values() else left[0] if left else OTHERS[len(found) % len(OTHERS)]
    return found


def line_widths(count: int) -> list[float]:
    """Widths of lines that are drawn over each other: each is narrower than those below, so that all are seen where they meet."""
    return [1.4 + 1.1 * (count - 1 - place) for place in range(count)]


def blocks(shown: Shown, height: float) -> tuple[Figure, dict[str, SubFigure]]:
    """A figure with a part for each source, named where there are several.

    Args:
        shown: results by their source.
        height: of each part, in inches.

    Raises:
        InputError: there are no results.
    """
    if not any(shown.values()):
        raise InputError("learning curves need at least one training run, and there is none")
    figure = plt.figure(figsize=(WIDTH, height * len(shown) + 0.5), layout="constrained")
    parts = figure.subfigures(len(shown), 1, squeeze=False)[:, 0]
    if len(shown) > 1:
        for part, source in zip(parts, shown, strict=True):
            part.suptitle(source, color=GREY, fontweight="bold")
    return figure, dict(zip(shown, parts, strict=True))


def by_encoder(shown: Shown, column: Callable[[Setting], str]) -> Figure:
    """Validation nDCG@10 (upper row) and hits (lower row) over the share of an epoch, a line an encoder, for each source.

    Args:
        shown: results by their source; several seeds become one line with their range, and a dot marks its maximum.
        column: the title of the column that a setting belongs in.
    """
    shades = encoder_colours(result.experiment.encoder for results in shown.values() for result in results)
    with plt.rc_context(STYLE):
        figure, parts = blocks(shown, height=4.2)
        for source, results in shown.items():
            found = by_setting(results)
            titles = list(dict.fromkeys(map(column, found)))
            panels = parts[source].subplots(2, len(titles), sharex=True, sharey="row", squeeze=False)
            for measure, row in zip(validation_measures(results), panels, strict=True):
                row[0].set_ylabel(f"validation {spoken(measure)}")
                for title, axes in zip(titles, row, strict=True):
                    lines = {setting: some for setting, some in found.items() if column(setting) == title}
                    draw_lines(axes, lines, measure, {setting: shades[setting[0]] for setting in lines})
            for title, top, bottom in zip(titles, panels[0], panels[-1], strict=True):
                top.set_title(title)
                bottom.set_xlabel("share of an epoch")
        legend(figure, shades)
    return figure


def by_variant(shown: Shown) -> Figure:
    """Validation nDCG@10 over the share of an epoch: a column a source, a row an encoder, a line a variant."""
    encoders = list(dict.fromkeys(result.experiment.encoder for results in shown.values() for result in results))
    if not encoders:
        raise InputError("learning curves need at least one training run, and there is none")
    found = {source: by_setting(results) for source, results in shown.items()}
    variants = dict.fromkeys(variant for settings in found.values() for _, variant, _ in settings)
    with plt.rc_context(STYLE):
        shape = {"figsize": (WIDTH, 2.1 * len(encoders) + 0.7), "layout": "constrained", "squeeze": False}
        figure, panels = plt.subplots(len(encoders), len(shown), **shape, sharex="col", sharey="col")
        for row, encoder in zip(panels, encoders, strict=True):
            for axes, settings in zip(row, found.values(), strict=True):
                lines = {setting: some for setting, some in settings.items() if setting[0] == encoder}
                axes.set_visible(bool(lines))
                draw_lines(axes, lines, MEASURE, {setting: colour(setting[1]) for setting in lines}, dashed=False)
            first = next(axes for axes in row if axes.get_visible())
            first.set_ylabel(f"{short_name(encoder)}\nvalidation nDCG@10")
        for source, column in zip(shown, panels.T, strict=True):
            there = [axes for axes in column if axes.get_visible()]
            there[0].set_title(source if len(shown) > 1 else "", fontweight="bold")
            there[-1].set_xlabel("share of an epoch")
            there[-1].tick_params(labelbottom=True)
        widths = dict(zip(variants, line_widths(len(variants)), strict=True))
        handles = [Line2D([], [], color=colour(name), linewidth=width, label=name) for name, width in widths.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def draw_lines(
    axes: Axes, lines: Mapping[Setting, Sequence[Result]], measure: str, shades: Mapping[Setting, Colour], *, dashed: bool = True
) -> None:
    """A line for each setting in its colour, with the range of its seeds and a dot at its maximum; those drawn later are thinner.

    Args:
        axes: where to draw.
        lines: results of each setting.
        measure: a column of their validations.
        shades: the colours.
        dashed: whether encoders are told apart by dashes, too.
    """
    for (setting, results), width in zip(lines.items(), line_widths(len(lines)), strict=True):
        seeds, shade, shape = learning_curve(results, measure), shades[setting], marker(setting[0])
        seeds.index = pd.Index(seeds.index / results[0].about["available_triples"], name="epochs")
        means = seeds.mean(axis="columns")
        line = dashes(setting[0]) if dashed else "solid"
        axes.plot(means.index, means, color=shade, linestyle=line, linewidth=width, label="_mean")
        if seeds.shape[1] > 1:
            low, high = seeds.min(axis="columns"), seeds.max(axis="columns")
            axes.fill_between(seeds.index, low, high, color=shade, alpha=0.15, linewidth=0)
        best = means.idxmax()
        axes.plot(best, means[best], shape, color=shade, markersize=8, markeredgecolor=GREY, label=MAXIMUM)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.3g}%")


def legend(figure: Figure, shades: Mapping[str, Colour], others: Sequence[Line2D] = (), *, dashed: bool = True) -> None:
    """Encoders below a figure by colour and, where they are told apart by them, dashes and markers; other lines after them."""
    shape = {name: {"linestyle": dashes(name), "marker": marker(name)} if dashed else {} for name in shades}
    handles = [Line2D([], [], color=shade, label=short_name(name), **shape[name]) for name, shade in shades.items()]
    figure.legend(handles=[*handles, *others], loc="outside lower center", ncols=3)
