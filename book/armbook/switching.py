"""What a page switches on and off in a figure: entries of its legend with what is drawn of them, and rows of its panels."""

from __future__ import annotations

import re

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection, LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

OF = "_of "  # begins a label that legends do not show, but a page under the pointer
ENTRY = "entry:"  # begins the id of an entry's text in the SVG; its own name follows
ROW = "row:"  # begins the id of axes, followed by the name of their row
NOTHING = ("None", "none", " ", "", None)  # how matplotlib says that a line has no dashes, or no markers

Drawn = Line2D | Collection  # a line, a band, the bars of a spread


def entries_of(figure: Figure) -> dict[Drawn, list[str]]:
    """What is drawn in the axes of a figure, by the texts of the entries of the figure's legends that it belongs to.

    A label that is an entry's text, with or without an underscore before it, decides alone. Where there is none, a line belongs to
    the entry that follows `OF` in its label and to those in its colour; of several in one colour, to those that are dashed and
    marked like it. Entries in a colour that nothing drawn has stand for dashes or markers. A band goes with the line before it.
    """
    entries = [
        (text.get_text(), handle)
        for legend in figure.legends
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
        if isinstance(handle, Drawn)
    ]
    shades = {_shade(one) for axes in figure.axes for one, _ in _drawn(axes)}
    found: dict[Drawn, list[str]] = {}
    for axes in figure.axes:
        before: dict[tuple[float, ...], list[str]] = {}  # entries of the last line in each colour
        for one, label in _drawn(axes):
            shade = _shade(one)
            named = [text for text, _ in entries if text == label.removeprefix(OF).removeprefix("_")]
            if named and not label.startswith(OF):
                found[one] = named
            elif not isinstance(one, Line2D):
                found[one] = before.get(shade, [])
            else:
                coloured = [(text, handle) for text, handle in entries if _shade(handle) == shade]
                alike = [(text, handle) for text, handle in coloured if _alike(one, handle)]
                by_shape = [text for text, handle in entries if _shade(handle) not in shades and _alike(one, handle)]
                own = alike if alike and len(coloured) > 1 else coloured
                found[one] = list(dict.fromkeys([*named, *(text for text, _ in own), *by_shape]))
            if isinstance(one, Line2D):
                before[shade] = found[one]
    return found


def mark_entries(figure: Figure, entries: dict[Drawn, list[str]]) -> dict[str, str]:
    """Give entries of legends that have something drawn, if they are two or more, the id ``entry:<own name>``.

    Args:
        figure: its legends.
        entries: as `entries_of` has them.

    Returns:
        The own name of each entry by its text: a letter, the same for entries that exclude each other, and a number. Encoders and
        variants of a figure whose lines have one of each thus differ in their letter.
    """
    together = {frozenset(some) for some in entries.values()}
    names: dict[str, str] = {}
    for text in dict.fromkeys(text for some in entries.values() for text in some):
        letters = {names[other][0] for some in together if text in some for other in some if other in names}
        names[text] = f"{'b' if letters == {'a'} else 'a'}{len(names)}"
    if len(names) < 2:
        return {}
    for legend in figure.legends:
        for text in legend.get_texts():
            if text.get_text() in names:
                text.set_gid(f"{ENTRY}{names[text.get_text()]}")
    return names


def mark_rows(figure: Figure) -> None:
    """Give axes the id ``row:<name>`` where rows differ in the label of their first y axis, less the lines that all labels have."""
    rows: dict[tuple[int, int], list[Axes]] = {}
    for axes in figure.axes:
        place = axes.get_subplotspec()
        if place and axes.get_visible():
            rows.setdefault((id(place.get_gridspec()), place.rowspan.start), []).append(axes)
    labels = [next((axes.get_ylabel() for axes in row if axes.get_ylabel()), "").split("\n") for row in rows.values()]
    names = [", ".join(line for line in label if not all(line in each for each in labels)) for label in labels]
    if all(names) and len(set(names)) > 1:
        for name, row in zip(names, rows.values(), strict=True):
            for axes in row:
                axes.set_gid(ROW + re.sub(r"[$^]", "", name))


def _drawn(axes: Axes) -> list[tuple[Drawn, str]]:
    """Lines and bands in the order in which they were drawn, with their label or that of the errorbar whose part they are."""
    labels = {part: str(one.get_label()) for one in axes.containers for part in one.get_children()}
    return [(one, labels.get(one, str(one.get_label()))) for one in axes.get_children() if isinstance(one, Drawn)]


def _shade(one: Artist) -> tuple[float, ...]:
    if isinstance(one, Line2D):
        return to_rgb(one.get_color())
    colours = one.get_edgecolor() if isinstance(one, LineCollection) else one.get_facecolor()
    return tuple(np.asarray(colours)[0, :3].tolist()) if len(colours) else ()


def _alike(line: Line2D, handle: Artist) -> bool:
    """Whether dashes and markers are the same, as far as both have them."""
    if not isinstance(handle, Line2D):
        return False
    pairs = ((line.get_linestyle(), handle.get_linestyle()), (line.get_marker(), handle.get_marker()))
    both = [(own, other) for own, other in pairs if own not in NOTHING and other not in NOTHING]
    return bool(both) and all(own == other for own, other in both)
