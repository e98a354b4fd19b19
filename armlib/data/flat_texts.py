"""Texts of a batch one after the other, without padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch


@dataclass
class FlatTexts:
    """n texts of T tokens in all, best in the order of their lengths.

    Attributes:
        input_ids: (T,) int64, special tokens included.
        lengths: (n,) int64, tokens of each text, at least one. It stays in host memory, where the work is laid out.
        rows: (n,) int64, the row of each text among those of the batch.
    """

    input_ids: torch.Tensor
    lengths: torch.Tensor
    rows: torch.Tensor

    def to(self, device: torch.device) -> FlatTexts:
        """The texts on a device; from pinned memory the copy does not wait."""
        return FlatTexts(self.input_ids.to(device, non_blocking=True), self.lengths, self.rows.to(device, non_blocking=True))

    def pin_memory(self) -> FlatTexts:
        """The texts in page-locked memory; called by torch's DataLoader."""
        return FlatTexts(self.input_ids.pin_memory(), self.lengths, self.rows.pin_memory())


def pieces(ids: np.ndarray, lengths: np.ndarray, most_tokens: int | None) -> list[FlatTexts]:
    """Texts in ascending order of their lengths, in pieces of at most so many tokens.

    Args:
        ids: (T,) token ids of n texts, one text after the other.
        lengths: (n,) tokens of each text.
        most_tokens: tokens of a piece, or one text of more; None for one piece.

    Returns:
        The pieces, whose ``rows`` number the texts as they came.
    """
    order = np.argsort(lengths, kind="stable")
    starts = np.cumsum(lengths) - lengths
    found = []
    for part in _cut(order, lengths, most_tokens):
        sizes = lengths[part]
        # Where each token lies among all: where its text starts there, and how far it is into its text.
        places = np.repeat(starts[part] - (np.cumsum(sizes) - sizes), sizes) + np.arange(int(sizes.sum()))
        found.append(FlatTexts(*map(torch.from_numpy, (ids[places], sizes, part))))
    return found


def _cut(order: np.ndarray, lengths: np.ndarray, most_tokens: int | None) -> Sequence[np.ndarray]:
    if most_tokens is None:
        return [order]
    cuts, size = [], 0
    for place, length in enumerate(lengths[order].tolist()):
        if place and size + length > most_tokens:
            cuts.append(place)
            size = 0
        size += length
    return np.split(order, cuts)
