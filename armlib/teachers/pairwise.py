"""A teacher that compares two passages, trained in a minute or two on a collection's own triples.

A difference of pointwise scores would add nothing to these: the divergence from y = sigmoid(T_i - T_j) is smallest where the
student's differences are the teacher's, which is where the list-wise divergence from the softmax of T is smallest. This one
weighs the features of a query's match with each passage by what the two passages have in common.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import softplus

from armlib.data.collection import Collection
from armlib.parsing import whole, written
from armlib.storage import kept, read_json, short_digest, write_json
from armlib.teachers.base import PairwiseTeacher
from armlib.teachers.interaction import BATCH, LEARNING_RATE, found_by_bm25, training_triples
from armlib.teachers.kernel_pooling import CENTRES, KernelPooling, kept_pooling, pooling_fingerprint

TRIPLES = 20_000  # that are drawn to train on: comparing two passages costs ten times what comparing a query with one does
COMPARED_LENGTH = 64  # WordPieces of a passage that are compared with the other passage's
HIDDEN = 8
WEIGHT_DECAY = 0.3
FORMAT = "pairwise interaction 2"


class PairwiseInteractionTeacher(PairwiseTeacher):
    """P(first) = sigmoid(`Comparison` of the features of both passages).

    Trained like `armlib.teachers.interaction.InteractionTeacher`: positives against negatives, by their texts alone.

    Args:
        steps: of training, of 48 triples each. With more it is better on triples of msmarco-mini that it has not seen, and worse on
            the graded passages of TREC-DL.
        held_out: so many training queries are left out, those that `armlib.data.held_out.hold_out` chooses to validate on.
        seed: of the draw of the triples and of the first weights.

    Raises:
        InputError: a value is of the wrong type or out of its range.
    """

    def __init__(self, steps: int = 400, held_out: int = 0, seed: int = 0) -> None:
        super().__init__()
        self.steps = whole(steps, "steps of pairwise-interaction", 1)
        self.held_out = whole(held_out, "held_out of pairwise-interaction", 0)
        self.seed = whole(seed, "the seed of pairwise-interaction", 0)
        self._prepared: tuple[str, KernelPooling, Comparison] | None = None

    def __str__(self) -> str:
        settings = {"steps": (self.steps, 400), "held_out": (self.held_out, 0), "seed": (self.seed, 0)}
        return written("pairwise-interaction", **settings)

    def fingerprint(self, collection: Collection) -> str:
        settings = f"{self.steps} {self.held_out} {self.seed}"
        return short_digest(FORMAT, settings, pooling_fingerprint(collection), collection.fingerprint())

    def prepare(self, collection: Collection) -> None:
        key = self.fingerprint(collection)
        if self._prepared and self._prepared[0] == key:
            return
        pooling, network = kept_pooling(collection), Comparison()

        def make(draft: Path) -> None:
            started = time.perf_counter()
            queries, positives, negatives = training_triples(collection, TRIPLES, self.held_out, self.seed)
            better, worse = (pooling.features(queries, passages) for passages in (positives, negatives))
            rows = found_by_bm25(better, worse)
            trained = trained_comparison(
                better[rows], worse[rows], _common(pooling, positives, negatives)[rows], self.steps, self.seed
            )
            save_file(trained.state_dict(), draft / "network.safetensors")
            parameters = sum(each.numel() for each in trained.parameters())
            write_json(draft / "cost.json", {"training_seconds": round(time.perf_counter() - started, 2), "parameters": parameters})

        folder = kept(f"teachers/pairwise-interaction-{key}", f"pairwise teacher {self}", make)
        self.cost = read_json(folder / "cost.json")
        network.load_state_dict(load_file(folder / "network.safetensors"))
        self._prepared = key, pooling, network

    def preferences(
        self, collection: Collection, queries: Sequence[str], firsts: Sequence[str], seconds: Sequence[str]
    ) -> Float[np.ndarray, " n"]:
        self.prepare(collection)
        assert self._prepared
        _, pooling, network = self._prepared
        before = pooling.operations
        # Both orders are computed in the same way, so that their probabilities add up to 1 to the last digit.
        turned = np.array([first > second for first, second in zip(firsts, seconds, strict=True)])
        ordered = [sorted(pair) for pair in zip(firsts, seconds, strict=True)]
        one, other = [pair[0] for pair in ordered], [pair[1] for pair in ordered]
        with torch.inference_mode():
            logits = network(pooling.features(queries, one), pooling.features(queries, other), _common(pooling, one, other))
        self.operations += pooling.operations - before
        found = logits.sigmoid().numpy()
        return np.where(turned, 1 - found, found)


def _common(pooling: KernelPooling, firsts: Sequence[str], seconds: Sequence[str]) -> Float[Tensor, "n kernels"]:
    """How much two passages have in common."""
    return pooling.mutual(*(pooling.pieces(passages, COMPARED_LENGTH) for passages in (firsts, seconds)))


class Comparison(nn.Module):
    """The log-odds that the first of two passages is the more relevant one.

    ``d . (w + V tanh(U z))`` with d the difference of the passages' features and z what the passages have in common, which does not
    change if they are swapped. So swapping changes the sign, and since the weights of d depend on both passages, it is no
    difference of scores of one passage each.
    """

    def __init__(self) -> None:
        super().__init__()
        features, kernels = len(CENTRES) + 1, len(CENTRES)
        self.weights = nn.Parameter(torch.zeros(features))
        self.read = nn.Linear(kernels, HIDDEN)
        self.gate = nn.Linear(HIDDEN, features, bias=False)
        nn.init.zeros_(self.gate.weight)
        self.scale: Tensor
        self.centre: Tensor
        self.spread: Tensor
        self.register_buffer("scale", torch.ones(features))
        self.register_buffer("centre", torch.zeros(kernels))
        self.register_buffer("spread", torch.ones(kernels))

    def forward(
        self, first: Float[Tensor, "n features"], second: Float[Tensor, "n features"], common: Float[Tensor, "n kernels"]
    ) -> Float[Tensor, " n"]:
        gates = self.gate(self.read((common - self.centre) / self.spread).tanh())
        return ((first - second) / self.scale * (self.weights + gates)).sum(dim=1)


def trained_comparison(
    positives: Float[Tensor, "n features"],
    negatives: Float[Tensor, "n features"],
    common: Float[Tensor, "n kernels"],
    steps: int,
    seed: int,
) -> Comparison:
    """A comparison that minimises -log P(positive), by AdamW, a batch of triples after the other and from the first one again.

    Args:
        positives, negatives: features of the passages of n triples.
        common: what positive and negative have in common.
        steps: of 48 triples each.
        seed: of the first weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Comparison()
    network.scale = (positives - negatives).std(dim=0, correction=0).clamp_min(1e-6)
    network.centre, network.spread = common.mean(dim=0), common.std(dim=0, correction=0).clamp_min(1e-6)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    for step in range(steps):
        rows = (step * BATCH + torch.arange(BATCH)) % len(positives)
        loss = softplus(-network(positives[rows], negatives[rows], common[rows])).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / steps)
        optimizer.step()
    return network
