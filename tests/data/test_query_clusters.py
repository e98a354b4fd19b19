"""Clusters of training queries."""

from __future__ import annotations

import numpy as np
import pytest

from armlib.data.query_clusters import query_clusters
from armlib.errors import InputError
from armlib.retrieval.vectors import unit_vectors


def test_directions_that_are_apart_are_clusters_whatever_their_order() -> None:
    draw = np.random.default_rng(0)
    topics = np.eye(8, dtype=np.float32)[draw.permutation(np.repeat(np.arange(4), 50))]
    vectors = unit_vectors(topics + 0.05 * draw.normal(size=topics.shape))
    found = query_clusters(vectors, 4)
    assert found.dtype == np.int32 and set(found) == set(range(4))
    assert len({(topic, cluster) for topic, cluster in zip(topics.argmax(1).tolist(), found.tolist(), strict=True)}) == 4


def test_it_is_spherical_k_means() -> None:
    """Each query is in the cluster whose mean direction is nearest, which by Euclidean distance to the mean it need not be."""
    vectors = unit_vectors(np.random.default_rng(1).normal(size=(400, 6)))
    found = query_clusters(vectors, 7)
    means = unit_vectors(np.stack([vectors[found == cluster].mean(axis=0) for cluster in range(7)]))
    assert (np.argmax(vectors @ means.T, axis=1) == found).mean() > 0.95  # it has not converged after ten iterations
    np.testing.assert_array_equal(query_clusters(vectors, 7), found)


def test_all_queries_can_be_alike_or_in_clusters_of_their_own() -> None:
    alike = np.ones((20, 4), np.float32) / 2
    assert len(query_clusters(alike, 5)) == 20  # some clusters are empty
    vectors = unit_vectors(np.random.default_rng(2).normal(size=(9, 16)))
    assert sorted(query_clusters(vectors, 9)) == list(range(9)) and set(query_clusters(vectors, 1)) == {0}


def test_more_clusters_than_queries_are_refused() -> None:
    with pytest.raises(InputError, match="^10 clusters cannot be made of 9 training queries; expected 1 to 9$"):
        query_clusters(np.eye(9, dtype=np.float32), 10)
