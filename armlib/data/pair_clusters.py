"""Pairs of query and positive passage in clusters, for batches of neighbours.

Morris and Rush 2024, arXiv:2410.02525 (Contextual Document Embeddings). A pair is the vector [q;d], and both [q;d] and [d;q] are
points, so that a query near another pair's passage brings the two together.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int32

from armlib.data.spherical_means import spherical_means

ITERATIONS, POINTS_PER_CLUSTER, SEED = 20, 256, 42
RECIPE = f"pairs by spherical k-means, {ITERATIONS} iterations, {POINTS_PER_CLUSTER} points a cluster, seed {SEED}"
BLOCK = 65_536
"""How many pairs are assigned to clusters at a time."""


def pair_clusters(
    queries: Float[np.ndarray, "Q D"],
    passages: Float[np.ndarray, "P D"],
    pairs: Int32[np.ndarray, "N 2"],
    size: int,
    tour: bool = False,
) -> Int32[np.ndarray, " N"]:
    """The cluster of each pair's [q;d] by spherical k-means over all [q;d] and [d;q].

    There are ceil(N / size) clusters, as in the original. Those that only [d;q] are near are empty: where queries and passages lie
    apart that is half of them, and the others hold twice the size on average. Of MS MARCO in miniature, by lsa/distilbert, 33 of 44
    clusters with a size of 256 have pairs, and 393 of 702 with a size of 16.

    The original takes 100 iterations, three times over, and by an oversight 256 points a centroid in place of all; here it is
    `ITERATIONS`, once, and `POINTS_PER_CLUSTER`, drawn before the points are made. With the 500,000 pairs of MS MARCO, 768
    dimensions and a size of 256, the points take 3 GB and an iteration 3e12 operations.

    Args:
        queries, passages: of length 1 each.
        pairs: rows of query and passage; each pair once.
        size: pairs a cluster, on average; at least 1.
        tour: number the clusters that are not empty along a greedy tour over their centroids, see `greedy_tour`.

    Returns:
        From 0 to ceil(N / size) - 1.
    """
    count, k = len(pairs), -(-len(pairs) // size)
    most = POINTS_PER_CLUSTER * k
    points = np.arange(2 * count)  # [q;d] of each pair, then [d;q] of each
    if len(points) > most:
        points = np.sort(np.random.default_rng(SEED).choice(points, most, replace=False))
    first = int(np.searchsorted(points, count))
    forth, back = pairs[points[:first]], pairs[points[first:] - count]
    joined = np.concatenate([_joined(queries, passages, forth), _joined(passages, queries, back[:, ::-1])])
    means = spherical_means(joined, k, iterations=ITERATIONS, points=POINTS_PER_CLUSTER, seed=SEED)
    del joined
    found = np.empty(count, np.int32)
    for start in range(0, count, BLOCK):
        part = slice(start, start + BLOCK)
        found[part] = means.assign(_joined(queries, passages, pairs[part]))[1]
    if not tour:
        return found
    there = np.unique(found)
    place = np.zeros(k, np.int32)
    place[there[greedy_tour(means.centroids[there])]] = np.arange(len(there))
    return place[found]


def greedy_tour(centroids: Float[np.ndarray, "k D"]) -> Int32[np.ndarray, " k"]:
    """All centroids in an order in which each is followed by the nearest, by cosine, of those that are left; from the first one.

    Time grows with the square of their number: 2,000 of 1,536 dimensions are 6e9 operations.
    """
    left = np.ones(len(centroids), bool)
    tour = np.zeros(len(centroids), np.int32)
    left[0] = False
    for place in range(1, len(centroids)):
        near = centroids @ centroids[tour[place - 1]]
        tour[place] = np.argmax(np.where(left, near, -np.inf))
        left[tour[place]] = False
    return tour


def _joined(
    firsts: Float[np.ndarray, "F D"], seconds: Float[np.ndarray, "S D"], rows: Int32[np.ndarray, "n 2"]
) -> Float[np.ndarray, "n width"]:
    """The vectors of pairs of rows, one behind the other, of length 1: both halves have length 1."""
    width = firsts.shape[1]
    joined = np.empty((len(rows), 2 * width), np.float32)
    joined[:, :width], joined[:, width:] = firsts[rows[:, 0]], seconds[rows[:, 1]]
    joined *= np.float32(0.5**0.5)
    return joined
