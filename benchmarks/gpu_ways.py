"""The ways of training that `gpu` times against each other, on the same triples."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from random_material import Material
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from armlib.data.batches import Batch
from armlib.losses import MarginLoss
from armlib.training.gradients import batch_gradients
from armlib.training.optimizer import make_optimizer
from armlib.training.processes import default_accelerator
from armlib.training.settings import Settings

LOSS = "distributed"
LEARNING_RATE = 5e-6
WEIGHT_DECAY = 1e-6


class Ours:
    """armlib's steps: forward, loss, backward, optimiser; batches lie ready in pinned memory.

    Args:
        material: what is trained on.
        model: the encoder, one of `random_material.MODELS`.
        optimizer: as `make_optimizer` takes it.
        compiled: as `Settings` takes it.
        batches: options of `Material.batches`, such as ``chunk_size``.

    Attributes:
        optimizer_name: which optimiser runs.
        real_tokens, padded_tokens: of a batch.
    """

    def __init__(self, material: Material, model: str, optimizer: str = "auto", compiled: bool = False, **batches: object) -> None:
        self.accelerator = default_accelerator(material.device)
        self.encoder, self.loss = material.encoder(model).train(), MarginLoss(LOSS)
        self.encoder.compiled = compiled
        self.settings = Settings(1, LEARNING_RATE, optimizer=optimizer)
        self.optimizer, self.optimizer_name = make_optimizer(self.encoder, optimizer, LEARNING_RATE, WEIGHT_DECAY)
        self.source, self.pinned = material.batches(**batches), material.device == "cuda"
        self.ready: dict[int, Batch] = {}

    def prepare(self, steps: range) -> None:
        """Gather the batches of some steps, and forget those of others."""
        self.ready = {step: self.source[step].pin_memory() if self.pinned else self.source[step] for step in steps}

    def step(self, step: int) -> None:
        """One step of training on a batch that was prepared."""
        batch = self.ready[step].to(self.accelerator.device)
        batch_gradients(self.encoder, self.loss, batch, self.accelerator, self.settings, step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def tokens(self) -> tuple[int, int]:
        """Real and padded tokens of the batches that were prepared."""
        return sum(batch.real_tokens for batch in self.ready.values()), sum(batch.padded_tokens for batch in self.ready.values())


class SentenceTransformers:
    """sentence-transformers' model with the queries in one forward pass and all passages in another, tokenised ahead.

    That is as its own losses merge columns; its trainer needs a package more. Autocast and AdamW are the trainer's.
    """

    def __init__(self, material: Material, model: str) -> None:
        self.accelerator, self.loss = default_accelerator(material.device), MarginLoss(LOSS)
        self.model = material.sentence_transformer(model).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=LEARNING_RATE, fused=True)
        self.optimizer_name = f"torch {torch.__version__} AdamW (fused)"
        # Chunks as large as the batch, which give its tokens in the order of their lengths.
        self.source, self.pinned = material.batches(chunk_size=4 * material.size.batch), material.device == "cuda"
        self.ready: dict[int, list[dict[str, Tensor]]] = {}
        self.counted: dict[int, tuple[int, int]] = {}

    def prepare(self, steps: range) -> None:
        self.ready, self.counted = {}, {}
        for step in steps:
            batch = self.source[step]
            self.ready[step] = [self._features(*chunks) for chunks in (batch.queries, batch.passages)]
            self.counted[step] = (batch.real_tokens, sum(each["input_ids"].numel() for each in self.ready[step]))

    def _features(self, chunk) -> dict[str, Tensor]:
        order = torch.argsort(chunk.rows)
        texts = [ids[:length] for ids, length in zip(chunk.input_ids[order], chunk.attention_mask[order].sum(1), strict=True)]
        ids = pad_sequence(texts, batch_first=True)
        mask = pad_sequence([torch.ones_like(text) for text in texts], batch_first=True)
        return {
            name: value.pin_memory() if self.pinned else value for name, value in (("input_ids", ids), ("attention_mask", mask))
        }

    def step(self, step: int) -> None:
        with self.accelerator.autocast():
            queries, passages = (
                self.model({name: value.to(self.accelerator.device, non_blocking=True) for name, value in features.items()})
                for features in self.ready[step]
            )
        positives, negatives = passages["sentence_embedding"].float().chunk(2)
        self.loss(queries["sentence_embedding"].float(), positives, negatives).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def tokens(self) -> tuple[int, int]:
        real, padded = zip(*self.counted.values(), strict=True)
        return sum(real), sum(padded)


Way = Ours | SentenceTransformers
WAYS: dict[str, Callable[[Material, str], Way]] = {
    "armlib, chunks of 64": partial(Ours, chunk_size=64),
    "armlib, chunks of 16": partial(Ours, chunk_size=16),
    "armlib, packed": partial(Ours, flat=True),
    "armlib, packed, compiled": partial(Ours, flat=True, compiled=True),
    "armlib, chunks of 64, adam8bit": partial(Ours, chunk_size=64, optimizer="adam8bit"),
    "sentence-transformers, merged": SentenceTransformers,
}
"""A further way is a further line. The first one is what the others are compared with."""
