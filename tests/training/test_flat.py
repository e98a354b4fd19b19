"""Training without padding: the loss sees the same batch in the same order, and training is as exact as with chunks."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from armlib.data.batches import Batch, Shape, TripleBatches
from armlib.data.tokenising import token_store
from armlib.encoder import packed
from armlib.encoder.bi_encoder import BiEncoder
from armlib.errors import InputError
from armlib.losses import EmbeddedBatch, MarginLoss
from armlib.training.gradients import batch_gradients
from armlib.training.loop import train
from armlib.training.processes import default_accelerator
from armlib.training.settings import Settings

SETTINGS = Settings(steps=12, learning_rate=1e-3, validate_every=4)
SHAPE = Shape(24, 48, chunk_size=7)
PIECES = replace(SHAPE, chunk_tokens=300)


@pytest.fixture
def store(texts, tiny_encoder):
    return token_store(lambda: texts, tiny_encoder.tokenizer, "texts", "passages")


@pytest.fixture
def batches(store) -> TripleBatches:
    rows = np.random.default_rng(0).integers(0, len(store), (500, 4)).astype(np.int32)  # two negatives each
    return TripleBatches(rows, store, store, batch_size=16, shape=SHAPE, seed=1)


@pytest.fixture
def packing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Narrow encoders are read without padding, too."""
    monkeypatch.setattr(packed, "PAYS_FROM", 1)


def with_dropout(encoder: BiEncoder) -> BiEncoder:
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.2
    return encoder


def in_shape(batches: TripleBatches, shape: Shape, flat: bool) -> TripleBatches:
    other = copy.copy(batches)
    other.shape, other.flat = shape, flat
    return other


class Seen(MarginLoss):
    """A loss that keeps the embeddings that it was given."""

    def of_batch(self, batch: EmbeddedBatch):
        self.batch = batch
        return super().of_batch(batch._replace(negatives=batch.negatives[:, :1]))


def gradients(encoder: BiEncoder, batch: Batch, cached: bool = False, loss: str = "adaptive") -> tuple[dict, EmbeddedBatch]:
    """The parameters' gradients, and what the loss saw; the encoder stays as it is."""
    own, seen = copy.deepcopy(encoder).train(), Seen(loss)
    batch_gradients(own, seen, batch, default_accelerator("cpu"), replace(SETTINGS, cached=cached), step=3)
    return {name: parameter.grad for name, parameter in own.named_parameters()}, seen.batch


def assert_close(ours: dict, theirs: dict, **near: float) -> None:
    for name, expected in theirs.items():
        torch.testing.assert_close(ours[name], expected, msg=name, **near)
    assert max(float(gradient.abs().max()) for gradient in theirs.values()) > 1e-3


@pytest.mark.parametrize("shape", [SHAPE, PIECES])
def test_the_loss_sees_the_same_batch_in_the_same_order(tiny_encoder, batches, shape: Shape) -> None:
    chunks, flat = batches[3], in_shape(batches, shape, flat=True)[3]
    assert (len(flat.flat) == 1) == (shape is SHAPE) and not flat.queries and not flat.passages
    assert flat.real_tokens == flat.padded_tokens == chunks.real_tokens < chunks.padded_tokens
    assert torch.equal(flat.rows, chunks.rows)
    (expected, padded), (found, seen) = gradients(tiny_encoder, chunks), gradients(tiny_encoder, flat)
    assert seen.queries.shape == (16, 32) and seen.negatives.shape == (16, 2, 32)
    for ours, theirs in zip(seen[:3], padded[:3], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
    assert_close(found, expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("target", ["static(0.3)", "adaptive", "distributed", "variance"])
def test_cached_gradients_equal_plain_ones_with_dropout(tiny_encoder, batches, target: str) -> None:
    batch = in_shape(batches, PIECES, flat=True)[3]
    assert len(batch.flat) > 3 and all(len(piece.input_ids) <= 300 for piece in batch.flat)
    encoder = with_dropout(tiny_encoder)
    (plain, seen), (cached, again) = (gradients(encoder, batch, cached, target) for cached in (False, True))
    assert torch.equal(seen.queries, again.queries) and torch.equal(seen.negatives, again.negatives)
    assert_close(cached, plain, rtol=1e-4, atol=1e-7)


def test_who_reads_without_padding_is_decided_by_the_width(tiny_encoder, batches, packing: None, monkeypatch) -> None:
    trained = train(copy.deepcopy(tiny_encoder), MarginLoss("adaptive"), one_negative(batches), SETTINGS).trace
    assert (trained.padded_tokens == trained.real_tokens).all()
    monkeypatch.setattr(packed, "PAYS_FROM", 33)
    narrow = train(copy.deepcopy(tiny_encoder), MarginLoss("adaptive"), one_negative(batches), SETTINGS).trace
    assert (narrow.padded_tokens > narrow.real_tokens).all() and (narrow.real_tokens == trained.real_tokens).all()


def one_negative(batches: TripleBatches) -> TripleBatches:
    other = copy.copy(batches)
    other.triples = batches.triples[:, :3]
    return other


@pytest.mark.parametrize("shape", [SHAPE, PIECES])
def test_a_stopped_training_continues_to_the_same_bits(tiny_encoder, batches, packing: None, tmp_path, shape: Shape) -> None:
    source = in_shape(one_negative(batches), shape, flat=False)
    settings = replace(SETTINGS, checkpoint_seconds=0.0, cached=shape is PIECES)
    whole = with_dropout(copy.deepcopy(tiny_encoder))
    expected = train(whole, MarginLoss("distributed"), source, settings).trace

    class Interrupted:
        """The batches, until the program is stopped."""

        def starting_at(self, step: int, stop: int, **options):
            yield from source.starting_at(step, 5, **options)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(with_dropout(copy.deepcopy(tiny_encoder)), MarginLoss("distributed"), Interrupted(), settings, checkpoints=tmp_path)
    second = with_dropout(copy.deepcopy(tiny_encoder))
    continued = train(second, MarginLoss("distributed"), source, settings, checkpoints=tmp_path).trace
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in whole.state_dict().items())
    assert continued.loss.tolist() == expected.loss.tolist() and (expected.padded_tokens == expected.real_tokens).all()


def test_workers_give_the_same_texts(batches) -> None:
    batches = in_shape(batches, PIECES, flat=False)
    flat = in_shape(batches, PIECES, flat=True)
    for step, batch in enumerate(batches.starting_at(2, 5, workers=1, flat=True), 2):
        for ours, theirs in zip(batch.flat, flat[step].flat, strict=True):
            assert all(map(torch.equal, vars(ours).values(), vars(theirs).values()))
    assert not batches.flat and batches[0].queries


def test_an_encoder_that_cannot_is_refused(tiny_encoder, batches) -> None:
    tiny_encoder.add_context(4)
    with pytest.raises(InputError, match="reads a context cannot read texts without padding"):
        gradients(tiny_encoder, in_shape(batches, SHAPE, flat=True)[0])
