"""Table 3 computed again from run files of the paper's models: scores, bold and daggers, beside those that the paper printed."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from armbook import published
from armbook.authors_runs import Place, find_runs, judgments_file
from armbook.comparison import marks
from armbook.results import VARIANTS, named, variant_name
from armbook.sentences import capital
from armbook.tables import BEST, cell, two_levels, yes_or_no
from armlib.data.types import Qrels
from armlib.errors import InputError
from armlib.evaluation.equivalence import DAGGER, compare
from armlib.evaluation.measures import Evaluation, measure_runs
from armlib.names import read_qrels

MEASURES = {"ndcg10": "nDCG@10", "r1000": "R(rel=2)@1000"}
JUDGED = {"dl19": 43, "dl20": 54}  # queries (section 5.4 of the paper)
JUDGMENTS = {year: f"msmarco-passage/trec-dl-20{year[2:]}/judged" for year in JUDGED}  # in ir_datasets
PRINTED = {"best": BEST, "yes": DAGGER, "no": ""}
DIGITS = 3  # of the printed scores


@dataclass(frozen=True)
class Recomputed:
    """What run files of Table 3 were measured to have.

    Attributes:
        files: the run files, by their places.
        evaluations: by (model, year), the five variants by name.
        notes: what was unusual in the files, a sentence each.
    """

    files: dict[Place, Path] = field(default_factory=dict)
    evaluations: dict[tuple[str, str], dict[str, Evaluation]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def recompute(folder: str | Path) -> Recomputed:
    """Measure the run files of a folder by the official judgments of TREC-DL.

    Args:
        folder: as `armbook.authors_runs.find_runs` takes it; empty for none, then nothing is read. Judgments are files in it whose
            names have *qrels* and the year, else those of ir_datasets, which may download them.

    Raises:
        InputError: what `armbook.authors_runs.find_runs` raises; judgments are not those of 43 or 54 queries; a run file is
            damaged or shares no query with its judgments.
    """
    if not str(folder):
        return Recomputed()
    files, groups, notes = find_runs(folder), dict[tuple[str, str], dict[str, Evaluation]](), list[str]()
    judgments = {year: _judgments(folder, year) for year in dict.fromkeys(place.year for place in files)}
    for place, file in files.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            name = os.path.relpath(file, os.path.expanduser(folder))
            measured = measure_runs({name: file}, judgments[place.year], list(MEASURES.values()))[name]
        notes += [str(each.message).replace(str(file), name) for each in caught]
        groups.setdefault((place.model, place.year), {})[variant_name(place.target, place.in_batch)] = measured
    return Recomputed(files, groups, tuple(dict.fromkeys(notes)))


def _judgments(folder: str | Path, year: str) -> Qrels:
    source = judgments_file(folder, year) or JUDGMENTS[year]
    qrels = read_qrels(source)
    if len(qrels) != JUDGED[year]:
        raise InputError(
            f"the judgments of {published.SETS[year]} in {Path(source).name if isinstance(source, Path) else source} are of "
            f"{len(qrels)} queries; expected the official ones, of {JUDGED[year]}"
        )
    return qrels


def recomputed_scores(found: Recomputed) -> pd.DataFrame:
    """Scores and marks as printed and as computed from run files.

    Every variant is tested against the best of its encoder, year and measure as in section 5.4 of the paper: paired TOST within
    0.05, p below 0.05 after Bonferroni correction for the four tests of the group.

    Returns:
        A row for each model, variant, year and measure: ``model``, ``target``, ``in_batch``, ``year``, ``score`` (keys of
        `armbook.published.SETS` and `MEASURES`), ``printed``, ``printed mark``, ``computed``, ``computed mark``, ``corrected p``
        (missing for the best) and ``same``: the score to three digits and the mark are as printed.
    """
    rows = []
    for (model, year), evaluations in found.evaluations.items():
        for score, measure in MEASURES.items():
            compared = compare(evaluations, measure)
            marked = marks(compared)
            for target, in_batch in VARIANTS:
                name, printed = variant_name(target, in_batch), published.variant3(model, target, in_batch)
                row = {"model": model, "target": target, "in_batch": in_batch, "year": year, "score": score}
                row |= {"printed": printed[f"{year}_{score}"], "printed mark": PRINTED[printed[f"{year}_{score}_equivalent"]]}
                row |= {"computed": compared.loc[name, "mean"], "computed mark": marked[name]}
                row["corrected p"] = compared.loc[name, "corrected p"]
                same = f"{row['computed']:.{DIGITS}f}" == f"{row['printed']:.{DIGITS}f}"
                rows.append(row | {"same": same and row["computed mark"] == row["printed mark"]})
    return pd.DataFrame(rows)


def recomputed_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Table 3 with each score as printed and as computed from the run files, as text for `armbook.tables.show`.

    Args:
        scores: as `recomputed_scores` gives them.
    """
    rows = []
    for (model, target, in_batch), part in scores.groupby(["model", "target", "in_batch"], sort=False):
        row = {("model", "encoder"): model, ("model", "target"): target}
        row["model", "in-batch"] = yes_or_no(published.variant3(model, target, in_batch)["uses_batch"])
        for each in part.to_dict("records"):
            column = f"{published.SETS[each['year']]}, {_spoken(each['score'])}"
            row[column, "printed"] = cell(each["printed"], None, each["printed mark"])
            row[column, "run files"] = cell(each["computed"], None, each["computed mark"])
        rows.append(row)
    return two_levels(rows)


