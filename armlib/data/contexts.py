"""Which passages of a collection an encoder reads as its context (contextual document embeddings, Morris and Rush 2024)."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int, Integer
from torch import Tensor

from armlib.data.tokens import TokenStore
from armlib.errors import InputError
from armlib.storage import short_digest

STREAM = int.from_bytes(b"context")
"""Keeps the draws of contexts apart from all others that are made from the same seed."""

CONTEXT_SOURCES = ("batch", "collection")
"""Of the context that is read in a step of training."""


class _Passages(NamedTuple):
    ids: tuple[str, ...]
    input_ids: Int[Tensor, "C L"]
    attention_mask: Int[Tensor, "C L"]


class Context(_Passages):
    """C passages that an encoder reads beside every text.

    Attributes:
        ids: their ids in the collection.
        input_ids: (C, L) integers, special tokens included, padded at the right.
        attention_mask: (C, L), 1 for tokens and 0 for padding.
    """

    @cached_property
    def key(self) -> str:
        """16 hexadecimal digits of the passages' tokens: equal exactly where an encoder reads the same."""
        arrays = [np.ascontiguousarray(each.cpu().numpy(), np.int64) for each in (self.input_ids, self.attention_mask)]
        return short_digest(*(part for each in arrays for part in (str(each.shape), each.tobytes())))


def context_rows(passages: int, size: int, *numbers: int) -> Integer[np.ndarray, " C"]:
    """Rows of C passages, drawn uniformly without replacement by numbers from 0 alone, such as seed and step; in ascending order.

    Args:
        passages: how many there are.
        size: C.
        numbers: equal ones draw equal rows.

    Raises:
        InputError: there are fewer passages than that.
    """
    if size > passages:
        raise InputError(f"a context of {size} passages cannot be chosen among {passages:,}; expected at most as many as there are")
    return np.sort(np.random.default_rng([STREAM, *numbers]).choice(passages, size, replace=False)).astype(np.int64)


def collection_context(passages: TokenStore, size: int, max_length: int, seed: int = 0) -> Context:
    """The context of a collection: the same passages for whoever encodes, searches, validates or evaluates.

    Args:
        passages: the token store of its passages.
        size: C.
        max_length: tokens at which passages are cut, the special ones included.
        seed: of the draw.

    Raises:
        InputError: the collection has fewer passages than C.
    """
    try:
        rows = context_rows(len(passages), size, seed)
    except InputError as error:
        raise InputError(f"{passages.description}: {error}") from error
    return context_of_rows(passages, rows, max_length)


def context_of_rows(passages: TokenStore, rows: Integer[np.ndarray, " C"], max_length: int) -> Context:
    """The context of some passages of a token store, cut at ``max_length`` tokens."""
    input_ids, lengths = passages.gather(rows, max_length)
    mask = np.arange(input_ids.shape[1]) < lengths[:, None]
    ids = tuple(bytes(name).decode() for name in passages.ids[rows])
    return Context(ids, torch.from_numpy(input_ids), torch.from_numpy(mask.astype(np.int64)))
