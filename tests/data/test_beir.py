"""Folders in BEIR layout: the real ones, and everything that can be wrong with one."""

from __future__ import annotations

import gzip
import json
import shutil

import pytest

from armlib.errors import InputError
from armlib.names import load_collection


@pytest.fixture
def folder(tmp_path):
    """Three documents, two queries, a train and a test split."""
    root = tmp_path / "mine"
    (root / "qrels").mkdir(parents=True)
    documents = [{"_id": "a", "title": "T", "text": "one"}, {"_id": "b", "text": "one two"}, {"_id": "c", "text": "two one"}]
    write_json_lines(root / "corpus.jsonl", documents)
    write_json_lines(root / "queries.jsonl", [{"_id": "q", "text": "one"}, {"_id": "r", "text": "two"}])
    (root / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq\ta\t1\n")
    (root / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nr\tb\t2\nr\tc\t0\n")
    return root


def write_json_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def append(path, text):
    with open(path, "a") as file:
        file.write(text)


def test_a_folder_is_read(folder):
    train, test = load_collection(folder), load_collection(f"{folder}/test")
    assert [tuple(document) for document in train.documents()] == [("a", "T one"), ("b", "one two"), ("c", "two one")]
    assert train.queries() == {"q": "one"} and test.queries() == {"r": "two"}
    assert test.qrels() == {"r": {"b": 2, "c": 0}}
    assert train.name == f"{folder}/train" and train.evaluation == (f"{folder}/test",) and train.validation is None
    assert train.corpus is test.corpus and train.corpus.name == str(folder) and train.corpus.ids == {"a", "b", "c"}
    assert train.fingerprint() != test.fingerprint()
    assert sorted(train.triples()) == [("q", "a", "b"), ("q", "a", "c")]
    assert test.triples() is None, "a test split beside a train split is not trained on"
    assert list(test.first_stage()["r"]) == ["b", "c"]


def test_names_given_by_the_folder(folder):
    shutil.copy(folder / "qrels" / "test.tsv", folder / "qrels" / "dev.tsv")
    assert load_collection(folder).validation == f"{folder}/dev"
    (folder / "qrels" / "train.tsv").unlink()
    (folder / "qrels" / "dev.tsv").unlink()
    only = load_collection(folder)
    assert only.name == f"{folder}/test"
    assert next(only.triples())[:2] == ("r", "b"), "the only split can be trained on"


def test_gzip_is_read_as_well_and_gives_the_same_fingerprint(folder):
    plain = load_collection(folder).fingerprint()
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/train.tsv"):
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
        (folder / name).unlink()
    assert load_collection(folder).fingerprint() == plain


def test_own_triples_are_preferred_and_checked(folder):
    mined = load_collection(folder).fingerprint()
    (folder / "triples.train.tsv").write_text("q\ta\tb\n")
    collection = load_collection(folder)
    assert list(collection.triples()) == [("q", "a", "b")]
    assert collection.fingerprint() != mined
    append(folder / "triples.train.tsv", "q\ta\tz\n")
    with pytest.raises(InputError, match=r"triples\.train\.tsv:2: document 'z' does not exist"):
        list(load_collection(folder).triples())


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("corpus.jsonl", "{", r"corpus\.jsonl:4: expected an object such as .*\"_id\".*not JSON"),
        ("corpus.jsonl", "[1]", r"corpus\.jsonl:4: .* got list"),
        ("corpus.jsonl", '{"_id": "d"}', r"corpus\.jsonl:4: .* text is missing"),
        ("corpus.jsonl", '{"_id": "d", "text": 5}', r"corpus\.jsonl:4: .* text is not a text"),
        ("corpus.jsonl", '{"_id": "a", "text": "x"}', r"corpus\.jsonl:4: document 'a' comes a second time"),
        ("queries.jsonl", '{"_id": "q", "text": "x"}', r"queries\.jsonl:3: query 'q' comes a second time"),
        ("queries.jsonl", '{"text": "x"}', r"queries\.jsonl:3: .* _id is missing"),
        ("qrels/train.tsv", "q\tb", r"train\.tsv:3: expected 3 columns .*\(query-id, corpus-id, score\), got 2"),
        ("qrels/train.tsv", "q\tb\t1.5", r"train\.tsv:3: expected a whole number as score, got '1.5'"),
        ("qrels/train.tsv", "q\ta\t2", r"train\.tsv:3: query 'q' and document 'a' are judged 2, but 1 in a line before"),
        ("qrels/train.tsv", "q\tz\t1", r"train\.tsv:3: document 'z' does not exist in .*corpus\.jsonl"),
        ("qrels/train.tsv", "z\ta\t1", r"train\.tsv:3: query 'z' does not exist in .*queries\.jsonl"),
    ],
)
def test_malformed_lines_are_named(folder, file, line, message):
    append(folder / file, line + "\n")
    with pytest.raises(InputError, match=message):
        load_collection(folder).qrels()


def test_a_missing_header_is_named(folder):
    (folder / "qrels" / "train.tsv").write_text("q\ta\t1\n")
    with pytest.raises(InputError, match=r"train\.tsv:1: expected the header query-id TAB corpus-id TAB score, got q, a, 1"):
        load_collection(folder).qrels()


def test_missing_files_and_splits(folder):
    with pytest.raises(InputError, match=r"unknown split of .* 'tset'; did you mean 'test'\? \(available: test, train\)"):
        load_collection(f"{folder}/tset")
    (folder / "queries.jsonl").unlink()
    with pytest.raises(InputError, match=r"queries\.jsonl does not exist \(nor queries\.jsonl\.gz\): expected a folder in BEIR"):
        load_collection(folder).queries()
    shutil.rmtree(folder / "qrels")
    with pytest.raises(InputError, match="has no judgments: expected at least one file SPLIT.tsv"):
        load_collection(folder)


def test_several_splits_without_train(folder):
    (folder / "qrels" / "train.tsv").rename(folder / "qrels" / "dev.tsv")
    with pytest.raises(InputError, match=r"several splits and none is train: name one as .*/SPLIT \(dev, test\)"):
        load_collection(folder)


def test_empty_documents_are_kept_and_told_once(folder):
    append(folder / "corpus.jsonl", '{"_id": "d", "text": " "}\n{"_id": "e", "title": "", "text": ""}\n')
    collection = load_collection(folder)
    with pytest.warns(UserWarning, match=r"2 empty documents in .*mine are kept as they are: d, e$"):
        assert len(list(collection.documents())) == 5
    assert len(list(collection.documents())) == 5, "a second warning would be an error here"


def test_the_real_folders(shared_data):
    scifact = load_collection(shared_data / "scifact")
    assert (sum(1 for _ in scifact.documents()), len(scifact.queries())) == (5183, 809)
    assert scifact.evaluation == (f"{shared_data / 'scifact'}/test",)
    cranfield = load_collection(str(shared_data / "cranfield"))
    with pytest.warns(UserWarning, match="2 empty documents in .*cranfield are kept as they are: 471, 995"):
        assert sum(1 for _ in cranfield.documents()) == 1400
    mini = load_collection(shared_data / "msmarco-mini" / "train")
    assert sum(1 for _ in mini.triples()) == 114_390 and len(mini.queries()) == 10_809
