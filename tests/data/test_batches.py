"""Batches: random over the data, exact inside, computed from their number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from armlib.data.batches import Shape, TripleBatches
from armlib.data.samplers import SAMPLERS, Sampler
from armlib.data.tokenising import token_store
from armlib.errors import InputError
from armlib.losses import TeacherScores


@pytest.fixture
def store(texts, tiny_encoder):
    return token_store(lambda: texts, tiny_encoder.tokenizer, "texts", "passages")


@pytest.fixture
def triples(store) -> np.ndarray:
    return np.random.default_rng(0).integers(0, len(store), (1000, 3)).astype(np.int32)


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
        numbers = torch.cat([chunk.rows for chunk in chunks]).tolist()
        assert sorted(numbers) == list(range(len(expected)))
        for chunk in chunks:
            for ids, mask, number in zip(chunk.input_ids, chunk.attention_mask, chunk.rows, strict=True):
                want, lengths = store.gather(expected[[number]], length)
                assert ids[: lengths[0]].tolist() == want[0].tolist() and mask.sum() == lengths[0]
            if shape.chunk_tokens:
                assert chunk.input_ids.numel() <= shape.chunk_tokens
    assert batch.real_tokens == sum(int(c.attention_mask.sum()) for c in batch.queries + batch.passages)


def texts_of(chunks) -> dict[int, list[int]]:
    """The token ids of each text of a batch, without padding, by its row."""
    return {
        int(row): ids[mask == 1].tolist()
        for chunk in chunks
        for ids, mask, row in zip(chunk.input_ids, chunk.attention_mask, chunk.rows, strict=True)
    }


def teacher_of(rows: np.ndarray) -> TeacherScores:
    """Scores that are made of row numbers, so that each says whose it is."""
    return TeacherScores(torch.from_numpy((rows[:, :1] + rows[:, 1:] / 1000).astype(np.float32)))


def test_several_negatives_come_after_all_positives_with_the_teachers_scores(store) -> None:
    rows = np.random.default_rng(0).integers(0, len(store), (100, 4))  # query, positive and two negatives
    batches = TripleBatches(rows, store, store, batch_size=8, shape=Shape(24, 48, chunk_size=3), seed=1, teacher=teacher_of)
    batch, chosen = batches[2], batches.positions(2)
    np.testing.assert_array_equal(batches.rows(2), rows[chosen])
    passages = texts_of(batch.passages)
    assert len(passages) == 3 * 8 and sorted(passages) == list(range(24))
    for number, (_, positive, first, second) in enumerate(rows[chosen]):
        for row, passage in ((number, positive), (8 + number, first), (16 + number, second)):
            ids, lengths = store.gather(np.array([passage]), 48)
            assert passages[row] == ids[0, : lengths[0]].tolist()
    assert batch.size == 8 and batch.rows.dtype == torch.int64
    np.testing.assert_array_equal(batch.rows.numpy(), rows[chosen])
    assert torch.equal(batch.teacher.pointwise, teacher_of(rows[chosen]).pointwise)
    moved = batch.to(torch.device("cpu"))
    assert torch.equal(moved.teacher.pointwise, batch.teacher.pointwise) and texts_of(moved.passages) == passages
    assert TripleBatches(rows, store, store, batch_size=16, shape=Shape(24, 48), seed=1)[4].teacher is None


def test_every_process_has_the_rows_and_scores_of_all(store, triples) -> None:
    common = {"batch_size": 16, "shape": Shape(24, 48), "seed": 1, "teacher": teacher_of}
    one = TripleBatches(triples, store, store, **common)[3]
    for rank in (0, 1):
        share = TripleBatches(triples, store, store, rank=rank, processes=2, **common)[3]
        assert share.size == 8 and torch.equal(share.rows, one.rows)
        assert torch.equal(share.teacher.pointwise, one.teacher.pointwise)


def test_a_sampler_is_named_and_decides_the_order(store, triples, monkeypatch) -> None:
    class InOrder(Sampler):
        """The examples one after the other."""

        def positions(self, epoch: int, step: int) -> np.ndarray:
            return np.arange(step * self.batch_size, (step + 1) * self.batch_size)

    monkeypatch.setitem(SAMPLERS, "in-order", lambda: InOrder)
    batches = TripleBatches(triples, store, store, batch_size=30, shape=Shape(24, 48), seed=1, sampler="in-order")
    assert batches.steps_per_epoch == 33
    np.testing.assert_array_equal(batches.rows(2), triples[60:90])
    np.testing.assert_array_equal(batches.rows(33 + 2), triples[60:90])
    with pytest.raises(InputError, match=r"unknown sampler 'inorder'; did you mean 'in-order'\?"):
        TripleBatches(triples, store, store, batch_size=30, shape=Shape(24, 48), seed=1, sampler="inorder")


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
