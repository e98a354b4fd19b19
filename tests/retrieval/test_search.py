"""Searching by typed questions, many at once, gives the rankings that evaluation gives."""

from __future__ import annotations

import pytest

from armlib import Searcher, load_collection
from armlib.encoder.token_stores import passage_tokens, query_tokens
from armlib.errors import InputError
from armlib.retrieval import search
from armlib.retrieval.rankings import full_ranking


@pytest.mark.parametrize("together", [256, 7])
def test_many_questions_have_the_full_ranking(together: int, tiny_encoder, beir_folder, monkeypatch) -> None:
    monkeypatch.setattr(search, "QUESTIONS", together)
    tiny_encoder.set_prompts("return the ", "a list of ")
    test = load_collection(f"{beir_folder}/test")
    queries, passages = query_tokens(test, tiny_encoder), passage_tokens(test, tiny_encoder)
    lengths = {"query_length": 24, "passage_length": 48}
    expected, _ = full_ranking(tiny_encoder, queries, list(test.queries()), passages, 20, **lengths)
    searcher = Searcher(tiny_encoder, test, **lengths)
    found = searcher.run(test.queries(), 20)
    assert list(found) == list(expected) and len(found) == 40
    for query, scores in expected.items():
        assert found[query] == pytest.approx(scores, abs=1e-6)
    name, question = next(iter(test.queries().items()))
    hits = searcher.search(question, 20)
    assert {hit.id: hit.score for hit in hits} == pytest.approx(found[name], abs=1e-6)


def test_a_question_that_is_a_document_does_not_find_itself(tiny_encoder, beir_folder) -> None:
    test = load_collection(f"{beir_folder}/test")
    document = next(test.documents())
    searcher = Searcher(tiny_encoder, test, query_length=48, passage_length=48)
    asked = {document.id: document.text}
    with_it, without = searcher.run(asked, 5), searcher.run(asked, 5, own={document.id})
    assert next(iter(with_it[document.id])) == document.id and list(without[document.id])[:4] == list(with_it[document.id])[1:]
    assert len(without[document.id]) == 5


def test_an_empty_question_among_others_is_refused(tiny_encoder, beir_folder) -> None:
    searcher = Searcher(tiny_encoder, load_collection(f"{beir_folder}/test"), query_length=24, passage_length=48)
    with pytest.raises(InputError, match="the question is empty"):
        searcher.run({"1": "sort a list", "2": " "})
    with pytest.raises(InputError, match="expected at least 1 passage to show, found k=0"):
        searcher.run({"1": "sort a list"}, 0)
