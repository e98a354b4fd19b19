"""A collection whose queries are split in two, to train on one part and measure on the other."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import cached_property

from armlib.data.collection import Collection
from armlib.data.corpus import Corpus
from armlib.data.types import Qrels, Run, Triple
from armlib.errors import InputError

TRAIN, TEST = "train", "test"
TEST_SHARE = 0.2
NAME = re.compile(rf"(?P<source>.+)#(?P<part>{TRAIN}|{TEST})(\((?P<seed>[0-9]{{1,9}})\))?")
"""How a part of a split is named: ``my/folder#train``, and ``my/folder#train(1)`` for another seed than 0."""


class QuerySplit(Collection):
    """Four fifths of a collection's judged queries to train on, or the other fifth to measure on.

    The queries are put in the order of the SHA-1 of seed and id, the same on every machine; the first fifth is the test part.

    Args:
        source: the collection whose judgments are split; its documents and its first stage are shared.
        part: ``train`` or ``test``.
        seed: of the order.

    Raises:
        InputError: by `queries` and all that needs them: there are fewer than two judged queries.
    """

    def __init__(self, source: Collection, part: str, seed: int = 0) -> None:
        self.source, self.part, self.seed = source, part, seed
        behind = f"({seed})" if seed else ""
        self.name = f"{source.name}#{part}{behind}"
        self.relevant_from, self.first_stage_depth = source.relevant_from, source.first_stage_depth
        self.license = source.license
        self.evaluation = (f"{source.name}#{TEST}{behind}",) if part == TRAIN else ()

    @property
    def corpus(self) -> Corpus:
        return self.source.corpus

    def queries(self) -> dict[str, str]:
        return self._queries

    @cached_property
    def _queries(self) -> dict[str, str]:
        judged = self.source.judged_queries()
        if len(judged) < 2:
            raise InputError(f"{self.source.name} has {len(judged)} judged queries, which cannot be split; expected two at least")
        order = sorted(judged, key=lambda query: hashlib.sha1(f"{self.seed} {query}".encode()).digest())
        count = max(1, round(TEST_SHARE * len(order)))
        chosen = set(order[:count] if self.part == TEST else order[count:])
        return {query: text for query, text in judged.items() if query in chosen}

    def qrels(self) -> Qrels:
        judged = self.source.qrels()
        return {query: judged[query] for query in self.queries()}

    def first_stage(self) -> Run:
        found = self.source.first_stage()
        return {query: found[query] for query in self.queries() if query in found}

    def _own_triples(self) -> Iterator[Triple] | None:
        own = self.source._own_triples() if self._trainable() else None
        return (triple for triple in own if triple[0] in self._queries) if own is not None else None

    def _trainable(self) -> bool:
        return self.part == TRAIN
