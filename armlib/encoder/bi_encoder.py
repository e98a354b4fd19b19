"""A bi-encoder: any Hugging Face encoder, a pooling, and a folder format that sentence-transformers reads.

The paper (Table 1) embeds a text by the vector of its [CLS] token, for RoBERTa and MPNet followed by one linear layer,
and compares embeddings by their cosine.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from armlib.data.characters import check_text
from armlib.data.contexts import Context, collection_context
from armlib.data.flat_texts import FlatTexts
from armlib.data.tokens import TokenStore, special_tokens
from armlib.encoder import first_token
from armlib.encoder.contextual import ContextReader, check_reader
from armlib.encoder.contextual_folder import FIRST_STAGE, first_stage_folder, read_context, write_context
from armlib.encoder.export import RECORD, write_layout
from armlib.encoder.flat_attention import Layout as FlatLayout
from armlib.encoder.layout import Layout, Prompts
from armlib.encoder.packed import can_pack, packed_hidden, packing_pays
from armlib.encoder.pooling import LINEAR, POOLINGS, identity_layer, pooled, pooled_flat
from armlib.encoder.pretrained import load_pretrained, quiet_transformers
from armlib.encoder.sizes import ParameterCounts, parameter_counts, positions
from armlib.errors import InputError, unknown
from armlib.storage import atomic_folder, digest, read_json, write_json

TABLE_1 = {"distilbert": "cls", "roberta": "cls+linear", "mpnet": "cls+linear"}  # the paper's embedding of each encoder
# Encoders that take a mask of two dimensions per text and make nothing else of it: no windows, no causal order.
PLAIN_ATTENTION = {"bert", "camembert", "distilbert", "electra", "mpnet", "roberta", "xlm-roberta"}


class BiEncoder(nn.Module):
    """Embeds token ids: a Hugging Face encoder, then a pooling. Queries and passages share it.

    Args:
        backbone: an encoder such as `AutoModel` gives; its ``last_hidden_state`` is used.
        tokenizer: the tokenizer that belongs to it; it is set to cut and pad nothing on its own.
        pooling: one of `armlib.encoder.pooling.POOLINGS`.
        cls_only: compute the last layer for the first token alone where the pooling and the architecture allow it.
        linear: the layer of a pooling with one, such as ``"cls+linear"``. By default it starts as the identity: training then
            starts from the similarities that the encoder was pre-trained to have, without drawing random numbers, whereas
            a random layer would hardly be learned at the paper's learning rate (3.9e-8, multiplied by 0.99999 after each of
            310,787 steps: Adam moves a weight by about 0.0037 at most).
        prompts: what is put in front of queries and passages before they are tokenised; `armlib.encoder.token_stores` does so.
        truncate_dim: keep so many dimensions of the embedding; None for all.

    Attributes:
        context: what reads a context beside each text, see `add_context`; None for a plain encoder.
        compiled: whether `embed_flat` computes the layers by torch's compiler in training, see `armlib.encoder.packed`.

    Raises:
        InputError: the pooling is unknown, or the tokenizer or the architecture does not suit it.
    """

    def __init__(
        self,
        backbone: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        pooling: str = "cls",
        cls_only: bool = True,
        linear: nn.Linear | None = None,
        prompts: Prompts = Prompts(),  # noqa: B008 - a named tuple does not change
        truncate_dim: int | None = None,
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise unknown("pooling", pooling, POOLINGS)
        if backbone.config.is_encoder_decoder and hasattr(backbone, "decoder"):
            raise InputError(f"{type(backbone).__name__} is an encoder with a decoder; expected an encoder alone")
        if tokenizer.pad_token_id is None:
            raise InputError(f"the tokenizer of {type(backbone).__name__} has no padding token; expected an encoder's")
        self.backbone = backbone
        self.tokenizer = tokenizer
        self.pooling, self.prompts, self.truncate_dim = pooling, prompts, truncate_dim
        self.context: ContextReader | None = None
        self.compiled = False
        width = backbone.config.hidden_size
        self.linear: nn.Linear | None = None
        if pooling.endswith(LINEAR):
            self.linear = linear if linear is not None else identity_layer(width)
        self.dim: int = min(width if self.linear is None else self.linear.out_features, truncate_dim or 1 << 62)
        # Of an encoder that was loaded: the maximum lengths that its folder says, and what `save` had recorded.
        self.lengths: dict[str, int | None] = {}
        self.saved: dict[str, Any] = {}
        tokenizer.padding_side = "right"
        if tokenizer.is_fast:  # files on disk may cut and pad (all-MiniLM-L6-v2's to 128 tokens)
            tokenizer.backend_tokenizer.no_truncation()
            tokenizer.backend_tokenizer.no_padding()
        if self.max_length is not None:
            tokenizer.model_max_length = self.max_length
        if pooling.startswith("cls") and not self.special_tokens()[0]:
            raise InputError(
                f"pooling {pooling!r} needs a token in front of every text, which the tokenizer of "
                f"{type(backbone).__name__} does not add; expected pooling 'mean' with it"
            )
        self.cls_only: bool = cls_only and pooling.startswith("cls") and first_token.enable(backbone)
        if not self.cls_only:
            first_token.disable(backbone)
        self.train(backbone.training)

    def forward(
        self,
        input_ids: Int[Tensor, "n L"],
        attention_mask: Int[Tensor, "n L"],
        words: Float[Tensor, "n L D"] | None = None,
        context: Float[Tensor, "C E"] | None = None,
    ) -> Float[Tensor, "n dim"]:
        """Embed token ids.

        Args:
            input_ids: (n, L) integers, special tokens included, padded at the right.
            attention_mask: (n, L), 1 for tokens and 0 for padding.
            words: (n, L, D) word embeddings of the ids, where `word_embeddings` has given them for many texts at once.
            context: (C, E) vectors of a context, where they are not those of the context that is bound.

        Returns:
            (n, dim) embeddings, not normalised.
        """
        tokens = {"input_ids": input_ids} if words is None else {"inputs_embeds": words}
        if self.context is not None and not self.context.silent:
            hidden = self.context(self.backbone, tokens, attention_mask, context)
        else:
            hidden = self._hidden(tokens, attention_mask)
        return self._finished(pooled(hidden, attention_mask, self.pooling))

    def embed_flat(self, texts: FlatTexts) -> Float[Tensor, "n dim"]:
        """Embed texts that lie one after the other, without padding, see `armlib.encoder.packed`.

        Args:
            texts: n texts, on the encoder's device.

        Returns:
            (n, dim) embeddings, not normalised, in the order of the texts: those of `forward` up to rounding.

        Raises:
            InputError: the architecture is not known, or the encoder reads a context.
        """
        if self.context is not None:
            raise InputError("an encoder that reads a context cannot read texts without padding; give it chunks")
        layout = FlatLayout(texts.lengths, texts.input_ids.device)
        hidden = packed_hidden(self.backbone, texts.input_ids, layout, self.cls_only, compiled=self.compiled and self.training)
        return self._finished(pooled_flat(hidden, layout, self.pooling))

    @property
    def packs(self) -> bool:
        """Whether texts are best given to `embed_flat`: it can, and it is faster on the encoder's device."""
        # What transformers 5 calls is_gradient_checkpointing, and from 5.23 on is_activation_checkpointing.
        checkpointed = any(getattr(module, "gradient_checkpointing", False) for module in self.backbone.modules())
        if self.context is not None or not can_pack(self.backbone) or checkpointed:
            return False
        # Without special tokens there are texts of no token.
        return packing_pays(self.backbone) and any(self.special_tokens())

    def _finished(self, vectors: Float[Tensor, "n D"]) -> Float[Tensor, "n dim"]:
        """Embeddings, from what the pooling gives."""
        vectors = vectors if self.linear is None else self.linear(vectors)
        return vectors if self.truncate_dim is None else vectors[:, : self.truncate_dim]

    def _hidden(self, tokens: dict[str, Tensor], attention_mask: Int[Tensor, "n L"]) -> Float[Tensor, "n K D"]:
        """(n, L, D) last hidden states without a context, or (n, 1, D) of the first tokens."""
        config, seen = self.backbone.config, attention_mask
        plain = config.model_type in PLAIN_ATTENTION and not getattr(config, "is_decoder", False)
        if plain and config._attn_implementation == "sdpa":
            # The mask in the shape that attention takes: transformers would make it wait for the device to look for padding.
            seen = attention_mask[:, None, None, :].bool()
        return self.backbone(**tokens, attention_mask=seen).last_hidden_state

    def add_context(self, passages: int, dropout: float = 0.0) -> None:
        """Let the encoder read a context; the first stage starts as a copy of the encoder as it is.

        Args:
            passages: how many passages a context has.
            dropout: in training, the probability of a null vector in place of each; both values are changed where the encoder
                reads a context already.

        Raises:
            InputError: the architecture cannot read one.
        """
        check_reader(self.backbone)
        if self.context is None:
            first = copy.deepcopy(self, {id(self.tokenizer): self.tokenizer})
            self.context = ContextReader(first, self.backbone.config.hidden_size, passages, dropout).to(self.backbone.device)
            self.context.training = self.training
            return
        self.context.passages = passages
        self.context.set_dropout(dropout)
        self.context.forget()

    @property
    def context_size(self) -> int:
        """How many context vectors stand behind each text."""
        return self.context.passages if self.context is not None else 0

    def context_of(self, passages: TokenStore, max_length: int) -> Context | None:
        """The context of a collection for this encoder, see `armlib.data.contexts.collection_context`; None for a plain encoder.

        Args:
            passages: the token store of the collection's passages.
            max_length: tokens at which they are cut, the special ones included.

        Raises:
            InputError: the collection has fewer passages than a context.
        """
        return collection_context(passages, self.context.passages, max_length) if self.context is not None else None

    def bind(self, context: Context | None) -> None:
        """Read the context that `context_of` has given, for all texts from now on; nothing is done with None.

        Whoever encodes binds first, since each collection has its own context; one that is bound already is not read again.
        """
        if context is not None:
            assert self.context is not None, "a plain encoder reads no context"
            self.context.bind(context)

    def word_embeddings(self, input_ids: Int[Tensor, "*n"]) -> Float[Tensor, "*n D"]:
        """Word embeddings of token ids of any shape, with one more dimension of D.

        One look-up for all texts of a batch saves much of a training step: the gradient of each look-up is as large as the
        whole vocabulary.
        """
        return self.backbone.get_input_embeddings()(input_ids)

    @property
    def max_length(self) -> int | None:
        """The most tokens, special ones included, that the encoder has positions for; None where it has no limit."""
        return positions(self.backbone)

    @property
    def parameter_counts(self) -> ParameterCounts:
        """Numbers of parameters; a token costs 2 x ``non_embedding`` operations forward, 6 x with the backward pass.

        A first stage reads passages of a context alone, so that it counts in ``total``.
        """
        every = parameter_counts(self)
        first = parameter_counts(self.context.first).non_embedding if self.context is not None else 0
        return every._replace(non_embedding=every.non_embedding - first)

    def special_tokens(self) -> tuple[list[int], list[int]]:
        """The ids that the tokenizer puts in front of a text's tokens and behind them."""
        return special_tokens(self.tokenizer)

    def set_prompts(self, query: str = "", passage: str = "") -> None:
        """Put other prompts in front of queries and passages; an empty one leaves what there is.

        Raises:
            InputError: one holds what UTF-8 cannot.
        """
        check_text(query, "text", "the query prompt")
        check_text(passage, "text", "the passage prompt")
        self.prompts = Prompts(query or self.prompts.query, passage or self.prompts.passage)

    def check_lengths(self, **lengths: int) -> None:
        """Refuse maximum lengths in tokens, by name, that leave no token of a text or exceed the encoder's positions.

        Raises:
            InputError: names the length.
        """
        shortest, longest = sum(map(len, self.special_tokens())) + 1, self.max_length
        for name, length in lengths.items():
            if length < shortest or (longest is not None and length > longest):
                most = f"{longest} tokens, its positions" if longest else "any number of tokens"
                raise InputError(f"{name} is {length}; this encoder takes {shortest} to {most}")

    def fingerprint(self) -> str:
        """16 hexadecimal digits of weights, pooling and bound context: equal exactly where embeddings of equal ids are."""
        parts: list[str | bytes] = [self.pooling, *([f"truncate_dim {self.truncate_dim}"] if self.truncate_dim else [])]
        if self.context is not None:
            bound = self.context.bound.key if self.context.bound else "none"
            parts.append(f"context {bound} read by {self.context.first.fingerprint()}")
        for name, tensor in sorted(self.state_dict().items()):
            values = tensor.detach().cpu().contiguous()
            shape = f"{name} {values.dtype} {tuple(values.shape)}"
            parts += [shape, values.flatten().view(torch.uint8).numpy().tobytes()]
        return digest(*parts)[:16]

    def save(self, folder: str | Path, *, query_length: int, passage_length: int, provenance: dict[str, Any] | None = None) -> Path:
        """Write the encoder in sentence-transformers' folder format, as a whole or not at all.

        ``SentenceTransformer(folder).encode`` gives this encoder's normalised embeddings with texts cut at
        ``passage_length`` tokens; ``encode_query`` cuts at ``query_length``, ``encode_document`` at ``passage_length``.

        Args:
            folder: where to write; a folder that is there is replaced.
            query_length: tokens that queries are cut at, special ones included.
            passage_length: tokens that passages are cut at, special ones included.
            provenance: anything in JSON to keep beside the weights, in ``armlib.json``.

        Raises:
            InputError: a length does not suit the encoder, it reads a context and is bound to none, or the disk is full.
        """
        self.check_lengths(query_length=query_length, passage_length=passage_length)
        folder = Path(folder)
        if self.context is not None and self.context.bound is None:
            raise InputError(f"an encoder that reads a context is saved with it; bind it to one before it is saved to {folder}")
        with atomic_folder(folder) as draft, quiet_transformers():
            self._write_layout(draft, query_length, passage_length)
            record: dict[str, Any] = {"pooling": self.pooling, "query_length": query_length, "passage_length": passage_length}
            if self.context is not None:
                (draft / FIRST_STAGE).mkdir()
                self.context.first._write_layout(draft / FIRST_STAGE, query_length, passage_length)
                record["context"] = write_context(draft, self.context)
            write_json(draft / RECORD, record | {"fingerprint": self.fingerprint(), "provenance": provenance or {}})
        return folder

    def _write_layout(self, draft: Path, query_length: int, passage_length: int) -> None:
        layout = Layout(pooling=self.pooling, linear=self.linear, prompts=self.prompts, truncate_dim=self.truncate_dim)
        write_layout(draft, self.backbone, self.tokenizer, layout, query_length, passage_length)

    @classmethod
    def load(cls, name_or_folder: str | Path, pooling: str | None = None, cls_only: bool = True) -> BiEncoder:
        """Load an encoder, for inference until ``.train()`` is called; one that reads a context is bound to that of its folder.

        Args:
            name_or_folder: a folder that `save` or sentence-transformers or Hugging Face wrote, or a hub name.
            pooling: overrides the default, which is: what a sentence-transformers folder says; for other encoders the
                paper's Table 1 (DistilBERT ``cls``, RoBERTa and MPNet ``cls+linear``); else ``mean``.
            cls_only: see the class.

        Raises:
            InputError: there is no such encoder, or it cannot be reached, is damaged, lacks weights, or computes
                something that a pooling cannot express.

        Examples:
            >>> from armlib import BiEncoder
            >>> from armlib.retrieval.encoding import encode_texts
            >>> encoder = BiEncoder.load("my/encoder")
            >>> encode_texts(encoder, ["how are lists sorted", "how are files read"], 30).shape
            (2, 32)
        """
        source = str(name_or_folder)
        if pooling is not None and pooling not in POOLINGS:
            raise unknown("pooling", pooling, POOLINGS)
        backbone, tokenizer, layout = load_pretrained(source)
        chosen = pooling or layout.pooling or TABLE_1.get(backbone.config.model_type, "mean")
        linear = layout.linear if chosen == layout.pooling else None
        encoder = cls(backbone, tokenizer, chosen, cls_only, linear, layout.prompts, layout.truncate_dim).eval()
        if layout.contextual:
            check_reader(backbone)
            first = cls.load(first_stage_folder(source))
            encoder.context = read_context(source, first, backbone.config.hidden_size)
        encoder.lengths = {"query_length": layout.query_length, "passage_length": layout.passage_length}
        if (Path(source) / RECORD).is_file():
            encoder.saved = read_json(Path(source) / RECORD)
        return encoder
