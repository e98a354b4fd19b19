"""Triples of texts: a file of tab-separated query, positive and negative."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path

from armlib.data.collection import Collection
from armlib.data.corpus import Corpus, shared_corpus
from armlib.data.fingerprints import fingerprint_of, fingerprint_of_files
from armlib.data.text_files import columns
from armlib.data.types import Document, Qrels, Triple
from armlib.errors import InputError
from armlib.storage import file_digest

COLUMNS = ("query", "positive", "negative")
LAYOUT = "a query, a positive and a negative text in each line, separated by tabs"


class TriplesFile(Collection):
    """A ``.tsv`` or ``.tsv.gz`` file with one triple of texts a line, without a header.

    Equal texts are one document, equal queries one query; an id is made of the text's SHA-1, so the file streams.
    The judgments are its positives, grade 1. Line numbers in errors count from 1.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise InputError(f"{path} does not exist: expected a file with {LAYOUT}")
        self.path = path
        self.name = str(path)

    @cached_property
    def corpus(self) -> Corpus:
        path = self.path.absolute()
        status = path.stat()
        return shared_corpus(
            (path.resolve(), status.st_size, status.st_mtime_ns),
            lambda: Corpus(self.name, partial(_documents, path), lambda _: _fingerprint_of_file(path)),
        )

    def queries(self) -> dict[str, str]:
        return self._judged[0]

    def qrels(self) -> Qrels:
        return self._judged[1]

    @cached_property
    def _judged(self) -> tuple[dict[str, str], Qrels]:
        queries: dict[str, str] = {}
        qrels: Qrels = {}
        for _, (query, positive, _) in columns(self.path, COLUMNS):
            name = text_id(query)
            queries.setdefault(name, query)
            qrels.setdefault(name, {})[text_id(positive)] = 1
        return queries, qrels

    def _own_triples(self) -> Iterator[Triple]:
        for _, texts in columns(self.path, COLUMNS):
            query, positive, negative = map(text_id, texts)
            yield query, positive, negative

    def _computed_fingerprint(self) -> str:
        return fingerprint_of([self.corpus.fingerprint(), str(self.relevant_from)])


def _documents(path: Path) -> Iterator[Document]:
    seen: set[str] = set()
    for _, (_, *texts) in columns(path, COLUMNS):
        for text in texts:
            name = text_id(text)
            if name not in seen:
                seen.add(name)
                yield Document(name, text)
    if not seen:
        raise InputError(f"{path} is empty: expected {LAYOUT}")


def _fingerprint_of_file(path: Path) -> str:
    # The file is all there is, and hashing it is faster than reading it.
    return fingerprint_of_files([path], "triples of texts", lambda: fingerprint_of([file_digest(path)]))


def text_id(text: str) -> str:
    """The id of a text: the first 16 hexadecimal digits of its SHA-1."""
    return hashlib.sha1(text.encode("utf8", "surrogatepass")).hexdigest()[:16]
