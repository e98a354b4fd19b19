"""Table 4 as text, as the paper published it and as it was measured here, in the same columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
import pandas as pd

from armbook import published
from armbook.baselines import FROM_RUN, ONE, RERANKED, Baseline
from armbook.comparison import paper_measures
from armbook.counts import short_count
from armbook.results import headed
from armbook.table4_sources import Source
from armbook.tables import BEST, DASH, two_levels, yes_or_no
from armbook.tuned_losses import BEYOND, NONE, RANDOM, SELF, TEACHER
from armlib.evaluation.equivalence import DAGGER, compare
from armlib.evaluation.evaluate import FULL_RANKING
from armlib.evaluation.measures import Evaluation
from armlib.training.settings import MEASURE

WORDS = ("group", "loss", "batches", "in-batch")
MARKS = {FROM_RUN: " (run file)", RERANKED: " (re-ranks)"}
GROUPS = {SELF: "self", TEACHER: "teacher", NONE: "none", BEYOND: "beyond"}
_NAMES = {"Hofstatter et al. 2021": "Hofstätter 2021", "Wang and Zuccon 2023": "Wang 2023"}
LOSSES = {"bm25": "BM25", "margin-mse": "MarginMSE", "static eps=1": ONE, "static tuned": "static, tuned"}
_SAMPLING = {"random": RANDOM, "tas-b": "TAS-B"}
Column = tuple[str, str]


def table4(source: Source) -> pd.DataFrame:
    """Measured rows in the form of Table 4, as text; scores are means over seeds.

    What is best of a group is marked. The distilled retriever with the best nDCG@10 on a collection is the reference there: all
    rows without a teacher are tested for equivalence to it by paired TOST within 0.05, with Bonferroni correction for the tests of
    a column, and have a dagger where they are equivalent.

    Returns:
        A row for each; columns of two levels: ``system`` with group, loss, batches and in-batch; each collection with nDCG@10 and
        R@1000, with a dash where a row was not measured; ``training`` with the triples seen.
    """
    means = {
        name: {n: row.mean(name) for n, row in enumerate(source.rows) if name in row.evaluations} for name in source.collections
    }
    measures = {name: paper_measures(next(iter(means[name].values())).mean, FULL_RANKING) for name in source.collections}
    alike = {(name, each): _equivalent(source.rows, means[name], each) for name in source.collections for each in measures[name]}
    lines = []
    for number, row in enumerate(source.rows):
        scores = {
            (name, headed(measure)): (means[name][number].mean[measure], DAGGER if number in same else "")
            for (name, measure), same in alike.items()
            if name in row.evaluations
        }
        lists = bool(row.results) and bool(row.results[0].experiment.lists)
        seen = DASH if row.triples is None else f"{short_count(row.triples)}{', some as lists' if lists else ''}"
        loss = row.loss + MARKS.get(row.origin, "")
        lines.append(_Line(row.group, (GROUPS[row.group], loss, row.sampling, row.in_batch), scores, seen))
    return _as_text(lines, WORDS, [(name, headed(measure)) for name, measure in alike], 3)


def published4() -> pd.DataFrame:
    """The paper's own Table 4 in the form of `table4`, with a column ``source`` behind the others of ``system``."""
    columns = {
        f"{year}_{score}": (name, headed(measure))
        for year, name in published.SETS.items()
        for score, measure in published.SCORES.items()
    }
    lines = []
    for row, printed in zip(published.table4().to_dict("records"), _printed_triples(), strict=True):
        alike = row["equivalent_to_best_reproduced_tasb"]
        scores = {
            column: (row[name], DAGGER if alike == "all" or name in alike.split() else "") for name, column in columns.items()
        }
        used, seen = (DASH, DASH), DASH
        if pd.notna(row["uses_batch"]):
            used = (_SAMPLING[row["batch_sampling"]], yes_or_no(row["uses_batch"]))
            seen = f"{'≈ ' if row['quoted'] else ''}{printed}M"
        block = f"{row['group']} {row['source'] if row['group'] == TEACHER else ''}"
        loss = LOSSES.get(row["loss"], row["loss"]) + (" (reference)" if alike == "reference run" else "")
        origin = _NAMES.get(row["source"], "the paper")
        lines.append(_Line(block, (GROUPS[row["group"]], loss, *used, origin), scores, seen))
    return _as_text(lines, (*WORDS, "source"), list(columns.values()), 2)


def _printed_triples() -> list[str]:
    """Millions of triples with the digits that the paper prints."""
    with (resources.files("armbook") / "published" / "table4.csv").open(encoding="utf8") as file:
        return pd.read_csv(file, dtype=str).triples_millions.tolist()


@dataclass(frozen=True)
class _Line:
    """A row before it is text: its block, its words, (mean, dagger) by column, triples."""

    block: str
    words: tuple[str, ...]
    scores: dict[Column, tuple[float, str]]
    triples: str


def _as_text(lines: Sequence[_Line], words: Sequence[str], columns: Sequence[Column], digits: int) -> pd.DataFrame:
    best: dict[tuple[str, Column], float] = {}
    for line in lines:
        for column, (mean, _) in line.scores.items():
            best[line.block, column] = max(mean, best.get((line.block, column), mean))
    made = []
    for line in lines:
        row = dict(zip([("system", name) for name in words], line.words, strict=True))
        for column in columns:
            row[column] = DASH
            if column in line.scores:
                mean, dagger = line.scores[column]
                marks = [dagger, BEST if mean >= best[line.block, column] - 1e-12 else ""]
                row[column] = " ".join([f"{mean:.{digits}f}", *(mark for mark in marks if mark)])
        made.append({**row, ("training", "triples"): line.triples})
    return two_levels(made)


def caption(name: str, source: Source) -> str:
    """The caption of a measured Table 4, for the name of its source."""
    spread = f"half the range at most {widest_seeds(source):.3f} {MEASURE}"
    return (
        f"Table 4 measured in {name}: full ranking, means over seeds ({spread}). "
        f"*Beyond*: not in the paper. Bold: best of a group; {DAGGER}: equivalent to the best student of a teacher."
    )


def widest_seeds(source: Source) -> float:
    """The largest half range over seeds of any nDCG@10 of Table 4; 0 where every row has one seed."""
    found = [one for row in source.trained for one in row.evaluations.values()]
    spreads = [float(np.ptp([each.mean[MEASURE] for each in one])) / 2 for one in found]
    return max(spreads, default=0.0)


def _equivalent(rows: Sequence[Baseline], means: Mapping[int, Evaluation], measure: str) -> set[int]:
    """Places of the rows that are equivalent to the best distilled retriever, none where there is no such retriever."""
    distilled = [number for number in means if rows[number].group == TEACHER and rows[number].retrieves]
    if not distilled:
        return set()
    reference = max(distilled, key=lambda number: means[number].mean[MEASURE])
    tested = {str(number): each for number, each in means.items() if number == reference or rows[number].group != TEACHER}
    compared = compare(tested, measure, reference=str(reference))
    return {int(number) for number in compared.index[compared.equivalent]}
