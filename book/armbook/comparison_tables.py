"""Table 3 as pages show it: published, in miniature and of this copy side by side, a table for each measure; and a figure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter

from armbook.comparison import COMPARED
from armbook.counts import clock, hours_and_minutes, short_count
from armbook.results import DISTRIBUTED, PREFERRED, STATIC, VARIANTS, variant_name
from armbook.side_by_side import PUBLISHED, model_names, paper_collections, titled
from armbook.style import GREY, STYLE, colour, marker
from armbook.switching import OF
from armbook.tables import cell, two_levels, yes_or_no
from armlib.training.settings import MEASURE

HOUR = 3600
APART = 1.06  # by which encoders at the same cost stand apart
SHORT = 600  # seconds; where the shortest training takes less, times have seconds
Sources = Mapping[str, pd.DataFrame]
Row = tuple[str, str, bool]  # encoder as `armbook.comparison.model_names` calls it, target, in-batch


def scores_table(scores: Sources, measure: str) -> pd.DataFrame:
    """A score of Table 3, a column for each source and collection, as text for `armbook.tables.show`.

    Args:
        scores: as `armbook.comparison.scores_by_source` gives them.
        measure: a pattern that one measure of each source has.

    Returns:
        A row for each encoder and variant, those of the paper first; encoders of one architecture share a row.
    """
    rows: dict[Row, dict[tuple[str, str], str]] = {}
    for source, frame in scores.items():
        names = model_names(frame.encoder)
        for each in frame[frame.measure.str.fullmatch(measure)].to_dict("records"):
            key = (names[each["encoder"]], each["target"], each["in_batch"])
            spread = each["spread"] if each["seeds"] > 1 else None
            rows.setdefault(key, {})[source, titled(each["collection"])] = cell(each["mean"], spread, each["mark"])
    return _in_order(rows, scores)


def costs_table(costs: Sources) -> pd.DataFrame:
    """What training costs, columns for each source, as text: the time, search included, and triples.

    Args:
        costs: as `armbook.comparison.costs_by_source` gives them.

    Returns:
        Rows as in `scores_table`. ``time`` has an asterisk where it includes the search for a static target; ``triples`` are those
        seen, ``best at`` those at the best validation.
    """
    rows: dict[Row, dict[tuple[str, str], str]] = {}
    for source, frame in costs.items():
        names, fine = model_names(frame.encoder), frame.seconds_with_sweep.min() < SHORT
        for each in frame.to_dict("records"):
            row = rows.setdefault((names[each["encoder"]], each["target"], each["in_batch"]), {})
            row[source, "time"] = (clock if fine else hours_and_minutes)(each["seconds_with_sweep"]) + (
                "*" if each["target"] == STATIC else ""
            )
            row[source, "triples"] = short_count(each["triples"])
            if "best_triples" in each:
                row[source, "best at"] = short_count(each["best_triples"])
    return _in_order(rows, costs)


def ratios_table(costs: Sources) -> pd.DataFrame:
    """How many times as much static targets cost, search included, as targets that need none, as text; a column for each source."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for source, frame in costs.items():
        names = model_names(frame.encoder)
        for encoder, compared, ratio in cost_ratios(frame).itertuples(index=False):
            row = rows.setdefault((compared, names[encoder]), {"compared": compared, "encoder": names[encoder]})
            row[source] = f"{ratio:.3g}×" if by_triples(frame) else f"{ratio:.1f}×"
    order = list(dict.fromkeys(compared for compared, _ in rows))
    return pd.DataFrame(sorted(rows.values(), key=lambda row: order.index(row["compared"])))


def by_triples(costs: pd.DataFrame) -> bool:
    """Whether variants are compared by triples: all see equally many, so that times would say what else the machine did."""
    return "triples_with_sweep" in costs and costs.triples.nunique() == 1


def cost_ratios(costs: pd.DataFrame) -> pd.DataFrame:
    """As `ratios_table`, of one source, in numbers: columns ``encoder``, ``compared``, ``ratio``."""
    cost = costs.set_index(["encoder", "target", "in_batch"])[_measured_by(costs)]
    rows = [
        (encoder, f"{variant_name(*first)} / {variant_name(*second)}", cost[(encoder, *first)] / cost[(encoder, *second)])
        for first, second in COMPARED
        for encoder in dict.fromkeys(costs.encoder)
    ]
    return pd.DataFrame(rows, columns=["encoder", "compared", "ratio"])


def _measured_by(costs: pd.DataFrame) -> str:
    return "triples_with_sweep" if by_triples(costs) else "seconds_with_sweep"


