"""InfoNCE with in-batch negatives, the field's default loss, and what a self-distilled target can do inside its softmax.

InfoNCE (van den Oord et al. 2018, arXiv:1807.03748) is called multiple-negatives ranking loss in sentence-transformers, and is
what DPR (Karpukhin et al. 2020, arXiv:2004.04906) trains with. The paper does not compare with it.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from armlib.errors import InputError
from armlib.losses.base import EmbeddedBatch, Loss, LossValue
from armlib.losses.cosines import similarities
from armlib.losses.false_negatives import check_filter, false_negatives, relevant_elsewhere
from armlib.parsing import number, written


class InfoNCE(Loss):
    """The cross-entropy of each query's own positive against all B (1 + N) passages of the batch.

    With cosines phi, query i's logit of passage c is ``scale * phi(q_i, d_c)``. The two extensions ask whether self-distillation
    adds anything to a softmax; t_ic = (1 + phi(p_i, d_c)) / 2 are the targets of equation 3, taken as constants.

    Args:
        scale: the inverse temperature, above 0.
        mask: leave a passage out of a query's softmax where it is relevant to that query by the data themselves: the own
            positive in another row, or another positive of the same query.
        margin: weight of additive margins, at least 0: ``scale * margin * t_ic`` is added to the logits of all but the own
            positive, so that a passage near the positive must be left behind by more.
        soft: weight of soft labels, from 0 to 1: so much of the label moves from the own positive to the softmax over c of
            ``scale * phi(p_i, d_c)``, the passages as the positive sees them.
        filter: leave a passage out of a query's softmax where it is a false negative by a helper's scores or the data, see
            `armlib.losses.false_negatives.false_negatives`. It needs a teacher that is a bi-encoder.

    Raises:
        InputError: a value is out of its range.
    """

    def __init__(
        self, scale: float = 20.0, mask: bool = False, margin: float = 0.0, soft: float = 0.0, filter: bool = False
    ) -> None:
        super().__init__()
        if not isinstance(mask, bool):
            raise InputError(f"mask of infonce must be True or False, not {mask!r}")
        self.scale = number(scale, "the scale of infonce", 0, math.inf, above=True)
        self.mask = mask
        self.margin = number(margin, "the margin of infonce", 0, math.inf)
        self.soft = number(soft, "soft of infonce", 0, 1)
        self.filter = check_filter(filter, "infonce")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"in_batch"} if self.filter else ())

    def of_batch(self, batch: EmbeddedBatch) -> LossValue:
        passages = batch.passages()  # (B (1 + N), D)
        own = torch.arange(len(batch.queries), device=passages.device)
        logits = self.scale * similarities(batch.queries, passages)  # (B, B (1 + N))
        targets = None
        if self.margin or self.soft:
            with torch.no_grad():
                near = similarities(batch.positives, passages)  # (B, B (1 + N))
                targets = (1 + near) / 2
        if self.margin:
            assert targets is not None
            logits = logits + self.scale * self.margin * targets.scatter(1, own[:, None], 0.0)
        left_out = self._left_out(batch)
        if left_out is not None:
            logits = logits.masked_fill(left_out, -math.inf)
        labels = F.one_hot(own, len(passages)).to(logits.dtype)
        if self.soft:
            seen = self.scale * near if left_out is None else (self.scale * near).masked_fill(left_out, -math.inf)
            labels = (1 - self.soft) * labels + self.soft * seen.softmax(dim=1)
        # A passage that is left out has no label: 0 times -inf would not be a number.
        logarithms = logits.log_softmax(dim=1)
        value = -(labels * logarithms.masked_fill(labels == 0, 0.0)).sum(dim=1).mean()
        return LossValue(value, targets)

    def _left_out(self, batch: EmbeddedBatch) -> Bool[Tensor, "B columns"] | None:
        masks = [relevant_elsewhere(batch)] if self.mask else []
        masks += [false_negatives(batch, str(self))] if self.filter else []
        return torch.stack(masks).any(dim=0) if masks else None

    def __str__(self) -> str:
        return written(
            "infonce",
            scale=(self.scale, 20.0),
            mask=(self.mask, False),
            margin=(self.margin, 0.0),
            soft=(self.soft, 0.0),
            filter=(self.filter, False),
        )


def cross_entropy_of_first(queries: Float[Tensor, "B D"], passages: Float[Tensor, "B n D"], scale: float) -> Float[Tensor, ""]:
    """The cross-entropy of each query's first passage against all passages of the other queries (PairDistill's contrast)."""
    count, size = passages.shape[:2]
    logits = scale * similarities(queries, passages.flatten(0, 1))  # (B, B n)
    own = torch.arange(count, device=logits.device)
    others = torch.arange(count * size, device=logits.device) // size != own[:, None]  # (B, B n)
    others[own, own * size] = True
    return F.cross_entropy(logits.masked_fill(~others, -math.inf), own * size)
