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
        ("corpus.jsonl", '{"_id": true, "text": "x"}', r"corpus\.jsonl:4: .* _id is not a text"),
        ("corpus.jsonl", '{"_id": 1.0, "text": "x"}', r"corpus\.jsonl:4: .* _id is not a text"),
        ("corpus.jsonl", '{"_id": "d", "text": "x", "text": "y"}', r"corpus\.jsonl:4: .*a key comes twice among _id, text, text"),
        ("corpus.jsonl", '{"_id": "d", "title": 5, "text": "x"}', r"corpus\.jsonl:4: expected a text as title, got int"),
        ("corpus.jsonl", '{"_id": "d", "text": "x", "n": ' + 5000 * "9" + "}", r"corpus\.jsonl:4: .*not JSON \(Exceeds the limit"),
        ("corpus.jsonl", '{"_id": ' + 100_000 * "[", r"corpus\.jsonl:4: .*not JSON \(maximum recursion depth"),
        ("corpus.jsonl", '{"_id": "d", "text": "x\\ud83d"}', r"corpus\.jsonl:4: the text holds '\\ud83d', half a surrogate pair"),
        ("corpus.jsonl", '{"_id": "d", "title": "\\udc00", "text": "x"}', r"corpus\.jsonl:4: the title holds '\\udc00'"),
        ("queries.jsonl", '{"_id": "s", "text": "\\ud800"}', r"queries\.jsonl:3: the text holds '\\ud800'"),
        ("queries.jsonl", '{"_id": "s 1", "text": "x"}', r"queries\.jsonl:3: the query id 's 1' cannot stand in a TREC run"),
        ("corpus.jsonl", '{"_id": "a", "text": "x"}', r"corpus\.jsonl:4: document 'a' comes a second time"),
        ("queries.jsonl", '{"_id": "q", "text": "x"}', r"queries\.jsonl:3: query 'q' comes a second time"),
        ("queries.jsonl", '{"text": "x"}', r"queries\.jsonl:3: .* _id is missing"),
        ("qrels/train.tsv", "q\tb", r"train\.tsv:3: expected 3 columns .*\(query-id, corpus-id, score\), got 2"),
        ("qrels/train.tsv", "q\tb\t1.5", r"train\.tsv:3: expected a whole number as score, got '1.5'"),
        ("qrels/train.tsv", "q\ta\t2", r"train\.tsv:3: query 'q' and document 'a' are judged 2, but 1 in a line before"),
        ("qrels/train.tsv", "q\tb c\t1", r"train\.tsv:3: the document id 'b c' cannot stand in a TREC run"),
    ],
)
def test_malformed_lines_are_named(folder, file, line, message):
    append(folder / file, line + "\n")
    with pytest.raises(InputError, match=message):
        load_collection(folder).qrels()


@pytest.mark.parametrize(
    "name",
    ["d 1", " d", "d\t", "d\u00a01", "d\u2028", "d\u3000", "d\u0085", "d\u001f", "\u001b[2J", "d\u0000", "\ufeffd", "\ud800", ""],
)
def test_ids_that_could_not_stand_in_a_run_are_refused_when_they_are_read(folder, name):
    append(folder / "corpus.jsonl", json.dumps({"_id": name, "text": "x"}) + "\n")
    with pytest.raises(
        InputError, match=r"corpus\.jsonl:4: the document id .* cannot stand in a TREC run: expected a text without"
    ):
        list(load_collection(folder).documents())


@pytest.mark.parametrize("name", ["NA", "null", "nan", "None", "Ünï-7", "\u200b1", "q\u0301", 7, "https://a.b/c?d=e#f"])
def test_all_other_ids_stay_as_they_are(folder, name):
    append(folder / "corpus.jsonl", json.dumps({"_id": name, "text": "x"}) + "\n")
    append(folder / "queries.jsonl", json.dumps({"_id": name, "text": "x"}, ensure_ascii=False) + "\n")
    append(folder / "qrels" / "train.tsv", f"{name}\t{name}\t1\n")
    append(folder / "triples.train.tsv", f"{name}\t{name}\ta\n")
    collection = load_collection(folder)
    assert str(name) in collection.corpus.ids and collection.queries() == {"q": "one", str(name): "x"}
    assert collection.qrels()[str(name)] == {str(name): 1} and list(collection.triples()) == [(str(name), str(name), "a")]


def test_byte_order_marks_are_read_away(folder):
    append(folder / "triples.train.tsv", "q\ta\tb\n")
    plain = load_collection(folder)
    expected = (plain.fingerprint(), list(plain.documents()), plain.queries(), plain.qrels(), list(plain.triples()))
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/train.tsv", "triples.train.tsv"):
        data = b"\xef\xbb\xbf" + (folder / name).read_bytes()
        (folder / name).unlink()
        (folder / f"{name}.gz").write_bytes(gzip.compress(data))
    marked = load_collection(folder)
    assert (marked.fingerprint(), list(marked.documents()), marked.queries(), marked.qrels(), list(marked.triples())) == expected


def test_judgments_of_what_does_not_exist_are_counted(folder):
    append(folder / "qrels" / "train.tsv", "q\tz\t1\nq\ty\t1\ns\ta\t1\nq\tb\t1\n")
    collection = load_collection(folder)
    with pytest.warns(UserWarning) as caught:
        qrels = collection.qrels()
    assert [str(each.message).partition(" of ")[2] for each in caught] == [
        f"5 judgments of {folder}/train name queries that are not in {folder}/queries.jsonl, such as 's'; they are left out",
        f"5 judgments of {folder}/train name documents that are not in {folder}/corpus.jsonl, such as 'z'; they count as not found",
    ]
    assert [str(each.message)[0] for each in caught] == ["1", "2"]
    assert qrels == {"q": {"a": 1, "z": 1, "y": 1, "b": 1}} and collection.queries() == {"q": "one"}
    with pytest.warns(UserWarning, match="2 of 4 relevant judgments of .* make no triples"):
        assert {positive for _, positive, _ in collection.triples()} == {"a", "b"}


@pytest.mark.parametrize(("line", "kind"), [("q\tz\t1", "documents"), ("z\ta\t1", "queries")])
def test_judgments_of_nothing_that_exists_are_refused(folder, line, kind):
    (folder / "qrels" / "train.tsv").write_text(f"query-id\tcorpus-id\tscore\n{line}\n")
    with pytest.raises(InputError, match=rf"^all 1 judgments of .* name {kind} that are not in .*, such as 'z': expected"):
        load_collection(folder).qrels()


def test_judgments_may_have_trecs_four_columns(folder):
    before = load_collection(f"{folder}/test")
    fingerprint = before.fingerprint()
    (folder / "qrels" / "test.tsv").write_text("r 0 b 2\nr 0 c 0.0\n")
    trec = load_collection(f"{folder}/test")
    assert trec.qrels() == before.qrels() and trec.fingerprint() == fingerprint


def test_only_files_of_judgments_are_splits(folder):
    shutil.copy(folder / "qrels" / "test.tsv", folder / "qrels" / "test.tsv.bak")
    (folder / "qrels" / "test.tsv.gz").write_bytes(gzip.compress((folder / "qrels" / "test.tsv").read_bytes()))
    with pytest.raises(InputError, match=r"\(available: test, train\)$"):
        load_collection(f"{folder}/none")


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
