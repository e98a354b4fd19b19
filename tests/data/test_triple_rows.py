"""Triples as row numbers of token stores: those of the collection, less those of queries that validate."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from armlib.data.held_out import hold_out
from armlib.data.triple_rows import triple_rows
from armlib.encoder.token_stores import passage_tokens, query_tokens
from armlib.errors import InputError
from armlib.names import load_collection


@pytest.fixture
def stores(beir_folder: Path, tiny_encoder):
    """The token stores of the small collection's training queries and passages."""
    train = load_collection(beir_folder)
    return query_tokens(train, tiny_encoder), passage_tokens(train, tiny_encoder)


def named(rows: np.ndarray, queries, passages) -> list[tuple[str, str, str]]:
    """Rows as ids again."""
    ids = ((queries.ids[query], passages.ids[positive], passages.ids[negative]) for query, positive, negative in rows)
    return [tuple(name.decode() for name in triple) for triple in ids]


def test_stores_of_passages_are_shared_by_splits_and_those_of_queries_are_not(beir_folder: Path, stores, tiny_encoder) -> None:
    test = load_collection(f"{beir_folder}/test")
    queries, passages = query_tokens(test, tiny_encoder), passage_tokens(test, tiny_encoder)
    assert passages.key == stores[1].key and queries.key != stores[0].key
    assert passages.description == f"passages of {beir_folder}" and queries.description == f"queries of {beir_folder}/test"
    assert [name.decode() for name in passages.ids] == [document.id for document in test.documents()]
    assert [name.decode() for name in queries.ids] == list(test.queries())


def test_rows_are_the_triples_in_their_order(beir_folder: Path, stores) -> None:
    train = load_collection(beir_folder)
    rows = triple_rows(train, *stores)
    assert isinstance(rows, np.memmap) and rows.dtype == np.int32 and not rows.flags.writeable
    assert named(rows, *stores) == list(train.triples()) and len(rows) > 1000
    assert triple_rows(load_collection(beir_folder), *stores).filename == rows.filename, "numbered once"


def test_triples_of_queries_that_validate_are_left_out(beir_folder: Path, stores) -> None:
    train = load_collection(beir_folder)
    chosen = hold_out(train, 20).chosen
    rows = triple_rows(train, *stores, chosen)
    assert named(rows, *stores) == [triple for triple in train.triples() if triple[0] not in chosen]
    assert 0 < len(rows) < len(triple_rows(train, *stores))
    assert triple_rows(train, *stores, reversed(chosen)).filename == rows.filename, "in whichever order they are named"


def test_what_gives_no_triples_is_refused(beir_folder: Path, stores, tmp_path: Path, monkeypatch, tiny_encoder) -> None:
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path / "cache"))
    train = load_collection(beir_folder)
    with pytest.raises(InputError, match=r"/test has no training triples: it is a collection to evaluate on$"):
        triple_rows(load_collection(f"{beir_folder}/test"), *stores)
    count = sum(1 for _ in train.triples())
    with pytest.raises(InputError, match=rf"/train gives no training triples \({count:,} in all, {count:,} of them of validation"):
        triple_rows(train, *stores, train.queries())
    smaller = tmp_path / "smaller"
    shutil.copytree(beir_folder, smaller)
    first = (smaller / "corpus.jsonl").read_text().splitlines(keepends=True)[0]
    (smaller / "corpus.jsonl").write_text(first)
    (smaller / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n")
    (smaller / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n")
    passages = passage_tokens(load_collection(smaller), tiny_encoder)
    with pytest.raises(InputError, match=rf"^among triples 1 to {count:,} of .*, \d+ of {count} ids are not among the 1 passages"):
        triple_rows(train, stores[0], passages)
    assert not list((tmp_path / "cache" / "triples").glob("rows-*")), "nothing is kept of a failure"
