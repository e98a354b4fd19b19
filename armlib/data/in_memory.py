"""Collections in memory: texts under ids, or triples of texts from a data frame, a data set or any iterable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from armlib.data.characters import check_text
from armlib.data.collection import Collection
from armlib.data.corpus import Corpus
from armlib.data.triples_file import text_id
from armlib.data.types import Document, Qrels, Triple
from armlib.errors import InputError

COLUMNS = ("query", "positive", "negative")
ALSO = {"query": "anchor"}  # what sentence-transformers calls it
EXPECTED = "expected rows of a query (or anchor), a positive and a negative text"


class InMemory(Collection):
    """Documents, queries, judgments and perhaps triples that somebody holds in memory.

    Args:
        documents: id to text, in their order.
        queries: id to text.
        qrels: query id to document id to grade.
        triples: ids of query, positive and negative; None for a collection to measure on.
        name: what messages and results call it.
        relevant_from: the lowest grade that counts as relevant.
    """

    def __init__(
        self,
        documents: Mapping[str, str],
        queries: Mapping[str, str],
        qrels: Mapping[str, Mapping[str, int]],
        triples: Iterable[Triple] | None = None,
        *,
        name: str = "collection in memory",
        relevant_from: int = 1,
    ) -> None:
        self.name, self.relevant_from = name, relevant_from
        self._corpus = Corpus(name, partial(_documents, documents))
        self._texts, self._judged = queries, qrels
        self._triples = None if triples is None else list(triples)

    @classmethod
    def of_triples(cls, source: Any, name: str = "triples in memory") -> InMemory:
        """The collection that a file of the same triples is: see `armlib.data.triples_file.TriplesFile`.

        Args:
            source: what `text_triples` reads.
            name: as for the class.

        Raises:
            InputError: there are no such rows, or no rows at all; a cell holds no text.
        """
        documents: dict[str, str] = {}
        queries: dict[str, str] = {}
        qrels: Qrels = {}
        triples: list[Triple] = []
        for query, positive, negative in text_triples(source):
            ids = text_id(query), text_id(positive), text_id(negative)
            queries.setdefault(ids[0], query)
            documents.setdefault(ids[1], positive)
            documents.setdefault(ids[2], negative)
            qrels.setdefault(ids[0], {})[ids[1]] = 1
            triples.append(ids)
        return cls(documents, queries, qrels, triples, name=name)

    @property
    def corpus(self) -> Corpus:
        return self._corpus

    def queries(self) -> dict[str, str]:
        return dict(self._texts)

    def qrels(self) -> Qrels:
        return {query: dict(grades) for query, grades in self._judged.items()}

    def _own_triples(self) -> Iterator[Triple] | None:
        return None if self._triples is None else iter(self._triples)


def _documents(texts: Mapping[str, str]) -> Iterator[Document]:
    for name, text in texts.items():
        yield Document(name, text)


def text_triples(source: Any) -> Iterator[tuple[str, str, str]]:
    """Triples of texts, one at a time.

    Args:
        source: a `datasets.Dataset` or a pandas data frame with columns ``query`` (or ``anchor``), ``positive`` and ``negative``,
            in any order and with others beside them; or any iterable of rows: of three texts each, or of mappings with those keys.

    Raises:
        InputError: there are no such rows, or no rows at all; a cell holds no text. Rows are counted from 1.
    """
    if isinstance(source, str | bytes | Path):
        raise InputError(f"{EXPECTED}, got the text {str(source)[:200]!r}; load_collection reads files and folders")
    if isinstance(source, Mapping):
        raise InputError(f"{EXPECTED}, got a {type(source).__name__} of {_listed(source)}; give one of them")
    if isinstance(source, pd.DataFrame):
        names = _names(source.columns, "the data frame")
        rows: Iterable[Any] = zip(*(source[name] for name in names), strict=True)
    elif isinstance(source, Iterable):
        rows = source
    else:
        raise InputError(f"{EXPECTED}, got a {type(source).__name__}")
    number = 0
    for number, row in enumerate(rows, start=1):
        where = f"row {number} of the triples"
        if isinstance(row, Mapping):
            row = [row[name] for name in _names(row, where)]
        if not isinstance(row, list | tuple) or len(row) != len(COLUMNS):
            found = f"{len(row)} columns" if isinstance(row, list | tuple) else f"{row!r:.100}"
            raise InputError(f"{where}: {EXPECTED}, got {found}")
        for name, text in zip(COLUMNS, row, strict=True):
            if not isinstance(text, str) or not text.strip():
                raise InputError(f"{where}: expected a text as {name}, got {text!r:.100}")
            check_text(text, name, where)
        yield row[0], row[1], row[2]
    if not number:
        raise InputError(f"there are no triples: {EXPECTED}")


def _names(columns: Iterable[Any], where: str) -> list[str]:
    """The names of the three columns among those that there are."""
    there = list(columns)
    names = [ALSO.get(name, name) if name not in there else name for name in COLUMNS]
    if missing := [name for name, found in zip(COLUMNS, names, strict=True) if there.count(found) != 1]:
        raise InputError(f"{where}: {EXPECTED}, but found no column {missing[0]} among {_listed(there)}")
    return names


def _listed(names: Iterable[Any]) -> str:
    return ", ".join(map(str, names))[:200] or "nothing"
