"""What the variants of Table 3 achieve against what their training costs, the search for a static target included."""

from __future__ import annotations

from collections.abc import Iterable

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter

from armlib.claims_evidence import STATIC, VARIANTS, variant_name
from armlib.figures import GREY, STYLE, colour, marker, short_name
from armlib.measuring import FULL_RANKING
from armlib.store import Result
from armlib.tables_variants import costs, scores
from armlib.training import MEASURE


def effectiveness_and_cost(results: Iterable[Result], mode: str = FULL_RANKING) -> Figure:
    """nDCG@10 over training seconds, a panel for each evaluation collection.

    Args:
        results: as `armlib.tables_variants.variants` takes them.
        mode: ``full ranking`` or ``re-ranking``.

    Returns:
        A figure in which every encoder and variant is one marker, with half the range of its seeds up and down, at the seconds of
        its training; for static targets at those of the whole sweep, with a thin line that leads back to those of one training.
    """
    results = list(results)
    cost = costs(results).set_index(["encoder", "target", "in_batch"])
    measured = scores(results, mode)
    measured = measured[measured.measure == MEASURE]
    panels = list(measured.collection.unique())
    with plt.rc_context(STYLE):
        width = min(10.5, max(7.5, 3.8 * len(panels)))
        figure, room = plt.subplots(1, len(panels), figsize=(width, 3.8), layout="constrained", squeeze=False)
        for axes, collection in zip(room[0], panels, strict=True):
            for _, row in measured[measured.collection == collection].iterrows():
                spent = cost.loc[row.encoder, row.target, row.in_batch]
                shade = colour(variant_name(row.target, row.in_batch))
                if row.target == STATIC:
                    axes.plot([spent.seconds, spent.seconds_with_sweep], [row["mean"]] * 2, color=shade, linewidth=0.8, zorder=1)
                label = f"{row.encoder}, {variant_name(row.target, row.in_batch)}"
                style = {"color": shade, "marker": marker(row.encoder), "linestyle": "none", "elinewidth": 0.8}
                axes.errorbar(spent.seconds_with_sweep, row["mean"], yerr=row.spread, label=label, **style)
            axes.set(xscale="log", xlabel="training seconds, search included", title=collection)
            for place in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
                place(LogFormatter(minor_thresholds=(1, 0.5)))
        room[0, 0].set_ylabel(f"{MEASURE} ({mode})")
        names = [variant_name(*variant) for variant in VARIANTS]
        keys = [Line2D([], [], color=colour(name), linewidth=4, label=name) for name in names]
        for encoder in measured.encoder.unique():
            keys.append(Line2D([], [], color=GREY, marker=marker(encoder), linestyle="none", label=short_name(encoder)))
        figure.legend(handles=keys, loc="outside lower center", ncols=4)
    return figure
