"""Table 4 as text: of what was measured here, as the paper published it, and both in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from armbook import published
from armbook.baselines import BEFORE, MEASURED, ONE, Baseline
from armbook.comparison import paper_measures
from armbook.tables import BEST, DASH, cell, two_levels, yes_or_no
from armbook.tuned_losses import NONE, RANDOM, TEACHER
from armlib.evaluation.equivalence import DAGGER, compare
from armlib.evaluation.evaluate import FULL_RANKING
from armlib.evaluation.measures import Evaluation
from armlib.training.settings import MEASURE

PUBLISHED, QUOTED = "published", "quoted from"
WORDS = ("group", "loss", "sampling", "in-batch", "origin")
_NAMES = {"Hofstatter et al. 2021": "Hofstätter et al. (2021)", "Wang and Zuccon 2023": "Wang and Zuccon (2023)"}
_LOSSES = {"bm25": "BM25", "margin-mse": "MarginMSE", "static eps=1": "static(1.0)", "static tuned": "static, tuned"}
_SAMPLING = {"random": RANDOM, "tas-b": "TAS-B"}


def table4(rows: Sequence[Baseline], collections: Sequence[str]) -> pd.DataFrame:
    """Measured rows in the form of Table 4, as text.

    What is best of a group is marked. The distilled retriever with the best nDCG@10 on a collection is the reference there: all
    rows without a teacher are tested for equivalence to it by paired TOST within 0.05, with Bonferroni correction for the tests of
    a column, and have a dagger where they are equivalent.

    Args:
        rows: of any origin.
        collections: names of the evaluation collections, in order; a dash stands where a row was not measured.

    Returns:
        A row for each; columns of two levels: ``system`` with group, loss, sampling, in-batch and origin; each collection with
        nDCG@10 and Recall@1000; ``training`` with the triples seen.
    """
    means = {name: {number: row.mean(name) for number, row in enumerate(rows) if name in row.evaluations} for name in collections}
    columns = {name: paper_measures(next(iter(means[name].values())).mean, FULL_RANKING) for name in collections}
    alike = {(name, measure): _equivalent(rows, means[name], measure) for name in collections for measure in columns[name]}
    lines = []
    for number, row in enumerate(rows):
        scores = {}
        for name, measure in alike:
            if name in row.evaluations:
                values = [each.mean[measure] for each in row.evaluations[name]]
                spread = float(np.ptp(values)) / 2 if len(values) > 1 else None
                scores[name, measure] = (float(np.mean(values)), spread, DAGGER if number in alike[name, measure] else "")
        lists = bool(row.results) and bool(row.results[0].experiment.lists)
        seen = DASH if row.triples is None else f"{row.triples:,}{', some as lists' if lists else ''}"
        lines.append(_Line(row.group, (row.group, row.loss, row.sampling, row.in_batch, row.origin), scores, seen))
    return _as_text(lines, list(alike), digits=3)


def fine_tuning_gains(rows: Sequence[Baseline], collections: Sequence[str]) -> pd.DataFrame:
    """What tuning and fine-tuning gain: scores of some rows of Table 4 less those of others.

    Returns:
        A row for each comparison, as text: the tuned static target over target 1, and every trained row over the encoder before
        fine-tuning. Columns of two levels: ``gain`` with ``of`` and ``over``; each collection with nDCG@10 and Recall@1000.
    """
    trained = [row for row in rows if row.triples and row.origin == MEASURED]
    tuned = [row for row in trained if row.group == NONE and row.loss.startswith("static, tuned")]
    pairs = [(row, one) for one in rows if one.loss == ONE for row in tuned]
    pairs += [(row, before) for before in rows if before.loss == BEFORE for row in trained]
    made = []
    for row, other in pairs:
        line = {("gain", "of"): row.loss, ("gain", "over"): other.loss}
        for name in collections:
            ours, theirs = row.mean(name).mean, other.mean(name).mean
            line |= {(name, each): f"{ours[each] - theirs[each]:+.3f}" for each in paper_measures(ours, FULL_RANKING)}
        made.append(line)
    return two_levels(made)


def published4() -> pd.DataFrame:
    """The paper's own Table 4 in the form of `table4`; rows that the paper took from other works say from which."""
    columns = {
        (year, score): (f"{name}, all of MS MARCO", measure)
        for year, name in published.SETS.items()
        for score, measure in published.SCORES.items()
    }
    lines = []
    for row in published.table4().to_dict("records"):
        alike = row["equivalent_to_best_reproduced_tasb"]
        scores = {
            column: (row[f"{year}_{score}"], None, DAGGER if alike == "all" or f"{year}_{score}" in alike.split() else "")
            for (year, score), column in columns.items()
        }
        origin = f"{QUOTED} {_NAMES[row['source']]}" if row["quoted"] else PUBLISHED
        loss = _LOSSES.get(row["loss"], row["loss"]) + (" (reference of the tests)" if alike == "reference run" else "")
        used, seen = (DASH, DASH), DASH
        if pd.notna(row["uses_batch"]):
            used = (_SAMPLING[row["batch_sampling"]], yes_or_no(row["uses_batch"]))
            seen = f"{'≈ ' if row['quoted'] else ''}{row['triples_millions']:.1f} million"
        block = f"{row['group']} {row['source'] if row['group'] == TEACHER else ''}"
        lines.append(_Line(block, (row["group"], loss, *used, origin), scores, seen))
    return _as_text(lines, list(columns.values()), digits=2)


def together(measured: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Both tables in one, for export: every row has its origin, and dashes in the columns of the other table's collections."""
    seen = ("training", "triples seen")
    joined = pd.concat([measured, published], ignore_index=True).fillna(DASH)
    return joined[[column for column in joined.columns if column != seen] + [seen]]


@dataclass(frozen=True)
class _Line:
    """A row before it is text: its block, its words, (mean, spread, dagger) by column, triples."""

    block: str
    words: tuple[str, ...]
    scores: dict[tuple[str, str], tuple[float, float | None, str]]
    triples: str


def _as_text(lines: Sequence[_Line], columns: Sequence[tuple[str, str]], digits: int) -> pd.DataFrame:
    best: dict[tuple[str, tuple[str, str]], float] = {}
    for line in lines:
        for column, (mean, _, _) in line.scores.items():
            best[line.block, column] = max(mean, best.get((line.block, column), mean))
    made = []
    for line in lines:
        row = dict(zip([("system", name) for name in WORDS], line.words, strict=True))
        for column in columns:
            row[column] = DASH
            if column in line.scores:
                mean, spread, dagger = line.scores[column]
                marks = [dagger, BEST if mean >= best[line.block, column] - 1e-12 else ""]
                row[column] = cell(mean, spread, " ".join(mark for mark in marks if mark), digits)
        made.append({**row, ("training", "triples seen"): line.triples})
    return two_levels(made)


def _equivalent(rows: Sequence[Baseline], means: Mapping[int, Evaluation], measure: str) -> set[int]:
    """Places of the rows that are equivalent to the best distilled retriever, none where there is no such retriever."""
    distilled = [number for number in means if rows[number].group == TEACHER and rows[number].retrieves]
    if not distilled:
        return set()
    reference = max(distilled, key=lambda number: means[number].mean[MEASURE])
    tested = {str(number): each for number, each in means.items() if number == reference or rows[number].group != TEACHER}
    compared = compare(tested, measure, reference=str(reference))
    return {int(number) for number in compared.index[compared.equivalent]}
