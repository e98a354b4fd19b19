"""The values of a figure's lines, put into its SVG so that a page shows them under the pointer."""

from __future__ import annotations

import json

import numpy as np
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

VALUES = "values:"  # begins the id of a line whose values follow as JSON
OF = "_of "  # begins a label that legends do not show, but a page under the pointer
MOST = 127  # points of a line; matplotlib leaves points out of longer ones


def mark_values(figure: Figure) -> None:
    """Give lines of a figure an id with their name and values: ``values:{"name": ..., "x": [...], "y": [...]}``.

    A line is named by its label. Where that is hidden, what follows `OF` in it and the entries of legends in the line's colour are
    its name. Left out are lines across the axes, single points, lines of more than `MOST` points, and those with gaps.
    """
    keys = _legend_lines(figure)
    for axes in figure.axes:
        for line in axes.lines:
            x, y = (np.ma.filled(np.ma.asarray(values, float), np.nan) for values in (line.get_xdata(), line.get_ydata()))
            in_data = line.get_transform().contains_branch_seperately(axes.transData) == (True, True)
            if in_data and 1 < len(x) <= MOST and np.isfinite([x, y]).all():
                values = {"name": _name(line, keys), "x": _written(x), "y": _written(y)}
                line.set_gid(VALUES + json.dumps(values, ensure_ascii=False))


def _written(values: np.ndarray) -> list[str]:
    return [np.format_float_positional(value, precision=4, fractional=False, trim="-") for value in values]


def _legend_lines(figure: Figure) -> list[tuple[Line2D, str]]:
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    entries = (zip(legend.legend_handles, legend.get_texts(), strict=True) for legend in legends if legend)
    return [(handle, text.get_text()) for some in entries for handle, text in some if isinstance(handle, Line2D)]


def _name(line: Line2D, keys: list[tuple[Line2D, str]]) -> str:
    label = str(line.get_label())
    if not label.startswith("_"):
        return label
    parts = [label.removeprefix(OF)] if label.startswith(OF) else []
    parts += [text for key, text in keys if to_rgba(key.get_color()) == to_rgba(line.get_color())]
    return ", ".join(dict.fromkeys(parts))
