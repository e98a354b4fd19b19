"""Which training examples make the batch of a step: pure functions of (seed, epoch, step), so that continuing needs no state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer

from armlib.data.packing import Packing, packed
from armlib.data.permutations import shuffled
from armlib.data.strata import strata
from armlib.errors import InputError, unknown
from armlib.parsing import parse_call, whole, written

MOST_BINS = 1000
MARGINS = ("teacher", "student")
ORDERS = ("random", "tour")


def _nobody(*asked: object) -> np.ndarray:
    raise InputError("these examples are row numbers alone, without clusters or margins; expected the sampler 'random'")


@dataclass(frozen=True)
class Examples:
    """What a sampler may know of T training examples. Whatever costs something is computed when a sampler asks for it.

    Attributes:
        queries: (T,) row number of the query of each example.
        clusters: called with a number of clusters and the name of an encoder (empty: the one that is trained), gives the cluster of
            each example's query, (T,).
        margins: called with one of `MARGINS`, gives what the examples of a query differ in, (T,).
        pair_clusters: called with a number of pairs, the name of an encoder and whether clusters are numbered along a tour, gives
            the cluster of each example's query and positive, (T,); see `armlib.data.pair_clusters.pair_clusters`.
    """

    queries: Integer[np.ndarray, " T"]
    clusters: Callable[[int, str], Integer[np.ndarray, " T"]] = _nobody
    margins: Callable[[str], Float[np.ndarray, " T"]] = _nobody
    pair_clusters: Callable[[int, str, bool], Integer[np.ndarray, " T"]] = _nobody


class Sampler(ABC):
    """Batches of B out of T examples. A sampler is sent to other processes, so it keeps arrays and not ``examples``.

    Args:
        examples: the T examples.
        batch_size: B, over all processes.
        seed: with epoch and step, it decides everything.

    Raises:
        InputError: there are fewer examples than a batch takes.
    """

    def __init__(self, examples: Examples, batch_size: int, seed: int) -> None:
        self.count, self.batch_size, self.seed = len(examples.queries), batch_size, seed
        if self.count < batch_size:
            raise InputError(f"a batch of {batch_size} triples cannot be made: there are only {self.count}")

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass over the examples; the rest of an epoch is left out, for the losses depend on B."""
        return self.count // self.batch_size

    @abstractmethod
    def positions(self, epoch: int, step: int) -> np.ndarray:
        """Numbers of the examples in the batch of a step, counted from 0 within its epoch, (B,) int64."""


class RandomSampler(Sampler):
    """A random permutation of the examples in every epoch, cut into batches: what the paper trains with."""

    def positions(self, epoch: int, step: int) -> np.ndarray:
        start = step * self.batch_size
        return shuffled(np.arange(start, start + self.batch_size), self.count, self.seed, epoch)


class TopicSampler(Sampler):
    """Batches about one topic (TAS and TAS-Balanced, Hofstätter et al. 2021, arXiv:2104.06967).

    A cluster is drawn uniformly over those that are not empty, and of it at most B / ``clusters_per_batch`` distinct queries
    uniformly, all if it has fewer; then further clusters until there are B queries, the last one cut. Of each query a bin is drawn
    uniformly over those that are not empty, and an example of it uniformly. A cluster that is drawn twice can bring a query twice.

    This is endless sampling, with replacement across batches: an epoch has as many steps as a pass over the examples, but is not
    one.

    Args:
        examples, batch_size, seed: as for `Sampler`.
        settings: of `topic_aware` or `balanced`.

    Raises:
        InputError: there are fewer examples than a batch takes, fewer queries than clusters, or more clusters a batch than triples.
    """

    def __init__(self, examples: Examples, batch_size: int, seed: int, settings: ByTopic) -> None:
        super().__init__(examples, batch_size, seed)
        self.share = batch_size // settings.clusters_per_batch
        if not self.share:
            raise InputError(f"a batch of {batch_size} triples cannot be of {settings.clusters_per_batch} clusters of queries")
        margins = examples.margins(settings.by) if settings.by else None
        self.strata = strata(examples.clusters(settings.k, settings.encoder), examples.queries, margins, settings.bins)

    def positions(self, epoch: int, step: int) -> np.ndarray:
        draw = np.random.default_rng([self.seed, epoch, step])
        clusters, queries, bins, examples = self.strata
        chosen: list[np.ndarray] = []
        missing = self.batch_size
        while missing:
            cluster = draw.integers(len(clusters) - 1)
            first, last = clusters[cluster : cluster + 2].tolist()
            chosen.append(first + draw.choice(last - first, min(last - first, self.share, missing), replace=False))
            missing -= len(chosen[-1])
        drawn = np.concatenate(chosen)
        for starts in (queries, bins):
            drawn = draw.integers(starts[drawn], starts[drawn + 1])
        return examples[drawn].astype(np.int64)


