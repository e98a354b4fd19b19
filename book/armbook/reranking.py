"""First stages re-ranked by several encoders: what can be told of differences between losses and code without training."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import numpy as np
import torch
from torch import nn
from transformers import AutoModel

from armlib.data.collection import Collection
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.token_stores import passage_tokens, query_tokens
from armlib.evaluation.measures import evaluate
from armlib.experiments.experiment import Experiment
from armlib.names import load_collection, load_encoder
from armlib.retrieval.encoding import encode_rows
from armlib.retrieval.rankings import rerank, without_own
from armlib.training.settings import MEASURE


class Reranking:
    """The first stage of a collection, re-ranked by one encoder after the other.

    Args:
        collection: queries, judgments and a first stage.
        encoder: whose tokenizer and prompts all the others share.
        passage_length: maximum length in tokens.

    Attributes:
        query_tokens: (Q,) lengths of the queries in tokens, the special ones included, before any cut.
    """

    def __init__(self, collection: Collection, encoder: BiEncoder, passage_length: int) -> None:
        self.name, self.passage_length, self.qrels = collection.name, passage_length, collection.qrels()
        self.queries, self.passages = query_tokens(collection, encoder), passage_tokens(collection, encoder, passage_length)
        judged = {query: found for query, found in collection.first_stage().items() if query in self.qrels}
        self.candidates = without_own(judged, collection.queries_in_corpus())
        self.documents = list(dict.fromkeys(document for found in self.candidates.values() for document in found))
        self.query_rows = np.asarray(self.queries.rows(list(self.candidates)), np.int64)
        self.query_tokens = np.asarray(self.queries.lengths[self.query_rows])

    def encoded(self, encoder: nn.Module) -> np.ndarray:
        """Vectors of all candidates, each encoded once."""
        rows = np.asarray(self.passages.rows(self.documents), np.int64)
        return encode_rows(encoder, self.passages, rows, self.passage_length, device=gpu_if_any(), description="passages")

    def ndcg(self, encoder: nn.Module, query_length: int, vectors: np.ndarray | None = None) -> float:
        """nDCG@10 with queries cut at so many tokens; ``vectors`` are those that `encoded` gave for this encoder."""
        vectors = self.encoded(encoder) if vectors is None else vectors
        asked = encode_rows(encoder, self.queries, self.query_rows, query_length, device=gpu_if_any(), description="queries")
        query_rows, passage_rows = ({name: row for row, name in enumerate(names)} for names in (self.candidates, self.documents))
        return self.measured(rerank(self.candidates, asked, query_rows, vectors, passage_rows))

    def measured(self, run: Mapping[str, Mapping[str, float]]) -> float:
        """nDCG@10 of a run."""
        return evaluate(run, self.qrels, [MEASURE]).mean[MEASURE]


def starting_encoder(experiment: Experiment, encoder: str = "") -> BiEncoder:
    """The encoder that an experiment starts from, before training; or another one, made from the same collection."""
    return load_encoder(encoder or experiment.encoder, load_collection(experiment.collection), experiment.pooling or None)


def random_weights(encoder: BiEncoder, seed: int) -> BiEncoder:
    """An encoder of the same architecture and tokenizer whose weights are as Hugging Face initialises them, [CLS] its embedding.

    It is what the released code evaluates: names of the checkpoint that match none of the model's leave it as it was made.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        backbone = AutoModel.from_config(encoder.backbone.config)
    return BiEncoder(backbone.eval(), deepcopy(encoder.tokenizer), "cls")


def gpu_if_any() -> str | None:
    """Where to encode: on a GPU where torch finds one, else where the encoder is."""
    return "cuda" if torch.cuda.is_available() else None
