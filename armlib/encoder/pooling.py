"""How the vectors of a text's tokens become one embedding."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from armlib.encoder.flat_attention import Layout

LINEAR = "+linear"
POOLINGS = ("cls", "mean", "last", f"cls{LINEAR}", f"mean{LINEAR}", f"last{LINEAR}")
"""The first token's vector, the mean over the tokens of the text, or the last token's; then perhaps one linear layer."""


def pooled(hidden: Float[Tensor, "n K D"], attention_mask: Int[Tensor, "n L"], pooling: str) -> Float[Tensor, "n D"]:
    """The vectors of texts before any linear layer; padding, at the right, does not count.

    Args:
        hidden: (n, L, D) vectors of the tokens; for ``cls`` those of the first tokens, (n, 1, D), are enough.
        attention_mask: (n, L), 1 for tokens and 0 for padding.
        pooling: one of `POOLINGS`.
    """
    if pooling.startswith("mean"):
        kept = attention_mask.unsqueeze(-1).to(hidden.dtype)  # (n, L, 1)
        return (hidden * kept).sum(1) / kept.sum(1).clamp(min=1)
    if pooling.startswith("last"):
        last = (attention_mask.sum(1) - 1).clamp(min=0)  # (n,)
        return hidden.take_along_dim(last[:, None, None], dim=1)[:, 0]  # (n, 1, D) to (n, D)
    return hidden[:, 0]


def pooled_flat(hidden: Float[Tensor, "K D"], layout: Layout, pooling: str) -> Float[Tensor, "n D"]:
    """`pooled` for texts that lie one after the other.

    Args:
        hidden: (T, D) vectors of the tokens; for ``cls`` those of the first tokens, (n, D), are taken as they are.
        layout: where the texts lie.
        pooling: one of `POOLINGS`.
    """
    if pooling.startswith("mean"):
        lengths = layout.offsets.diff()
        # Not a scattered sum, whose order, and so whose rounding, would change from call to call on CUDA.
        # And unsafe, or torch would look at the lengths, and wait for the device.
        return torch.segment_reduce(hidden, "sum", lengths=lengths, axis=0, unsafe=True) / lengths[:, None].to(hidden.dtype)
    if pooling.startswith("last"):
        return hidden.index_select(0, layout.offsets[1:] - 1)
    return hidden if len(hidden) == len(layout.lengths) else hidden.index_select(0, layout.first)


def identity_layer(width: int) -> nn.Linear:
    """A linear layer, (n, width) to (n, width), that changes nothing yet."""
    layer = nn.utils.skip_init(nn.Linear, width, width)
    nn.init.eye_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
