"""Training with another loss than the margin loss: two negatives a query, a teacher's scores, no targets."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from armlib.data.batches import Shape, TripleBatches
from armlib.data.tokenising import token_store
from armlib.encoder.bi_encoder import BiEncoder
from armlib.errors import InputError
from armlib.losses import EmbeddedBatch, Loss, LossValue, MarginLoss, TeacherScores
from armlib.retrieval.encoding import encode_rows
from armlib.training.loop import train
from armlib.training.settings import Settings

SETTINGS = Settings(steps=2, learning_rate=1e-3, validate_every=1)
TARGETS = ["target_mean", "target_minimum", "target_maximum"]


class TeacherMargins(Loss):
    """The squared difference of inner products q.p - q.n_k to a teacher's scores, one for each negative."""

    def __init__(self, with_targets: bool = False) -> None:
        super().__init__()
        self.with_targets = with_targets
        self.seen: list[EmbeddedBatch] = []

    def of_batch(self, batch: EmbeddedBatch) -> LossValue:
        self.seen.append(EmbeddedBatch(*(part.detach().clone() for part in batch[:3]), batch.rows, batch.teacher))
        own = (batch.queries * batch.positives).sum(-1, keepdim=True)  # (B, 1)
        margins = own - torch.einsum("bd,bnd->bn", batch.queries, batch.negatives)  # (B, N)
        targets = batch.teacher.pointwise[:, 1:]
        return LossValue((margins - targets).square().mean(), targets if self.with_targets else None)

    def __str__(self) -> str:
        return "teacher-margins"


@pytest.fixture
def store(texts, tiny_encoder):
    return token_store(lambda: texts, tiny_encoder.tokenizer, "texts", "passages")


@pytest.fixture
def batches(store) -> TripleBatches:
    """Batches of 8 with two negatives a query, and the teacher's scores of both."""
    rows = np.random.default_rng(0).integers(0, len(store), (200, 4)).astype(np.int32)
    return TripleBatches(rows, store, store, batch_size=8, shape=Shape(24, 48, chunk_size=5), seed=1, teacher=teacher_of)


def teacher_of(rows: np.ndarray) -> TeacherScores:
    """Scores that are made of row numbers."""
    return TeacherScores(torch.from_numpy(np.sin(rows[:, 1:] + rows[:, :1]).astype(np.float32)))


@pytest.mark.parametrize("cached", [False, True])
def test_the_loss_gets_each_query_with_its_positive_its_two_negatives_and_its_scores(tiny_encoder, store, batches, cached) -> None:
    before, loss = copy.deepcopy(tiny_encoder), TeacherMargins()
    done = train(tiny_encoder, loss, batches, replace(SETTINGS, cached=cached))
    first = loss.seen[0]
    assert len(loss.seen) == 2
    assert [tuple(part.shape) for part in first[:4]] == [(8, 32), (8, 32), (8, 2, 32), (8, 4)]
    rows = batches.rows(0)

    def expected(column: int, length: int) -> torch.Tensor:
        return torch.from_numpy(encode_rows(before, store, rows[:, column], length))

    for embedded, column, length in (
        (first.queries, 0, 24),
        (first.positives, 1, 48),
        (first.negatives[:, 0], 2, 48),
        (first.negatives[:, 1], 3, 48),
    ):
        torch.testing.assert_close(F.normalize(embedded, dim=-1), expected(column, length), atol=1e-5, rtol=1e-4)
    for seen, step in zip(loss.seen, (0, 1), strict=True):
        assert seen.rows.tolist() == batches.rows(step).tolist()
        assert torch.equal(seen.teacher.pointwise, teacher_of(batches.rows(step)).pointwise)

    trace = done.trace
    assert trace.step.tolist() == [1, 2] and trace.triples.tolist() == [8, 16] and np.isfinite(trace.loss).all()
    assert "similarity_mean" in trace and not set(TARGETS) & set(trace), "a loss without targets has none in its trace"


def test_plain_and_cached_gradients_train_to_the_same_weights(tiny_encoder, batches) -> None:
    encoders = [tiny_encoder, copy.deepcopy(tiny_encoder)]
    traces = [train(each, TeacherMargins(), batches, replace(SETTINGS, cached=each is tiny_encoder)).trace for each in encoders]
    np.testing.assert_allclose(traces[0].loss, traces[1].loss, rtol=1e-5)
    for name, weight in encoders[0].named_parameters():
        if not name.endswith("k_lin.bias"):  # softmax ignores it: its gradient is rounding alone
            torch.testing.assert_close(weight, encoders[1].get_parameter(name), rtol=1e-4, atol=2e-5, msg=name)


def test_a_loss_with_targets_has_them_in_its_trace(tiny_encoder, batches) -> None:
    trace = train(tiny_encoder, TeacherMargins(with_targets=True), batches, SETTINGS).trace
    scores = teacher_of(batches.rows(0)).pointwise[:, 1:].numpy()
    assert trace[TARGETS].iloc[0].tolist() == pytest.approx([scores.mean(), scores.min(), scores.max()], rel=1e-5)


def test_a_trace_without_targets_is_continued(tiny_encoder, batches, tmp_path) -> None:
    settings = replace(SETTINGS, steps=6, checkpoint_seconds=0.0)
    whole = train(copy.deepcopy(tiny_encoder), TeacherMargins(), batches, settings).trace
    first = copy.deepcopy(tiny_encoder)
    train(first, TeacherMargins(), batches, replace(settings, steps=3), checkpoints=tmp_path)
    rest = train(tiny_encoder, TeacherMargins(), batches, settings, checkpoints=tmp_path).trace
    timed = ["seconds", "waiting_seconds"]
    assert rest.drop(columns=timed).equals(whole.drop(columns=timed))


def test_the_similarities_are_those_to_all_negatives(tiny_encoder, batches) -> None:
    loss = TeacherMargins()
    trace = train(tiny_encoder, loss, batches, replace(SETTINGS, steps=1)).trace
    negatives = loss.seen[0].negatives.reshape(16, 32)
    found = F.normalize(loss.seen[0].positives, dim=-1) @ F.normalize(negatives, dim=-1).T
    names = ["similarity_mean", "similarity_minimum", "similarity_maximum"]
    expected = [float(found.mean()), float(found.min()), float(found.max())]
    assert trace[names].iloc[0].tolist() == pytest.approx(expected, abs=1e-5)


def test_the_margin_loss_refuses_two_negatives(tiny_encoder: BiEncoder, batches) -> None:
    with pytest.raises(InputError) as caught:
        train(tiny_encoder, MarginLoss("adaptive"), batches, SETTINGS)
    assert str(caught.value) == "the loss 'adaptive' takes one negative a query, and these batches have 2"
