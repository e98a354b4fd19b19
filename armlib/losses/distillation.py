"""Losses that learn from a teacher's scores: MarginMSE, with the in-batch term of TAS-Balanced, and list-wise KL with pairs.

As differences from `armlib.losses.margins.MarginLoss`: MarginMSE has the same squared error of the same margin, and takes the
target from a teacher, T(q,p) - T(q,n), where self-distillation takes it from the student's own passages.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from armlib.errors import InputError
from armlib.losses.base import EmbeddedBatch, Loss, LossValue, TeacherScores
from armlib.losses.contrastive import cross_entropy_of_first
from armlib.losses.cosines import own_similarities, similarities
from armlib.parsing import number, written


class MarginMSE(Loss):
    """The squared error of margins against a teacher's (Hofstätter et al. 2020, arXiv:2010.02666).

    The mean over queries and negatives of ``(scale (phi(q,p) - phi(q,n)) - (T(q,p) - T(q,n)))^2``: signed, neither clipped nor
    normalised. The original compares dot products; a cosine needs a scale to reach a teacher's margins, which are logits.

    Args:
        scale: of the student's cosines, above 0.
        in_batch: weight, at least 0, of the in-batch term of TAS-Balanced (Hofstätter et al. 2021, arXiv:2104.06967, where it
            is 0.75), which needs a teacher that scores every query against every passage of the batch.

    Raises:
        InputError: a value is out of its range.
    """

    def __init__(self, scale: float = 20.0, in_batch: float = 0.0) -> None:
        super().__init__()
        self.scale = number(scale, "the scale of margin-mse", 0, math.inf, above=True)
        self.in_batch = number(in_batch, "in_batch of margin-mse", 0, math.inf)

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"pointwise", *(["in_batch"] if self.in_batch else [])})

    def of_batch(self, batch: EmbeddedBatch) -> LossValue:
        teacher = scores_of(batch, str(self))
        targets = margins(teacher.pointwise).detach()  # (B, N)
        lists = batch.lists()  # (B, n, D)
        value = margin_mse(self.scale * own_similarities(batch.queries, lists), teacher.pointwise)
        if self.in_batch:
            if teacher.in_batch is None:
                raise InputError(
                    f"the loss {str(self)!r} needs a teacher that scores every query against every passage of a batch; "
                    "expected a bi-encoder"
                )
            student = self.scale * similarities(batch.queries, lists.flatten(0, 1))  # (B, B n)
            value = value + self.in_batch * in_batch_margin_mse(student.unflatten(1, lists.shape[:2]), teacher.in_batch)
        return LossValue(value, targets)

    def __str__(self) -> str:
        return written("margin-mse", scale=(self.scale, 20.0), in_batch=(self.in_batch, 0.0))


class ListKL(Loss):
    """The divergence of the student's softmax over a query's passages from the teacher's, and what PairDistill adds to it.

    ``KL(softmax(T / teacher_temperature) || softmax(phi / temperature))``, summed over the list and averaged over queries
    (Huang and Chen, EMNLP 2024, arXiv:2410.01383, whose student adds up 32 cosines, so that its temperature is 1).

    Args:
        temperature: of the student's cosines, above 0.
        teacher_temperature: of the teacher's scores, above 0.
        pairs: weight, at least 0, of the divergence from a pairwise teacher: the mean over the pairs of the batch of
            ``KL((y, 1 - y) || softmax((phi_a, phi_b) / temperature))`` with y the probability that a is the more relevant one.
        contrast: weight, at least 0, of the cross-entropy of a query's first passage against those of the other queries.

    Raises:
        InputError: a value is out of its range.
    """

    def __init__(
        self, temperature: float = 0.05, teacher_temperature: float = 1.0, pairs: float = 0.0, contrast: float = 0.0
    ) -> None:
        super().__init__()
        self.temperature = number(temperature, "the temperature of list-kl", 0, math.inf, above=True)
        self.teacher_temperature = number(teacher_temperature, "the teacher_temperature of list-kl", 0, math.inf, above=True)
        self.pairs = number(pairs, "pairs of list-kl", 0, math.inf)
        self.contrast = number(contrast, "contrast of list-kl", 0, math.inf)

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"pointwise", *(["pairwise"] if self.pairs else [])})

    def of_batch(self, batch: EmbeddedBatch) -> LossValue:
        teacher = scores_of(batch, str(self))
        lists = batch.lists()  # (B, n, D)
        student = own_similarities(batch.queries, lists) / self.temperature  # (B, n)
        targets = (teacher.pointwise / self.teacher_temperature).softmax(dim=1)
        value = list_kl(student, teacher.pointwise / self.teacher_temperature)
        if self.pairs:
            if teacher.pairwise is None:
                raise InputError(f"the loss {str(self)!r} needs a pairwise teacher; expected one such as pairwise-interaction")
            value = value + self.pairs * pair_kl(student, teacher.pairwise)
        if self.contrast:
            value = value + self.contrast * cross_entropy_of_first(batch.queries, lists, 1 / self.temperature)
        return LossValue(value, targets.detach())

    def __str__(self) -> str:
        return written(
            "list-kl",
            temperature=(self.temperature, 0.05),
            teacher_temperature=(self.teacher_temperature, 1.0),
            pairs=(self.pairs, 0.0),
            contrast=(self.contrast, 0.0),
        )


def scores_of(batch: EmbeddedBatch, loss: str) -> TeacherScores:
    """The teacher's scores of a batch.

    Raises:
        InputError: it has none.
    """
    if batch.teacher is None:
        raise InputError(f"the loss {loss!r} needs a teacher's scores; expected an experiment with a teacher")
    return batch.teacher


def margins(scores: Float[Tensor, "B n"]) -> Float[Tensor, "B n-1"]:
    """How much better the first passage is than each of the others."""
    return scores[:, :1] - scores[:, 1:]


def margin_mse(student: Float[Tensor, "B n"], teacher: Float[Tensor, "B n"]) -> Float[Tensor, ""]:
    """The mean squared error of the student's margins; the first passage is the positive."""
    return (margins(student) - margins(teacher)).square().mean()


