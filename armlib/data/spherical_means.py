"""Spherical k-means by FAISS: clusters of directions, whose centroids have length 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from armlib.packages import faiss


def spherical_means(vectors: Float[np.ndarray, "N D"], k: int, *, iterations: int, points: int, seed: int) -> Any:
    """A trained `faiss.Kmeans`, whose ``assign`` gives the clusters of vectors. The number of threads does not change the result.

    Args:
        vectors: of length 1 each, at least k of them.
        k: how many clusters; some can be empty.
        iterations: of Lloyd's algorithm.
        points: the centroids come from at most so many vectors a cluster, drawn by the seed.
        seed: of the first centroids, too.
    """
    means = faiss().Kmeans(
        vectors.shape[1],
        k,
        niter=iterations,
        spherical=True,
        seed=seed,
        min_points_per_centroid=1,  # fewer than 39 are no reason for a warning on standard error
        max_points_per_centroid=points,  # here: set on the object later, it is not looked at
    )
    means.train(vectors)
    return means
