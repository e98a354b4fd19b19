"""What a collection is: documents, queries, judgments, training triples and a first stage, all of them lazy."""

from __future__ import annotations

import hashlib
import heapq
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from armlib.bm25 import BM25, RECIPE, mine_negatives
from armlib.cache import kept
from armlib.data.lines import columns, write_columns
from armlib.errors import InputError
from armlib.files import digest

Run = dict[str, dict[str, float]]
Qrels = dict[str, dict[str, int]]
Triple = tuple[str, str, str]


class Document(NamedTuple):
    """A document, passage or whatever else is retrieved."""

    id: str
    text: str


class Collection(ABC):
    """Documents, queries, graded judgments, training triples and a first stage under one name.

    Making one costs nothing; every method reads when it is called. Subclasses give `_documents`, `queries` and
    `qrels`, and `triples` where there is something to train on.

    Attributes:
        name: the full name, as `armlib.data.load_collection` takes it.
        corpus: names the documents: collections with one corpus (and `corpus_fingerprint`) share token stores.
        relevant_from: the lowest grade that binary measures count as relevant.
        validation: name of the collection for early stopping; None: training queries are held out (see `hold_out`).
        evaluation: names of the collections that a model trained on this one is measured on by default.
        first_stage_depth: how many documents a query gets from BM25 in `first_stage`.
    """

    name: str
    corpus: str
    relevant_from: int = 1
    validation: str | None = None
    evaluation: tuple[str, ...] = ()
    first_stage_depth: int = 1000
    _empty_told: bool = False

    def __repr__(self) -> str:
        return f"<collection {self.name}>"

    @abstractmethod
    def _documents(self) -> Iterator[Document]: ...

    @abstractmethod
    def queries(self) -> dict[str, str]:
        """Query id -> text."""

    @abstractmethod
    def qrels(self) -> Qrels:
        """Query id -> document id -> grade."""

    def triples(self) -> Iterator[Triple] | None:
        """Training triples (query id, positive id, negative id), own or mined; None if the collection is to measure on.

        Own triples come in the order of their source, mined ones in that of the judgments; neither is shuffled. Ids of
        own triples are not looked up here: whoever turns them into rows names one that does not exist.
        """
        own = self._own_triples()
        return self._mined_triples() if own is None and self._trainable() else own

    def _own_triples(self) -> Iterator[Triple] | None:
        """The triples that the collection brings, if any."""
        return None

    def _trainable(self) -> bool:
        """Whether triples are mined from the judgments where there are none."""
        return False

    def documents(self) -> Iterator[Document]:
        """All documents, one at a time, always in the same order. Empty ones are kept; a warning tells of them."""
        count, first = 0, []
        for document in self._documents():
            if not document.text.strip():
                count += 1
                first = first or [document.id]
                if len(first) < 3 and document.id not in first:
                    first.append(document.id)
            yield document
        if count and not self._empty_told:
            self._empty_told = True
            listed = ", ".join(first) + (", ..." if count > len(first) else "")
            warnings.warn(f"{count} empty documents in {self.corpus} are kept as they are: {listed}", stacklevel=2)

    def judged_queries(self) -> dict[str, str]:
        """The queries that have judgments, which are the ones that can be measured."""
        judged = self.qrels()
        return {query: text for query, text in self.queries().items() if query in judged}

    def bm25(self) -> BM25:
        """The BM25 index of the documents, kept in the cache folder."""
        return self._index

    @cached_property
    def _index(self) -> BM25:
        return BM25.cached(f"{slug(self.corpus)}-{short(self.corpus_fingerprint(), RECIPE)}", self.documents)

    def first_stage(self) -> Run:
        """Scored candidates of every judged query: the data set's own, else BM25's best `first_stage_depth`."""
        return self.bm25_run(self.first_stage_depth)

    def bm25_run(self, depth: int) -> Run:
        """BM25's best ``depth`` documents of every judged query, kept in the cache folder."""
        asked = self.judged_queries()
        parts = [part for pair in asked.items() for part in pair]
        key = short(self.corpus_fingerprint(), RECIPE, str(depth), *parts)

        def make(draft: Path) -> None:
            found = self.bm25().search(asked, depth)
            rows = ((query, document, score) for query, hits in found.items() for document, score in hits.items())
            write_columns(draft / "run.tsv", rows)

        folder = kept(f"first-stage/{slug(self.name)}-{key}", "first stage", make)
        return read_run(folder / "run.tsv", asked)

    def _mined_triples(self) -> Iterator[Triple]:
        """Triples from judgments and BM25 (see `armlib.bm25.mine_negatives`), kept in the cache folder.

        A relevant judgment of something that does not exist makes no triple, and a warning says so.

        Raises:
            InputError: no relevant document of any query exists.
        """

        def make(draft: Path) -> None:
            index, queries = self.bm25(), self.queries()
            qrels = existing_judgments(self.qrels(), queries, set(index.ids), self.name, self.relevant_from)
            mined = mine_negatives(index, queries, qrels, relevant_from=self.relevant_from)
            write_columns(draft / "triples.tsv", mined)

        key = short(self.fingerprint(), RECIPE)
        folder = kept(f"triples/{slug(self.name)}-{key}", "mined triples", make)
        for _, (query, positive, negative) in columns(
            folder / "triples.tsv", ("query id", "positive id", "negative id")
        ):
            yield query, positive, negative

    def corpus_fingerprint(self) -> str:
        """16 hexadecimal digits of all ids and texts of the documents."""
        return self._corpus_digest

    @cached_property
    def _corpus_digest(self) -> str:
        return fingerprint_of(part for document in self._documents() for part in document)

    def fingerprint(self) -> str:
        """16 hexadecimal digits of all that results depend on: documents, queries, judgments, grade cut, triples."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        def parts() -> Iterator[str]:
            yield from (self.corpus_fingerprint(), str(self.relevant_from))
            yield from judged_parts(self.queries(), self.qrels())
            yield from self._triple_parts()

        return fingerprint_of(parts())

    def _triple_parts(self) -> Iterator[str]:
        """What stands for the triples in `fingerprint`: the own ones themselves, or how they are mined."""
        own = self._own_triples()
        if own is not None:
            for triple in own:
                yield from triple
        elif self._trainable():
            yield RECIPE


class HeldOut(Collection):
    """Some training queries of a collection, with their judgments, to validate on; BM25's best 100 are re-ranked."""

    first_stage_depth = 100

    def __init__(self, source: Collection, chosen: Iterable[str]) -> None:
        self.source = source
        self.chosen = tuple(chosen)
        self.name = f"{source.name} ({len(self.chosen)} queries held out)"
        self.corpus = source.corpus
        self.relevant_from = source.relevant_from

    def _documents(self) -> Iterator[Document]:
        return self.source._documents()

    def documents(self) -> Iterator[Document]:
        return self.source.documents()  # which also tells of empty ones, once for both

    def bm25(self) -> BM25:
        return self.source.bm25()

    def corpus_fingerprint(self) -> str:
        return self.source.corpus_fingerprint()

    def queries(self) -> dict[str, str]:
        texts = self.source.queries()
        return {query: texts[query] for query in self.chosen}

    def qrels(self) -> Qrels:
        judged = self.source.qrels()
        return {query: judged[query] for query in self.chosen}