def in_batch_margin_mse(student: Float[Tensor, "B B n"], teacher: Float[Tensor, "B B n"]) -> Float[Tensor, ""]:
    """The squared error of the margins of each query's positive over the passages of other queries.

    Args:
        student, teacher: scores of query i (rows) and passage k of query j (columns).

    Returns:
        The mean over k of the means over i != j; with one negative that is ``(mean e_P^2 + mean e_N^2) / 2`` of TAS-Balanced.
    """
    count = len(student)
    own = torch.arange(count, device=student.device)
    errors = (student[own, own, :1, None] - student) - (teacher[own, own, :1, None] - teacher)  # (B, B, n)
    return errors[own[:, None] != own[None, :]].square().mean() if count > 1 else errors.sum() * 0.0


def list_kl(student: Float[Tensor, "B n"], teacher: Float[Tensor, "B n"]) -> Float[Tensor, ""]:
    """KL(softmax(teacher) || softmax(student)), summed over a list and averaged over lists."""
    return F.kl_div(student.log_softmax(dim=1), teacher.log_softmax(dim=1), log_target=True, reduction="batchmean")


def pair_kl(student: Float[Tensor, "B n"], preferences: Float[Tensor, "B n n"]) -> Float[Tensor, ""]:
    """The mean over asked pairs of KL((y, 1 - y) || softmax(s_a, s_b)); 0 where no pair was asked.

    Args:
        student: scores of the passages.
        preferences: y, the probability that passage a (rows) is more relevant than passage b (columns); NaN where nobody asked.
    """
    asked = ~preferences.isnan()
    if not asked.any():
        return student.sum() * 0.0
    y = preferences[asked]  # (pairs,)
    differences = (student[:, :, None] - student[:, None, :])[asked]  # (pairs,)
    entropy = -(torch.xlogy(y, y) + torch.xlogy(1 - y, 1 - y))
    return (F.binary_cross_entropy_with_logits(differences, y, reduction="none") - entropy).mean()
