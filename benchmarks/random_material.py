"""What a GPU is measured on where nothing can be downloaded: random weights, random word pieces and random triples.

Encoders have the shapes of the paper's, texts the lengths of MS MARCO's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from encoders import sentence_transformer
from gather_speed import PASSAGE_LENGTHS, QUERY_LENGTHS, write_store
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from torch import nn
from transformers import (
    AutoModel,
    BertConfig,
    DistilBertConfig,
    MPNetConfig,
    PretrainedConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    RobertaConfig,
)

from armlib.data.batches import Shape, TripleBatches
from armlib.data.tokens import TokenStore
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.pretrained import pooler_options

QUERY_LENGTH, PASSAGE_LENGTH = 30, 200  # section 4 of the paper
MODELS = {"distilBERT": DistilBertConfig, "RoBERTa": RobertaConfig, "MPNet": MPNetConfig}  # Table 3's; defaults are the base sizes
ARCHITECTURES = MODELS | {"BERT": BertConfig}
WORDS = 30_522  # of the tokenizer, BERT's number
SPECIAL = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        batch: triples of a batch.
        steps: timed in a round.
        rounds: of all ways in turn.
        trained: steps of the training run that is stopped and resumed.
        texts: passages of the store; half as many queries.
        encoded: passages that are encoded.
        vectors, dim: searched.
        product: rows of the matrix products.
        layers, width: of the encoders; None for the base sizes.
    """

    batch: int = 128
    steps: int = 10
    rounds: int = 3
    trained: int = 300
    texts: int = 200_000
    encoded: int = 40_000
    vectors: int = 2_000_000
    dim: int = 768
    product: int = 21_504  # about the tokens of a batch
    layers: int | None = None
    width: int | None = None


TINY = Size(4, 2, 2, 6, 400, 64, 3000, 32, 256, layers=2, width=64)


class Material:
    """The stores of random texts, in a folder, and what is made of them.

    Args:
        size: how much of it.
        folder: for files that are needed for a while.
        device: ``"cuda"`` or ``"cpu"``.
    """

    def __init__(self, size: Size, folder: Path, device: str) -> None:
        self.size, self.folder, self.device = size, folder, device

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """A tokenizer in which every word is one token."""
        names = {number: name for name, number in SPECIAL.items()}
        words = Tokenizer(WordPiece({names.get(number, f"w{number}"): number for number in range(WORDS)}, unk_token="[UNK]"))
        words.pre_tokenizer = WhitespaceSplit()
        words.post_processor = TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[(name, SPECIAL[name]) for name in ("[CLS]", "[SEP]")]
        )
        roles = {f"{name.strip('[]').lower()}_token": name for name in SPECIAL}
        return PreTrainedTokenizerFast(tokenizer_object=words, **roles)

    @cached_property
    def stores(self) -> tuple[TokenStore, TokenStore]:
        """Queries and passages."""
        generator = np.random.default_rng(0)
        write_store(self.folder / "queries", self.size.texts // 2, QUERY_LENGTHS, generator)
        write_store(self.folder / "passages", self.size.texts, PASSAGE_LENGTHS, generator)
        return TokenStore(self.folder / "queries"), TokenStore(self.folder / "passages")

    @cached_property
    def triples(self) -> np.ndarray:
        """Row numbers of query, positive and negative, (T, 3), enough for the longest training run."""
        count = self.size.batch * max(self.size.trained, self.size.steps * self.size.rounds + 16)
        highest = (self.size.texts // 2, self.size.texts, self.size.texts)
        return np.random.default_rng(1).integers(0, highest, (count, 3), dtype=np.int32)

    def batches(
        self, chunk_size: int = 64, chunk_tokens: int | None = None, batch_size: int = 0, **options: object
    ) -> TripleBatches:
        """The batches of a training run: of the size's triples, or of ``batch_size``; ``options`` are those of `TripleBatches`."""
        shape = Shape(QUERY_LENGTH, PASSAGE_LENGTH, chunk_size, chunk_tokens)
        return TripleBatches(self.triples, *self.stores, batch_size=batch_size or self.size.batch, shape=shape, seed=0, **options)

    def config(self, model: str, **options: object) -> PretrainedConfig:
        """The configuration of an encoder, with the padding that the stores have."""
        # More than the usual spread: embeddings of different texts then differ, or comparing gradients would tell nothing.
        made = ARCHITECTURES[model](pad_token_id=SPECIAL["[PAD]"], initializer_range=0.05, **options)
        if self.size.layers is not None:
            made.num_hidden_layers, made.hidden_size = self.size.layers, self.size.width
            made.num_attention_heads = max(2, self.size.width // 64)
            setattr(made, "hidden_dim" if model == "distilBERT" else "intermediate_size", 4 * self.size.width)
        return made

    def encoder(self, model: str, **options: object) -> BiEncoder:
        """An encoder with random weights, always the same ones, as Table 1 of the paper pools it.

        Args:
            model: one of `ARCHITECTURES`.
            options: values of its configuration.
        """
        config = self.config(model, **options)
        torch.manual_seed(0)
        with torch.device(self.device):  # a hundred million numbers are drawn faster where they are needed
            backbone = AutoModel.from_config(config, **pooler_options(config))
        return BiEncoder(backbone, self.tokenizer, "cls+linear" if model in ("RoBERTa", "MPNet") else "cls").to(self.device)

    def sentence_transformer(self, model: str) -> nn.Module:
        """The same encoder as sentence-transformers loads it."""
        lengths = {"query_length": QUERY_LENGTH, "passage_length": PASSAGE_LENGTH}
        return sentence_transformer(self.encoder(model), self.folder, self.device, **lengths)

    def texts(self, rows: np.ndarray) -> list[str]:
        """Passages as texts that the tokenizer cuts into the store's tokens."""
        ids, lengths = self.stores[1].gather(rows, PASSAGE_LENGTH)
        return [" ".join(f"w{token}" for token in each[1 : length - 1]) for each, length in zip(ids, lengths, strict=True)]
