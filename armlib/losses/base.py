"""What every loss takes and gives: the seam between the training loop and the losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from armlib.errors import InputError


class EmbeddedBatch(NamedTuple):
    """The embeddings of B training examples, of any length; of several processes, those of all of them joined.

    Attributes:
        queries, positives: (B, D).
        negatives: (B, N, D), N negative passages for each query; N is 1 for triples.
        scores: a teacher's scores of the examples, (B,) or (B, N), where the data have them.
    """

    queries: Float[Tensor, "B D"]
    positives: Float[Tensor, "B D"]
    negatives: Float[Tensor, "B N D"]
    scores: Float[Tensor, " B *N"] | None = None


class LossValue(NamedTuple):
    """A loss, and what it compared with.

    Attributes:
        value: the loss, a scalar.
        targets: detached, any shape; None for a loss that has none.
    """

    value: Float[Tensor, ""]
    targets: Float[Tensor, ...] | None = None


class Loss(nn.Module, ABC):
    """A loss over a batch of embeddings. ``str()`` of it is a text that `armlib.losses.registry.parse_loss` reads."""

    @abstractmethod
    def of_batch(self, batch: EmbeddedBatch) -> LossValue:
        """The loss of a batch.

        Raises:
            InputError: the batch is not what this loss is for.
        """


def only_negatives(batch: EmbeddedBatch, loss: str) -> Float[Tensor, "B D"]:
    """The negatives of a batch of triples, (B, 1, D) to (B, D), for a loss that compares one negative a query.

    Raises:
        InputError: there are several.
    """
    if batch.negatives.shape[1] != 1:
        raise InputError(f"the loss {loss!r} takes one negative a query, and these batches have {batch.negatives.shape[1]}")
    return batch.negatives[:, 0]
