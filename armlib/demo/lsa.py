"""Tiny encoders that start from latent semantic analysis (LSA) of a collection, for profiles without a hub or a GPU.

LSA stands in for the text similarity that pre-trained encoders bring along. The stock Hugging Face classes are
initialised so that [CLS] starts as the mean of its text's word vectors (`armlib.demo.word_vectors`). Nothing here is
language-model pre-training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from transformers import DistilBertConfig, DistilBertModel, MPNetConfig, MPNetModel, PreTrainedModel, RobertaConfig, RobertaModel

from armlib.demo.word_vectors import SPECIAL, Semantics, kept_semantics
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.layer_parts import layers as layers_of
from armlib.encoder.layer_parts import projections
from armlib.errors import InputError, unknown

ARCHITECTURES = ("distilbert", "roberta", "mpnet")
POSITIONS = 514  # of which RoBERTa and MPNet leave two unused
NOISE = 0.02  # standard deviation of every weight that is not said to be something else


def lsa_encoder(
    texts: Callable[[], Iterable[str]],
    fingerprint: str,
    architecture: str,
    *,
    dim: int = 128,
    layers: int = 1,
    heads: int = 4,
    feed_forward: int = 256,
    vocabulary: int = 8000,
    seed: int = 0,
    pooling: str = "cls",
) -> BiEncoder:
    """An encoder of stock Hugging Face classes that starts from latent semantic analysis of texts.

    Tokenizer and word vectors are kept in the cache; the architectures share them. The weights around the word vectors are drawn
    anew each time, which takes milliseconds. The same arguments give the same bytes on the same machine.

    Args:
        texts: gives any number of texts, of which the first 100,000 are used; called only when they are needed.
        fingerprint: names the texts; equal fingerprints must mean equal texts.
        architecture: ``"distilbert"``, ``"roberta"`` or ``"mpnet"``.
        dim: dimensions of the word vectors and of the embeddings.
        layers: number of layers.
        heads: attention heads a layer.
        feed_forward: inner dimensions of the feed-forward part.
        vocabulary: the most WordPieces.
        seed: of the singular value decomposition and of the small noise in the weights.
        pooling: as in `BiEncoder`; ``"cls+linear"`` starts as the identity.

    Raises:
        InputError: the architecture is unknown, or there is too little text.
    """
    if architecture not in ARCHITECTURES:
        raise unknown("LSA architecture", architecture, ARCHITECTURES)
    semantics = kept_semantics(texts, fingerprint, dim=dim, vocabulary=vocabulary, seed=seed)
    shape = {"layers": layers, "heads": heads, "feed_forward": feed_forward}
    return BiEncoder(initial_backbone(semantics, architecture, **shape, seed=seed), semantics.tokenizer, pooling)


@torch.no_grad()
def initial_backbone(
    semantics: Semantics, architecture: str, *, layers: int = 1, heads: int = 4, feed_forward: int = 256, seed: int = 0
) -> PreTrainedModel:
    """A Hugging Face encoder whose [CLS] vector is close to the mean of the word vectors of its text.

    Word vectors are the token embeddings; value and output projections are the identity plus small noise; everything
    else (queries and keys, feed-forward, positions, [CLS] and [SEP]) is small noise, so that attention starts near
    uniform and the feed-forward part near nothing. There is no dropout.

    Args:
        semantics: tokenizer and word vectors.
        architecture: ``"distilbert"``, ``"roberta"`` or ``"mpnet"``.
        layers: number of layers.
        heads: attention heads a layer.
        feed_forward: inner dimensions of the feed-forward part.
        seed: of the noise.
    """
    size, dim = semantics.vectors.shape
    if dim % heads:
        raise InputError(f"{heads} heads cannot share {dim} dimensions evenly; expected a divisor of {dim}")
    random = torch.Generator().manual_seed(seed)

    def noise(tensor: torch.Tensor) -> torch.Tensor:
        return torch.randn(tensor.shape, generator=random) * NOISE

    with torch.random.fork_rng(devices=[]):  # the classes draw weights, which are all replaced
        backbone = _stock_model(architecture, size, dim, layers, heads, feed_forward)
    for name, parameter in backbone.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
        elif "norm" not in name.lower():
            parameter.copy_(noise(parameter))
    for layer in layers_of(backbone) or ():
        for linear in (projections(layer).value, projections(layer).output):
            linear.weight.add_(torch.eye(dim))
    vectors = torch.from_numpy(semantics.vectors)
    words = vectors.any(1)
    words[: len(SPECIAL)] = False
    table: Any = backbone.get_input_embeddings().weight
    table[words] = vectors[words]
    table[SPECIAL.index("[PAD]")] = 0
    return backbone.eval()


def _stock_model(architecture: str, vocabulary: int, dim: int, layers: int, heads: int, feed_forward: int) -> PreTrainedModel:
    cls, pad, sep = (SPECIAL.index(name) for name in ("[CLS]", "[PAD]", "[SEP]"))
    common: dict[str, Any] = {"vocab_size": vocabulary, "max_position_embeddings": POSITIONS, "pad_token_id": pad}
    if architecture == "distilbert":
        return DistilBertModel(
            DistilBertConfig(
                **common, dim=dim, n_layers=layers, n_heads=heads, hidden_dim=feed_forward, dropout=0, attention_dropout=0
            )
        )
    names: dict[str, Any] = {
        "hidden_size": dim,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": feed_forward,
        "hidden_dropout_prob": 0,
        "attention_probs_dropout_prob": 0,
        "bos_token_id": cls,
        "eos_token_id": sep,
    }
    if architecture == "roberta":
        return RobertaModel(RobertaConfig(**common, **names, type_vocab_size=1), add_pooling_layer=False)
    return MPNetModel(MPNetConfig(**common, **names), add_pooling_layer=False)
