"""Figure 4: how training with adaptive targets goes, without and with in-batch negatives (section 5.2)."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from armbook.learning_curves import (
    as_list,
    by_setting,
    draw_panels,
    encoders_in_words,
    learning_curve_table,
    range_in_words,
    seeds_in_words,
    validation_measures,
    with_common_seeds,
)
from armbook.results import spoken
from armbook.style import colour
from armlib.experiments.result import Result


def adaptive_learning_curves(results: Sequence[Result]) -> Figure:
    """Figure 4: validation nDCG@10 (upper row) and hits (lower row) over the triples seen, a column an encoder.

    Args:
        results: as `armbook.chapters.adaptive` lists them; several seeds of a variant become one line with their range.
    """
    found = by_setting(results)
    # Encoders have columns of their own, so dashes are free to tell the variants apart in grey.
    lines = {variant: (0, (5, 2)) if "in-batch" in variant else "solid" for _, variant, _ in found}
    handles = [Line2D([], [], color=colour(name), linestyle=line, label=name) for name, line in lines.items()]
    return draw_panels(
        found, {each: each[0] for each in found}, {each: lines[each[1]] for each in found}, handles, validation_measures(results)
    )


def adaptive_in_words(results: Sequence[Result]) -> str:
    """The observations of section 5.2, as far as their learning curves show them, as a list in Markdown."""
    table = learning_curve_table(with_common_seeds(results))
    ndcg, hits = (table[table.measure == spoken(name)] for name in validation_measures(results))
    alone = ndcg[~ndcg.variant.str.contains("in-batch")]
    shares = alone["share of training"]
    lines = [
        f"Without in-batch negatives nDCG@10 is best at {range_in_words(shares, '.0%')} of the training run, before its end for "
        f"{(shares < 1).sum()} of {encoders_in_words(alone)}; at the end it is lower by "
        f"{range_in_words(alone.best - alone['last'], '.3f')}."
    ]
    for part in (ndcg, hits):
        told = part.assign(in_batch=part.variant.str.contains("in-batch"))
        best, when = (told.pivot(index="encoder", columns="in_batch", values=name) for name in ("best", "triples at best"))
        if best.shape[1] == 2:
            gaps, later = best[True] - best[False], (when[True] > when[False]).sum()
            lines.append(
                f"With in-batch negatives the best {part.measure.iloc[0]} differs by {range_in_words(gaps, '+.3f')}; "
                f"it is lower for {(gaps < 0).sum()} of {encoders_in_words(part)}, and comes later for {later}."
            )
    return as_list([*lines, seeds_in_words(table)])
