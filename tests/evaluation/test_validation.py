"""Validation during training: which queries and candidates are re-ranked, and by what they are measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from armlib.data.held_out import hold_out
from armlib.encoder.token_stores import passage_tokens, query_tokens
from armlib.evaluation.measures import evaluate
from armlib.evaluation.validation import Validator
from armlib.names import load_collection
from armlib.retrieval.rankings import rerank_first_stage
from armlib.retrieval.run_files import ranked

LENGTHS = {"query_length": 24, "passage_length": 48}


@pytest.fixture
def collection(beir_folder: Path):
    return load_collection(f"{beir_folder}/test")


def test_it_measures_the_first_stage_re_ranked(collection, tiny_encoder) -> None:
    validator = Validator(collection, tiny_encoder, queries=0, depth=30, **LENGTHS)
    assert list(validator.qrels) == list(collection.first_stage()) and validator.hits == "Success@3"
    run = {query: ranked(found, 30) for query, found in collection.first_stage().items()}
    assert validator.candidates == run
    stores = query_tokens(collection, tiny_encoder), passage_tokens(collection, tiny_encoder)
    expected = evaluate(rerank_first_stage(tiny_encoder, *stores, run, **LENGTHS), collection.qrels(), ["nDCG@10", "Success@3"])
    assert validator(tiny_encoder) == pytest.approx(expected.mean) and 0 < expected.mean["nDCG@10"] < 1


def test_some_queries_are_always_the_same_and_need_a_relevant_document(collection, tiny_encoder, monkeypatch) -> None:
    def chosen(queries: int) -> list[str]:
        return list(Validator(collection, tiny_encoder, queries=queries, depth=5, **LENGTHS).qrels)

    few, more = chosen(7), chosen(12)
    assert len(few) == 7 and more[:7] == few and chosen(7) == few
    without = collection.qrels() | {few[0]: {document: 0 for document in collection.qrels()[few[0]]}}
    monkeypatch.setattr(type(collection), "qrels", lambda self: without)
    assert chosen(6) == few[1:]


def test_grades_that_count_as_relevant_are_the_collections(collection, tiny_encoder) -> None:
    collection.relevant_from = 2
    judged = collection.qrels()
    first, *_ = judged
    judged[first] = dict.fromkeys(judged[first], 2)
    validator = Validator(collection, tiny_encoder, queries=0, depth=100, **LENGTHS)
    assert validator.hits == "Success(rel=2)@10" and list(validator.qrels) == [first]
    assert set(validator(tiny_encoder)) == {"nDCG@10", "Success(rel=2)@10"}


def test_held_out_queries_are_validated_on_bm25s_best_hundred(beir_folder: Path, tiny_encoder) -> None:
    held = hold_out(load_collection(beir_folder), 20)
    validator = Validator(held, tiny_encoder, queries=20, depth=200, **LENGTHS)
    assert set(validator.qrels) == set(held.chosen) and max(map(len, validator.candidates.values())) == 100
