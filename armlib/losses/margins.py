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

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from armlib.errors import InputError, unknown
from armlib.losses.base import EmbeddedBatch, Loss, LossValue, only_negatives
from armlib.losses.cosines import READINGS, in_batch_margins, relevance_margins
from armlib.losses.false_negatives import check_filter, false_negatives
from armlib.losses.targets import Error, Target, parse_target
from armlib.parsing import written

ERRORS: dict[str, Error] = {
    "squared": lambda margins, targets: (margins - targets).square(),
    "absolute": lambda margins, targets: (margins - targets).abs(),
    "soft": lambda margins, targets: F.softplus(targets - margins),
}
SETTINGS = {"in_batch": False, "error": "squared", "reading": "paper", "stop_gradient": False, "filter": False}
"""What `MarginLoss` takes beside a target, with its defaults."""


class MarginLoss(Loss):
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
        filter: leave out the negatives of other queries that are false negatives of query i by a helper's scores or the data, see
            `armlib.losses.false_negatives.false_negatives`; for ``in_batch``. The loss is the mean over all pairs (i, j) that are
            left, so a query that has lost all others' negatives counts by its own alone. A penalty on variance is not filtered.

    Computed in float32 whatever the precision of the embeddings and of autocast (float64 stays float64). Static,
    adaptive and mean targets cost O(B D) without ``in_batch``; the other variants hold a few (B, B) matrices.

    For training over several processes, call it on every process with the embeddings of all of them
    (`armlib.training.processes.gather_with_local_gradient`) and add up the gradients
    (`armlib.training.processes.sum_gradients`).

    Raises:
        InputError: an unknown target, error or reading, or a combination that is not defined.

    Examples:
        One triple: the query is at its positive, and at a right angle to its negative.

        >>> import torch
        >>> from armlib import MarginLoss
        >>> queries = positives = torch.tensor([[1.0, 0.0]])  # (1, 2)
        >>> negatives = torch.tensor([[0.0, 1.0]])  # so the margin is 1
        >>> MarginLoss("static(0.3)")(queries, positives, negatives)  # (1 - 0.3)^2
        tensor(0.4900)
        >>> MarginLoss("adaptive")(queries, positives, negatives)  # the target is (1 + 0) / 2
        tensor(0.2500)
    """

    def __init__(
        self,
        target: str | Target,
        in_batch: bool = False,
        error: str = "squared",
        reading: str = "paper",
        stop_gradient: bool = False,
        filter: bool = False,
    ) -> None:
        super().__init__()
        self.target = parse_target(target)
        if error not in ERRORS:
            raise unknown("error", error, ERRORS)
        if reading not in READINGS:
            raise unknown("reading", reading, READINGS)
        self.in_batch, self.error, self.reading, self.stop_gradient = in_batch, error, reading, stop_gradient
        self.filter = check_filter(filter, str(self.target))
        self._refuse_undefined()

    def _refuse_undefined(self) -> None:
        target, name = self.target, str(self.target)
        if self.in_batch and not target.goes_in_batch:
            raise InputError(f"in_batch is for static and adaptive targets; {name!r} uses the batch already")
        if self.reading not in target.readings:
            raise InputError(f"the released code has no target {name!r}; use reading='paper'")
        if self.stop_gradient and not target.learned:
            lacks = "has no gradient to stop" if target.readings == READINGS else "would lose its penalty"
            raise InputError(f"stop_gradient is for adaptive, distributed and mean targets; {name!r} {lacks}")
        if self.filter and not self.in_batch:
            with_it = " without in_batch=True" if target.goes_in_batch else ""
            raise InputError(f"filter is for in-batch margins, which {name!r} has not{with_it}")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"in_batch"} if self.filter else ())

    def forward(
        self,
        queries: Tensor,
        positives: Tensor,
        negatives: Tensor,
        return_targets: bool = False,
        left_out: Bool[Tensor, "B B"] | None = None,
    ) -> Tensor | LossValue:
        """The loss of a batch of triples.

        Args:
            queries, positives, negatives: (B, D) embeddings of any length and floating type.
            return_targets: also return the targets that the margins were compared with.
            left_out: for a loss with ``filter``, where negative j (columns) is not compared with query i (rows).

        Returns:
            A float32 scalar; with ``return_targets`` also the targets, detached: (B,), or for in-batch and distributed
            targets and for ``variance`` (the penalised t_ij) (B, B), positive i along rows, negative j along columns; with
            ``left_out`` those that are left, in one row.

        Raises:
            InputError: the shapes differ, are not (B, D) with B and D at least 1, or are not of a floating type; or there is
                no ``left_out`` for a loss with ``filter``, or one for another loss.
        """
        _check_shapes(queries, positives, negatives)
        if self.filter != (left_out is not None):
            raise InputError(f"the loss {str(self)!r} {'needs a' if self.filter else 'takes no'} mask of what is left out")
        with torch.autocast(device_type=queries.device.type, enabled=False):
            margins, targets = self._terms(queries, positives, negatives)
            if left_out is not None:
                margins, targets = margins[~left_out], targets[~left_out]
            value = self.target.loss(ERRORS[self.error], margins, targets)
            penalty = self.target.penalty(positives, negatives)
            value = value if penalty is None else value + penalty
        return LossValue(value, targets.detach()) if return_targets else value

    def of_batch(self, batch: EmbeddedBatch) -> LossValue:
        negatives, size = only_negatives(batch, str(self)), len(batch.queries)
        # The columns are the B positives, which no margin is taken to, and then the B negatives.
        left_out = false_negatives(batch, str(self))[:, size:] if self.filter else None
        return self(batch.queries, batch.positives, negatives, return_targets=True, left_out=left_out)

    def terms(self, queries: Tensor, positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
        """Margins and targets whose differences are the l_i of equations 1 and 2 or the l_ij of equation 3.

        Args:
            queries, positives, negatives: (B, D) embeddings of any length.

        Returns:
            margins and targets, both (B,), or both (B, B), positive i along rows and negative j along columns.
            The variance penalty is not among them, and nothing is filtered.

        Raises:
            InputError: as for calling the loss.
        """
        _check_shapes(queries, positives, negatives)
        with torch.autocast(device_type=queries.device.type, enabled=False):
            margins, targets = self._terms(queries, positives, negatives)
        shared = torch.broadcast_tensors(margins, targets)
        return shared[0], shared[1]

    def _terms(self, queries: Tensor, positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
        if self.in_batch:
            margins = in_batch_margins(queries, positives, negatives, self.reading)  # (B, B)
        else:
            margins = relevance_margins(queries, positives, negatives)  # (B,)
        targets = self.target.of_batch(margins, positives, negatives)  # (B,) or (B, B)
        if targets.dim() > margins.dim():
            # Equation 3: the one margin of triple i against all targets of its positive. The released code, which lines the
            # margins up with the columns, compares that of triple j.
            margins = margins[:, None] if self.reading == "paper" else margins[None, :]
        return margins, targets.detach() if self.stop_gradient else targets

    def __str__(self) -> str:
        name, _, settings = str(self.target).partition("(")
        own = written("", **{key: (getattr(self, key), default) for key, default in SETTINGS.items()}).strip("()")
        inside = ", ".join(part for part in (settings.removesuffix(")"), own) if part)
        return f"{name}({inside})" if inside else name

    def extra_repr(self) -> str:
        """What printing a model shows of the loss: the text that `armlib.losses.registry.parse_loss` reads."""
        return str(self)


def _check_shapes(queries: Tensor, positives: Tensor, negatives: Tensor) -> None:
    shapes = [tuple(embeddings.shape) for embeddings in (queries, positives, negatives)]
    if len(set(shapes)) > 1 or len(shapes[0]) != 2 or 0 in shapes[0]:
        found = "queries {}, positives {}, negatives {}".format(*shapes)
        raise InputError(f"expected three embeddings of one shape (B, D) with B and D at least 1, got {found}")
    for name, embeddings in (("queries", queries), ("positives", positives), ("negatives", negatives)):
        if not embeddings.is_floating_point():
            raise InputError(f"expected embeddings of a floating type, but the {name} are {embeddings.dtype}")
