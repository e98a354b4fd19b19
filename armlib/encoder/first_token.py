"""The last layer for [CLS] alone: an exact saving where only the first token's vector leaves the encoder.

With ``cls`` pooling, the query, output and feed-forward parts of the last layer are needed for one token of each text.
The keys and values of the other tokens are needed only inside sums, so their projections move to the other side of
them: for head h, with hidden states x_j of the tokens and q_h the query of [CLS],

    score_j = q_h . (K_h x_j + k_h) = (K_h^T q_h) . x_j + q_h . k_h
    context = sum_j p_j (V_h x_j + v_h) = V_h (sum_j p_j x_j) + (sum_j p_j) v_h

which replaces two matrix products a token by two a text. The sum of p_j is 1 except under attention dropout. The key
bias k_h shifts all scores of a head alike and so changes nothing, but its (zero) gradient is kept, so that the
optimiser sees the parameters that it would see without this module.

`enable` swaps the class of the layer object; parameters, their names and the state dictionary are untouched, and
copying and pickling work as for the stock layer.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.bert.modeling_bert import BertLayer
from transformers.models.distilbert.modeling_distilbert import TransformerBlock
from transformers.models.mpnet.modeling_mpnet import MPNetEncoder, MPNetLayer
from transformers.models.roberta.modeling_roberta import RobertaLayer

from armlib.encoder.layer_parts import Projections, after_attention, attention_dropout, heads, layers, projections


def attend(
    hidden: Float[Tensor, "n L D"],
    mask: Shaped[Tensor, "n1 1 L1 L"] | None,
    maps: Projections,
    heads: int,
    dropout: float,
    bias: Float[Tensor, "n2 H L2 L"] | None = None,
) -> Float[Tensor, "n 1 D"]:
    """Multi-head attention of the first token over all tokens, before the output projection.

    Args:
        hidden: (n, L, D) hidden states that enter the layer.
        mask: what the stock layer gets: None; boolean (n or 1, 1, L or 1, L), True where attended; the same shape in
            floats, added to the scores.
        maps: the layer's projections.
        heads: number of heads H; each has D / H dimensions.
        dropout: probability of dropping an attention weight, 0 outside training.
        bias: (n or 1, H, L or 1, L) added to the scores (MPNet's relative positions).

    Returns:
        (n, 1, D) the context of the first token.
    """
    width = maps.query.out_features // heads
    query = maps.query(hidden[:, 0]).unflatten(-1, (heads, width))  # (n, H, width)
    folded = torch.einsum("nhw,hwd->nhd", query, maps.key.weight.unflatten(0, (heads, width)))
    scores = torch.matmul(folded, hidden.transpose(1, 2))  # (n, H, L)
    if maps.key.bias is not None:
        scores = scores + (query * maps.key.bias.unflatten(0, (heads, width))).sum(-1, keepdim=True)
    scores = scores * width**-0.5
    if bias is not None:
        scores = scores + bias[:, :, 0]
    if mask is not None:
        first = mask[:, :, 0]  # (n or 1, 1, L): the row of the query [CLS]
        scores = scores.masked_fill(~first, float("-inf")) if first.dtype == torch.bool else scores + first
    weights = nn.functional.dropout(scores.softmax(-1), dropout, training=dropout > 0)  # (n, H, L)
    mixed = torch.matmul(weights.to(hidden.dtype), hidden)  # (n, H, D)
    context = torch.einsum("nhd,hwd->nhw", mixed, maps.value.weight.unflatten(0, (heads, width)))
    if maps.value.bias is not None:
        context = context + weights.sum(-1, keepdim=True) * maps.value.bias.unflatten(0, (heads, width))
    return context.flatten(1).unsqueeze(1)


def _first(
    layer: nn.Module,
    hidden: Float[Tensor, "n L D"],
    mask: Shaped[Tensor, "n1 1 L1 L"] | None,
    bias: Float[Tensor, "n2 H L2 L"] | None = None,
) -> Float[Tensor, "n 1 D"]:
    """What leaves a layer for the first token."""
    context = attend(hidden, mask, projections(layer), heads(layer), attention_dropout(layer), bias)
    return after_attention(layer, context, hidden[:, :1])


class FirstTokenDistilBertLayer(TransformerBlock):
    """DistilBERT's layer, computed for the first token: (n, L, D) to (n, 1, D)."""

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, **unused: object) -> Tensor:
        return _first(self, hidden_states, attention_mask)


class FirstTokenBertLayer(BertLayer):
    """BERT's layer, computed for the first token: (n, L, D) to (n, 1, D)."""

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, *unused: object, **also_unused: object
    ) -> Tensor:
        return _first(self, hidden_states, attention_mask)


class FirstTokenRobertaLayer(RobertaLayer):
    """RoBERTa's layer, computed for the first token: (n, L, D) to (n, 1, D)."""

    forward = FirstTokenBertLayer.forward


class FirstTokenMPNetLayer(MPNetLayer):
    """MPNet's layer, computed for the first token: (n, L, D) to a tuple of (n, 1, D)."""

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_bias: Tensor | None = None,
        output_attentions: bool = False,
        **unused: object,
    ) -> tuple[Tensor]:
        return (_first(self, hidden_states, attention_mask, position_bias),)


class SharedBiasMPNetEncoder(MPNetEncoder):
    """MPNet's stack with the relative position bias kept once, (1, H, L, L), where the stock one copies it n times."""

    def compute_position_bias(self, x: Tensor, position_ids: Tensor | None = None, num_buckets: int = 32) -> Tensor:
        return super().compute_position_bias(x[:1], position_ids, num_buckets)


FIRST_TOKEN: dict[Any, Any] = {
    TransformerBlock: FirstTokenDistilBertLayer,
    BertLayer: FirstTokenBertLayer,
    RobertaLayer: FirstTokenRobertaLayer,
    MPNetLayer: FirstTokenMPNetLayer,
    MPNetEncoder: SharedBiasMPNetEncoder,
}
STOCK = {changed: stock for stock, changed in FIRST_TOKEN.items()}


def enable(backbone: PreTrainedModel) -> bool:
    """Let a Hugging Face encoder compute its last layer for the first token alone.

    Its ``last_hidden_state`` is then (n, 1, D), equal to the stock one's first row up to rounding, gradients included;
    attention and hidden dropout are drawn from the same distributions. The attention weights of the last layer are not
    returned any more.

    Returns:
        True if it does so now; False, and nothing is changed, where the architecture (DistilBERT, BERT, RoBERTa and
        MPNet are known) or its attention (``sdpa`` and ``eager`` are known) is another.
    """
    stack = layers(backbone)
    if stack is None or type(stack[-1]) not in (*FIRST_TOKEN, *STOCK):
        return False
    if backbone.config._attn_implementation not in {"sdpa", "eager"} or getattr(backbone.config, "is_decoder", False):
        return False
    _swap(backbone, FIRST_TOKEN)
    return True


def disable(backbone: PreTrainedModel) -> None:
    """Give the encoder its stock last layer back; does nothing where `enable` was not called."""
    _swap(backbone, STOCK)


def _swap(backbone: PreTrainedModel, classes: dict[type, type]) -> None:
    stack = layers(backbone)
    for module in (stack[-1] if stack is not None else None, getattr(backbone, "encoder", None)):
        if type(module) in classes:
            module.__class__ = classes[type(module)]
