"""Training queries kept from training, to validate on."""

from __future__ import annotations

import hashlib
import heapq
import warnings
from collections.abc import Iterable

from armlib.data.collection import Collection
from armlib.data.corpus import Corpus
from armlib.data.types import Qrels
from armlib.errors import InputError


class HeldOut(Collection):
    """Some training queries of a collection, with their judgments, to validate on; BM25's best 100 are re-ranked."""

    first_stage_depth = 100

    def __init__(self, source: Collection, chosen: Iterable[str]) -> None:
        self.source = source
        self.chosen = tuple(chosen)
        self.name = f"{source.name} ({len(self.chosen)} queries held out)"
        self.relevant_from = source.relevant_from

    @property
    def corpus(self) -> Corpus:
        return self.source.corpus

    def queries(self) -> dict[str, str]:
        texts = self.source.queries()
        return {query: texts[query] for query in self.chosen}

    def qrels(self) -> Qrels:
        judged = self.source.qrels()
        return {query: judged[query] for query in self.chosen}


def hold_out(collection: Collection, count: int) -> HeldOut:
    """Set training queries aside for early stopping: those whose ids have the smallest SHA-1, so always the same.

    Only queries that have a text and a relevant document are chosen. Training must leave out the triples of those
    that `HeldOut.chosen` names.

    Args:
        collection: what is trained on.
        count: how many queries to set aside; of a collection with less than twice as many, a fifth of its queries.

    Raises:
        InputError: ``count`` is not positive, or there are fewer than two training queries.

    Warns:
        UserWarning: fewer are set aside; says how many.
    """
    queries = collection.queries()
    usable = [
        query
        for query, grades in collection.qrels().items()
        if query in queries and max(grades.values(), default=0) >= collection.relevant_from
    ]
    if count < 1 or len(usable) < 2:
        raise InputError(
            f"cannot hold out {count} queries of {collection.name}, which has {len(usable)} with a relevant document; expected at "
            "least 1 of at least 2"
        )
    if count > len(usable) // 2:
        fewer = max(1, len(usable) // 5)
        warnings.warn(
            f"{fewer} of the {len(usable)} queries of {collection.name} with a relevant document are held out to validate on, not "
            f"{count}, so that enough are left to train on",
            stacklevel=2,
        )
        count = fewer
    return HeldOut(collection, heapq.nsmallest(count, usable, key=lambda query: hashlib.sha1(query.encode()).digest()))
