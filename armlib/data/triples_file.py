"""Triples of texts: a file of tab-separated query, positive and negative, or any stream of such lines."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from armlib.data.collection import Collection, Document, Qrels, Triple, fingerprint_of
from armlib.data.lines import check_columns, columns
from armlib.errors import InputError
from armlib.files import file_digest

COLUMNS = ("query", "positive", "negative")
LAYOUT = "a query, a positive and a negative text in each line, separated by tabs"


class TriplesFile(Collection):
    """A ``.tsv`` or ``.tsv.gz`` file with one triple of texts a line, without a header.

    Equal texts are one document, equal queries one query; an id is made of the text's SHA-1, so the file streams and
    no text is held. The judgments are its positives, grade 1. Line numbers in errors count from 1.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise InputError(f"{path} does not exist: expected a file with {LAYOUT}")
        self.path = path
        self.name = self.corpus = str(path)

    def _documents(self) -> Iterator[Document]:
        seen: set[str] = set()
        for _, (_, *texts) in columns(self.path, COLUMNS):
            for text in texts:
                name = text_id(text)
                if name not in seen:
                    seen.add(name)
                    yield Document(name, text)
        if not seen:
            raise InputError(f"{self.path} is empty: expected {LAYOUT}")

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

    @cached_property
    def _corpus_digest(self) -> str:
        return fingerprint_of(
            [file_digest(self.path)]
        )  # the file is all there is, and hashing it is faster than reading it

    @cached_property
    def _digest(self) -> str:
        return fingerprint_of([self._corpus_digest, str(self.relevant_from)])


def read_text_triples(lines: Iterable[str | Sequence[str]], source: str = "triples") -> Iterator[tuple[str, str, str]]:
    """Triples of texts from any stream, to train on without a collection (the paper's continuous learning).

    Args:
        lines: tab-separated lines, or (query, positive, negative) sequences; it may be endless.
        source: what to call the stream in an error.

    Raises:
        InputError: a line does not hold three texts; says which, counted from 1.
    """
    for number, line in enumerate(lines, start=1):
        cells = line.rstrip("\r\n").split("\t") if isinstance(line, str) else list(line)
        check_columns(cells, COLUMNS, f"{source}:{number}")
        query, positive, negative = cells
        yield query, positive, negative


def text_id(text: str) -> str:
    """The id of a text: the first 16 hexadecimal digits of its SHA-1."""
    return hashlib.sha1(text.encode("utf8", "surrogatepass")).hexdigest()[:16]
