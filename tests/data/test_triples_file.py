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


def test_a_byte_order_mark_is_no_part_of_the_first_query(tmp_path):
    (tmp_path / "plain.tsv").write_text("".join(LINES))
    (tmp_path / "marked.tsv").write_text("\ufeff" + "".join(LINES))
    plain, marked = load_collection(tmp_path / "plain.tsv"), load_collection(tmp_path / "marked.tsv")
    assert marked.queries() == plain.queries() and list(marked.triples()) == list(plain.triples())


@pytest.mark.parametrize("name", ["mine.tsv", "mine.tsv.gz"])
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1\t31715818\t323335\n3\t14717500\t323335\n", "ids"),
        ("1185869\t0\t2942565\n", "ids"),
        ("PLAIN-2\tMED-10\tMED-14\nPLAIN-2\tMED-10\tMED-15\n", "ids"),
        ("what is x\tdoc_1\tdoc_x\n", "ids"),
        ("1\t310\t320\t0.5\n2\t330\t320\t0.4\n", "ids"),
        ("1\ta passage\tanother one\n2\ta passage\tanother one\n3\ta passage\tanother one\n", "ids"),
        ("query-id\tcorpus-id\tscore\nq\td\t1\n", "judgments"),
        ("\ufeffquery-id\tcorpus-id\tscore\r\nq\td\t1\r\n", "judgments"),
        ("q\td\t1\nq\te\t0\n", "judgments"),
        ("q\td\t1.0\n", "judgments"),
        ("q 0 d 1\nq 0 e 2\n", "judgments"),
        ("q\t0\td\t1\nq\t0\te\t3\n", "judgments"),
        ("what is x\tx is this\t1\nwhat is x\ty is that\t0\n", "judgments"),
    ],
)
def test_ids_and_judgments_are_no_texts(tmp_path, name, text, found):
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    with pytest.raises(InputError, match=rf"expected a query, a positive and a negative .*; these columns look like {found}"):
        load_collection(tmp_path / name)


@pytest.mark.parametrize(
    "text",
    [
        "cat\ta cat is an animal\ta dog is too\n",
        "cat\tfeline\tdog\nbig\tlarge\tsmall\n",
        "1984\ta novel by Orwell\ta year before 1985\n",
        "什么\t这是第1个段落\t这是第2个段落\n",
        "when\tin 1969\tin 1970\nwhere\ton the moon\tin orbit 7\n",
        "".join(f"query {n} apples\tpositive text {n}\tnegative text {n}\n" for n in range(200)),
    ],
)
def test_texts_of_any_kind_are_triples(tmp_path, text):
    (tmp_path / "mine.tsv").write_text(text)
    assert len(list(load_collection(tmp_path / "mine.tsv").triples())) == text.count("\n")
