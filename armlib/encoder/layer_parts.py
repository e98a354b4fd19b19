"""The parts of an encoder layer of DistilBERT, BERT, RoBERTa and MPNet, whatever its architecture calls them."""

from __future__ import annotations

from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn
from transformers.models.bert.modeling_bert import BertLayer
from transformers.models.distilbert.modeling_distilbert import TransformerBlock
from transformers.models.mpnet.modeling_mpnet import MPNetLayer
from transformers.models.roberta.modeling_roberta import RobertaLayer


class Projections(NamedTuple):
    """The six linear maps of an encoder layer."""

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    output: nn.Linear
    widen: nn.Linear
    narrow: nn.Linear


def projections(layer: nn.Module) -> Projections:
    """The linear maps of a layer of DistilBERT, BERT, RoBERTa or MPNet.

    Raises:
        TypeError: the layer is of another architecture.
    """
    if isinstance(layer, TransformerBlock):
        own: Any = layer.attention
        return Projections(own.q_lin, own.k_lin, own.v_lin, own.out_lin, layer.ffn.lin1, layer.ffn.lin2)
    if isinstance(layer, MPNetLayer):
        own = layer.attention.attn
        return Projections(own.q, own.k, own.v, own.o, layer.intermediate.dense, layer.output.dense)
    if isinstance(layer, BertLayer | RobertaLayer):
        own, out = layer.attention.self, layer.attention.output.dense
        return Projections(own.query, own.key, own.value, out, layer.intermediate.dense, layer.output.dense)
    raise TypeError(f"the linear maps of {type(layer).__name__} are not known")


def layers(backbone: nn.Module) -> nn.ModuleList | None:
    """The stack of layers of a Hugging Face encoder; None where it is not in a known place."""
    stack = getattr(getattr(backbone, "transformer", None) or getattr(backbone, "encoder", None), "layer", None)
    return stack if isinstance(stack, nn.ModuleList) and len(stack) else None


def heads(layer: nn.Module) -> int:
    """The number of attention heads of a layer that `projections` knows."""
    if isinstance(layer, TransformerBlock):
        return layer.attention.n_heads
    own: Any = layer
    return own.attention.attn.num_attention_heads if isinstance(layer, MPNetLayer) else own.attention.self.num_attention_heads


def attention_dropout(layer: nn.Module) -> float:
    """The probability of dropping an attention weight of a layer that `projections` knows; 0 outside training."""
    own: Any = layer.attention
    if isinstance(layer, MPNetLayer):
        own = own.attn
    elif not isinstance(layer, TransformerBlock):
        own = own.self
    return own.dropout.p if layer.training else 0.0


def after_attention(layer: nn.Module, context: Float[Tensor, "*n D"], hidden: Float[Tensor, "*n D"]) -> Float[Tensor, "*n D"]:
    """What a layer makes of the context that its attention gives, token by token.

    Args:
        layer: one that `projections` knows.
        context: (..., D) attention's result before the output projection.
        hidden: (..., D) what entered the layer, of the same tokens.

    Returns:
        (..., D) what leaves the layer.
    """
    own: Any = layer
    if isinstance(layer, TransformerBlock):
        attended = own.sa_layer_norm(own.attention.out_lin(context) + hidden)
        return own.output_layer_norm(own.ffn.ff_chunk(attended) + attended)
    if isinstance(layer, MPNetLayer):
        attended = own.attention.LayerNorm(own.attention.dropout(own.attention.attn.o(context)) + hidden)
        return own.output(own.intermediate(attended), attended)
    return own.feed_forward_chunk(own.attention.output(context, hidden))