def hold_out(collection: Collection, count: int) -> tuple[HeldOut, frozenset[str]]:
    """Set training queries aside for early stopping: those whose ids have the smallest SHA-1, so always the same.

    Only queries that have a text and a relevant document are chosen.

    Args:
        collection: what is trained on.
        count: how many queries to set aside.

    Returns:
        the collection to validate on, and the query ids whose triples training must leave out.

    Raises:
        InputError: ``count`` is not positive or is more than half of the training queries.
    """
    queries = collection.queries()
    usable = [
        query
        for query, grades in collection.qrels().items()
        if query in queries and max(grades.values(), default=0) >= collection.relevant_from
    ]
    if not 0 < count <= len(usable) // 2:
        raise InputError(
            f"cannot hold out {count} queries of {collection.name}: expected 1 to {len(usable) // 2}, "
            f"half of its {len(usable)} queries with a relevant document"
        )
    chosen = heapq.nsmallest(count, usable, key=lambda query: hashlib.sha1(query.encode()).digest())
    return HeldOut(collection, chosen), frozenset(chosen)


def existing_judgments(
    qrels: Qrels, queries: Mapping[str, str], documents: set[str], name: str, relevant_from: int
) -> Qrels:
    """The judgments of queries and documents that exist; a warning counts the relevant ones that do not.

    Raises:
        InputError: no relevant judgment is left.
    """
    kept = {
        query: {document: grade for document, grade in grades.items() if document in documents}
        for query, grades in qrels.items()
        if query in queries
    }
    pairs = [(query, document) for query in qrels for document, grade in qrels[query].items() if grade >= relevant_from]
    missing = [pair for pair in pairs if pair[1] not in kept.get(pair[0], ())]
    if missing or not pairs:
        said = (
            f"{len(missing)} of {len(pairs)} relevant judgments of {name} name a query or document that does not exist"
        )
        if len(missing) == len(pairs):
            raise InputError(f"{said}: nothing is left to train on")
        query, document = missing[0]
        warnings.warn(f"{said} and make no triples (first: query {query!r}, document {document!r})", stacklevel=3)
    return kept


def read_run(path: Path, queries: Iterable[str]) -> Run:
    """A run of tab-separated query id, document id and score; ``queries`` without a line get no documents."""
    run: Run = {query: {} for query in queries}
    for _, (query, document, score) in columns(path, ("query id", "document id", "score")):
        run[query][document] = float(score)
    return run


def judged_parts(queries: Mapping[str, str], qrels: Qrels) -> Iterator[str]:
    """Queries and judgments as texts to be hashed, in an order that does not depend on the source's."""
    for query in sorted(queries):
        yield from (query, queries[query])
    for query in sorted(qrels):
        yield query
        for document in sorted(qrels[query]):
            yield from (document, str(qrels[query][document]))


def fingerprint_of(parts: Iterable[str]) -> str:
    """16 hexadecimal digits of a stream of texts; each counts with its length, so that no two streams collide."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode("utf8", "surrogatepass")
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()[:16]


def short(*parts: str) -> str:
    """A short key of a cached thing."""
    return digest(*parts)[:16]


def slug(name: str) -> str:
    """A name as a part of a file name: readable, and short; it does not have to be unique."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[-60:]
