"""Margin losses with static, adaptive and distributed targets: arXiv 2407.21515, equations 1 to 5.

A triple i is a query q_i, a positive passage p_i and a negative passage n_i; phi is the cosine similarity. Every loss
is the mean error of margins against targets: the margin says how much nearer the query is to the positive than to the
negative, the target how much nearer it should be. With t_ij = (1 + phi(p_i,n_j)) / 2:

=====================  ===========================  ================  ====================================
variant                margin                       target            source
=====================  ===========================  ================  ====================================
static(e)              phi(q_i,p_i) - phi(q_i,n_i)  e                 equations 1 and 4
adaptive               phi(q_i,p_i) - phi(q_i,n_i)  t_ii              equations 2 and 4
distributed            phi(q_i,p_i) - phi(q_i,n_i)  t_ij for every j  equations 3 and 5
static(e), in batch    phi(q_i,p_i) - phi(q_i,n_j)  e                 equation 5, "Distributed Targets"
adaptive, in batch     phi(q_i,p_i) - phi(q_i,n_j)  t_ij              equation 5, "Distributed Targets"
mean                   phi(q_i,p_i) - phi(q_i,n_i)  mean_j t_ij       the explicit mean, end of section 3
=====================  ===========================  ================  ====================================

The authors' released code broadcasts some of these differently, see `MarginLoss`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from armlib.errors import InputError, unknown
from armlib.targets import Adaptive, Distributed, Mean, Static, Target, Variance, parse_target

READINGS = ("paper", "released-code")
ERRORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "squared": lambda margins, targets: (margins - targets).square(),
    "absolute": lambda margins, targets: (margins - targets).abs(),
    "soft": lambda margins, targets: F.softplus(targets - margins),
}


def _full_precision(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Run without autocast: near 1, bfloat16 cosines have steps of 0.004, as large as what the losses tell apart."""

    @functools.wraps(function)
    def inside(first: Tensor, *others: Tensor | str, **settings: str) -> Tensor:
        with torch.autocast(device_type=first.device.type, enabled=False):
            return function(first, *others, **settings)

    return inside


def unit(embeddings: Tensor) -> Tensor:
    """The embeddings (..., D) scaled to length 1, in float32 (float64 stays); a zero vector stays zero."""
    return F.normalize(embeddings.to(torch.promote_types(embeddings.dtype, torch.float32)), dim=-1)


