"""What every collection can say of itself, whatever it is made of."""

from __future__ import annotations

from functools import cached_property

import pytest

from armlib.data.collection import Collection
from armlib.data.corpus import Corpus
from armlib.data.types import Document, Qrels

TEXT = "Vegetarians help the  environment"


class Arguments(Collection):
    """Queries, of which some are documents under the same id."""

    name = "arguments"

    def __init__(self, queries: dict[str, str], documents: dict[str, str]) -> None:
        self._asked, self._documents = queries, documents

    @cached_property
    def corpus(self) -> Corpus:
        return Corpus("arguments", lambda: (Document(*pair) for pair in self._documents.items()))

    def queries(self) -> dict[str, str]:
        return self._asked

    def qrels(self) -> Qrels:
        return {query: {"other": 1} for query in self._asked if query != "unjudged"}


@pytest.mark.parametrize(
    ("query", "document", "same"),
    [
        (TEXT, TEXT, True),
        (TEXT, f"animals health {TEXT}", True),
        (TEXT, f"{TEXT} because of the land that cows take", True),
        (TEXT, "Vegetarians help\tthe environment ", True),
        (TEXT, "Vegetarians help the environmentalists", False),
        (TEXT, "Nonvegetarians help the environment", False),
        (TEXT, "something else under the same number", False),
    ],
)
def test_a_query_is_a_document_where_id_and_text_agree(query: str, document: str, same: bool) -> None:
    collection = Arguments({"17": query, "unjudged": TEXT, "absent": TEXT}, {"17": document, "unjudged": TEXT, "other": TEXT})
    assert collection.queries_in_corpus() == ({"17"} if same else set())


def test_a_query_is_no_mined_negative_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Arguments, "_trainable", lambda self: True)
    documents = {"17": TEXT, "other": f"Indeed, {TEXT}", "third": f"They say that {TEXT}"}
    assert list(Arguments({"17": TEXT}, documents).triples()) == [("17", "other", "third")]


def test_a_run_of_bm25_is_read_once_and_nobody_changes_another_s(monkeypatch: pytest.MonkeyPatch) -> None:
    collection = Arguments({"17": TEXT}, {"one": TEXT, "two": f"{TEXT} and the climate", "three": "birds"})
    first = collection.bm25_run(2)
    read: list[object] = []
    monkeypatch.setattr("armlib.data.collection.read_scores", lambda path, queries: read.append(path) or {"17": {"one": 0.5}})
    expected = {query: dict(found) for query, found in first.items()}
    assert expected.keys() == {"17"} and expected["17"].keys() == {"one", "two"}
    del first["17"]["one"]
    second = collection.bm25_run(2)
    second["17"].clear()
    assert collection.bm25_run(2) == expected and not read
    assert collection.bm25_run(1) == {"17": {"one": 0.5}} and len(read) == 1, "another depth is another run"
    collection._asked["18"] = "birds"
    collection.bm25_run(2)
    assert len(read) == 2, "other queries are another run"


def test_a_large_run_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    collection = Arguments({"17": TEXT}, {"one": TEXT, "two": f"{TEXT} and the climate"})
    monkeypatch.setattr("armlib.data.collection.HELD_RESULTS", 1)
    expected = collection.bm25_run(2)
    assert not collection._held_runs and collection.bm25_run(2) == expected
