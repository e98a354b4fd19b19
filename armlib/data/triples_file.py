"""Triples of texts: a file of tab-separated query, positive and negative."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from functools import cached_property, partial
from itertools import islice
from pathlib import Path

from armlib.data.collection import Collection
from armlib.data.corpus import Corpus, shared_corpus
from armlib.data.fingerprints import fingerprint_of, fingerprint_of_files
from armlib.data.qrels_file import is_header
from armlib.data.text_files import columns, numbered_lines
from armlib.data.types import Document, Qrels, Triple
from armlib.errors import InputError
from armlib.storage import file_digest

COLUMNS = ("query", "positive", "negative")
LAYOUT = "a query, a positive and a negative text in each line, separated by tabs"
SAMPLE = 100
"""The first lines, from which texts, ids and grades are told apart."""
_GRADE = re.compile(r"-?[0-9](\.0+)?")
_NUMBER = re.compile(r"[0-9]+")
_WORD = re.compile(r"[!-~]+")
_OF_IDS = re.compile(r"[0-9_:/#]")


class TriplesFile(Collection):
    """A ``.tsv`` or ``.tsv.gz`` file with one triple of texts a line, without a header.

    Equal texts are one document, equal queries one query; an id is made of the text's SHA-1, so the file streams.
    The judgments are its positives, grade 1. Line numbers in errors count from 1. The first lines are looked at when the
    collection is made.

    Raises:
        InputError: there is no such file, or what it holds looks like triples of ids or like judgments.
    """

    def __init__(self, path: Path) -> None:
        if not os.path.isfile(path):
            raise InputError(f"{path} does not exist: expected a file with {LAYOUT}")
        _refuse_ids_and_judgments(path)
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


def _refuse_ids_and_judgments(path: Path) -> None:
    """Refuse judgments and triples of ids, which would be read as texts; other faults are told by line as they are read.

    Positives and negatives are ids where all are single ASCII words, half of which have a digit or one of ``_:/#`` in them: texts
    may be single words too, or written without spaces. A column of nothing but numbers, three or more, is no texts either.
    """
    lines = [line for _, line in islice(numbered_lines(path), SAMPLE)]
    rows = [line.split("\t") if "\t" in line else line.split() for line in lines]
    cells = list(zip(*rows, strict=False))  # rows of unequal length are cut to the shortest
    if len(cells) < 2:
        return
    if is_header(lines[0]) or all(map(_GRADE.fullmatch, cells[-1])):
        found = "judgments, which a folder in BEIR layout takes as qrels/SPLIT.tsv"
    elif all(map(_are_ids, cells[1:3])) or any(map(_are_numbers, cells)):
        found = "ids, which a folder in BEIR layout takes as triples.SPLIT.tsv"
    else:
        return
    raise InputError(f"{path}: expected {LAYOUT}; these columns look like {found}")


def _are_ids(column: tuple[str, ...]) -> bool:
    return all(map(_WORD.fullmatch, column)) and 2 * sum(map(bool, map(_OF_IDS.search, column))) >= len(column)


def _are_numbers(column: tuple[str, ...]) -> bool:
    return all(map(_NUMBER.fullmatch, column)) and len(set(column)) > 2


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
