"""What came out of the search for a static target, in sentences and in a table of counts; every sentence is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from armbook.results import SATURATED, headed, hits_measure
from armbook.side_by_side import OPENINGS, PUBLISHED, titled
from armbook.static_targets import DEFAULT, NEGATIVES, PUBLISHED_TARGETS, swept
from armbook.style import short_name
from armbook.tables import DASH, listed
from armlib.evaluation.evaluate import RERANKING
from armlib.experiments.result import Result
from armlib.losses import parse_target
from armlib.training.settings import MEASURE

KINDS = {NEGATIVES[False]: "without in-batch negatives", NEGATIVES[True]: "with in-batch negatives"}
MUCH = 0.1  # nDCG@10 (section 5.1)
Tables = Mapping[str, pd.DataFrame]


def answer(tables: Tables) -> str:
    """The chapter's answer in Markdown, a paragraph for each source.

    Args:
        tables: by source, as `armbook.static_targets.sweep_table` gives them.
    """
    return "\n\n".join(
        f"**{OPENINGS[source]}**, {_gain(table)} {_values(table)} {_negatives(table)}" for source, table in tables.items()
    )


def _gain(table: pd.DataFrame) -> str:
    ndcg = table[table.measure == MEASURE]
    if ndcg.gain.isna().any():
        return f"no training run had the default target of {DEFAULT:g}, so that nothing can be said of a gain over it."
    gains = ndcg["tuned gain"]
    better, mean = int((gains > 0).sum()), gains.mean()
    if (gains == 0).all():
        return f"validation chooses the default target of {DEFAULT:g} every time, so that tuning gains nothing."
    change = f"on average nDCG@10 {'rises' if mean >= 0 else 'falls'} by {abs(mean):.3f} ({gains.min():+.3f} to {gains.max():+.3f})"
    if better == len(gains):
        return f"a static target chosen by validation beats the default of {DEFAULT:g} every time: {change}."
    if not better:
        return f"a static target chosen by validation never beats the default of {DEFAULT:g}: {change}."
    return f"a static target chosen by validation beats the default of {DEFAULT:g} in {better} of {len(gains)} cases: {change}."


def _values(table: pd.DataFrame) -> str:
    ndcg = table[table.measure == MEASURE]
    parts, same = [], True
    for negatives, part in ndcg.groupby("negatives", sort=False):
        by_value: dict[float, list[str]] = {}
        for row in part.to_dict("records"):
            by_value.setdefault(row["best target"], []).append(short_name(row["encoder"]))
        same &= len(by_value) == 1
        named = [f"{value:g}" + (f" ({', '.join(by_value[value])})" if len(by_value) > 1 else "") for value in sorted(by_value)]
        parts.append(f"{' or '.join(named)} {KINDS[str(negatives)]}")
    if ndcg.encoder.nunique() == 1:
        values = ndcg["best target"].unique()
        said = f"{values[0]:g} with and without in-batch negatives" if len(values) == 1 and len(parts) == 2 else ", ".join(parts)
        return f"The best target by nDCG@10 is {said}."
    lead = "All encoders have the same best target by nDCG@10" if same else "The best target by nDCG@10 differs between encoders"
    return f"{lead}: {', '.join(parts)}."


def _negatives(table: pd.DataFrame) -> str:
    gaps = _gaps(table)
    if gaps is None:
        return ""
    gaps = gaps.xs(MEASURE, level="measure")
    higher, count = int((gaps > 0).sum()), len(gaps)
    span = f"{gaps.min():+.3f}" if count == 1 else f"{gaps.min():+.3f} to {gaps.max():+.3f}"
    if not higher:
        return f"In-batch negatives never raise the best nDCG@10 ({span})."
    whose = "" if count == 1 else " for every encoder" if higher == count else f" for {higher} of {count} encoders"
    return f"In-batch negatives raise the best nDCG@10{whose} ({span})."


def statements(tables: Tables) -> pd.DataFrame:
    """What section 5.1 reads from Figure 3, counted in every source; of the figure the paper prints no numbers.

    Args:
        tables: as for `answer`.

    Returns:
        A row for each statement: ``section 5.1``, ``published`` in the paper's words, and for each source text such as ``5 of 6``.
    """
    said = {
        "the best target beats 1": "all",
        f"by more than {MUCH:g} nDCG@10": "almost all",
        "encoders share their best target": "none",
        "nDCG@10 and the other measure have different best targets": "all",
        "in-batch negatives raise the best score": "none",
    }
    rows = [{"section 5.1": statement, PUBLISHED: words} for statement, words in said.items()]
    for source, table in tables.items():
        for row, count in zip(rows, _counts(table), strict=True):
            row[source] = count
    return pd.DataFrame(rows)


def _counts(table: pd.DataFrame) -> list[str]:
    ndcg = table[table.measure == MEASURE]
    best = table.pivot(index=["encoder", "negatives"], columns="measure", values="best target")
    other = next(name for name in best if name != MEASURE)
    groups = table.groupby(["negatives", "measure"])["best target"]
    known, gaps = table.gain.notna(), _gaps(table)
    shared = sum(values.nunique() == 1 for _, values in groups)
    return [
        f"{int((table.gain[known] > 0).sum())} of {len(table)}" if known.all() else DASH,
        f"{int((ndcg.gain > MUCH).sum())} of {len(ndcg)}" if known.all() else DASH,
        f"{shared} of {groups.ngroups}" if table.encoder.nunique() > 1 else DASH,
        f"{int((best[MEASURE] != best[other]).sum())} of {len(best)}",
        DASH if gaps is None else f"{int((gaps > 0).sum())} of {len(gaps)}",
    ]


def values_in_words(shown: Mapping[str, Sequence[Result]]) -> str:
    """Which static targets were tried, by the paper and in every source, in Markdown."""
    partial, lines = False, [f"The paper tries {len(PUBLISHED_TARGETS)} targets, from 0 to 1 in steps of 0.1."]
    for source, results in shown.items():
        found = sorted({parse_target(result.experiment.target).value for result in results})
        if found == sorted(PUBLISHED_TARGETS):
            lines.append(f"{OPENINGS[source]} they are the same.")
        else:
            lines.append(f"{OPENINGS[source]} there {'is' if len(found) == 1 else 'are'} {len(found)}: {listed(found)}.")
        partial |= not set(PUBLISHED_TARGETS) <= set(found)
    if partial:
        lines.append("A best target that lies between those would be missed.")
    return " ".join(lines)


def scores_shown(shown: Mapping[str, Sequence[Result]], collections: Mapping[str, str]) -> str:
    """Which scores the figure shows of each source, in Markdown; where recall takes the place of hits, with the reason."""
    places: dict[tuple[str, str], list[str]] = {}
    for source, results in shown.items():
        mode, measure = hits_measure(swept(results), collections[source])
        opening = OPENINGS[source]
        where = f"{opening[0].lower()}{opening[1:]} on {titled(collections[source])}"
        places.setdefault((mode, headed(measure)), []).append(where)
    lines = []
    for (mode, measure), found in places.items():
        where = ", ".join(found)
        if mode == RERANKING:
            lines.append(f"Scores are {MEASURE} and {measure} of re-ranking: {where}.")
        else:
            lines.append(f"Scores are {MEASURE} of re-ranking and, in place of Hits@100, {measure} of full ranking: {where}.")
            share = f"at least {SATURATED:.0%} of what the first stage allows"
            lines.append(f"Hits@100 would tell nothing apart there, since every result has {share}.")
    return " ".join(lines)


def meaning(tables: Tables, collections: Mapping[str, str]) -> str:
    """What the search costs and what it finds, and how sure that is, in Markdown.

    Args:
        tables: as for `answer`.
        collections: by source, what is shown of it.
    """
    lines = []
    for source, table in tables.items():
        ndcg, seeds = table[table.measure == MEASURE], int(table.seeds.min())
        agree = int((ndcg["best target"] == ndcg["tuned target"]).sum())
        means = "one seed each, so that seeds may explain small gaps" if seeds == 1 else f"means over {seeds} seeds"
        lines.append(
            f"{OPENINGS[source]}, validation chooses the target that is best on {titled(collections[source])} in {agree} of "
            f"{len(ndcg)} cases ({means})."
        )
    return " ".join(lines)


def _gaps(table: pd.DataFrame) -> pd.Series | None:
    """By encoder and measure, the best score with in-batch negatives less that without; None where one kind is missing."""
    scores = table.pivot(index=["encoder", "measure"], columns="negatives", values="at best")
    if set(scores) != set(NEGATIVES.values()):
        return None
    return (scores[NEGATIVES[True]] - scores[NEGATIVES[False]]).dropna().round(9)  # what is less is rounding, no difference