class ClusterSampler(Sampler):
    """Batches of neighbours: clusters of pairs of query and positive in an order, cut into batches of B, and those shuffled.

    In every epoch the clusters are in random order, or along a tour from a random one on; in a cluster the queries are in random
    order. `armlib.data.packing.packed` puts them into batches: no query twice in a batch, every example once an epoch. What makes
    the first possible is that a query's examples, which are of one cluster where they have one positive, go to consecutive
    batches, one to each: a cluster of m queries with c examples each becomes c batches of its first B queries, c of the next, and
    the last m mod B of them share batches with the next cluster. So a batch has one cluster, or several where clusters are small
    or end, and a query with more examples than its neighbours reaches into the batches behind them.

    The T mod B examples that fill no batch are left out of an epoch, as `RandomSampler` does; they are the end of the order, so
    others in each epoch.

    With 40 million examples of 500,000 pairs, making one takes 16 s and 1.1 GB, of which 0.2 GB in the cache are kept and shared.
    Each process that gathers then keeps 12 MB for an epoch, made in 8 s and 0.3 GB when its first step is asked for; a batch of
    128 takes 0.13 ms (one core at 2.5 GHz). What depends on the pairs is `armlib.retrieval.mining.kept_pair_clusters`.

    Args:
        examples, batch_size, seed: as for `Sampler`.
        settings: of `clustered`.

    Raises:
        InputError: there are fewer examples than a batch takes, or a query has more of them than an epoch has batches.
    """

    def __init__(self, examples: Examples, batch_size: int, seed: int, settings: Clustered) -> None:
        super().__init__(examples, batch_size, seed)
        most = int(np.bincount(examples.queries).max())
        if most > self.steps_per_epoch:
            raise InputError(
                f"a query has {most} of the {self.count} triples, and can be in each of the {self.steps_per_epoch} batches of "
                f"{batch_size} only once; expected a smaller batch_size"
            )
        self.along_tour = settings.order == "tour"
        clusters = examples.pair_clusters(settings.size, settings.encoder, self.along_tour)
        # A query that has positives in several clusters is a group of examples in each of them.
        starts, _, self.groups, self.members = strata(clusters, examples.queries, None, 1)
        self.cluster_sizes = np.diff(starts)  # in groups
        self.queries = np.unique(examples.queries[self.members[self.groups[:-1]]], return_inverse=True)[1].astype(np.int32)
        self.epoch: tuple[int, np.ndarray, np.ndarray, Packing] | None = None

    def positions(self, epoch: int, step: int) -> np.ndarray:
        if self.epoch is None or self.epoch[0] != epoch:
            self.epoch = (epoch, *self._packed(epoch))
        _, order, turns, packing = self.epoch
        (batch,) = shuffled(np.array([step]), packing.batches, self.seed, epoch).tolist()
        places, numbers = packing.batch(batch)
        groups = order[places]
        first, size = self.groups[groups], self.groups[groups + 1] - self.groups[groups]
        return self.members[first + (numbers + turns[groups]) % size].astype(np.int64)

    def _packed(self, epoch: int) -> tuple[np.ndarray, np.ndarray, Packing]:
        """The groups in the order of an epoch, with which of its examples each begins, and how they are packed."""
        draw = np.random.default_rng([self.seed, epoch])
        clusters, sizes = len(self.cluster_sizes), np.diff(self.groups)
        if self.along_tour:
            ranks = (np.arange(clusters) - draw.integers(clusters)) % clusters
        else:
            ranks = draw.permutation(clusters)
        order = np.lexsort((draw.random(len(sizes)), np.repeat(ranks, self.cluster_sizes))).astype(np.int32)
        return order, draw.integers(sizes).astype(np.int32), packed(self.queries[order], sizes[order], self.batch_size)