def differing(scores: pd.DataFrame) -> pd.DataFrame:
    """Where the run files give another score at the printed digits, or another mark, as text; the largest differences first."""
    other = scores[~scores.same]
    other = other.reindex((other.computed - other.printed).abs().sort_values(ascending=False, kind="stable").index)
    rows = [
        {
            "variant": named(each["model"], each["target"], each["in_batch"]),
            "score": f"{_spoken(each['score'])}, {published.SETS[each['year']]}",
            "printed": cell(each["printed"], None, each["printed mark"]),
            "run files": cell(each["computed"], None, each["computed mark"]),
            "difference": f"{each['computed'] - each['printed']:+.{DIGITS}f}",
        }
        for each in other.to_dict("records")
    ]
    return pd.DataFrame(rows, columns=["variant", "score", "printed", "run files", "difference"])


def recomputed_in_words(found: Recomputed, scores: pd.DataFrame) -> str:
    """What the run files confirm of the printed table, in Markdown.

    Args:
        found: the run files.
        scores: their `recomputed_scores`.
    """
    equal = [f"{a:.{DIGITS}f}" == f"{b:.{DIGITS}f}" for a, b in zip(scores.printed, scores.computed, strict=True)]
    kept = int((scores["printed mark"] == scores["computed mark"]).sum())
    lines = [
        f"Of {len(scores)} printed scores, {_count(sum(equal), len(scores))} from the run files, to the third digit."
        + ("" if all(equal) else f" {_largest(scores)}"),
        f"Bold, dagger or neither is as printed in {_share(kept, len(scores))}.",
    ]
    missing = [
        f"{model} on {name}"
        for year, name in published.SETS.items()
        for model in published.MODELS
        if (model, year) not in found.evaluations
    ]
    if missing:
        lines.append(f"The folder has no runs of {', '.join(missing)}.")
    return " ".join([*lines, *(f"{capital(note)}." for note in found.notes)])


def _count(count: int, of: int) -> str:
    return "all follow" if count == of else "none follows" if count == 0 else f"{count} follow{'s' if count == 1 else ''}"


def _share(count: int, of: int) -> str:
    return f"all {of} cases" if count == of else f"{count} of {of} cases"


def _largest(scores: pd.DataFrame) -> str:
    row = scores.loc[(scores.computed - scores.printed).abs().idxmax()]
    return (
        f"The largest difference is {row.computed - row.printed:+.{DIGITS}f}: {_spoken(row.score)} of "
        f"{Place(row.model, row.target, bool(row.in_batch), row.year)}."
    )


def _spoken(score: str) -> str:
    return {"ndcg10": "nDCG@10", "r1000": "R@1000"}[score]
