"""The documents that collections search: one object for all collections over the same documents, read from their source once."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from weakref import WeakValueDictionary

from armlib.data.bm25 import BM25, BM25_RECIPE
from armlib.data.characters import check_id, check_text
from armlib.data.fingerprints import fingerprint_of
from armlib.data.types import Document
from armlib.storage import short_digest

HELD_CHARACTERS = 1 << 26
"""Documents with at most so many characters in all stay in memory once they were read; larger ones are read again."""


class Corpus:
    """Documents in a fixed order.

    Args:
        name: what to call them in messages, such as ``msmarco-passage``.
        read: reads all documents from their source, always in the same order.
        fingerprint: gives the fingerprint where that is cheaper than reading all documents.
    """

    def __init__(
        self, name: str, read: Callable[[], Iterator[Document]], fingerprint: Callable[[Corpus], str] | None = None
    ) -> None:
        self.name = name
        self._read = read
        self._own_fingerprint = fingerprint
        self._held: list[Document] | None = None
        self._empty_told = False

    def __repr__(self) -> str:
        return f"<corpus {self.name}>"

    def documents(self) -> Iterator[Document]:
        """All documents, one at a time. Empty ones are kept; a warning tells of them.

        Raises:
            InputError: an id could not stand in a TREC run, or a text in a file.
        """
        if self._held is not None:
            yield from self._held
            return
        held: list[Document] | None = []
        characters, empty = 0, []
        for document in self._read():
            check_id(document.id, "document id", self.name)
            check_text(document.text, f"text of document {document.id!r}", self.name)
            characters += len(document.id) + len(document.text)
            if characters > HELD_CHARACTERS:
                held = None
            if held is not None:
                held.append(document)
            if not document.text.strip():
                empty.append(document.id)
            yield document
        self._held = held
        if empty and not self._empty_told:
            self._empty_told = True
            listed = ", ".join(empty[:3]) + (", ..." if len(empty) > 3 else "")
            warnings.warn(f"{len(empty)} empty documents in {self.name} are kept as they are: {listed}", stacklevel=2)

    def texts(self, ids: Iterable[str]) -> dict[str, str]:
        """The texts of those of the documents that there are, found by reading up to the last of them."""
        wanted, found = set(ids), {}
        for document in self.documents() if wanted else ():
            if document.id in wanted:
                found[document.id] = document.text
                if len(found) == len(wanted):
                    break
        return found

    @cached_property
    def ids(self) -> frozenset[str]:
        """The ids of all documents."""
        return frozenset(document.id for document in self.documents())

    def fingerprint(self) -> str:
        """16 hexadecimal digits of all ids and texts."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return self._own_fingerprint(self) if self._own_fingerprint else self.hashed()

    def hashed(self) -> str:
        """The fingerprint by reading and hashing all documents."""
        return fingerprint_of(part for document in self.documents() for part in document)

    def bm25(self) -> BM25:
        """The BM25 index of the documents, kept in the cache folder."""
        return self._index

    @cached_property
    def _index(self) -> BM25:
        return BM25.cached(f"{slug(self.name)}-{short_digest(self.fingerprint(), BM25_RECIPE)}", self.documents)


_IN_USE: WeakValueDictionary[object, Corpus] = WeakValueDictionary()


def shared_corpus(key: object, make: Callable[[], Corpus]) -> Corpus:
    """The corpus of a key that some collection of this process uses already, else a new one.

    Args:
        key: hashable; of files it holds their sizes and times of modification, so that changed files are another corpus.
        make: makes the corpus.
    """
    corpus = _IN_USE.get(key)
    if corpus is None:
        corpus = _IN_USE[key] = make()
    return corpus


def slug(name: str) -> str:
    """A name as a part of a file name: readable, and short; it does not have to be unique."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[-60:]
