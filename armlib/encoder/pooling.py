"""How the vectors of a text's tokens become one embedding."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn

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


def identity_layer(width: int) -> nn.Linear:
    """A linear layer, (n, width) to (n, width), that changes nothing yet."""
    layer = nn.utils.skip_init(nn.Linear, width, width)
    nn.init.eye_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
