"""Whatever the files of a collection hold: they are read to ids, texts and grades that can be used, or refused in one sentence."""

from __future__ import annotations

import gzip
import itertools
import json
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

from hypothesis import strategies as st

from armlib.data.beir import write_folder
from armlib.data.collection import Collection
from armlib.data.msmarco_mini import MsmarcoMini
from armlib.data.qrels_file import HEADER
from armlib.data.text_files import write_columns
from armlib.data.types import HIGHEST_GRADE, Qrels
from armlib.names import load_collection, read_qrels
from fuzzing import mutated, tried_on

_numbers = itertools.count()


def lines(*rows: object) -> bytes:
    """One line a row: JSON of dictionaries, the others as they are."""
    return b"".join((json.dumps(row) if isinstance(row, dict) else str(row)).encode() + b"\n" for row in rows)


DOCUMENTS = [{"_id": f"d{number}", "title": f"T{number}", "text": f"document {number} on apples"} for number in range(5)]
FOLDER = {
    "corpus.jsonl": lines(*DOCUMENTS, {"_id": 7, "text": "x"}),
    "queries.jsonl": lines(*({"_id": f"q{n}", "text": f"what of apples {n}"} for n in range(4))),
    "qrels/train.tsv": lines("\t".join(HEADER), "q0\td0\t1", "q1\td1\t2", "q1\td4\t0", "q2\t7\t-1"),
    "qrels/test.tsv": lines("q1 0 d3 1.0", "q3 0 d2 2", "q3 0 d1 0"),
    "triples.train.tsv": lines("q0\td0\td2", "q1\td1\td3", "q2\t7\td4"),
}
MINIATURE = {
    "corpus.jsonl": FOLDER["corpus.jsonl"],
    "queries.jsonl": FOLDER["queries.jsonl"],
    "qrels/train.tsv": FOLDER["qrels/train.tsv"],
    "qrels/trec-dl-2019.tsv": lines("\t".join(HEADER), "q1\td3\t1", "q3\td2\t2"),
    "triples.train.tsv": FOLDER["triples.train.tsv"],
    "run.trec-dl-2019.tsv": lines("q1\td3\t12.5", "q1\td2\t1e-3", "q3\td1\t-4"),
}
TEXTS = lines(*(f"query {n} on apples\tpositive text {n}\tnegative text {n}" for n in range(5)))
TREC, BEIR = FOLDER["qrels/test.tsv"], FOLDER["qrels/train.tsv"]


@st.composite
def mutated_folder(draw: st.DrawFn, files: Mapping[str, bytes], only: Iterable[str]) -> dict[str, bytes]:
    """The files of a folder, one of ``only`` changed, and some of them compressed."""
    changed = draw(st.sampled_from(sorted(only)))
    data = {**files, changed: draw(mutated(files[changed]))}
    packed = draw(st.sets(st.sampled_from(sorted(files)), max_size=2))
    return {name + ".gz" * (name in packed): gzip.compress(text) if name in packed else text for name, text in data.items()}


def written(folder: Path, files: Mapping[str, bytes]) -> Path:
    """The files in a folder of their own."""
    place = folder / str(next(_numbers))
    for name, data in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    return place


def check_ids(*ids: str) -> None:
    """Each id is one word that no reader of lines and columns takes apart."""
    for name in ids:
        assert name.split() == [name] and name.encode(), name
        assert not any(unicodedata.category(each) == "Cc" or each == "\ufeff" for each in name), name


def check_qrels(qrels: Qrels) -> None:
    for query, grades in qrels.items():
        check_ids(query, *grades)
        assert grades and all(type(grade) is int and abs(grade) <= HIGHEST_GRADE for grade in grades.values())


def check_collection(collection: Collection) -> None:
    """All that is read of a collection can be used together."""
    queries, qrels, documents = collection.queries(), collection.qrels(), dict(collection.documents())
    check_ids(*queries, *documents)
    check_qrels(qrels)
    assert all(text.encode() is not None for text in (*queries.values(), *documents.values()))
    assert collection.queries_in_corpus() <= queries.keys() and len(collection.fingerprint()) == 16


