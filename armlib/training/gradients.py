"""The gradient of one batch: texts encoded chunk by chunk, the loss of the whole batch, and its way back to the parameters."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext

import torch
from accelerate import Accelerator
from torch import Tensor

from armlib.data.batches import Batch, Chunk
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.modes import evaluating
from armlib.errors import InputError
from armlib.losses import EmbeddedBatch, Loss
from armlib.training.processes import gather_with_local_gradient
from armlib.training.settings import Settings
from armlib.training.trace import Trace

ALL_PROCESSES = -1
"""Stands for a process's number where all draw alike."""


def batch_gradients(
    encoder: BiEncoder, loss: Loss, batch: Batch, accelerator: Accelerator, settings: Settings, step: int
) -> dict[str, Tensor]:
    """Give the parameters the gradient of the joined batch's loss; return what the trace measures.

    A batch is encoded as it lies: in padded chunks, or in pieces without padding, which draw other dropout.

    With gradient caching (Gao et al. 2021, arXiv:2101.06983) every chunk is encoded twice and memory is that of one chunk: first
    without a graph, to have the embeddings that the loss needs, then again, with the same dropout, pulled by their gradient.

    Raises:
        InputError: the encoder reads a context and the batch brings none, or the other way round, or the batch is without padding
            and the encoder can read none such.
    """
    if batch.flat:
        return _flat_gradients(encoder, loss, batch, accelerator, settings, step)
    if bool(batch.context) != (encoder.context is not None):
        reads, brings = ("no ", "one") if batch.context else ("a ", "none")
        raise InputError(f"the encoder reads {reads}context, and the batches bring {brings}; expected batches of the encoder's")
    chunks = [*batch.queries, *batch.passages]
    sections = (batch.queries, batch.passages)
    first = (0, len(batch.queries))  # number of a section's first chunk
    stage = _FirstStage(encoder, batch, accelerator, settings, step) if batch.context else None
    context = stage.leaf if stage else None

    def encode(number: int, words: Tensor | None = None) -> Tensor:
        _seed_dropout((settings.seed, step, accelerator.process_index, number), accelerator.device)
        with accelerator.autocast():
            # (n, D). A copy: the first token's vector may be a view that keeps those of all tokens.
            return encoder(chunks[number].input_ids, chunks[number].attention_mask, words, context).float().clone()

    with torch.set_grad_enabled(not settings.cached):
        words = [None] * len(chunks) if settings.cached else _looked_up(encoder, chunks)
        encoded = [encode(number, words[number]) for number in range(len(chunks))]
        queries, passages = (
            _in_order(encoded[start : start + len(section)], section) for start, section in zip(first, sections, strict=True)
        )
    if settings.cached:
        queries, passages = queries.requires_grad_(), passages.requires_grad_()
    embedded = _joined(batch, queries, passages)
    value = loss.of_batch(embedded)
    value.value.backward()
    if settings.cached:
        for start, section, embeddings in zip(first, sections, (queries, passages), strict=True):
            pull = embeddings.grad
            if pull is None:  # the loss does not look at them, as that of the targets' variance does not at queries
                continue
            for number, chunk in enumerate(section, start):
                encode(number).backward(pull[chunk.rows])
    if stage:
        stage.backward()
    return Trace.measure(value, embedded)


def _flat_gradients(
    encoder: BiEncoder, loss: Loss, batch: Batch, accelerator: Accelerator, settings: Settings, step: int
) -> dict[str, Tensor]:
    """`batch_gradients` of a batch without padding."""

    def encode(number: int) -> Tensor:
        _seed_dropout((settings.seed, step, accelerator.process_index, number), accelerator.device)
        with accelerator.autocast():
            return encoder.embed_flat(batch.flat[number]).float()  # (n, D)

    cached = settings.cached and len(batch.flat) > 1  # one piece takes the same memory either way
    with torch.set_grad_enabled(not cached):
        encoded = torch.cat([encode(number) for number in range(len(batch.flat))])
        embeddings = encoded[torch.argsort(torch.cat([piece.rows for piece in batch.flat]))]  # ((2 + N) B, D)
    if cached:
        embeddings.requires_grad_()
    embedded = _joined(batch, embeddings[: batch.size], embeddings[batch.size :])
    value = loss.of_batch(embedded)
    value.value.backward()
    if cached:
        assert embeddings.grad is not None
        for number, piece in enumerate(batch.flat):
            encode(number).backward(embeddings.grad[piece.rows])
    return Trace.measure(value, embedded)


