"""What collections are made of: documents, graded judgments, training triples and runs."""

from __future__ import annotations

from typing import NamedTuple

Qrels = dict[str, dict[str, int]]
"""Query id -> document id -> grade."""

Run = dict[str, dict[str, float]]
"""Query id -> document id -> score."""

Triple = tuple[str, str, str]
"""Ids of a query, a relevant (positive) document and one that is not (negative)."""


class Document(NamedTuple):
    """A document, passage or whatever else is retrieved."""

    id: str
    text: str
