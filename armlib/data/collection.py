"""What a collection is: documents, queries, judgments, training triples and a first stage, all of them lazy."""

from __future__ import annotations

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

from armlib.data.bm25 import BM25_RECIPE
from armlib.data.corpus import Corpus, slug
from armlib.data.fingerprints import fingerprint_of, judged_parts
from armlib.data.negatives import mine_negatives
from armlib.data.text_files import columns, finite_number, write_columns
from armlib.data.types import Document, Qrels, Run, Triple
from armlib.errors import InputError
from armlib.storage import kept, short_digest

HELD_RESULTS = 1 << 18
"""A run of BM25 with at most so many results in all stays in memory once it was read (about 50 MB)."""


class Collection(ABC):
    """A corpus, queries, graded judgments, training triples and a first stage under one name.

    Making one costs nothing; every method reads when it is called. Subclasses give `corpus`, `queries` and `qrels`, and
    `_own_triples` or `_trainable` where there is something to train on.

    Attributes:
        name: the full name, as `armlib.names.load_collection` takes it.
        relevant_from: the lowest grade that binary measures count as relevant.
        validation: name of the collection for early stopping; None: training queries are held out
            (see `armlib.data.held_out.hold_out`).
        evaluation: names of the collections that a model trained on this one is measured on by default.
        first_stage_depth: how many documents a query gets from BM25 in `first_stage`.
        license: under which the data may be used, as far as the collection says; for the cards of what is trained on it.
    """

    name: str
    relevant_from: int = 1
    validation: str | None = None
    evaluation: tuple[str, ...] = ()
    first_stage_depth: int = 1000
    license: str = ""

    def __repr__(self) -> str:
        return f"<collection {self.name}>"

    @property
    @abstractmethod
    def corpus(self) -> Corpus:
        """The documents, an object that collections over the same documents share."""

    @abstractmethod
    def queries(self) -> dict[str, str]:
        """Query id to text."""

    @abstractmethod
    def qrels(self) -> Qrels:
        """Query id to document id to grade."""

    def graded(self, relevant_from: int) -> Collection:
        """The same collection with another lowest grade that counts as relevant, for triples that are mined and binary measures.

        Raises:
            InputError: the grade is below 1.
        """
        if relevant_from < 1:
            raise InputError(f"relevant_from of {self.name} must be a grade of at least 1, not {relevant_from}")
        if relevant_from == self.relevant_from:
            return self
        other = copy.copy(self)
        other.__dict__.pop("_fingerprint", None)
        other.relevant_from = relevant_from
        return other

    def documents(self) -> Iterator[Document]:
        """All documents, one at a time, always in the same order."""
        return self.corpus.documents()

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

    def judged_queries(self) -> dict[str, str]:
        """The queries that have judgments, which are the ones that can be measured."""
        judged = self.qrels()
        return {query: text for query, text in self.queries().items() if query in judged}

    def queries_in_corpus(self) -> frozenset[str]:
        """The judged queries that are documents themselves, as in ArguAna: a document has the query's id and its text.

        The id alone says nothing, since many collections number both from 1. The query may be the document's title, its
        text or both; white space does not count. The corpus is read once, up to the last document with such an id.
        """
        return self._queries_in_corpus

    @cached_property
    def _queries_in_corpus(self) -> frozenset[str]:
        queries = self.judged_queries()
        return frozenset(query for query, text in self.corpus.texts(queries).items() if _begins_or_ends(text, queries[query]))

    def first_stage(self) -> Run:
        """Scored candidates of every judged query: the data set's own, else BM25's best `first_stage_depth`."""
        return self.bm25_run(self.first_stage_depth)

    def bm25_run(self, depth: int) -> Run:
        """BM25's best ``depth`` documents of every judged query, kept in the cache folder and, where they are few, in memory."""
        asked = self.judged_queries()
        parts = [part for pair in asked.items() for part in pair]
        key = short_digest(self.corpus.fingerprint(), BM25_RECIPE, str(depth), *parts)
        if key in self._held_runs:
            return {query: dict(found) for query, found in self._held_runs[key].items()}

        def make(draft: Path) -> None:
            found = self.corpus.bm25().search(asked, depth)
            rows = ((query, document, score) for query, hits in found.items() for document, score in hits.items())
            write_columns(draft / "run.tsv", rows)

        folder = kept(f"first-stage/{slug(self.name)}-{key}", "first stage", make)
        run = read_scores(folder / "run.tsv", asked)
        if sum(map(len, run.values())) <= HELD_RESULTS:
            self._held_runs[key] = {query: dict(found) for query, found in run.items()}  # whoever asked may change what was given
        return run

    @cached_property
    def _held_runs(self) -> dict[str, Run]:
        """Runs of BM25 that were read once, by the key of all that they depend on."""
        return {}

    def _mined_triples(self) -> Iterator[Triple]:
        """Triples from judgments and BM25 (see `armlib.data.negatives.mine_negatives`), kept in the cache folder.

        A relevant judgment of something that does not exist makes no triple, and a warning says so.

        Raises:
            InputError: no relevant document of any query exists.
        """

        def make(draft: Path) -> None:
            index, queries = self.corpus.bm25(), self.queries()
            qrels = existing_judgments(self.qrels(), queries, set(index.ids), self.name, self.relevant_from)
            mined = mine_negatives(index, queries, qrels, relevant_from=self.relevant_from, exclude=lambda query: own & {query})
            write_columns(draft / "triples.tsv", mined)

        own = self.queries_in_corpus()  # a query is no negative of itself
        key = short_digest(self.fingerprint(), BM25_RECIPE, *(["without the queries themselves"] if own else []))
        folder = kept(f"triples/{slug(self.name)}-{key}", "mined triples", make)
        for _, (query, positive, negative) in columns(folder / "triples.tsv", ("query id", "positive id", "negative id")):
            yield query, positive, negative

    def fingerprint(self) -> str:
        """16 hexadecimal digits of all that results depend on: documents, queries, judgments, grade cut, triples."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return self._computed_fingerprint()

    def _computed_fingerprint(self) -> str:
        def parts() -> Iterator[str]:
            yield from (self.corpus.fingerprint(), str(self.relevant_from))
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
            yield BM25_RECIPE


def _begins_or_ends(document: str, query: str) -> bool:
    """Whether a document's words begin or end with all those of a query: title and text are not told apart in it."""
    words, asked = (f" {' '.join(text.split())} " for text in (document, query))
    return words.startswith(asked) or words.endswith(asked)


