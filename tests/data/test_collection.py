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
