"""The claims ledger: every claim of the paper, judged by the paper's own tables and by what was measured here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from armbook import tables
from armbook.claims.evidence import Example, Retriever
from armbook.claims.measured import measured_verdicts
from armbook.claims.published import published_verdicts
from armbook.claims.verdicts import DOES_NOT_HOLD, HOLDS, UNDECIDED, claims
from armlib.experiments.profile import Profile
from armlib.experiments.result import Result

NAME = "claims-ledger"
SIGNS = {HOLDS: "✓", DOES_NOT_HOLD: "✗", UNDECIDED: "–"}


def ledger(
    results: Sequence[Result], profile: Profile, examples: Sequence[Example] = (), retrievers: Sequence[Retriever] = ()
) -> pd.DataFrame:
    """One row a claim, in the order of the paper's sections.

    Args:
        results: finished experiments, such as `armlib.experiments.store.RunStore.finished` gives.
        profile: whose collection, loss and encoders count.
        examples: batches seen by fine-tuned encoders, for the claims of Table 2.
        retrievers: distilled ones, and those to compare with them that were tuned alike, for the claims of Table 4.

    Returns:
        Index ``id``; columns ``section``, ``claim``, ``published`` (the verdict of the paper's tables), ``published evidence``,
        ``measured`` (the verdict of the results), ``measured evidence``, ``scope`` (profile, collection, settings and seeds that
        the measured verdict holds for) and ``keys`` (of its experiments, with spaces between).
    """
    rows = [
        {
            "id": claim.id,
            "section": claim.section,
            "claim": claim.claim,
            "published": published.verdict,
            "published evidence": published.evidence,
            "measured": measured.verdict,
            "measured evidence": measured.evidence,
            "scope": measured.scope,
            "keys": " ".join(measured.keys),
        }
        for claim, published, measured in zip(
            claims(), published_verdicts(), measured_verdicts(results, profile, examples, retrievers), strict=True
        )
    ]
    return pd.DataFrame(rows).set_index("id")


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """How many claims have which verdict: rows for the verdicts, columns ``published`` and ``measured``."""
    counts = {column: table[column].value_counts() for column in ("published", "measured")}
    return pd.DataFrame(counts).fillna(0).astype(int).rename_axis("verdict")


def side_by_side(table: pd.DataFrame) -> str:
    """The two verdicts of every claim as an HTML table, with a sign before each, so that a glance tells them apart."""
    shown = table[["section", "claim"]].copy()
    for column in ("published", "measured"):
        shown[column] = [f"{SIGNS[verdict]} {verdict}" for verdict in table[column]]
    return shown.to_html(index=False)


def evidence(table: pd.DataFrame, column: str) -> str:
    """The claims with one of their verdicts and its evidence as an HTML table.

    Args:
        table: a ledger.
        column: ``published`` or ``measured``; of a measured verdict it also says what it holds for.
    """
    columns = ["claim", column, f"{column} evidence", *(["scope"] if column == "measured" else [])]
    return table[columns].to_html(index=False)


def save(table: pd.DataFrame) -> list[Path]:
    """Export a ledger as CSV and LaTeX, as `armbook.tables.save` does."""
    return tables.save(table, NAME)
