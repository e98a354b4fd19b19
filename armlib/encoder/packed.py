"""A Hugging Face encoder over tokens that lie one after the other, so that nothing is padded but inside attention.

All of a layer but attention looks at one token at a time. The forward pass here calls the layers' own modules for (T, D) tokens of
all texts at once, without padding and in few large products; attention is that of `armlib.encoder.flat_attention`. Parameters,
their names and the state dictionary are the encoder's. Portes et al. (2023, MosaicBERT, arXiv:2312.17482) call this unpadding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.bert.modeling_bert import BertModel
from transformers.models.distilbert.modeling_distilbert import DistilBertModel
from transformers.models.mpnet.modeling_mpnet import MPNetModel
from transformers.models.roberta.modeling_roberta import RobertaModel

from armlib.encoder.first_token import FIRST_TOKEN, STOCK, attend
from armlib.encoder.flat_attention import Layout, grouped_attention, nested_attention
from armlib.encoder.layer_parts import after_attention, attention_dropout, heads, layers, projections
from armlib.errors import InputError

PACKED = {DistilBertModel: "DistilBERT", BertModel: "BERT", RobertaModel: "RoBERTa", MPNetModel: "MPNet"}
KNOWN_LAYERS = {*FIRST_TOKEN, *STOCK}
HALF = (torch.float16, torch.bfloat16)
# Processor time of a gradient in chunks of 16 over that without padding: texts of msmarco-mini, one thread of an AMD EPYC beside
# other work, medians of eight rounds or more. One layer of 64 dimensions 0.99 and of 128 1.05 (B = 64); two of 128 1.18, four of
# 256 1.18, six of 384 1.26 (B = 32). Six of 768: 1.52 of five whole training steps (B = 16). From 256 on, every round was won.
# A GPU was not measured: calls are what costs there, and these are fewer.
PAYS_FROM = 256
"""Width from which an encoder on a CPU is given texts without padding."""


def can_pack(backbone: nn.Module) -> bool:
    """Whether `packed_hidden` computes what the encoder computes: its class and its layers are known, and it looks both ways."""
    if type(backbone) not in PACKED or getattr(backbone.config, "is_decoder", False):
        return False
    stack = layers(backbone)
    return stack is not None and all(type(layer) in KNOWN_LAYERS for layer in stack)


def check_packs(backbone: nn.Module) -> None:
    """Refuse an encoder that `can_pack` does not know.

    Raises:
        InputError: it is none of `PACKED`, its layers were replaced, or it is a decoder.
    """
    if not can_pack(backbone):
        kind = "a decoder" if getattr(backbone.config, "is_decoder", False) else "another architecture"
        expected = ", ".join(PACKED.values())
        raise InputError(f"{type(backbone).__name__} cannot read tokens without padding, it is {kind}; expected one of {expected}")


def packing_pays(backbone: PreTrainedModel) -> bool:
    """Whether an encoder is faster without padding: on a CPU a wide one, elsewhere any."""
    return backbone.device.type != "cpu" or backbone.config.hidden_size >= PAYS_FROM


@cache
def compiled_after_attention() -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """`after_attention` as torch's compiler writes it: one graph for all layers of an encoder and all numbers of tokens.

    Its dropout has the same distribution and other draws than the same seed gives without the compiler.
    """
    return torch.compile(after_attention, dynamic=True)


def packed_hidden(
    backbone: PreTrainedModel,
    input_ids: Int[Tensor, " T"],
    layout: Layout,
    first_only: bool = False,
    nested: bool | None = None,
    compiled: bool = False,
) -> Float[Tensor, "K D"]:
    """The last hidden states of texts that lie one after the other.

    Equal to those of the padded way up to rounding, gradients included. Dropout is drawn from the same distributions, and is the
    same for the same state of torch's generator.

    Args:
        backbone: a DistilBERT, BERT, RoBERTa or MPNet.
        input_ids: (T,) token ids of n texts.
        layout: where the texts lie.
        first_only: compute the last layer for the first token of each text alone, see `armlib.encoder.first_token`.
        nested: attention with all texts at once; None: on CUDA where the architecture has no bias and the numbers half precision.
        compiled: let torch's compiler write what a layer computes between two attentions; it takes a minute at first.

    Returns:
        (T, D) of all tokens, or (n, D) of the first tokens.

    Raises:
        InputError: the encoder is another one, or a text has more tokens than there are positions.
    """
    check_packs(backbone)
    hidden = _embedded(backbone, input_ids, layout)
    biased = isinstance(backbone, MPNetModel)
    if nested is None:
        half = hidden.dtype in HALF or (hidden.dtype == torch.float32 and torch.is_autocast_enabled("cuda"))
        nested = hidden.is_cuda and not biased and half
    masks = None if nested else _masks(backbone, layout, hidden.dtype)
    stack = layers(backbone)
    assert stack is not None
    last, finish = stack[-1], compiled_after_attention() if compiled else after_attention
    for layer in stack[:-1]:
        hidden = finish(layer, _attention(layer, hidden, layout, masks), hidden)
    if not first_only:
        return finish(last, _attention(last, hidden, layout, masks), hidden)
    first = hidden.index_select(0, layout.first)  # (n, D)
    return finish(last, _first_attention(last, hidden, first, layout, masks), first)


def _embedded(backbone: PreTrainedModel, input_ids: Tensor, layout: Layout) -> Tensor:
    """(T, D) what enters the first layer."""
    own: Any = backbone.embeddings
    positions, table = layout.positions, own.position_embeddings
    if isinstance(backbone, RobertaModel | MPNetModel):
        # These number from behind the padding id, and leave out a padding token in the middle of a text.
        counted = (input_ids != own.padding_idx).long()
        so_far = counted.cumsum(0)
        before = (so_far - counted).index_select(0, layout.first)  # (n,)
        owners = torch.repeat_interleave(before, layout.offsets.diff(), output_size=len(input_ids))
        positions = (so_far - owners) * counted + own.padding_idx
    longest = table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
    if layout.longest > longest:
        raise InputError(f"a text has {layout.longest} tokens; this encoder has {longest} positions")
    found = own.word_embeddings(input_ids)
    if hasattr(own, "token_type_embeddings"):
        found = found + own.token_type_embeddings.weight[0]
    return own.dropout(own.LayerNorm(found + table(positions)))


def _masks(backbone: PreTrainedModel, layout: Layout, kind: torch.dtype) -> list[Tensor | None]:
    """Of each group what `grouped_attention` takes, the same for all layers: where tokens stand, or MPNet's bias with it."""
    if not isinstance(backbone, MPNetModel):
        return [group.mask for group in layout.groups]
    some = torch.empty(1, layout.longest, 0, device=layout.device)  # its shape alone counts
    bias = backbone.encoder.compute_position_bias(some).to(kind)  # (1, H, L, L) of the longest text
    found = []
    for group in layout.groups:
        own = bias[:, :, : group.length, : group.length]
        found.append(own if group.mask is None else own.masked_fill(~group.mask, float("-inf")))
    return found