class _FirstStage:
    """The first stage of an encoder that reads a context, cut off the second one at a leaf that gathers its gradient.

    Every process reads the same context with the same dropout, and pulls the first stage by the gradient of its own texts: the sum
    over processes is the gradient of the joined batch.

    Attributes:
        leaf: (C, E) vectors of the context.
    """

    def __init__(self, encoder: BiEncoder, batch: Batch, accelerator: Accelerator, settings: Settings, step: int) -> None:
        assert encoder.context is not None
        self.first, self.chunks = encoder.context.first, batch.context
        self.accelerator, self.how = accelerator, settings.context_stage
        self.names = (settings.seed, step, ALL_PROCESSES)
        trained = self.how == "trained"
        with torch.set_grad_enabled(trained), evaluating(self.first) if self.how == "frozen" else nullcontext():
            words = _looked_up(self.first, self.chunks) if trained else [None] * len(self.chunks)
            self.vectors = _in_order([self._read(number, words[number]) for number in range(len(self.chunks))], self.chunks)
        self.leaf = self.vectors.detach().requires_grad_(self.how != "frozen")

    def _read(self, number: int, words: Tensor | None = None) -> Tensor:
        """The vectors of a chunk, (n, E)."""
        _seed_dropout((*self.names, number), self.accelerator.device)
        with self.accelerator.autocast():
            return self.first(self.chunks[number].input_ids, self.chunks[number].attention_mask, words).float().clone()

    def backward(self) -> None:
        """Give the first stage's parameters their gradient, once the leaf has its own."""
        pull = self.leaf.grad
        if pull is None:
            return
        if self.how == "trained":
            self.vectors.backward(pull)
            return
        for number, chunk in enumerate(self.chunks):
            self._read(number).backward(pull[chunk.rows])


def _in_order(encoded: list[Tensor], chunks: list[Chunk]) -> Tensor:
    """The vectors of chunks, (n, D) each, joined and put from the order of lengths back into the batch's.

    Queries are then (B, D), passages ((1 + N) B, D). One gather instead of a scatter for each chunk.
    """
    return torch.cat(encoded)[torch.argsort(torch.cat([chunk.rows for chunk in chunks]))]


def _joined(batch: Batch, queries: Tensor, passages: Tensor) -> EmbeddedBatch:
    """The embeddings of all processes; only this process's carry a gradient."""
    positives, negatives = passages[: batch.size], passages[batch.size :]
    # (N B, D), first negatives first, to (B, N, D): a view, so that triples cost nothing
    negatives = negatives.unflatten(0, (-1, batch.size)).transpose(0, 1)
    queries, positives, negatives = map(gather_with_local_gradient, (queries, positives, negatives))
    return EmbeddedBatch(queries, positives, negatives, batch.rows, batch.teacher)


def _looked_up(encoder: BiEncoder, chunks: list[Chunk]) -> list[Tensor]:
    """The word embeddings of chunks by one look-up, since the gradient of each look-up is as large as the vocabulary."""
    flat = encoder.word_embeddings(torch.cat([chunk.input_ids.flatten() for chunk in chunks]))  # (all tokens, D)
    parts = flat.split([chunk.input_ids.numel() for chunk in chunks])
    return [part.view(*chunk.input_ids.shape, -1) for part, chunk in zip(parts, chunks, strict=True)]  # (n, L, D) each


def _seed_dropout(names: tuple[int, ...], device: torch.device) -> None:
    """Make dropout depend on the seed and the chunk's numbers alone: it can be replayed, and needs nothing in a checkpoint."""
    # The hash is for torch's generator on a CPU, which looks at 32 bits of a seed only.
    seed = int.from_bytes(hashlib.blake2b(repr(names).encode(), digest_size=8).digest()) >> 1
    # Not torch.manual_seed: it also seeds devices that are not there, at twenty times the price.
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)