def grades_in_words(scores: Sources, measure: str) -> str:
    """From which grade on a passage counts as relevant in a binary measure, by source where these differ; for a caption."""
    found: dict[str, list[str]] = {}
    for source, frame in scores.items():
        for name in dict.fromkeys(frame.measure[frame.measure.str.fullmatch(measure)]):
            grade = re.search(r"rel=(\d+)", name)
            found.setdefault(grade[1] if grade else "1", []).append(source)
    parts = [f"grade {grade}" + (f" ({', '.join(dict.fromkeys(some))})" if len(found) > 1 else "") for grade, some in found.items()]
    return f"passages count as relevant from {' and '.join(parts)}"


def effectiveness_and_cost(scores: Sources, costs: Sources) -> Figure:
    """nDCG@10 in full ranking over the cost of training, search included; a panel for each source, one below the other.

    Args:
        scores, costs: as `armbook.comparison.scores_by_source` and `armbook.comparison.costs_by_source` give them.

    Returns:
        A figure in which every encoder and variant is one marker, with half the range of its seeds up and down. Static targets
        stand at the cost of their search; where that of one training run is known, a thin line leads back to it. Cost is time, or
        triples where `by_triples` says so; encoders then stand a little apart. Of several collections the one of 2019 is shown, as
        in the paper's figures, else the first.
    """
    with plt.rc_context(STYLE):
        size = (5.4, 1.0 + 2.3 * len(scores))
        figure, grid = plt.subplots(len(scores), 1, figsize=size, layout="constrained", squeeze=False)
        for axes, (source, frame) in zip(grid[:, 0], scores.items(), strict=True):
            collections = paper_collections(frame.collection)
            collection = next((name for name in collections if PREFERRED in name), collections[0])
            own = frame[(frame.collection == collection) & (frame.measure == MEASURE)]
            unit = "hours" if source == PUBLISHED else "seconds"
            axes.set(xscale="log", title=f"{source}: {titled(collection)}", ylabel=MEASURE, xlabel=f"training time ({unit})")
            for set_formatter in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
                set_formatter(LogFormatter(minor_thresholds=(1, 0.5)))
            _draw_source(axes, own, costs[source], HOUR if source == PUBLISHED else 1)
        names = [variant_name(*variant) for variant in VARIANTS]
        handles = [Line2D([], [], color=colour(name), linewidth=4, label=name) for name in names]
        for name in dict.fromkeys(name for frame in scores.values() for name in model_names(frame.encoder).values()):
            handles.append(Line2D([], [], color=GREY, marker=marker(name), linestyle="none", label=name))
        figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _draw_source(axes: Axes, scores: pd.DataFrame, costs: pd.DataFrame, unit: float) -> None:
    cost, measured = costs.set_index(["encoder", "target", "in_batch"]), _measured_by(costs)
    encoders, apart = list(dict.fromkeys(scores.encoder)), APART if by_triples(costs) else 1.0
    for row in scores.itertuples():
        spent = cost.loc[row.encoder, row.target, row.in_batch]
        scale = apart ** (encoders.index(row.encoder) - (len(encoders) - 1) / 2) / unit
        shade, whole = colour(variant_name(row.target, row.in_batch)), spent[measured] * scale
        one = measured.removesuffix("_with_sweep")
        if row.target == STATIC and one in spent:
            ends, name = [spent[one] * scale, whole], model_names(scores.encoder)[row.encoder]
            axes.plot(ends, [row.mean] * 2, color=shade, linewidth=0.8, zorder=1, label=f"{OF}{name}")
        style = {"color": shade, "marker": marker(row.encoder), "linestyle": "none", "elinewidth": 0.8}
        spread = row.spread if row.seeds > 1 else 0
        axes.errorbar(whole, row.mean, yerr=spread, label=f"{row.encoder}, {variant_name(row.target, row.in_batch)}", **style)
    if by_triples(costs):
        there = sorted(set(costs[measured]))
        axes.set_xticks(there, [short_count(count) for count in there])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("triples seen, search included")


def _in_order(rows: Mapping[Row, Mapping[tuple[str, str], str]], sources: Iterable[str]) -> pd.DataFrame:
    """Rows by encoder and variant, columns by source."""
    encoders, order = list(dict.fromkeys(encoder for encoder, _, _ in rows)), ["model", *sources]
    table = two_levels(
        [
            {
                ("model", "encoder"): encoder,
                ("model", "target"): target,
                ("model", "in-batch"): yes_or_no(in_batch or target == DISTRIBUTED),
                **rows[encoder, target, in_batch],
            }
            for encoder, target, in_batch in sorted(rows, key=lambda row: (encoders.index(row[0]), VARIANTS.index(row[1:])))
        ]
    )
    return table[sorted(table.columns, key=lambda column: order.index(column[0]))]
