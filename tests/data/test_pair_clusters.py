"""Clusters of pairs, and the tour over their centroids."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from armlib.data import pair_clusters as module
from armlib.data.pair_clusters import greedy_tour, pair_clusters
from armlib.retrieval.vectors import unit_vectors


def drawn(count: int, dim: int, seed: int) -> np.ndarray:
    return unit_vectors(np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32))


def topics(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Queries and passages near one of four directions, pairs of the same one in random order, and which it is."""
    draw = np.random.default_rng(seed)
    of = draw.integers(0, 4, count)
    near = np.eye(8, dtype=np.float32)[of]
    queries, passages = (unit_vectors(near + 0.1 * draw.normal(size=near.shape).astype(np.float32)) for _ in range(2))
    rows = draw.permutation(count)
    pairs = np.stack([np.arange(count), np.argsort(rows)], axis=1).astype(np.int32)
    return queries, passages[rows], pairs, of


def test_pairs_about_one_thing_are_one_cluster() -> None:
    queries, passages, pairs, of = topics(400, 0)
    found = pair_clusters(queries, passages, pairs, 100)
    assert found.dtype == np.int32 and found.max() <= 3
    assert len(set(zip(of.tolist(), found.tolist(), strict=True))) == 4
    np.testing.assert_array_equal(pair_clusters(queries, passages, pairs, 100), found)


@pytest.mark.parametrize("size", [25, 90])
def test_it_is_the_k_means_of_all_points_both_ways_round(size: int) -> None:
    """Written out with FAISS's own class, which is given all 2 N points and no cap on them."""
    queries, passages = drawn(120, 6, 1), drawn(150, 6, 2)
    pairs = np.unique(np.random.default_rng(3).integers(0, 120, (300, 2)), axis=0).astype(np.int32)
    both = (
        np.concatenate([queries[pairs[:, 0]], passages[pairs[:, 1]]], axis=1),
        np.concatenate([passages[pairs[:, 1]], queries[pairs[:, 0]]], axis=1),
    )
    points = np.ascontiguousarray(np.concatenate(both) / np.float32(np.sqrt(2)))
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, rtol=1e-6)
    k = -(-len(pairs) // size)
    means = faiss.Clustering(12, k)
    means.niter, means.spherical, means.seed, means.min_points_per_centroid = module.ITERATIONS, True, module.SEED, 1
    means.max_points_per_centroid = len(points)
    index = faiss.IndexFlatIP(12)
    means.train(points, index)
    expected = index.search(points[: len(pairs)], 1)[1][:, 0]
    np.testing.assert_array_equal(pair_clusters(queries, passages, pairs, size), expected)


def test_points_are_drawn_where_there_are_more_than_a_cluster_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cap reaches FAISS, which would warn of points that it draws itself; and the draw has both kinds of points."""
    seen = []
    whole = module.spherical_means
    monkeypatch.setattr(
        module, "spherical_means", lambda vectors, k, **rest: seen.append((vectors, rest)) or whole(vectors, k, **rest)
    )
    monkeypatch.setattr(module, "POINTS_PER_CLUSTER", 50)
    queries, passages, pairs, of = topics(400, 4)
    found = pair_clusters(queries, passages, pairs, 100)
    ((points, settings),) = seen
    assert points.shape == (200, 16) and settings["points"] == 50
    firsts = {row.tobytes() for row in queries * np.float32(0.5**0.5)}
    assert 60 < sum(point[:8].tobytes() in firsts for point in points) < 140
    assert len(set(zip(of.tolist(), found.tolist(), strict=True))) == 4


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, passages, pairs, _ = topics(300, 5)
    whole = pair_clusters(queries, passages, pairs, 20)
    monkeypatch.setattr(module, "BLOCK", 64)
    np.testing.assert_array_equal(pair_clusters(queries, passages, pairs, 20), whole)


def test_a_tour_goes_on_to_the_nearest_that_is_left() -> None:
    centroids = drawn(30, 5, 6)
    tour = greedy_tour(centroids).tolist()
    assert tour[0] == 0 and sorted(tour) == list(range(30))
    for place in range(1, 30):
        distances = {other: np.linalg.norm(centroids[other] - centroids[tour[place - 1]]) for other in tour[place:]}
        assert tour[place] == min(distances, key=distances.__getitem__)


def test_along_a_tour_the_clusters_are_the_same_under_other_numbers() -> None:
    queries, passages, pairs, _ = topics(300, 7)
    plain, toured = (pair_clusters(queries, passages, pairs, 10, tour) for tour in (False, True))
    assert len(set(zip(plain.tolist(), toured.tolist(), strict=True))) == len(set(plain.tolist()))
    assert sorted(set(toured.tolist())) == list(range(len(set(plain.tolist())))), "empty clusters are not on the tour"
    joined = np.concatenate([queries[pairs[:, 0]], passages[pairs[:, 1]]], axis=1)
    means = np.stack([joined[toured == number].mean(axis=0) for number in range(toured.max() + 1)])
    steps = np.linalg.norm(np.diff(means, axis=0), axis=1).mean()
    assert steps < 0.8 * np.linalg.norm(means[:, None] - means[None], axis=2).mean()


def test_clusters_can_be_larger_than_all_pairs_or_of_one() -> None:
    queries, passages, pairs, _ = topics(40, 8)
    assert set(pair_clusters(queries, passages, pairs, 1000)) == {0}
    assert pair_clusters(queries, passages, pairs, 1).max() < 40
