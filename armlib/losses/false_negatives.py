"""Passages of a batch that are no negatives of a query although they belong to another one, by the data or by a helper."""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor

from armlib.errors import InputError
from armlib.losses.base import EmbeddedBatch


def false_negatives(batch: EmbeddedBatch, loss: str) -> Bool[Tensor, "B columns"]:
    """Where a passage of the batch, (B, B (1 + N)), is taken for relevant to a query that it does not belong to.

    With h the scores of a frozen helper, the batch's teacher, it is where h(q_i, d) >= h(q_i, p_i), the passage scores at least as
    high as the query's own positive (Morris and Rush 2024, arXiv:2410.02525, with threshold 1; GISTEmbed, Solatorio 2024,
    arXiv:2402.16829, leaves out what scores higher); and where the data say so, as `relevant_elsewhere` finds out, which is no
    matter of rounding. Never the query's own positive, nor its own mined negatives.

    Args:
        batch: of several processes, the joined one; it has scores and rows of all of it.
        loss: its name, for messages.

    Raises:
        InputError: the batch has no scores of every query and every passage, or does not say which rows its texts are.
    """
    scores = batch.teacher and batch.teacher.in_batch
    if scores is None:
        raise InputError(
            f"the loss {loss!r} filters by a helper's scores of every query and every passage of a batch; expected a teacher that "
            "is a bi-encoder"
        )
    own = torch.arange(len(scores), device=scores.device)
    found = scores >= scores[own, own, :1, None]  # (B, B, 1 + N), passage k of query j
    found[own, own] = False
    by_data = relevant_elsewhere(batch).unflatten(1, (-1, len(own))).transpose(1, 2)  # (B, B, 1 + N)
    by_data[own, own] = False
    return (found | by_data).transpose(1, 2).flatten(1)  # columns as `EmbeddedBatch.passages`


def relevant_elsewhere(batch: EmbeddedBatch) -> Bool[Tensor, "B columns"]:
    """Where a passage of the batch, (B, B (1 + N)), is relevant to a query although it is not its own positive.

    It is where it is the same passage as a positive of the same query; row numbers say so, of queries and passages.

    Raises:
        InputError: the batch does not say which rows its texts are.
    """
    if batch.rows is None:
        raise InputError("a mask needs batches that say which rows of the collection their texts are")
    queries, positives = batch.rows[:, 0], batch.rows[:, 1]  # (B,)
    passages = torch.cat([positives, batch.rows[:, 2:].T.reshape(-1)])  # (B (1 + N),), as `EmbeddedBatch.passages`
    same_query = queries[:, None] == queries[None, :]  # (B, B)
    positive = positives[:, None] == passages[None, :]  # (B, B (1 + N)): row j says where positive j stands
    found = (same_query.float() @ positive.float()) > 0
    return found.scatter(1, torch.arange(len(queries), device=found.device)[:, None], False)


def check_filter(value: object, name: str) -> bool:
    """The setting ``filter`` of a loss.

    Raises:
        InputError: it is no truth value.
    """
    if not isinstance(value, bool):
        raise InputError(f"filter of {name} must be True or False, not {value!r}")
    return value
