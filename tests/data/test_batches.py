"""Batches: random over the data, exact inside, computed from their number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from armlib.data.batches import Shape, TextBatches, TripleBatches
from armlib.data.samplers import shuffled
from armlib.data.tokenising import token_store
from armlib.errors import InputError


@pytest.fixture
def store(texts, tiny_encoder):
    return token_store(lambda: texts, tiny_encoder.tokenizer, "texts", "passages")


@pytest.fixture
def triples(store) -> np.ndarray:
    return np.random.default_rng(0).integers(0, len(store), (1000, 3)).astype(np.int32)


@pytest.mark.parametrize("count", [1, 2, 3, 64, 1000, 4097])
def test_shuffled_is_a_permutation(count: int) -> None:
    assert sorted(shuffled(np.arange(count), count, seed=3, epoch=0)) == list(range(count))


def test_shuffled_depends_on_seed_and_epoch_and_looks_random() -> None:
    count = 10_000
    orders = [shuffled(np.arange(count), count, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    for order in orders:
        # Of a random permutation, the correlation with the identity is within 4 / sqrt(n).
        assert abs(np.corrcoef(order, np.arange(count))[0, 1]) < 4 / np.sqrt(count)
        # Neighbours are far apart: a third of the range on average.
        assert abs(np.abs(np.diff(order)).mean() / count - 1 / 3) < 0.02
    assert sum(orders[0] == orders[1]) < 10 and sum(orders[0] == orders[2]) < 10


def test_an_epoch_sees_every_triple_once(store, triples) -> None:
    batches = TripleBatches(triples, store, store, batch_size=50, shape=Shape(24, 48), seed=1)
    seen = np.concatenate([batches.rows(step) for step in range(batches.steps_per_epoch)])
    np.testing.assert_array_equal(np.sort(seen.view("i4,i4,i4"), axis=0), np.sort(triples.view("i4,i4,i4"), axis=0))
    assert not np.array_equal(batches.rows(0), batches.rows(batches.steps_per_epoch)), "epochs differ in order"


@pytest.mark.parametrize("shape", [Shape(24, 48), Shape(24, 48, chunk_size=5), Shape(24, 48, chunk_tokens=300)])
def test_chunks_hold_the_exact_batch(store, triples, shape: Shape) -> None:
    batches = TripleBatches(triples, store, store, batch_size=32, shape=shape, seed=1)
    rows, batch = batches.rows(3), batches[3]
    for chunks, expected, length in (
        (batch.queries, rows[:, 0], 24),
        (batch.passages, np.concatenate([rows[:, 1], rows[:, 2]]), 48),
    ):
        places = torch.cat([chunk.places for chunk in chunks]).tolist()
        assert sorted(places) == list(range(len(expected)))
        for chunk in chunks:
            for ids, mask, place in zip(chunk.input_ids, chunk.attention_mask, chunk.places, strict=True):
                want, lengths = store.gather(expected[[place]], length)
                assert ids[: lengths[0]].tolist() == want[0].tolist() and mask.sum() == lengths[0]
            if shape.chunk_tokens:
                assert chunk.input_ids.numel() <= shape.chunk_tokens
    assert batch.real_tokens == sum(int(c.attention_mask.sum()) for c in batch.queries + batch.passages)


def test_sorted_chunks_waste_little(store, triples) -> None:
    sorted_chunks = TripleBatches(triples, store, store, batch_size=64, shape=Shape(30, 200, chunk_size=8), seed=0)[0]
    one_chunk = TripleBatches(triples, store, store, batch_size=64, shape=Shape(30, 200, chunk_size=999), seed=0)[0]
    assert sorted_chunks.real_tokens == one_chunk.real_tokens
    assert sorted_chunks.padded_tokens < 1.15 * sorted_chunks.real_tokens < 0.7 * one_chunk.padded_tokens


def test_processes_share_the_batch_of_one(store, triples) -> None:
    whole = TripleBatches(triples, store, store, batch_size=32, shape=Shape(), seed=5).rows(7)
    common = {"batch_size": 32, "shape": Shape(), "seed": 5, "processes": 2}
    shares = [TripleBatches(triples, store, store, rank=rank, **common).rows(7) for rank in (0, 1)]
    np.testing.assert_array_equal(np.concatenate(shares), whole)


@pytest.mark.parametrize("workers", [0, 1])
def test_starting_at_a_step_gives_that_step(store, triples, workers: int) -> None:
    batches = TripleBatches(triples, store, store, batch_size=32, shape=Shape(24, 48), seed=5)
    given = list(batches.starting_at(40, 42, workers=workers))
    assert [len(given), given[0].size] == [2, 32]
    assert torch.equal(given[1].passages[0].input_ids, batches[41].passages[0].input_ids)


def test_too_few_triples_are_refused(store, triples) -> None:
    with pytest.raises(InputError, match="batch of 64 triples cannot be made: there are only 10"):
        TripleBatches(triples[:10], store, store, batch_size=64, shape=Shape(), seed=0)
    with pytest.raises(InputError, match="evenly over 3 processes"):
        TripleBatches(triples, store, store, batch_size=64, shape=Shape(), seed=0, processes=3)


def test_text_batches_equal_gathered_ones(store, triples, texts, tiny_encoder) -> None:
    stored = TripleBatches(triples, store, store, batch_size=16, shape=Shape(24, 48), seed=5)
    stream = ([texts[row][1] for row in triple] for step in (0, 1) for triple in stored.rows(step))
    given = list(TextBatches(stream, tiny_encoder.tokenizer, batch_size=16, shape=Shape(24, 48)).starting_at(0, 9))
    assert len(given) == 2
    for step, batch in enumerate(given):
        for left, right in zip(batch.queries + batch.passages, stored[step].queries + stored[step].passages, strict=True):
            assert torch.equal(left.input_ids, right.input_ids) and torch.equal(left.places, right.places)
