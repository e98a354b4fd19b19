"""A bi-encoder as a teacher: vectors of all queries and passages, computed once, so that all scores of a batch are a product."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Integer

from armlib.data.collection import Collection
from armlib.data.tokens import TokenStore
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.token_stores import passage_tokens, query_tokens
from armlib.errors import unknown
from armlib.losses.base import TeacherScores
from armlib.parsing import number, written
from armlib.retrieval.embeddings import embeddings_folder, encode_block, encode_collection, encoding_cost
from armlib.retrieval.encoding import encode_texts
from armlib.storage import short_digest
from armlib.teachers.base import Teacher, Workers
from armlib.teachers.device import teacher_device
from armlib.teachers.model_files import fingerprint_of_model, model_name
from armlib.teachers.row_scores import RowScores

SIMILARITIES = ("cosine", "dot")
TEXTS = 64  # that are encoded together where texts come by themselves
PAIRS = 1 << 14  # whose vectors are in memory at a time


class BiEncoderTeacher(Teacher):
    """Scores are similarities times a scale.

    Args:
        name: what `armlib.encoder.bi_encoder.BiEncoder.load` takes; texts are cut where its folder says, else at 30 and 200 tokens.
        scale: of the similarities. The default is that of the loss margin-mse, so that a student with the same cosines has no loss.
        similarity: ``cosine`` or ``dot``.

    Raises:
        InputError: a value is out of its range.
    """

    gives = frozenset({"pointwise", "in_batch"})

    def __init__(self, name: str, scale: float = 20.0, similarity: str = "cosine") -> None:
        super().__init__()
        if similarity not in SIMILARITIES:
            raise unknown("similarity of bi-encoder", str(similarity), SIMILARITIES)
        self.name, self.unit = model_name(name, "bi-encoder"), similarity == "cosine"
        self.scale = number(scale, "the scale of bi-encoder", 0, math.inf, above=True)

    def __str__(self) -> str:
        similarity = "cosine" if self.unit else "dot"
        return written("bi-encoder", self.name, scale=(self.scale, 20.0), similarity=(similarity, "cosine"))

    def fingerprint(self, collection: Collection) -> str:
        return short_digest("bi-encoder", fingerprint_of_model(self.name, lambda: self._encoder), str(self.scale), str(self.unit))

    @cached_property
    def _encoder(self) -> BiEncoder:
        return BiEncoder.load(self.name).to(teacher_device())

    def _length(self, name: str, usual: int) -> int:
        return min(self._encoder.lengths.get(name) or usual, self._encoder.max_length or 1 << 20)

    @property
    def query_length(self) -> int:
        """Tokens that queries are cut at."""
        return self._length("query_length", 30)

    @property
    def passage_length(self) -> int:
        """Tokens that passages are cut at."""
        return self._length("passage_length", 200)

    def prepare(self, collection: Collection) -> None:
        self.cost = {"parameters": self._encoder.parameter_counts.total}

    def scores(self, collection: Collection, queries: Sequence[str], passages: Sequence[str]) -> Float[np.ndarray, " n"]:
        prompts, found = self._encoder.prompts, np.empty(len(queries), np.float32)
        order = sorted(range(len(queries)), key=lambda i: len(passages[i]))
        for start in range(0, len(order), TEXTS):
            part = order[start : start + TEXTS]
            asked = encode_texts(self._encoder, [prompts.query + queries[i] for i in part], self.query_length, self.unit)
            read = encode_texts(self._encoder, [prompts.passage + passages[i] for i in part], self.passage_length, self.unit)
            found[part] = self.scale * (asked * read).sum(1)
        return found

    def scored(
        self,
        collection: Collection,
        queries: TokenStore,
        passages: TokenStore,
        lists: Integer[np.ndarray, "T columns"],
        workers: Workers | None = None,
    ) -> RowScores:
        self.prepare(collection)
        own = query_tokens(collection, self._encoder, self.query_length)
        found = [
            self._vectors(own, self.query_length, None),  # queries are few and short
            self._vectors(self._passages(collection), self.passage_length, workers and partial(workers, self, collection)),
        ]
        spent = [cost for _, cost in found]
        cost = self.cost | {
            "pairs": None,  # the cost is that of texts, however many pairs are made of them
            "texts": sum(each["texts"] for each in spent),
            "seconds": sum(each["seconds"] for each in spent),
            "operations": sum(each["operations"] for each in spent),
            "device": ", ".join(sorted({each["device"] for each in spent})),
        }
        return VectorScores(found[0][0], found[1][0], own.rows(np.asarray(queries.ids)), self.scale, cost)

    def _vectors(
        self, store: TokenStore, length: int, workers: Callable[[Path, list[int]], None] | None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """The vectors of a store, (N, D), and what they have cost, whoever had them encoded."""
        folder = embeddings_folder(self._encoder, store, length, self.unit)
        vectors = encode_collection(self._encoder, store, folder, length, unit=self.unit, workers=workers)
        tokens = int(np.minimum(store.lengths, length).sum())
        operations = 2 * self._encoder.parameter_counts.non_embedding * tokens
        return vectors, {"texts": len(store), "operations": operations, **encoding_cost(folder)}

    def _passages(self, collection: Collection) -> TokenStore:
        return passage_tokens(collection, self._encoder, self.passage_length)

    def make_shard(self, collection: Collection, folder: Path, number: int) -> None:
        encode_block(self._encoder, self._passages(collection), folder, number)


class VectorScores(RowScores):
    """Scores by vectors.

    Args:
        queries, passages: (Q, D) and (P, D), memory-mapped.
        order: (Q,) the row in ``queries`` of each row by which queries are asked for.
        scale: of the products.
        cost: see `RowScores`.
    """

    def __init__(
        self,
        queries: Float[np.ndarray, "Q D"],
        passages: Float[np.ndarray, "P D"],
        order: Integer[np.ndarray, " Q"],
        scale: float,
        cost: dict[str, Any],
    ) -> None:
        # Plain views of the mapped files: indexing a memmap object costs several times as much.
        self._queries, self._passages = np.asarray(queries), np.asarray(passages)
        self._order, self._scale, self.cost = order, np.float32(scale), cost

    def of_pairs(self, queries: Integer[np.ndarray, "*n"], passages: Integer[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        rows = np.stack([self._order[queries].ravel(), passages.ravel()])
        found = np.empty(rows.shape[1], np.float32)
        for start in range(0, len(found), PAIRS):
            asked, read = rows[:, start : start + PAIRS]
            np.einsum("nd,nd->n", self._queries[asked], self._passages[read], out=found[start : start + PAIRS])
        return self._scale * found.reshape(passages.shape)

    def __call__(self, lists: Integer[np.ndarray, "B columns"]) -> TeacherScores:
        read = self._passages[lists[:, 1:]]  # (B, n, D)
        products = self._queries[self._order[lists[:, 0]]] @ read.reshape(-1, read.shape[2]).T  # (B, B n)
        every = torch.from_numpy(self._scale * products).unflatten(1, read.shape[:2])
        own = torch.arange(len(lists))
        return TeacherScores(every[own, own], every)
