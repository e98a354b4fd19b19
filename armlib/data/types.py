"""What collections are made of: documents, graded judgments, training triples and runs."""

from __future__ import annotations

from typing import NamedTuple

Qrels = dict[str, dict[str, int]]
"""Query id to document id to grade."""

HIGHEST_GRADE = 10_000
"""Grades beyond this, and below its negative, are refused: trec_eval counts the documents of every grade up to the highest one,
for each query and measure, so that 10^8 takes a minute and a gigabyte, and it loses all grades where one exceeds 32 bits."""

Run = dict[str, dict[str, float]]
"""Query id -> document id -> score."""

Triple = tuple[str, str, str]
"""Ids of a query, a relevant (positive) document and one that is not (negative)."""


class Document(NamedTuple):
    """A document, passage or whatever else is retrieved."""

    id: str
    text: str