def existing_judgments(qrels: Qrels, queries: Mapping[str, str], documents: set[str], name: str, relevant_from: int) -> Qrels:
    """The judgments of queries and documents that exist; a warning counts the relevant ones that do not.

    Raises:
        InputError: no relevant judgment is left.
    """
    existing = {
        query: {document: grade for document, grade in grades.items() if document in documents}
        for query, grades in qrels.items()
        if query in queries
    }
    pairs = [(query, document) for query in qrels for document, grade in qrels[query].items() if grade >= relevant_from]
    missing = [pair for pair in pairs if pair[1] not in existing.get(pair[0], ())]
    if missing or not pairs:
        said = f"{len(missing)} of {len(pairs)} relevant judgments of {name} name a query or document that does not exist"
        if len(missing) == len(pairs):
            raise InputError(f"{said}: nothing is left to train on")
        query, document = missing[0]
        warnings.warn(f"{said} and make no triples (first: query {query!r}, document {document!r})", stacklevel=3)
    return existing


def read_scores(path: Path, queries: Iterable[str]) -> Run:
    """A run of tab-separated query id, document id and score; ``queries`` without a line get no documents.

    Raises:
        InputError: by line, columns are missing, a score is no finite number, or a query is not one of ``queries``.
    """
    run: Run = {query: {} for query in queries}
    for number, (query, document, written) in columns(path, ("query id", "document id", "score")):
        score = finite_number(written)
        if score is None or query not in run:
            raise InputError(f"{path}:{number}: expected a finite score of a judged query, got {written!r} of {query!r}")
        run[query][document] = score
    return run
