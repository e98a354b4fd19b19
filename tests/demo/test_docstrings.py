"""The embedded collection, mined once for all tests from what is installed."""

from __future__ import annotations

import pytest
from ir_measures import R, calc_aggregate, nDCG

from armlib.demo.docstring_sources import DocumentedObject
from armlib.demo.docstrings import Docstrings, Names, collection_fingerprint, distinct, passages_of
from armlib.names import load_collection

pytestmark = pytest.mark.slow  # the first one mines, which takes half a minute


@pytest.fixture(scope="module")
def train():
    return load_collection("docstrings")


@pytest.fixture(scope="module")
def test():
    return load_collection("docstrings/test")


def thing(name, body="word " * 20, summary="", see_also=()):
    return DocumentedObject(name, summary or f"Do what {name} does.", body, tuple(see_also))


def test_sizes(train, test):
    validation = load_collection("docstrings/validation")
    assert len(validation.queries()) == 200 and len(test.queries()) == 300
    assert 8_000 < len(train.queries()) < 14_000
    documents = list(train.documents())
    assert 1.5 * len(train.queries()) < len(documents) < 3 * len(train.queries())
    assert len({document.id for document in documents}) == len(documents)
    assert max(len(document.text.split()) for document in documents) <= 60
    assert train.name == "docstrings/train"
    assert (train.validation, train.evaluation) == ("docstrings/validation", ("docstrings/test",))
    assert {collection.relevant_from for collection in (train, validation, test)} == {2}


def test_every_judgment_exists_and_no_query_is_in_two_splits(train, test):
    ids = {document.id for document in train.documents()}
    splits = [load_collection(f"docstrings/{split}") for split in Docstrings.splits]
    assert all(document in ids for split in splits for grades in split.qrels().values() for document in grades)
    names = [query for split in splits for query in split.queries()]
    texts = [text for split in splits for text in split.queries().values()]
    assert len(names) == len(set(names)) and len(texts) == len({text.casefold() for text in texts})
    assert all(1 in grades.values() for grades in test.qrels().values()), "held-out queries have a See Also"


def test_grades(train):
    for query, grades in train.qrels().items():
        own = [f"{query}#{place}" for place in range(1, 4) if f"{query}#{place}" in grades]
        assert [grades[document] for document in own] == [3, 2, 2][: len(own)] and own
        assert all(grade == 1 and document.endswith("#1") for document, grade in grades.items() if document not in own)


def test_triples(train):
    qrels, seen = train.qrels(), {}
    for query, positive, negative in train.triples():
        assert positive == f"{query}#1" and qrels[query][positive] == 3
        seen.setdefault(query, set()).add(negative)
        owner = negative.rpartition("#")[0]
        assert owner != query and f"{owner}#1" not in qrels[query], "not its own, and of no object under See Also"
    assert set(seen) <= set(qrels) and len(seen) > 0.99 * len(qrels)
    assert max(map(len, seen.values())) == 10


def test_bm25_finds_what_it_should(test):
    measured = calc_aggregate([nDCG @ 10, R(rel=2) @ 100], test.qrels(), test.bm25_run(100))
    assert measured[nDCG @ 10] == pytest.approx(0.34, abs=0.05)
    assert measured[R(rel=2) @ 100] == pytest.approx(0.61, abs=0.06)


def test_the_fingerprint_is_the_same_for_the_same_packages(train):
    assert len(collection_fingerprint()) == 16
    assert train.fingerprint() == load_collection("docstrings/train").fingerprint()
    assert train.corpus.fingerprint() == load_collection("docstrings/test").corpus.fingerprint()


def test_inherited_docstrings_and_aliases_are_one_object():
    long = "this body is long enough to count as one because it has more than fifteen words in it"
    found = [thing("a.Base.run", long), thing("a.Child.run", long), thing("a.other", long + " more", "Do what a.Base.run does.")]
    objects, aliases = distinct([*found, thing("a.brief", "too short"), thing("a.terse", long + "!", "Two words")])
    assert list(objects) == ["a.Base.run"] and aliases == {"a.Child.run": "a.Base.run"}


def test_passages_hold_sixty_words_and_are_at_most_three():
    passages = passages_of(thing("a", " ".join(map(str, range(200)))))
    assert [(p.id, p.text.split()[0], len(p.text.split())) for p in passages] == [
        ("a#1", "0", 60),
        ("a#2", "60", 60),
        ("a#3", "120", 60),
    ]
    assert len(passages_of(thing("a", "few words"))) == 1


def test_names_under_see_also_are_found_from_near_to_far():
    names = Names(
        ["p.m.f", "p.m.C.f", "p.m.C.g", "p.n.f", "p.n.D.g", "p.far.away.only", "numpy.sort", "p.n.E.single"], {"p.m.alias": "p.m.f"}
    )
    assert names.find("f", "p.m.C.h") == "p.m.C.f"
    assert names.find("f", "p.m.h") == "p.m.f"
    assert names.find("f", "p.x.h") == "p.m.f", "equally near: the first by name"
    assert names.find("m.alias", "p.n.f") == "p.m.f"
    assert names.find("only", "p.m.f") == "p.far.away.only"
    assert names.find("numpy.sort", "p.m.f") == "numpy.sort"
    assert names.find("C.g", "p.n.D.x") == "p.m.C.g"
    assert names.find("Other.g", "p.m.f") is None, "another class's method is not meant"
    assert names.find("Other.single", "p.m.f") == "p.n.E.single", "unless there is no other"
    assert names.find("sort", "p.m.f") is None
