"""What every loss takes and gives: the seam between the training loop and the losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from armlib.errors import InputError


class TeacherScores(NamedTuple):
    """What a teacher says of B queries with n = 1 + N passages each, the positive first. It is on no common scale.

    Attributes:
        pointwise: (B, n), of each query and its own passages.
        in_batch: (B, B, n), of query i (rows) and passage k of query j (columns); None of a teacher that scores pairs alone.
        pairwise: (B, n, n), the probability that passage a (rows) of a query is more relevant than its passage b (columns), NaN
            where nobody asked; None of a teacher that looks at one passage at a time.
    """

    pointwise: Float[Tensor, "B n"]
    in_batch: Float[Tensor, "B B n"] | None = None
    pairwise: Float[Tensor, "B n n"] | None = None


class EmbeddedBatch(NamedTuple):
    """The embeddings of B training examples, of any length; of several processes, those of all of them joined.

    Attributes:
        queries, positives: (B, D).
        negatives: (B, N, D), N negative passages for each query; N is 1 for triples.
        rows: (B, 2 + N) row numbers of query, positive and negatives in the collection.
        teacher: a teacher's scores, where the data have them.
    """

    queries: Float[Tensor, "B D"]
    positives: Float[Tensor, "B D"]
    negatives: Float[Tensor, "B N D"]
    rows: Int[Tensor, "B columns"] | None = None
    teacher: TeacherScores | None = None

    def passages(self) -> Float[Tensor, "passages D"]:
        """All passages, (B (1 + N), D): the B positives, then the first negative of each query, and so on."""
        return torch.cat([self.positives, self.negatives.transpose(0, 1).flatten(0, 1)])

    def lists(self) -> Float[Tensor, "B n D"]:
        """The passages of each query, the positive first."""
        return torch.cat([self.positives[:, None], self.negatives], dim=1)


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

    @property
    def needs(self) -> frozenset[str]:
        """The fields of `TeacherScores` that it reads; a loss that learns from no teacher needs none."""
        return frozenset()

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
