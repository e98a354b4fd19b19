"""Preferences of a pairwise teacher: asked once, in shards that stay when the process is stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from armlib.data.candidate_lists import CandidateLists
from armlib.data.collection import Collection
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.token_stores import passage_tokens, query_tokens
from armlib.errors import InputError
from armlib.names import load_collection
from armlib.teachers import preferences as module
from armlib.teachers.base import PairwiseTeacher
from armlib.teachers.preferences import ScoredLists, preferences


class Judge(PairwiseTeacher):
    """Prefers what comes first in the alphabet, with .75; fails from a certain question on; notes what it was asked."""

    def __init__(self, name: str, fails_after: int = 1 << 30, answer: float = 0.75) -> None:
        super().__init__()
        self.name, self.fails_after, self.answer = name, fails_after, answer
        self.seen: list[tuple[str, str, str]] = []

    def __str__(self) -> str:
        return self.name

    def fingerprint(self, collection: Collection) -> str:
        return self.name

    def prepare(self, collection: Collection) -> None:
        self.cost = {"parameters": 7}

    def preferences(
        self, collection: Collection, queries: Sequence[str], firsts: Sequence[str], seconds: Sequence[str]
    ) -> np.ndarray:
        if len(self.seen) + len(queries) > self.fails_after:
            raise KeyboardInterrupt
        self.seen += zip(queries, firsts, seconds, strict=True)
        self.operations += 100.0 * len(queries)
        return np.array([self.answer if a < b else 1 - self.answer for a, b in zip(firsts, seconds, strict=True)], np.float32)


@pytest.fixture
def asked(beir_folder: Path, tiny_encoder: BiEncoder, monkeypatch) -> tuple:
    """A collection, its stores, and 30 lists of 4 passages."""
    monkeypatch.setattr(module, "SHARD", 25)
    collection = load_collection(beir_folder)
    queries, passages = query_tokens(collection, tiny_encoder), passage_tokens(collection, tiny_encoder)
    draw = np.random.default_rng(0)
    rows = np.stack([np.r_[number, draw.permutation(len(passages))[:4]] for number in range(30)]).astype(np.int32)
    chosen = np.triu(draw.random((30, 4, 4)) < 0.6, 1)
    return collection, queries, passages, CandidateLists(rows, draw.random((30, 4)).astype(np.float32), chosen)


def test_each_pair_is_asked_about_once_by_its_texts(asked: tuple) -> None:
    collection, queries, passages, lists = asked
    judge = Judge("whole")
    found = preferences(judge, *asked)
    texts, documents = collection.queries(), dict(collection.documents())
    np.testing.assert_array_equal(np.isnan(found.values), ~lists.asked)
    expected = []
    for number, first, second in np.argwhere(lists.asked):
        words = [documents[passages.ids[row].decode()] for row in lists.rows[number, [1 + first, 1 + second]]]
        expected.append((texts[queries.ids[lists.rows[number, 0]].decode()], *words))
        assert found.values[number, first, second] == (0.75 if words[0] < words[1] else 0.25)
    assert judge.seen == expected
    assert found.cost["pairs"] == len(expected) and found.cost["operations"] == 100 * len(expected)
    assert found.cost["parameters"] == 7 and found.cost["seconds"] > 0
    again = Judge("whole")
    np.testing.assert_array_equal(preferences(again, *asked).values, found.values)
    assert again.seen == []


def test_a_process_that_was_stopped_goes_on(asked: tuple, cache: Path) -> None:
    first, second = Judge("stopped", fails_after=60), Judge("stopped")
    with pytest.raises(KeyboardInterrupt):
        preferences(first, *asked)
    assert len(first.seen) == 50
    found = preferences(second, *asked)
    total = int(asked[3].asked.sum())
    assert len(second.seen) == total - 50 and found.cost["pairs"] == total and found.cost["operations"] == 100 * total
    np.testing.assert_array_equal(found.values, preferences(Judge("never stopped"), *asked).values)
    assert not list((cache / "preferences").glob("*.asking"))


def test_a_batch_has_the_scores_of_its_lists(asked: tuple) -> None:
    lists, found = asked[3], preferences(Judge("whole"), *asked)
    scored = ScoredLists(lists, {"pairs": 120}, found)
    assert scored.cost == {"pairs": 120, "pairwise": found.cost}
    batch = scored(lists.rows[[3, 29, 3]])
    np.testing.assert_array_equal(batch.pointwise.numpy(), lists.scores[[3, 29, 3]])
    np.testing.assert_array_equal(batch.pairwise.numpy(), found.values[[3, 29, 3]].astype(np.float32))
    alone = ScoredLists(lists, {"pairs": 120})
    assert alone(lists.rows[:2]).pairwise is None and alone.cost == {"pairs": 120}


def test_nobody_is_asked_where_there_are_no_pairs(asked: tuple) -> None:
    lists = asked[3]._replace(asked=np.zeros_like(asked[3].asked))
    found = preferences(Judge("idle"), *asked[:3], lists)
    assert np.isnan(found.values).all() and found.cost["pairs"] == 0


@pytest.mark.parametrize("answer", [1.5, float("nan")])
def test_what_is_no_probability_is_refused(asked: tuple, answer: float) -> None:
    with pytest.raises(
        InputError, match=r"^the pairwise teacher odd gave something else than one probability for each of 25 pairs$"
    ):
        preferences(Judge("odd", answer=answer), *asked)
