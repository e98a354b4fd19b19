"""The documents of collections: read from their source once, and shared."""

from __future__ import annotations

import os

import pytest

from armlib.data import corpus as corpus_module
from armlib.data.corpus import Corpus, shared_corpus, slug
from armlib.data.types import Document
from armlib.errors import InputError
from armlib.names import load_collection

DOCUMENTS = [Document("a", "one"), Document("b", "two words"), Document("c", "three")]


@pytest.fixture
def reads() -> list[str]:
    """Gets the id of each document that is read from the source."""
    return []


@pytest.fixture
def corpus(reads: list[str]) -> Corpus:
    def read():
        for document in DOCUMENTS:
            reads.append(document.id)
            yield document

    return Corpus("numbers", read)


def test_the_source_is_read_once(corpus: Corpus, reads: list[str]) -> None:
    assert list(corpus.documents()) == DOCUMENTS and corpus.ids == {"a", "b", "c"}
    assert len(corpus.fingerprint()) == 16 and corpus.texts(["c", "a", "z"]) == {"a": "one", "c": "three"}
    assert corpus.bm25().ids == ["a", "b", "c"] and corpus.bm25() is corpus.bm25()
    assert reads == ["a", "b", "c"] and repr(corpus) == "<corpus numbers>"


def test_two_may_read_at_the_same_time(corpus: Corpus) -> None:
    first, second = corpus.documents(), corpus.documents()
    assert next(first) == next(second) == DOCUMENTS[0]
    assert list(first) == list(second) == DOCUMENTS[1:]
    assert list(corpus.documents()) == DOCUMENTS


def test_what_was_read_in_part_is_read_again_and_texts_are_read_up_to_the_last(corpus: Corpus, reads: list[str]) -> None:
    assert corpus.texts(["b"]) == {"b": "two words"} and corpus.texts([]) == {}
    assert reads == ["a", "b"]
    assert list(corpus.documents()) == DOCUMENTS and reads == ["a", "b", "a", "b", "c"]


def test_large_ones_are_not_held(corpus: Corpus, reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_module, "HELD_CHARACTERS", 10)
    assert list(corpus.documents()) == list(corpus.documents()) == DOCUMENTS
    assert len(reads) == 6


def test_empty_documents_are_told_once_whether_held_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = Corpus("holes", lambda: iter([Document(name, " ") for name in "abcd"]))
    monkeypatch.setattr(corpus_module, "HELD_CHARACTERS", 0)
    with pytest.warns(UserWarning, match=r"^4 empty documents in holes are kept as they are: a, b, c, \.\.\.$"):
        list(empty.documents())
    assert len(list(empty.documents())) == 4, "a second warning would be an error here"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (Document("two words", "text"), "holes: the document id 'two words' cannot stand in a TREC run: expected a text without"),
        (Document("d", "half \ud83d"), r"holes: the text of document 'd' holds '\\ud83d', half a surrogate pair: expected text"),
    ],
)
def test_what_could_not_be_written_is_refused(document: Document, said: str) -> None:
    with pytest.raises(InputError, match=f"^{said}"):
        Corpus("holes", lambda: iter([*DOCUMENTS, document])).fingerprint()


def test_the_fingerprint_is_of_ids_and_texts_or_what_is_given_for_it(corpus: Corpus, reads: list[str]) -> None:
    others = [DOCUMENTS[::-1], [Document("ao", "ne"), *DOCUMENTS[1:]], DOCUMENTS[:2]]
    prints = {Corpus("x", lambda documents=documents: iter(documents)).fingerprint() for documents in (DOCUMENTS, *others)}
    assert len(prints) == 4 and corpus.fingerprint() in prints
    reads.clear()
    cheap = Corpus("cheap", corpus._read, lambda asked: f"of {asked.name}")
    assert cheap.fingerprint() == "of cheap" and not reads
    assert cheap.hashed() == corpus.fingerprint()


def test_collections_over_one_file_share_it_while_it_stays_as_it_is(beir_folder, tmp_path) -> None:
    train, test = load_collection(beir_folder), load_collection(f"{beir_folder}/test")
    assert train.corpus is test.corpus
    (tmp_path / "link").symlink_to(beir_folder)
    assert load_collection(tmp_path / "link").corpus is train.corpus, "by another path, the same file"
    before = (beir_folder / "corpus.jsonl").stat()
    os.utime(beir_folder / "corpus.jsonl", ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    changed = load_collection(beir_folder).corpus
    assert changed is not train.corpus and changed.fingerprint() == train.corpus.fingerprint()
    os.utime(beir_folder / "corpus.jsonl", ns=(before.st_atime_ns, before.st_mtime_ns))


def test_nobody_holds_what_nobody_uses() -> None:
    made = []

    def make() -> Corpus:
        made.append(1)
        return Corpus("brief", lambda: iter(DOCUMENTS))

    first = shared_corpus("test brief", make)
    assert shared_corpus("test brief", make) is first
    del first
    shared_corpus("test brief", make)
    assert len(made) == 2


def test_slugs_are_readable_and_short() -> None:
    assert slug("msmarco-passage/train (20 held out)") == "msmarco-passage-train-20-held-out"
    assert slug("/a/b/" + 80 * "c") == 60 * "c"