def check_folder(files: Mapping[str, bytes], folder: Path) -> None:
    """Both splits of a folder, their triples, and the same folder written again."""
    place = written(folder, files)
    for split in ("train", "test"):
        collection = load_collection(f"{place}/{split}")
        check_collection(collection)
        queries, documents = collection.queries(), dict(collection.documents())
        assert queries.keys() == collection.qrels().keys()
        if split == "train":
            for query, *pair in collection.triples() or ():
                check_ids(query)
                assert documents.keys() >= set(pair)
        write_folder(place / f"again-{split}", list(collection.documents()), queries, {split: collection.qrels()})
        again = load_collection(place / f"again-{split}")
        assert (dict(again.documents()), again.queries(), again.qrels()) == (documents, queries, collection.qrels())


@tried_on("BEIR corpus", mutated_folder(FOLDER, ["corpus.jsonl"]))
def test_a_corpus_is_read_or_refused(folder: Path, files: dict[str, bytes]) -> None:
    check_folder(files, folder)


@tried_on("BEIR queries", mutated_folder(FOLDER, ["queries.jsonl"]))
def test_queries_are_read_or_refused(folder: Path, files: dict[str, bytes]) -> None:
    check_folder(files, folder)


@tried_on("BEIR qrels", mutated_folder(FOLDER, ["qrels/train.tsv", "qrels/test.tsv"]))
def test_qrels_of_a_folder_are_read_or_refused(folder: Path, files: dict[str, bytes]) -> None:
    check_folder(files, folder)


@tried_on("BEIR triples", mutated_folder(FOLDER, ["triples.train.tsv"]))
def test_triples_of_ids_are_read_or_refused(folder: Path, files: dict[str, bytes]) -> None:
    check_folder(files, folder)


@tried_on("triples of texts", mutated(TEXTS), st.sampled_from(("t.tsv", "t.tsv.gz")))
def test_triples_of_texts_are_read_or_refused(folder: Path, data: bytes, name: str) -> None:
    place = written(folder, {name: gzip.compress(data) if name.endswith(".gz") else data})
    collection = load_collection(place / name)
    check_collection(collection)
    queries, documents, triples = collection.queries(), dict(collection.documents()), list(collection.triples() or ())
    assert triples and all(query in queries and {positive, negative} <= documents.keys() for query, positive, negative in triples)
    texts = [(queries[query], documents[positive], documents[negative]) for query, positive, negative in triples]
    write_columns(place / "again.tsv", texts)
    again = load_collection(place / "again.tsv")
    assert list(again.triples() or ()) == triples and again.qrels() == collection.qrels()


@tried_on("qrels files", st.sampled_from((TREC, BEIR, gzip.compress(TREC, mtime=0))).flatmap(mutated), st.booleans())
def test_qrels_are_read_or_refused(folder: Path, data: bytes, packed: bool) -> None:
    place = written(folder, {"any": gzip.compress(data) if packed else data})
    qrels = read_qrels(place / "any")
    check_qrels(qrels)
    rows = [(query, document, grade) for query, grades in qrels.items() for document, grade in grades.items()]
    write_columns(place / "beir.tsv", [HEADER, *rows])
    write_columns(place / "trec.gz", [(query, 0, document, grade) for query, document, grade in rows])
    assert read_qrels(place / "beir.tsv") == read_qrels(place / "trec.gz") == qrels


@tried_on("msmarco-mini", mutated_folder(MINIATURE, MINIATURE))
def test_the_files_of_msmarco_mini_are_read_or_refused(folder: Path, files: dict[str, bytes]) -> None:
    place = written(folder, files)
    for split in ("train", "trec-dl-2019"):
        collection = MsmarcoMini(split)
        collection.folder = place
        check_collection(collection)
    for query, scores in collection.first_stage().items():
        assert query in collection.queries() and all(abs(score) < float("inf") for score in scores.values())


NAMES = (b"docstrings/test", b"msmarco-mini", b"beir/scifact/train", b"./folder/test", b"~/folder", b"/tmp/t.tsv.gz", b"none.qrels")


@tried_on("names of collections", st.sampled_from(NAMES).flatmap(mutated))
def test_a_name_is_known_or_refused(folder: Path, name: bytes) -> None:
    assert load_collection(name.decode("utf8", "surrogateescape")).name
