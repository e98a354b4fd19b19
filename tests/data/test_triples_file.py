"""Triples of texts from a file."""

from __future__ import annotations

import gzip

import pytest

from armlib.errors import InputError
from armlib.names import load_collection

LINES = ["what is x\tx is this\ty is that\n", "what is x\tx is this\tz is it\n", "why y\ty is that\tx is this\n"]


def test_a_file_is_a_collection(tmp_path):
    path = tmp_path / "mine.tsv"
    path.write_text("".join(LINES))
    collection = load_collection(path)
    documents = dict(collection.documents())
    assert list(documents.values()) == ["x is this", "y is that", "z is it"]
    queries = collection.queries()
    assert list(queries.values()) == ["what is x", "why y"]
    texts = [(queries[query], documents[positive], documents[negative]) for query, positive, negative in collection.triples()]
    assert texts == [tuple(line.strip().split("\t")) for line in LINES]
    named = {
        queries[query]: {documents[document]: grade for document, grade in row.items()} for query, row in collection.qrels().items()
    }
    assert named == {"what is x": {"x is this": 1}, "why y": {"y is that": 1}}
    assert collection.name == str(path) and collection.validation is None and collection.evaluation == ()


def test_gzip_and_fingerprints(tmp_path):
    plain, packed = tmp_path / "a.tsv", tmp_path / "b.tsv.gz"
    plain.write_text("".join(LINES))
    packed.write_bytes(gzip.compress("".join(LINES).encode()))
    first, second = load_collection(str(plain)), load_collection(str(packed))
    assert list(first.triples()) == list(second.triples())
    before = first.fingerprint()
    plain.write_text("".join(LINES[:2]))
    assert load_collection(str(plain)).fingerprint() != before


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("only\ttwo\n", r"mine\.tsv:4: expected 3 columns separated by tabs \(query, positive, negative\), got 2"),
        ("a\tb\tc\td\n", r"mine\.tsv:4: .* got 4"),
        ("a\t\tc\n", r"mine\.tsv:4: .* but positive is empty"),
    ],
)
def test_malformed_lines_are_named(tmp_path, line, message):
    path = tmp_path / "mine.tsv"
    path.write_text("".join(LINES) + line)
    for read in ("queries", "documents", "triples"):
        with pytest.raises(InputError, match=message):
            list(getattr(load_collection(path), read)())


def test_missing_and_empty_files(tmp_path):
    with pytest.raises(InputError, match=r"none\.tsv does not exist: expected a file with a query, a positive and a negative"):
        load_collection(tmp_path / "none.tsv")
    (tmp_path / "empty.tsv").write_text("")
    with pytest.raises(InputError, match=r"empty\.tsv is empty: expected a query, a positive"):
        list(load_collection(tmp_path / "empty.tsv").documents())
