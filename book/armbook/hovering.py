"""The values of a figure's lines, put into its SVG so that a page shows them under the pointer."""

from __future__ import annotations

import json

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from armbook.switching import OF, entries_of, mark_entries, mark_rows

VALUES = "values:"  # begins the id of what is drawn, followed by JSON
MOST = 127  # points of a line; matplotlib leaves points out of longer ones


def mark_values(figure: Figure) -> None:
    """Give what is drawn in a figure an id: ``values:{"entries": [...], "name": ..., "x": [...], "y": [...]}``.

    Lines have their name and values. A line is named by its label; where that is hidden, by what follows `OF` in it and the entries
    of legends that it belongs to. Lines across the axes, single points, lines of more than `MOST` points, and those with gaps have
    no values. Lines, bands and dots have the entries that they belong to, by the names of `armbook.switching.mark_entries`. What
    has neither keeps its id. Rows of panels are marked, too.
    """
    entries = entries_of(figure)
    names = mark_entries(figure, entries)
    for one, texts in entries.items():
        about: dict[str, object] = {"entries": [names[text] for text in texts]} if names and texts else {}
        about |= _values(one, texts) if isinstance(one, Line2D) else {}
        if about:
            one.set_gid(VALUES + json.dumps(about, ensure_ascii=False))
    mark_rows(figure)


def _values(line: Line2D, entries: list[str]) -> dict[str, object]:
    x, y = (np.ma.filled(np.ma.asarray(values, float), np.nan) for values in (line.get_xdata(), line.get_ydata()))
    in_data = line.axes is not None and line.get_transform().contains_branch_seperately(line.axes.transData) == (True, True)
    if in_data and 1 < len(x) <= MOST and np.isfinite([x, y]).all():
        return {"name": _name(line, entries), "x": _written(x), "y": _written(y)}
    return {}


def _written(values: np.ndarray) -> list[str]:
    return [np.format_float_positional(value, precision=4, fractional=False, trim="-") for value in values]


def _name(line: Line2D, entries: list[str]) -> str:
    label = str(line.get_label())
    if not label.startswith("_"):
        return label
    parts = [label.removeprefix(OF)] if label.startswith(OF) else []
    return ", ".join(dict.fromkeys([*parts, *entries]))
