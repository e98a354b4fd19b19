"""Tiny teachers, made on the spot."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from armlib.encoder.bi_encoder import BiEncoder


@pytest.fixture(scope="session")
def cross_encoder_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a BERT cross-encoder of two layers, 32 dimensions and random weights."""
    return make_classifier(tiny_folder, tmp_path_factory.mktemp("teachers") / "cross", 1)


@pytest.fixture(scope="session")
def two_logits_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with two logits."""
    return make_classifier(tiny_folder, tmp_path_factory.mktemp("teachers") / "two", 2)


def make_classifier(tiny_folder: Path, folder: Path, logits: int) -> Path:
    tokenizer: PreTrainedTokenizerFast = BiEncoder.load(tiny_folder).tokenizer
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, tokenizer.convert_tokens_to_ids(name)) for name in ("[CLS]", "[SEP]")],
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        num_labels=logits,
        initializer_range=0.5,
        pad_token_id=tokenizer.pad_token_id,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.model_max_length = 128
    tokenizer.save_pretrained(folder)
    return folder
