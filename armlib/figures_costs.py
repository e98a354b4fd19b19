"""When the book's trainings ran, and what their time went into."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from armlib import sweeps
from armlib.figures import COLOURS, GREY, STYLE, colour
from armlib.store import Result
from armlib.tables_costs import PARTS, costs

OVERLAP = 2.0  # seconds by which a training may seem to start before the one ahead of it ended: ends are kept in whole seconds
_HATCHES = dict(zip(PARTS, ("", "///", "...", "xxx"), strict=True))


def schedule(results: Sequence[Result]) -> pd.DataFrame:
    """When each training ran, with the times taken out in which none did.

    A start is the end less the seconds that the training took, so one that was stopped and continued seems to have run at one
    stretch before its end.

    Returns:
        In the order of starts, columns ``key``, ``variant``, ``start`` and ``hours`` (since the first start, idle times taken out),
        ``idle`` (idle hours taken out before it), ``lane`` (0 and up; trainings of one lane do not overlap).
    """
    spans = []
    for result in results:
        end, took = datetime.fromisoformat(result.about["time"]), result.about["seconds"]["total"]
        spans.append((end - timedelta(seconds=took), end, result))
    spans.sort(key=lambda span: span[:2])
    rows, lanes, idle = [], [], timedelta()
    first = busy_until = spans[0][0]
    for start, end, result in spans:
        idle += max(timedelta(), start - busy_until)
        busy_until = max(busy_until, end)
        free = (number for number, last in enumerate(lanes) if start >= last - timedelta(seconds=OVERLAP))
        lane = next(free, len(lanes))
        lanes[lane : lane + 1] = [end]
        rows.append({
            "key": result.key, "variant": result.experiment.variant(), "start": (start - first - idle) / timedelta(hours=1),
            "hours": (end - start) / timedelta(hours=1), "idle": idle / timedelta(hours=1), "lane": lane,
        })  # fmt: skip
    return pd.DataFrame(rows)


def timeline(results: Sequence[Result]) -> Figure:
    """Trainings over time on the left, a bar each in the colour of its variant; on the right the parts of each encoder's time.

    Both in minutes, or in hours where all trainings ran for more than two.
    """
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.4), layout="constrained", width_ratios=(3, 2))
        table = schedule(results)
        unit, scale = ("hours", 1) if (table.start + table.hours).max() > 2 else ("minutes", 60)
        for _, row in table.iterrows():
            left.barh(
                row.lane,
                scale * row.hours,
                left=scale * row.start,
                color=_shade(row.variant),
                edgecolor=GREY,
                linewidth=0.6,
                label=row.key,
            )
        lanes, idle = table.lane.max() + 1, table.idle.max()
        pauses = f" ({idle:.1f} idle hours left out)" if idle > 0.05 else ""
        left.set(xlabel=unit + pauses, ylabel="at a time", yticks=range(lanes), yticklabels=range(1, lanes + 1))
        left.set(title=f"{len(table)} trainings")
        _draw_parts(right, costs(results), unit, scale / 3600)
        kinds = {_shade(variant): _kind(variant) for variant in table.variant}
        handles = [Patch(color=shade, label=kind) for shade, kind in kinds.items()]
        handles += [Patch(facecolor="none", edgecolor=GREY, hatch=_HATCHES[part], label=part) for part in PARTS]
        figure.legend(handles=handles, loc="outside lower center", ncols=6)
    return figure


def _draw_parts(axes: Axes, table: pd.DataFrame, unit: str, scale: float) -> None:
    encoders = table[table.encoder != "all"].reset_index(drop=True)
    begin = pd.Series(0.0, encoders.index)
    for part in PARTS:
        width = encoders[part] * scale
        axes.barh(encoders.index, width, left=begin, height=0.6, facecolor="none", edgecolor=GREY, hatch=_HATCHES[part], label=part)
        begin = begin + width
    names = [name.rpartition("/")[2] for name in encoders.encoder]
    axes.set(xlabel=f"{unit} of trainings", title="what they went into", yticks=encoders.index, yticklabels=names)
    axes.invert_yaxis()


def _shade(variant: str) -> str | tuple[float, float, float]:
    return colour(variant) if _kind(variant) in COLOURS else GREY  # an encoder before fine-tuning has no target


def _kind(variant: str) -> str:
    kind = variant.split("(")[0].split(",")[0]
    return f"{kind}, in-batch" if "in-batch" in variant and kind != sweeps.DISTRIBUTED else kind
