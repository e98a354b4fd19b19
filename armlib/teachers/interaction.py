"""A teacher that is trained in a minute on a collection's own triples: kernel pooling over frozen word vectors, and BM25."""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import softplus

from armlib.data.collection import Collection
from armlib.data.held_out import hold_out
from armlib.errors import InputError
from armlib.parsing import whole, written
from armlib.storage import kept, read_json, short_digest, write_json
from armlib.teachers.base import Teacher
from armlib.teachers.kernel_pooling import KernelPooling, kept_pooling, pooling_fingerprint

# Negatives are drawn from BM25's best, positives are not. Where BM25 misses many of these, as on docstrings, a teacher trained on
# all triples learns that a low BM25 speaks for a passage. So triples whose positive has less than this part of the negative's BM25
# are not trained on.
LEAST_BM25 = 0.5
BATCH = 48  # triples a step
# Of Adam at the first step; it falls to 0 in a straight line. With 0.01 re-ranking is better on queries like those trained on and
# worse on others: nDCG@10 on msmarco-mini's dev, TREC-DL 2019 and 2020 is .781, .480 and .482 in place of .772, .502 and .493.
LEARNING_RATE = 0.003
FORMAT = "interaction 1"


class InteractionTeacher(Teacher):
    """Scores are a weighted sum of the features of `armlib.teachers.kernel_pooling.KernelPooling`.

    The weights minimise -log sigmoid(T(q,p) - T(q,n)) over the collection's triples, so the scores are logits. What training costs
    is counted without the word vectors, which are there for the students ``lsa/...``, too.

    Args:
        bm25: whether BM25 is one of the features.
        steps: of training, of 48 triples each.
        held_out: so many training queries are left out, those that `armlib.data.held_out.hold_out` chooses to validate on.
        seed: of the draw of the triples.

    Raises:
        InputError: a value is of the wrong type or out of its range.
    """

    def __init__(self, bm25: bool = True, steps: int = 800, held_out: int = 0, seed: int = 0) -> None:
        super().__init__()
        if not isinstance(bm25, bool):
            raise InputError(f"bm25 of interaction must be True or False, not {bm25!r}")
        self.bm25, self.steps = bm25, whole(steps, "steps of interaction", 1)
        self.held_out, self.seed = whole(held_out, "held_out of interaction", 0), whole(seed, "the seed of interaction", 0)
        self._prepared: tuple[str, KernelPooling, Tensor] | None = None

    def __str__(self) -> str:
        return written(
            "interaction", bm25=(self.bm25, True), steps=(self.steps, 800), held_out=(self.held_out, 0), seed=(self.seed, 0)
        )

    def fingerprint(self, collection: Collection) -> str:
        settings = f"{self.bm25} {self.steps} {self.held_out} {self.seed}"
        return short_digest(FORMAT, settings, pooling_fingerprint(collection), collection.fingerprint())

    def prepare(self, collection: Collection) -> None:
        key = self.fingerprint(collection)
        if self._prepared and self._prepared[0] == key:
            return
        pooling = kept_pooling(collection)

        def make(draft: Path) -> None:
            started = time.perf_counter()
            queries, positives, negatives = training_triples(collection, self.steps * BATCH, self.held_out, self.seed)
            better, worse = (pooling.features(queries, passages) for passages in (positives, negatives))
            differences = (better - worse)[found_by_bm25(better, worse)]
            weights = trained_weights(self._chosen(differences), self.steps)
            np.save(draft / "weights.npy", weights.numpy())
            seconds = round(time.perf_counter() - started, 2)
            write_json(draft / "cost.json", {"training_seconds": seconds, "parameters": len(weights)})

        folder = kept(f"teachers/interaction-{key}", f"teacher {self}", make)
        self.cost = read_json(folder / "cost.json")
        self._prepared = key, pooling, torch.from_numpy(np.load(folder / "weights.npy"))

    def scores(self, collection: Collection, queries: Sequence[str], passages: Sequence[str]) -> Float[np.ndarray, " n"]:
        self.prepare(collection)
        assert self._prepared
        _, pooling, weights = self._prepared
        before = pooling.operations
        found = self._chosen(pooling.features(queries, passages)) @ weights
        self.operations += pooling.operations - before
        return found.numpy()

    def _chosen(self, features: Float[Tensor, "n features"]) -> Float[Tensor, "n chosen"]:
        return features if self.bm25 else features[:, :-1]


def trained_weights(differences: Float[Tensor, "n features"], steps: int) -> Float[Tensor, " features"]:
    """The weights w of a logistic regression that should find every ``difference @ w`` positive, by Adam.

    Args:
        differences: features of the better passage less those of the worse one.
        steps: of 48 rows each, in their order and from the first one again.
    """
    scale = differences.std(dim=0, correction=0).clamp_min(1e-6)
    weights = torch.zeros(differences.shape[1], requires_grad=True)
    optimizer = torch.optim.Adam([weights], lr=LEARNING_RATE)
    for step in range(steps):
        rows = (step * BATCH + torch.arange(BATCH)) % len(differences)
        loss = softplus(-(differences[rows] / scale) @ weights).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / steps)
        optimizer.step()
    return (weights / scale).detach()


def found_by_bm25(positives: Float[Tensor, "n features"], negatives: Float[Tensor, "n features"]) -> Bool[Tensor, " n"]:
    """Which triples to train on, by their features; see `LEAST_BM25`.

    Raises:
        InputError: none is left.
    """
    found = positives[:, -1] >= LEAST_BM25 * negatives[:, -1]
    if not found.any():
        raise InputError(
            f"no positive of the {len(found)} triples drawn has a BM25 near its negative's: nothing to train a teacher on"
        )
    return found


def training_triples(collection: Collection, count: int, held_out: int, seed: int) -> tuple[list[str], list[str], list[str]]:
    """Texts of ``count`` of the collection's triples, or of all, in random order: queries, positives, negatives.

    Args:
        collection: whose triples; its documents are read once.
        count: how many to draw, without replacement.
        held_out: of so many queries none are drawn, those that `armlib.data.held_out.hold_out` chooses.
        seed: of the draw.

    Raises:
        InputError: the collection has no triples, or they name a text that does not exist.
    """
    left_out = set(hold_out(collection, held_out).chosen if held_out else ())
    triples = collection.triples()
    if triples is None:
        raise InputError(f"{collection.name} has no triples to train a teacher on: it is a collection to evaluate on")
    draw = random.Random(seed).random
    drawn = heapq.nsmallest(count, ((draw(), *triple) for triple in triples if triple[0] not in left_out))
    queries = collection.queries()
    passages = collection.corpus.texts(name for _, _, *pair in drawn for name in pair)
    try:
        texts = [(queries[query], passages[positive], passages[negative]) for _, query, positive, negative in drawn]
    except KeyError as error:
        raise InputError(f"a triple of {collection.name} names {error.args[0]!r}, which has no text") from error
    if not texts:
        raise InputError(f"{collection.name} gives no triples to train a teacher on")
    asked, positives, negatives = map(list, zip(*texts, strict=True))
    return asked, positives, negatives