@_full_precision
def relevance_margins(queries: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """How much nearer each query is to its positive than to its negative, phi(q_i,p_i) - phi(q_i,n_i) (equation 1).

    Args:
        queries, positives, negatives: (B, D) embeddings of any length.

    Returns:
        (B,) margins within [-2, 2]; costs O(B D).
    """
    queries = unit(queries)
    return _dots(queries, unit(positives)) - _dots(queries, unit(negatives))


@_full_precision
def similarities(rows: Tensor, columns: Tensor) -> Tensor:
    """All cosine similarities phi(row_i, column_j): (B, D) and (C, D) embeddings to (B, C)."""
    return unit(rows) @ unit(columns).T


@_full_precision
def in_batch_margins(queries: Tensor, positives: Tensor, negatives: Tensor, reading: str = "paper") -> Tensor:
    """The margins of every query i against every negative j (section 3, "Distributed Targets").

    Args:
        queries, positives, negatives: (B, D) embeddings of any length.
        reading: ``"paper"`` gives phi(q_i,p_i) - phi(q_i,n_j), ``"released-code"`` gives phi(q_j,p_j) - phi(q_i,n_j).

    Returns:
        (B, B) margins, query i along rows and negative j along columns.

    Raises:
        InputError: an unknown reading.
    """
    if reading not in READINGS:
        raise unknown("reading", reading, READINGS)
    own = _dots(unit(queries), unit(positives))
    return (own[:, None] if reading == "paper" else own[None, :]) - similarities(queries, negatives)


@_full_precision
def adaptive_targets(positives: Tensor, negatives: Tensor) -> Tensor:
    """Each triple's own target, t_ii = (1 + phi(p_i,n_i)) / 2 (equation 2): (B, D) embeddings to (B,) within [0, 1]."""
    return (1 + _dots(unit(positives), unit(negatives))) / 2


@_full_precision
def distributed_targets(positives: Tensor, negatives: Tensor) -> Tensor:
    """All targets t_ij = (1 + phi(p_i,n_j)) / 2 (equation 3): (B, D) to (B, B) within [0, 1], positive i along rows."""
    return (1 + similarities(positives, negatives)) / 2


@_full_precision
def mean_targets(positives: Tensor, negatives: Tensor) -> Tensor:
    """The mean target of each positive, mean_j t_ij: (B,) within [0, 1].

    The mean of the cosines with all negatives is the product with the mean negative, so this costs O(B D).
    """
    return (1 + unit(positives) @ unit(negatives).mean(0)) / 2


@_full_precision
def target_variance(positives: Tensor, negatives: Tensor) -> Tensor:
    """The spread of the targets of one positive, averaged over the positives: mean_i Var_j t_ij, a scalar (divisor B).

    It is what separates distributed targets from their explicit mean, since with squared errors
    ``mean_ij (m_i - t_ij)^2 = mean_i (m_i - mean_j t_ij)^2 + mean_i Var_j t_ij``.
    """
    return distributed_targets(positives, negatives).var(dim=1, correction=0).mean()


class MarginLoss(nn.Module):
    """The mean error of relevance margins against their targets (equations 1 to 5 of arXiv 2407.21515).

    Args:
        target: ``"static(0.3)"``, ``"adaptive"``, ``"distributed"``, or the book's ablations ``"mean"``,
            ``"static(0.5, variance=1.0)"`` and ``"variance"``; or the objects that these strings stand for.
        in_batch: compare each query with the negatives of the whole batch; for static and adaptive targets.
        error: ``"squared"``, (margin - target)^2, the paper's; ``"absolute"``, |margin - target|; ``"soft"``,
            log(1 + exp(target - margin)).
        reading: ``"paper"``, or ``"released-code"`` for what the authors' code computes: in batch,
            l_ij = phi(q_j,p_j) - phi(q_i,n_j) - target_ij, with the positive of query j in place of query i's;
            distributed, l_ij = m_j - t_ij, with the margin of triple j against the targets of triple i. Where neither
            applies (one triple at a time) the readings agree.
        stop_gradient: treat the targets as constants; for targets that depend on the embeddings.

    Computed in float32 whatever the precision of the embeddings and of autocast (float64 stays float64). Static,
    adaptive and mean targets cost O(B D) without ``in_batch``; the other variants hold a few (B, B) matrices.

    For training over several processes, call it on every process with the embeddings of all of them
    (`armlib.distributed.gather_with_local_gradient`) and add up the gradients (`armlib.distributed.sum_gradients`).

    Raises:
        InputError: an unknown target, error or reading, or a combination that is not defined.
    """

    def __init__(
        self,
        target: str | Target,
        in_batch: bool = False,
        error: str = "squared",
        reading: str = "paper",
        stop_gradient: bool = False,
    ) -> None:
        super().__init__()
        self.target = parse_target(target)
        if error not in ERRORS:
            raise unknown("error", error, ERRORS)
        if reading not in READINGS:
            raise unknown("reading", reading, READINGS)
        self.in_batch, self.error, self.reading, self.stop_gradient = in_batch, error, reading, stop_gradient
        self._refuse_undefined()

    def _refuse_undefined(self) -> None:
        target, name = self.target, str(self.target)
        if self.in_batch and not isinstance(target, Static | Adaptive):
            raise InputError(f"in_batch is for static and adaptive targets; {name!r} uses the batch already")
        penalised = isinstance(target, Static) and target.variance > 0
        if self.reading != "paper" and (penalised or isinstance(target, Mean | Variance)):
            raise InputError(f"the released code has no target {name!r}; use reading='paper'")
        if self.stop_gradient and isinstance(target, Static | Variance):
            lacks = "would lose its penalty" if penalised or isinstance(target, Variance) else "has no gradient to stop"
            raise InputError(f"stop_gradient is for adaptive, distributed and mean targets; {name!r} {lacks}")

    def forward(
        self, queries: Tensor, positives: Tensor, negatives: Tensor, return_targets: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """The loss of a batch.

        Args:
            queries, positives, negatives: (B, D) embeddings of any length and floating type.
            return_targets: also return the targets that the margins were compared with.

        Returns:
            A float32 scalar; with ``return_targets`` also the targets, detached: (B,), or for in-batch and distributed
            targets and for ``variance`` (the penalised t_ij) (B, B), positive i along rows, negative j along columns.

        Raises:
            InputError: the shapes differ, are not (B, D) with B and D at least 1, or are not of a floating type.
        """
        _check_shapes(queries, positives, negatives)
        with torch.autocast(device_type=queries.device.type, enabled=False):
            margins, targets = self._terms(queries, positives, negatives)
            if isinstance(self.target, Variance):
                value = targets.var(dim=1, correction=0).mean()
            else:
                value = ERRORS[self.error](margins, targets).mean()
            if isinstance(self.target, Static) and self.target.variance:
                value = value + self.target.variance * target_variance(positives, negatives)
        return (value, targets.detach()) if return_targets else value

    def terms(self, queries: Tensor, positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
        """Margins and targets whose differences are the l_i of equations 1 and 2 or the l_ij of equation 3.

        Args:
            queries, positives, negatives: (B, D) embeddings of any length.

        Returns:
            margins and targets, both (B,), or both (B, B), positive i along rows and negative j along columns.
            The variance penalty is not among them.

        Raises:
            InputError: as for calling the loss.
        """
        _check_shapes(queries, positives, negatives)
        with torch.autocast(device_type=queries.device.type, enabled=False):
            margins, targets = self._terms(queries, positives, negatives)
        return torch.broadcast_tensors(margins, targets)

    def _terms(self, queries: Tensor, positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
        if self.in_batch:
            margins = in_batch_margins(queries, positives, negatives, self.reading)
        else:
            margins = relevance_margins(queries, positives, negatives)
        match self.target:
            case Static(value):
                targets = torch.full_like(margins, value, requires_grad=False)
            case Adaptive():
                targets = (distributed_targets if self.in_batch else adaptive_targets)(positives, negatives)
            case Mean():
                targets = mean_targets(positives, negatives)
            case Distributed() | Variance():
                targets = distributed_targets(positives, negatives)
                margins = margins[:, None] if self.reading == "paper" else margins[None, :]
        return margins, targets.detach() if self.stop_gradient else targets

    def extra_repr(self) -> str:
        settings = f"{str(self.target)!r}, in_batch={self.in_batch}, error={self.error!r}, reading={self.reading!r}"
        return settings + f", stop_gradient={self.stop_gradient}"


def _dots(left: Tensor, right: Tensor) -> Tensor:
    return (left * right).sum(-1)


def _check_shapes(queries: Tensor, positives: Tensor, negatives: Tensor) -> None:
    shapes = [tuple(embeddings.shape) for embeddings in (queries, positives, negatives)]
    if len(set(shapes)) > 1 or len(shapes[0]) != 2 or 0 in shapes[0]:
        found = "queries {}, positives {}, negatives {}".format(*shapes)
        raise InputError(f"expected three embeddings of one shape (B, D) with B and D at least 1, got {found}")
    for name, embeddings in (("queries", queries), ("positives", positives), ("negatives", negatives)):
        if not embeddings.is_floating_point():
            raise InputError(f"expected embeddings of a floating type, but the {name} are {embeddings.dtype}")
