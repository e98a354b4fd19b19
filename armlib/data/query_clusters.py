"""Training queries in clusters, for batches about one topic (TAS-Balanced, Hofstätter et al. 2021, arXiv:2104.06967)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int32

from armlib.data.spherical_means import spherical_means
from armlib.errors import InputError

# What FAISS trains an inverted file of inner products with, by which the original clusters.
ITERATIONS, POINTS_PER_CLUSTER, SEED = 10, 256, 1234
RECIPE = f"spherical k-means, {ITERATIONS} iterations, {POINTS_PER_CLUSTER} points a cluster, seed {SEED}"


def query_clusters(vectors: Float[np.ndarray, "Q D"], k: int) -> Int32[np.ndarray, " Q"]:
    """The cluster of each query by spherical k-means, from 0 to k - 1; a cluster may be empty.

    The centroids come from at most `POINTS_PER_CLUSTER` queries a cluster, drawn with a fixed seed. The number of threads does not
    change the result.

    Args:
        vectors: of length 1 each.
        k: how many clusters; the original takes 2,000 for the 808,731 training queries of MS MARCO.

    Raises:
        InputError: there are fewer queries than clusters.
    """
    if k > len(vectors):
        raise InputError(f"{k} clusters cannot be made of {len(vectors)} training queries; expected 1 to {len(vectors)}")
    means = spherical_means(vectors, k, iterations=ITERATIONS, points=POINTS_PER_CLUSTER, seed=SEED)
    return means.assign(vectors)[1].astype(np.int32)
