"""A bi-encoder: any Hugging Face encoder, a pooling, and a folder format that sentence-transformers reads.

The paper (Table 1) embeds a text by the vector of its [CLS] token, for RoBERTa and MPNet followed by one linear layer,
and compares embeddings by their cosine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub import is_offline_mode
from jaxtyping import Float, Int
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from armlib.data.tokens import special_tokens
from armlib.encoder import first_token
from armlib.encoder.folder import RECORD, at_hand, check_reachable, pooler_options, quiet_transformers, read_layout, write_layout
from armlib.errors import InputError, unknown
from armlib.storage import MANIFEST, atomic_folder, damage, digest, read_json, write_json

POOLINGS = ("cls", "cls+linear", "mean")
TABLE_1 = {"distilbert": "cls", "roberta": "cls+linear", "mpnet": "cls+linear"}  # the paper's embedding of each encoder


class ParameterCounts(NamedTuple):
    """Numbers of parameters: all of them, and those that cost arithmetic for each token (all but embedding tables)."""

    total: int
    non_embedding: int


class BiEncoder(nn.Module):
    """Embeds token ids: a Hugging Face encoder, then a pooling. Queries and passages share it.

    Args:
        backbone: an encoder such as `AutoModel` gives; its ``last_hidden_state`` is used.
        tokenizer: the tokenizer that belongs to it; it is set to cut and pad nothing on its own.
        pooling: ``"cls"`` (vector of the first token), ``"cls+linear"`` (then one linear layer without activation) or
            ``"mean"`` (mean over the tokens of the text).
        cls_only: compute the last layer for the first token alone where the pooling and the architecture allow it.
        linear: the layer of ``"cls+linear"``. By default it starts as the identity: training then starts from the
            similarities that the encoder was pre-trained to have, without drawing random numbers, whereas a random
            layer would hardly be learned at the paper's learning rate (3.9e-8 over 310,000 steps of Adam moves a
            weight by 0.012 at most).

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
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise unknown("pooling", pooling, POOLINGS)
        if getattr(backbone.config, "is_encoder_decoder", False):
            raise InputError(f"{type(backbone).__name__} is an encoder with a decoder; expected an encoder alone")
        if tokenizer.pad_token_id is None:
            raise InputError(f"the tokenizer of {type(backbone).__name__} has no padding token; expected an encoder's")
        self.backbone = backbone
        self.tokenizer = tokenizer
        self.pooling = pooling
        width = backbone.config.hidden_size
        self.linear: nn.Linear | None = None
        if pooling == "cls+linear":
            self.linear = linear if linear is not None else identity_layer(width)
        self.dim: int = width if self.linear is None else self.linear.out_features
        self.saved: dict[str, Any] = {}  # what `save` had recorded, in an encoder that was loaded
        tokenizer.padding_side = "right"
        if tokenizer.is_fast:  # files on disk may cut and pad (all-MiniLM-L6-v2's to 128 tokens)
            tokenizer.backend_tokenizer.no_truncation()
            tokenizer.backend_tokenizer.no_padding()
        if self.max_length is not None:
            tokenizer.model_max_length = self.max_length
        if pooling != "mean" and not self.special_tokens()[0]:
            raise InputError(
                f"pooling {pooling!r} needs a token in front of every text, which the tokenizer of "
                f"{type(backbone).__name__} does not add; expected pooling 'mean' with it"
            )
        self.cls_only: bool = cls_only and pooling != "mean" and first_token.enable(backbone)
        if not self.cls_only:
            first_token.disable(backbone)
        self.train(backbone.training)

    def forward(
        self, input_ids: Int[Tensor, "n L"], attention_mask: Int[Tensor, "n L"], words: Float[Tensor, "n L D"] | None = None
    ) -> Float[Tensor, "n dim"]:
        """Embed token ids.

        Args:
            input_ids: (n, L) integers, special tokens included, padded at the right.
            attention_mask: (n, L), 1 for tokens and 0 for padding.
            words: (n, L, D) word embeddings of the ids, where `word_embeddings` has given them for many texts at once.

        Returns:
            (n, dim) embeddings, not normalised.
        """
        tokens = {"input_ids": input_ids} if words is None else {"inputs_embeds": words}
        seen = attention_mask
        if self.backbone.config._attn_implementation == "sdpa":
            # The mask in the shape that attention takes: transformers would make it wait for the device to look for padding.
            seen = attention_mask[:, None, None, :].bool()
        hidden = self.backbone(**tokens, attention_mask=seen).last_hidden_state
        if self.pooling == "mean":
            kept = attention_mask.unsqueeze(-1).to(hidden.dtype)  # (n, L, 1)
            return (hidden * kept).sum(1) / kept.sum(1).clamp(min=1)
        first = hidden[:, 0]
        return first if self.linear is None else self.linear(first)

    def word_embeddings(self, input_ids: Int[Tensor, "*n"]) -> Float[Tensor, "*n D"]:
        """Word embeddings of token ids of any shape, with one more dimension of D.

        One look-up for all texts of a batch saves much of a training step: the gradient of each look-up is as large as the
        whole vocabulary.
        """
        return self.backbone.get_input_embeddings()(input_ids)

    @property
    def max_length(self) -> int | None:
        """The most tokens, special ones included, that the encoder has positions for; None where it has no limit."""
        table = getattr(getattr(self.backbone, "embeddings", None), "position_embeddings", None)
        if not isinstance(table, nn.Embedding):
            return None
        # RoBERTa and MPNet number positions from behind the padding id.
        return table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)

    @property
    def parameter_counts(self) -> ParameterCounts:
        """Numbers of parameters; a token costs 2 x ``non_embedding`` operations forward, 6 x with the backward pass."""
        tables = {id(p) for module in self.modules() if isinstance(module, nn.Embedding) for p in module.parameters()}
        sizes = [(p.numel(), id(p) in tables) for p in self.parameters()]
        return ParameterCounts(sum(size for size, _ in sizes), sum(size for size, is_table in sizes if not is_table))

    def special_tokens(self) -> tuple[list[int], list[int]]:
        """The ids that the tokenizer puts in front of a text's tokens and behind them."""
        return special_tokens(self.tokenizer)

    def fingerprint(self) -> str:
        """16 hexadecimal digits of the weights and the pooling: equal exactly where embeddings of equal ids are."""
        parts: list[str | bytes] = [self.pooling]
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
            InputError: a length does not suit the encoder, or the disk is full.
        """
        for name, length in (("query_length", query_length), ("passage_length", passage_length)):
            shortest, longest = sum(map(len, self.special_tokens())) + 1, self.max_length
            if length < shortest or (longest is not None and length > longest):
                raise InputError(f"{name} is {length}; expected {shortest} to {longest or 'any number of'} tokens")
        folder = Path(folder)
        mode = "mean" if self.pooling == "mean" else "cls"
        with atomic_folder(folder) as draft, quiet_transformers():
            write_layout(draft, self.backbone, self.tokenizer, mode, self.linear, query_length, passage_length)
            record = {"pooling": self.pooling, "query_length": query_length, "passage_length": passage_length}
            write_json(draft / RECORD, record | {"fingerprint": self.fingerprint(), "provenance": provenance or {}})
        return folder

    @classmethod
    def load(cls, name_or_folder: str | Path, pooling: str | None = None, cls_only: bool = True) -> BiEncoder:
        """Load an encoder, for inference until ``.train()`` is called.

        Args:
            name_or_folder: a folder that `save` or sentence-transformers or Hugging Face wrote, or a hub name.
            pooling: overrides the default, which is: what a sentence-transformers folder says; for other encoders the
                paper's Table 1 (DistilBERT ``cls``, RoBERTa and MPNet ``cls+linear``); else ``mean``.
            cls_only: see the class.

        Raises:
            InputError: there is no such encoder, or it cannot be reached, is damaged, lacks weights, or computes
                something that a pooling cannot express.
        """
        source = str(name_or_folder)
        if pooling is not None and pooling not in POOLINGS:
            raise unknown("pooling", pooling, POOLINGS)
        if Path(source).is_dir():
            if (Path(source) / MANIFEST).is_file() and (trouble := damage(Path(source))):
                raise InputError(f"the encoder in {source} is damaged: {trouble}; expected what was saved there")
        elif source.count("/") > 1 or source.startswith((".", "/", "~")):
            raise InputError(f"there is no folder {source}; expected an encoder's folder or {at_hand()}")
        with quiet_transformers():
            try:
                if not Path(source).is_dir():
                    check_reachable(source)
                return cls._load(source, pooling, cls_only)
            except InputError:
                raise
            except (OSError, ValueError, SafetensorError) as error:
                reason = str(error).strip().splitlines()[0].rstrip(".")
                if Path(source).is_dir():
                    tried = f"the folder {source} cannot be loaded as an encoder ({reason})"
                else:
                    tried = f"the encoder {source!r} cannot be loaded, as a folder or from the hub ({reason}); " + (
                        "HF_HUB_OFFLINE is set, so only what was downloaded before is found"
                        if is_offline_mode()
                        else "where the hub cannot be reached, give the folder of a downloaded encoder"
                    )
                raise InputError(f"{tried}; expected a folder, a hub name, or {at_hand()}") from error

    @classmethod
    def _load(cls, source: str, pooling: str | None, cls_only: bool) -> BiEncoder:
        layout = read_layout(source)
        config = AutoConfig.from_pretrained(source, subfolder=layout.subfolder)
        if getattr(config, "is_encoder_decoder", False):
            raise InputError(f"{source} is an encoder with a decoder; expected an encoder alone")
        backbone, report = AutoModel.from_pretrained(
            source,
            config=config,
            subfolder=layout.subfolder,
            dtype=torch.float32,
            output_loading_info=True,
            **pooler_options(config),
        )
        if missing := sorted(report["missing_keys"]):
            raise InputError(
                f"the files of {source} lack {len(missing)} weights of {type(backbone).__name__}, {missing[0]} among "
                f"them; expected a checkpoint of this architecture"
            )
        tokenizer = AutoTokenizer.from_pretrained(source, subfolder=layout.subfolder)
        chosen = pooling or layout.pooling or TABLE_1.get(config.model_type, "mean")
        encoder = cls(backbone, tokenizer, chosen, cls_only, layout.linear if chosen == "cls+linear" else None)
        if (Path(source) / RECORD).is_file():
            encoder.saved = read_json(Path(source) / RECORD)
        return encoder.eval()


def identity_layer(width: int) -> nn.Linear:
    """A linear layer, (n, width) to (n, width), that changes nothing yet."""
    layer = nn.utils.skip_init(nn.Linear, width, width)
    nn.init.eye_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
