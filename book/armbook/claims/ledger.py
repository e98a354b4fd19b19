"""The claims ledger: every claim of the paper, judged by its own tables, by MS MARCO in miniature, and by this copy of the book."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from armbook import miniature, published, tables
from armbook.claims.measured import measured_verdicts
from armbook.claims.published import published_verdicts
from armbook.claims.sources import Source
from armbook.claims.verdicts import DOES_NOT_HOLD, HOLDS, NOT_TRAINED, UNDECIDED, Claim, Verdict, claims
from armbook.claims.wording import counted
from armbook.tables import yes_or_no

NAME = "claims-ledger"
PUBLISHED = "the paper's tables"
LACKING = f"of these {NOT_TRAINED}"
VERDICTS = (HOLDS, DOES_NOT_HOLD, UNDECIDED)
CHAPTERS = {
    "3": "12_ablations",
    "5.1": "04_static_targets",
    "5.2": "05_adaptive_targets",
    "5.3": "06_distributed_targets",
    "5.4": "08_comparison",
}
"""By section of the paper, the notebook on its claims; the others are in that on baselines."""
OTHERS = "09_baselines"
WITHIN_BATCHES = "07_target_distributions"


@dataclass(frozen=True)
class Row:
    """A claim with its verdicts.

    Attributes:
        claim: the claim.
        verdicts: by column, in the order of the columns.
    """

    claim: Claim
    verdicts: Mapping[str, Verdict]

    @property
    def chapter(self) -> str:
        """The name of the notebook that the claim's evidence is in."""
        if self.claim.evidence in ("Figure 6", "Table 2"):
            return WITHIN_BATCHES
        return CHAPTERS.get(self.claim.section, OTHERS)


def ledger(here: Source, in_miniature: Source | None = None) -> list[Row]:
    """All claims in the order of the paper's sections, with their verdicts.

    Args:
        here: what this copy trained.
        in_miniature: what came with the repository; None where this copy trained on the same collection.
    """
    judged = {PUBLISHED: published_verdicts()}
    measured = ({miniature.NAME: in_miniature} if in_miniature else {}) | {miniature.HERE: here}
    for name, source in measured.items():
        judged[name] = measured_verdicts(source.results, source.profile, source.examples, source.retrievers)
    rows = [Row(claim, {name: verdicts[number] for name, verdicts in judged.items()}) for number, claim in enumerate(claims())]
    return sorted(rows, key=lambda row: _order(row.claim.section))


def _order(section: str) -> tuple[int, ...]:
    """The place of a section in the paper; what is in none comes last."""
    if section == "Abstract":
        return (0,)
    numbers = section.split(".")
    return tuple(map(int, numbers)) if all(each.isdecimal() for each in numbers) else (99,)


def counts(rows: Sequence[Row]) -> pd.DataFrame:
    """How many claims have which verdict.

    Returns:
        A row a column of the ledger: ``judged by``, a column for each of `VERDICTS`, and how many of the undecided are so because
        training runs are missing.
    """
    found = []
    for name in rows[0].verdicts:
        verdicts = [row.verdicts[name] for row in rows]
        number = {each: sum(one.verdict == each for one in verdicts) for each in VERDICTS}
        found.append({"judged by": name, **number, LACKING: sum(one.reason == NOT_TRAINED for one in verdicts)})
    return pd.DataFrame(found)


def answer(rows: Sequence[Row]) -> str:
    """What the ledger finds, in a few sentences of Markdown."""
    table = counts(rows).set_index("judged by")
    told = [_by_tables(rows, table.loc[PUBLISHED]), *(_by_training(name, table.loc[name]) for name in table.index[1:])]
    told += [_beside(rows, name) for name in table.index[1:]]
    return " ".join(filter(None, told))


def _by_tables(rows: Sequence[Row], number: pd.Series) -> str:
    holds, fails, undecided = (int(number[each]) for each in VERDICTS)
    drawn = sum(row.claim.evidence.startswith("Figure") for row in rows if row.verdicts[PUBLISHED].verdict == UNDECIDED)
    why = f", {'all' if drawn == undecided else drawn} of them because only a figure shows them" if drawn else ""
    return (
        f"Of {counted(len(rows), 'claim')}, the paper's own tables bear out **{holds}**, contradict **{fails}** and leave "
        f"**{undecided}** undecided{why}."
    )


def _by_training(name: str, number: pd.Series) -> str:
    holds, fails, undecided, lacking = (int(number[each]) for each in (*VERDICTS, LACKING))
    subject = "In miniature" if name == miniature.NAME else "In this copy"
    why = f", {'all' if lacking == undecided else lacking} of them for want of training runs" if lacking else ""
    verbs = f"**{holds}** {'holds' if holds == 1 else 'hold'}, **{fails}** {'does' if fails == 1 else 'do'} not"
    return f"{subject} {verbs} and **{undecided}** {'is' if undecided == 1 else 'are'} undecided{why}."


def _beside(rows: Sequence[Row], name: str) -> str:
    """A sentence on the claims that both the paper's tables and another column decide."""
    both = [row for row in rows if UNDECIDED not in (row.verdicts[PUBLISHED].verdict, row.verdicts[name].verdict)]
    differ = [row for row in both if row.verdicts[PUBLISHED].verdict != row.verdicts[name].verdict]
    if not both:
        return ""
    where = "the miniature" if name == miniature.NAME else "this copy"
    agree = len(both) - len(differ)
    return f"Where the tables and {where} both decide, they agree on {agree} of {counted(len(both), 'claim')}."


def frame(rows: Sequence[Row]) -> pd.DataFrame:
    """The ledger as a table to export.

    Returns:
        Index ``id``; columns ``section``, ``claim``, ``printed in``, and for each column of the ledger the verdict under its name,
        then, with the name in front, ``reason``, ``evidence`` (the cases in it), ``scope`` and ``keys`` (with spaces between).
    """
    made = []
    for row in rows:
        each = {"id": row.claim.id, "section": row.claim.section, "claim": row.claim.claim, "printed in": row.claim.evidence}
        for name, verdict in row.verdicts.items():
            each |= {
                name: verdict.verdict,
                f"{name}: reason": verdict.reason,
                f"{name}: evidence": " | ".join([verdict.evidence, *verdict.cases]),
                f"{name}: scope": verdict.scope,
                f"{name}: keys": " ".join(verdict.keys),
            }
        made.append(each)
    return pd.DataFrame(made).set_index("id")


def save(rows: Sequence[Row]) -> list[Path]:
    """Export a ledger as CSV and LaTeX, as `armbook.tables.save` does."""
    return tables.save(frame(rows), NAME)


def disagreements() -> pd.DataFrame:
    """Scores of the same distilBERT variant that Tables 3 and 4 print differently, in words."""
    found = published.disagreements()
    sets, measures = zip(*(score.split("_") for score in found.score), strict=True) if len(found) else ((), ())
    return pd.DataFrame(
        {
            "target": found.target,
            "in-batch": [yes_or_no(bool(each)) for each in found.in_batch],
            "collection": [published.SETS[each] for each in sets],
            "measure": [published.SCORES[each] for each in measures],
            "Table 3": [f"{each:.3f}" for each in found.table3],
            "Table 4": [f"{each:.2f}" for each in found.table4],
        }
    )
