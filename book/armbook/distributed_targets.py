"""Figure 5: how training with distributed targets goes, by batch size (section 5.3)."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

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
from armbook.style import dashes, encoder_lines
from armlib.experiments.result import Result
from armlib.training.settings import MEASURE


def batch_size_learning_curves(results: Sequence[Result]) -> Figure:
    """Figure 5: validation nDCG@10 (upper row) and hits (lower row) over the triples seen, a column a batch size.

    Args:
        results: as `armbook.chapters.batch_sizes` lists them; several seeds of an encoder become one line with their range.
    """
    found = dict(sorted(by_setting(results).items(), key=lambda item: item[0][2]))
    encoders = list(dict.fromkeys(result.experiment.encoder for result in results))
    handles = encoder_lines(encoders)
    lines = {setting: dashes(setting[0]) for setting in found}
    return draw_panels(
        found, {setting: f"batches of {setting[2]}" for setting in found}, lines, handles, validation_measures(results)
    )


def batch_sizes_in_words(results: Sequence[Result]) -> str:
    """The observations of section 5.3 on batch sizes, on the seeds that all sizes have, as a list in Markdown."""
    table = learning_curve_table(with_common_seeds(results))
    ndcg = table[table.measure == MEASURE]
    best, when = (ndcg.pivot(index="encoder", columns="batch size", values=name) for name in ("best", "triples at best"))
    rising = ndcg[ndcg["share of training"] == 1]["batch size"].value_counts()
    lines = [
        f"Batches of {size}: nDCG@10 is best, {range_in_words(best[size], '.3f')}, after {range_in_words(when[size], ',')} "
        f"triples; it still rises at the end for {rising.get(size, 0)} of {encoders_in_words(ndcg)}."
        for size in best
    ]
    small, large = min(best), max(best)
    if small < large:
        sooner, later = (when[small] < when[large]).sum(), (when[small] > when[large]).sum()
        spread, higher = best.max(axis=1) - best.min(axis=1), (best[large] > best[small]).sum()
        lines += [
            f"It is best sooner with batches of {small} than of {large} for {sooner} of {encoders_in_words(ndcg)}, "
            f"later for {later}.",
            f"The best nDCG@10 of an encoder differs between batch sizes by at most {spread.max():.3f}; it is higher with batches "
            f"of {large} than of {small} for {higher} of {encoders_in_words(ndcg)}.",
        ]
    return as_list([*lines, seeds_in_words(table)])