@dataclass(frozen=True)
class ByTopic:
    """Settings of `topic_aware` and `balanced`: calling them makes the sampler, ``str()`` is what `parse_sampler` reads."""

    k: int
    clusters_per_batch: int
    encoder: str
    bins: int = 1
    by: str = ""

    def __post_init__(self) -> None:
        name = "balanced" if self.by else "topic-aware"
        for setting, most in (("k", None), ("clusters_per_batch", None), ("bins", MOST_BINS)):
            value = getattr(self, setting)
            if type(value) is not int or value < 1 or (most and value > most):
                expected = f"from 1 to {most}" if most else "of at least 1"
                raise InputError(f"{setting} of {name} must be a whole number {expected}, not {value!r}")
        if not isinstance(self.encoder, str):
            raise InputError(f"encoder of {name} must be the quoted name of an encoder, not {self.encoder!r}")

    def __str__(self) -> str:
        own: dict[str, tuple[object, object]] = {"bins": (self.bins, 10), "by": (self.by, "teacher")} if self.by else {}
        common = {"clusters_per_batch": (self.clusters_per_batch, 1), "encoder": (self.encoder, "")}
        return written("balanced" if self.by else "topic-aware", self.k, **own, **common)

    def __call__(self, examples: Examples, batch_size: int, seed: int) -> Sampler:
        return TopicSampler(examples, batch_size, seed, self)


def topic_aware(k: int, clusters_per_batch: int = 1, encoder: str = "") -> ByTopic:
    """Batches about one topic; the triple of a query is drawn uniformly.

    Args:
        k: how many clusters the training queries are in, see `armlib.data.query_clusters`.
        clusters_per_batch: a cluster gives at most B / ``clusters_per_batch`` queries at once.
        encoder: by whose embeddings the queries are clustered; empty for the one that is trained, as it is before training.

    Raises:
        InputError: a setting is of the wrong type or out of its range.
    """
    return ByTopic(k, clusters_per_batch, encoder)


def balanced(k: int, bins: int = 10, by: str = "teacher", clusters_per_batch: int = 1, encoder: str = "") -> ByTopic:
    """Batches about one topic; the triple of a query is drawn from one of ``bins`` bins of its margins.

    Args:
        k, clusters_per_batch, encoder: as `topic_aware` takes them.
        bins: of equal width between the least and the largest margin of a query, see `armlib.data.strata.bin_numbers`.
        by: ``teacher`` for the margins T(q, p) - T(q, n) of the experiment's teacher, as in TAS-Balanced; ``student`` for the
            cosine of positive and negative passage under the encoder before training. That needs no teacher, and asks whether
            implicit mining, by adaptive targets, is as good as explicit mining by the same signal.

    Raises:
        InputError: a setting is of the wrong type or out of its range.
    """
    if by not in MARGINS:
        raise InputError(f"by of balanced must be {' or '.join(map(repr, MARGINS))}, not {by!r}")
    return ByTopic(k, clusters_per_batch, encoder, bins, by)


@dataclass(frozen=True)
class Clustered:
    """Batches of neighbours, see `ClusterSampler` (Morris and Rush 2024, arXiv:2410.02525). Calling it makes the sampler.

    Attributes:
        size: pairs of query and positive a cluster, on average.
        order: of the clusters: ``random``, or ``tour``, each followed by the nearest of those that are left. It matters where a
            batch has several clusters.
        encoder: by whose embeddings pairs are clustered; empty for the one that is trained, as it is before training.

    Raises:
        InputError: a setting is of the wrong type, out of its range or unknown.
    """

    size: int = 256
    order: str = "random"
    encoder: str = ""

    def __post_init__(self) -> None:
        whole(self.size, "size of clustered", 1)
        if self.order not in ORDERS:
            raise unknown("order of clustered", str(self.order), ORDERS)
        if not isinstance(self.encoder, str):
            raise InputError(f"encoder of clustered must be the quoted name of an encoder, not {self.encoder!r}")

    def __str__(self) -> str:
        return written("clustered", self.size, order=(self.order, "random"), encoder=(self.encoder, ""))

    def __call__(self, examples: Examples, batch_size: int, seed: int) -> Sampler:
        return ClusterSampler(examples, batch_size, seed, self)


SAMPLERS: dict[str, Callable[..., Callable[[Examples, int, int], Sampler]]] = {
    "random": lambda: RandomSampler,
    "topic-aware": topic_aware,
    "balanced": balanced,
    "clustered": Clustered,
}
"""By name, what takes a sampler's own settings and gives what is called with examples, batch size and seed."""


def parse_sampler(text: str) -> Callable[[Examples, int, int], Sampler]:
    """The sampler that a string names, to be called with the examples, the batch size and a seed.

    Raises:
        InputError: there is no such sampler, or its settings cannot be used.
    """
    return parse_call(text, "sampler", SAMPLERS)
