"""An encoder in two stages: a first one embeds the passages of a context, the second one reads a text and those vectors behind it.

After Morris and Rush (2024, arXiv:2410.02525), whose second stage reads the vectors in front of the text. Behind it, the first
token stays the first, so that `armlib.encoder.first_token` works as it is. With hidden states x_1..x_L of the text, as they enter
the first layer, and vectors e_1..e_C of the context, every layer attends over

    [x_1, ..., x_L, P e_1, ..., P e_C]    with 0 added to the scores of the text and the bias b to those of the context,

where P is a linear layer, and the bias b is learned, too. Context vectors have no positions, so their order changes nothing. A bias
of minus infinity leaves the context out. It starts at -3: where attention is near uniform, as in the encoders of `armlib.demo.lsa`,
64 vectors would swamp a text. P starts as minus the identity: what a text has in common with its neighbours does not tell it from
them, and is taken away.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from armlib.data.contexts import Context
from armlib.encoder.layer_parts import layers
from armlib.encoder.modes import evaluating
from armlib.errors import InputError

START = -3.0
"""Of the bias."""
NULL_SPREAD = 0.01
"""Standard deviation of the null vector before training, as in the authors' code."""
TOGETHER = 16  # passages of a context that are read together
READERS = {"distilbert": "DistilBERT", "bert": "BERT", "roberta": "RoBERTa"}


class ContextReader(nn.Module):
    """What an encoder needs to read a context: a first stage, and what puts its vectors behind a text.

    An encoder that is to be used is bound to a context. Its vectors are computed then, in evaluation mode and float32, and
    forgotten where weights can change: in training mode, and when other weights are loaded.

    Args:
        first: the first stage, a plain `armlib.encoder.bi_encoder.BiEncoder`.
        width: D of the second stage's hidden states.
        passages: C, how many passages a context has.
        dropout: in training, each context vector of each text is replaced by one learned null vector with this probability.

    Attributes:
        bound: the context that was bound; None before.
        vectors: (C, E) the first stage's vectors of it.
    """

    vectors: Tensor | None

    def __init__(self, first: Any, width: int, passages: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.first, self.width, self.passages = first, width, passages
        self.project = nn.utils.skip_init(nn.Linear, first.dim, width)
        with torch.no_grad():
            nn.init.eye_(self.project.weight).neg_()
            nn.init.zeros_(self.project.bias)
        self.bias = nn.Parameter(torch.full((1,), START))
        self.null: nn.Parameter | None = None
        self.set_dropout(dropout)
        self.bound: Context | None = None
        self.register_buffer("vectors", None, persistent=False)
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]

    def set_dropout(self, dropout: float) -> None:
        """Replace context vectors with this probability; a null vector that is not there is drawn, without touching any seed."""
        self.dropout = dropout
        if dropout and self.null is None:
            drawn = torch.randn(self.width, generator=torch.Generator().manual_seed(0))
            self.null = nn.Parameter((NULL_SPREAD * drawn).to(self.bias))

    @property
    def silent(self) -> bool:
        """Whether the context is left out, on a CPU: elsewhere the look would wait for the device, and changes rounding alone."""
        return self.bias.device.type == "cpu" and bool(self.bias.isneginf())

    def bind(self, context: Context, vectors: Float[Tensor, "C E"] | None = None) -> None:
        """Read a context, if it is not the one that is bound.

        Args:
            context: its passages.
            vectors: (C, E) the first stage's vectors of them, where they are known.
        """
        if self.vectors is not None and self.bound is not None and self.bound.key == context.key:
            self.bound = context
            return
        if vectors is None:
            with evaluating(self.first), torch.no_grad(), torch.autocast(self.bias.device.type, enabled=False):
                texts = zip(context.input_ids.split(TOGETHER), context.attention_mask.split(TOGETHER), strict=True)
                vectors = torch.cat([self.first(ids.to(self.bias.device), mask.to(self.bias.device)) for ids, mask in texts])
        self.bound, self.vectors = context, vectors.to(self.bias)

    def forget(self) -> None:
        """Be bound to nothing."""
        self.bound = self.vectors = None

    def train(self, mode: bool = True) -> ContextReader:
        """As of any module; weights that are trained make other vectors."""
        if mode:
            self.forget()
        return super().train(mode)

    def forward(
        self,
        backbone: PreTrainedModel,
        tokens: dict[str, Tensor],
        attention_mask: Int[Tensor, "n L"],
        vectors: Float[Tensor, "C E"] | None = None,
    ) -> Float[Tensor, "n K D"]:
        """The second stage.

        Args:
            backbone: its Hugging Face encoder, which `check_reader` has let pass.
            tokens: ``input_ids`` (n, L), or their word embeddings ``inputs_embeds`` (n, L, D).
            attention_mask: (n, L), 1 for tokens and 0 for padding.
            vectors: (C, E) of the first stage; None takes those of the context that is bound.

        Returns:
            (n, L, D) last hidden states of the texts; (n, 1, D) where the last layer is computed for the first token alone.

        Raises:
            InputError: no context is bound or given.
        """
        if vectors is None:
            vectors = self.vectors
        if vectors is None:
            raise InputError("the encoder reads a context and is bound to none; bind it to that of a collection")
        hidden = backbone.embeddings(**{"input_ids": None} | tokens)  # (n, L, D)
        states = torch.cat([hidden, self._context(vectors, len(hidden)).to(hidden.dtype)], 1)  # (n, L + C, D)
        padding = torch.zeros_like(attention_mask, dtype=hidden.dtype).masked_fill(attention_mask == 0, float("-inf"))
        seen = torch.cat([padding, self.bias.to(hidden.dtype).expand(len(hidden), len(vectors))], 1)  # (n, L + C)
        for layer in layers(backbone) or ():
            states = layer(states, seen[:, None, None])
        return states[:, : hidden.shape[1]]

    def _context(self, vectors: Float[Tensor, "C E"], texts: int) -> Float[Tensor, "n C D"]:
        """The context of each text."""
        context = self.project(vectors).expand(texts, -1, -1)  # (C, D) for each text
        if not (self.training and self.dropout and self.null is not None):
            return context
        dropped = torch.rand(context.shape[:2], device=context.device) < self.dropout  # (n, C)
        return torch.where(dropped[..., None], self.null.to(context.dtype), context)


def _forget(reader: ContextReader, keys: object) -> None:
    reader.forget()


def check_reader(backbone: PreTrainedModel) -> None:
    """Refuse an encoder that cannot be a second stage.

    Raises:
        InputError: it is not DistilBERT, BERT or RoBERTa, or not with attention that adds a mask.
    """
    config, name = backbone.config, type(backbone).__name__
    expected = f"expected {', '.join(READERS.values())}"
    if config.model_type == "mpnet":
        raise InputError(
            f"{name} cannot read a context: its attention depends on relative positions, and vectors have none; {expected}"
        )
    if config.model_type not in READERS or not layers(backbone) or getattr(config, "is_decoder", False):
        raise InputError(f"{name} ({config.model_type}) cannot read a context; {expected}")
    if config._attn_implementation not in ("sdpa", "eager"):
        raise InputError(f"{name} cannot read a context with {config._attn_implementation} attention; expected sdpa or eager")