def _attention(layer: nn.Module, hidden: Tensor, layout: Layout, masks: list[Tensor | None] | None) -> Tensor:
    """(T, D) contexts of all tokens."""
    maps, count, dropout = projections(layer), heads(layer), attention_dropout(layer)
    asked = maps.query(hidden), maps.key(hidden), maps.value(hidden)
    if masks is None:
        return nested_attention(*asked, layout, count, dropout)
    return grouped_attention(*asked, layout, count, dropout, masks)


def _first_attention(layer: nn.Module, hidden: Tensor, first: Tensor, layout: Layout, masks: list[Tensor | None] | None) -> Tensor:
    """(n, D) contexts of the first tokens."""
    maps, count, dropout = projections(layer), heads(layer), attention_dropout(layer)
    if masks is None:
        return nested_attention(maps.query(first), maps.key(hidden), maps.value(hidden), layout, count, dropout)
    found = []
    for own, mask in zip(layout.padded(hidden), masks, strict=True):
        # Either a mask of padding, or a bias with it: (n or 1, H or 1, L or 1, L), whose first row is that of the first token.
        added = {"bias": mask} if mask is not None and mask.dtype != torch.bool else {}
        found.append(attend(own, None if added else mask, maps, count, dropout, **added)[:, 0])
    return torch.cat(found)
