"""Attention among the tokens of each of many texts that lie one after the other without padding.

There are two ways, which compute the same. Groups: some neighbouring texts at a time are padded to the longest of them, inside
attention alone; texts in the order of their lengths make little padding. Varying lengths: nested tensors, whose fused kernels
(Dao 2024, arXiv:2307.08691) take texts of any lengths at once, with dropout of attention weights, and no bias.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nested import nested_tensor_from_jagged
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

GROUP = {"cpu": 8, "cuda": 64}
"""Texts that are padded together: on a CPU few, so that little is padded; on a GPU more, since each group is calls of its own."""
FUSED = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION)


class Group(NamedTuple):
    """Neighbouring texts that are padded together.

    Attributes:
        tokens: t, how many they have.
        texts: n, how many they are.
        length: L, the length of the longest.
        places: where each token lies in a padded (n L, D); None where nothing is padded.
        mask: (n, 1, 1, L), True where a token stands; None where nothing is padded.
    """

    tokens: int
    texts: int
    length: int
    places: Tensor | None
    mask: Tensor | None

    def padded(self, flat: Float[Tensor, "t D"]) -> Float[Tensor, "n L D"]:
        """The group's texts, padded with zeros."""
        if self.places is not None:
            flat = flat.new_zeros(self.texts * self.length, flat.shape[1]).index_copy(0, self.places, flat)
        return flat.view(self.texts, self.length, -1)

    def unpadded(self, padded: Float[Tensor, "n L D"]) -> Float[Tensor, "t D"]:
        """The tokens of padded texts, one after the other."""
        flat = padded.flatten(0, 1)
        return flat if self.places is None else flat.index_select(0, self.places)


class Layout:
    """Where n texts lie among T tokens.

    Args:
        lengths: (n,) tokens of each text, at least one; in host memory.
        device: where the tokens are.
        group: texts that are padded together; None takes `GROUP`.

    Attributes:
        longest: tokens of the longest text.
        offsets: (n + 1,) the first token of each text, and T.
        positions: (T,) how far each token is into its text.
    """

    def __init__(self, lengths: Tensor, device: torch.device, group: int | None = None) -> None:
        self.device, self.group = device, group or GROUP.get(device.type, GROUP["cpu"])
        self.lengths = lengths.numpy()  # (n,)
        self._offsets = np.concatenate([[0], np.cumsum(self.lengths)])
        self.longest, self.shortest = int(self.lengths.max()), int(self.lengths.min())
        self.offsets, tokens = self._moved(self._offsets), int(self._offsets[-1])
        # Counted on the device: a long copy from host memory would wait for all that the device has to do.
        starts = torch.repeat_interleave(self.first, self.offsets.diff(), output_size=tokens)
        self.positions = torch.arange(tokens, device=device) - starts
        self._groups: list[Group] | None = None

    @property
    def first(self) -> Tensor:
        """(n,) the first token of each text."""
        return self.offsets[:-1]

    @property
    def groups(self) -> list[Group]:
        """The texts in groups; laid out when they are first asked for."""
        if self._groups is None:
            starts = range(0, len(self.lengths), self.group)
            self._groups = [self._grouped(start, min(start + self.group, len(self.lengths))) for start in starts]
        return self._groups

    def padded(self, flat: Float[Tensor, "T D"]) -> list[Tensor]:
        """The texts of each group, padded with zeros, (n, L, D)."""
        # One split, where the gradient of every slice would be as large as the whole.
        parts = flat.split([group.tokens for group in self.groups])
        return [group.padded(part) for group, part in zip(self.groups, parts, strict=True)]

    def _grouped(self, start: int, stop: int) -> Group:
        lengths = self.lengths[start:stop]
        size = int(lengths.sum()), len(lengths), int(lengths.max())
        there = np.arange(size[2]) < lengths[:, None]  # (n, L)
        if there.all():
            return Group(*size, None, None)
        return Group(*size, self._moved(np.flatnonzero(there)), self._moved(there[:, None, None]))

    def _moved(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.device, non_blocking=True)


def grouped_attention(
    query: Float[Tensor, "T D"],
    key: Float[Tensor, "T D"],
    value: Float[Tensor, "T D"],
    layout: Layout,
    heads: int,
    dropout: float,
    masks: list[Tensor | None],
) -> Float[Tensor, "T D"]:
    """Multi-head attention, group by group.

    Args:
        query, key, value: (T, D) of all tokens.
        layout: where the texts lie.
        heads: H, the number of heads; each has D / H dimensions.
        dropout: probability of dropping an attention weight, 0 outside training.
        masks: of each group None, or booleans or summands of the scores, (n or 1, H or 1, L or 1, L).

    Returns:
        (T, D) contexts, before the output projection.
    """
    found = []
    for group, mask, *own in zip(layout.groups, masks, *map(layout.padded, (query, key, value)), strict=True):
        q, k, v = (each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in own)
        context = scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)  # (n, H, L, D / H)
        found.append(group.unpadded(context.transpose(1, 2).flatten(2)))
    return torch.cat(found)


def nested_attention(
    query: Float[Tensor, "Q D"], key: Float[Tensor, "T D"], value: Float[Tensor, "T D"], layout: Layout, heads: int, dropout: float
) -> Float[Tensor, "Q D"]:
    """Multi-head attention with all texts at once, in nested tensors.

    On CUDA a fused kernel computes it, or an error says that none can; on a CPU torch computes it step by step, slowly.

    Args:
        query: (T, D) of all tokens, or (n, D) of the first token of each text.
        key, value, layout, heads, dropout: as for `grouped_attention`.

    Returns:
        (T, D) or (n, D) contexts, before the output projection.
    """
    whole = len(query) == len(key)
    offsets = layout.offsets if whole else torch.arange(len(query) + 1, device=query.device)

    def nested(flat: Tensor, offsets: Tensor, shortest: int, longest: int) -> Tensor:  # (n, H, L of each text, D / H)
        # The lengths are told, or the device would be asked for them, and waited for.
        own = nested_tensor_from_jagged(flat.unflatten(-1, (heads, -1)), offsets, min_seqlen=shortest, max_seqlen=longest)
        return own.transpose(1, 2)

    lengths = (layout.shortest, layout.longest)
    asking = nested(query, offsets, *(lengths if whole else (1, 1)))
    keys, values = (nested(each, layout.offsets, *lengths) for each in (key, value))
    with sdpa_kernel(list(FUSED) if query.is_cuda else [SDPBackend.MATH]):
        context = scaled_dot_product_attention(asking, keys, values, dropout_p=dropout)
    return context.transpose(1, 2).values().flatten(1)
