"""Margins and targets as functions of embeddings: equations 1 to 3 of arXiv 2407.21515.

A triple i is a query q_i, a positive passage p_i and a negative passage n_i; phi is the cosine similarity. All of them
compute in float32 whatever the precision of the embeddings and of autocast (float64 stays float64).
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from armlib.errors import unknown

READINGS = ("paper", "released-code")


def _full_precision(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Run without autocast: near 1, bfloat16 cosines have steps of 0.004, as large as what the losses tell apart."""

    @functools.wraps(function)
    def inside(first: Tensor, *others: Tensor | str, **settings: str) -> Tensor:
        with torch.autocast(device_type=first.device.type, enabled=False):
            return function(first, *others, **settings)

    return inside


def _normalized(embeddings: Tensor) -> Tensor:
    """The embeddings (..., D) scaled to length 1, in float32 (float64 stays); a zero vector stays zero."""
    return F.normalize(embeddings.to(torch.promote_types(embeddings.dtype, torch.float32)), dim=-1)


def _dots(left: Tensor, right: Tensor) -> Tensor:
    return (left * right).sum(-1)


@_full_precision
def similarities(rows: Float[Tensor, "B D"], columns: Float[Tensor, "C D"]) -> Float[Tensor, "B C"]:
    """All cosine similarities phi(row_i, column_j)."""
    return _normalized(rows) @ _normalized(columns).T


@_full_precision
def own_similarities(queries: Float[Tensor, "B D"], lists: Float[Tensor, "B n D"]) -> Float[Tensor, "B n"]:
    """The cosine similarity of each query to each of its own passages."""
    return _dots(_normalized(queries)[:, None], _normalized(lists))


@_full_precision
def relevance_margins(
    queries: Float[Tensor, "B D"], positives: Float[Tensor, "B D"], negatives: Float[Tensor, "B D"]
) -> Float[Tensor, " B"]:
    """How much nearer each query is to its positive than to its negative, phi(q_i,p_i) - phi(q_i,n_i) (equation 1).

    Args:
        queries, positives, negatives: embeddings of any length.

    Returns:
        Margins within [-2, 2]; costs O(B D).
    """
    queries = _normalized(queries)
    return _dots(queries, _normalized(positives)) - _dots(queries, _normalized(negatives))


@_full_precision
def in_batch_margins(
    queries: Float[Tensor, "B D"], positives: Float[Tensor, "B D"], negatives: Float[Tensor, "B D"], reading: str = "paper"
) -> Float[Tensor, "B B"]:
    """The margins of every query i against every negative j (section 3, "Distributed Targets").

    Args:
        queries, positives, negatives: embeddings of any length.
        reading: ``"paper"`` gives phi(q_i,p_i) - phi(q_i,n_j), ``"released-code"`` gives phi(q_j,p_j) - phi(q_i,n_j).

    Returns:
        Margins, query i along rows and negative j along columns.

    Raises:
        InputError: an unknown reading.
    """
    if reading not in READINGS:
        raise unknown("reading", reading, READINGS)
    own = _dots(_normalized(queries), _normalized(positives))  # (B,)
    return (own[:, None] if reading == "paper" else own[None, :]) - similarities(queries, negatives)


@_full_precision
def adaptive_targets(positives: Float[Tensor, "B D"], negatives: Float[Tensor, "B D"]) -> Float[Tensor, " B"]:
    """Each triple's own target, t_ii = (1 + phi(p_i,n_i)) / 2 (equation 2), within [0, 1]."""
    return (1 + _dots(_normalized(positives), _normalized(negatives))) / 2


@_full_precision
def distributed_targets(positives: Float[Tensor, "B D"], negatives: Float[Tensor, "B D"]) -> Float[Tensor, "B B"]:
    """All targets t_ij = (1 + phi(p_i,n_j)) / 2 (equation 3), within [0, 1], positive i along rows."""
    return (1 + similarities(positives, negatives)) / 2


@_full_precision
def mean_targets(positives: Float[Tensor, "B D"], negatives: Float[Tensor, "B D"]) -> Float[Tensor, " B"]:
    """The mean target of each positive, mean_j t_ij, within [0, 1].

    The mean of the cosines with all negatives is the product with the mean negative, so this costs O(B D).
    """
    return (1 + _normalized(positives) @ _normalized(negatives).mean(0)) / 2


@_full_precision
def target_variance(positives: Float[Tensor, "B D"], negatives: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
    """The spread of the targets of one positive, averaged over the positives: mean_i Var_j t_ij (divisor B).

    It is what separates distributed targets from their explicit mean, since with squared errors
    ``mean_ij (m_i - t_ij)^2 = mean_i (m_i - mean_j t_ij)^2 + mean_i Var_j t_ij``.
    """
    return distributed_targets(positives, negatives).var(dim=1, correction=0).mean()
