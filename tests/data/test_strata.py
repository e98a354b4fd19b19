"""Strata: clusters of queries of bins, in flat arrays."""

from __future__ import annotations

import numpy as np
import pytest

from armlib.data.strata import bin_numbers, strata
from armlib.errors import InputError


def test_bins_have_equal_width_between_a_querys_own_margins() -> None:
    queries = np.array([7, 7, 7, 7, 7, 2, 2, 2, 5, 5, 5, 0])
    margins = np.array([0.0, 9.9, 10.0, 1.0, 4.99, -3.0, -1.0, -2.0, 4.0, 4.0, 4.0, 8.0], np.float32)
    # Query 7: width 1, and the largest margin is in the last bin. Query 2: width .2. Query 5: all equal. Query 0: it occurs once.
    assert bin_numbers(queries, margins, 10).tolist() == [0, 9, 9, 1, 4, 0, 9, 5, 0, 0, 0, 0]
    assert bin_numbers(queries, margins, 2).tolist() == [0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0]


def test_rounding_makes_no_bin_beyond_the_last() -> None:
    draw = np.random.default_rng(0)
    queries = draw.integers(0, 50, 20_000)
    margins = draw.normal(scale=10.0 ** draw.integers(-30, 30, 50)[queries]).astype(np.float32)
    found = bin_numbers(queries, margins, 10)
    assert found.min() == 0 and found.max() == 9
    for query in range(50):
        own, numbers = margins[queries == query], found[queries == query]
        assert numbers[own.argmin()] == 0 and numbers[own.argmax()] == 9
        assert (np.diff(numbers[own.argsort()]) >= 0).all()


def test_a_margin_that_is_not_finite_is_refused() -> None:
    with pytest.raises(InputError, match="^2 of 3 triples have no finite margin"):
        bin_numbers(np.zeros(3, int), np.array([1.0, np.nan, np.inf]), 10)


def test_strata_are_sorted_and_none_is_empty() -> None:
    queries = np.array([4, 1, 4, 9, 1, 4, 9], np.int32)
    clusters = np.array([2, 7, 2, 2, 7, 2, 2], np.int32)  # clusters 0, 1, 3 to 6 are empty
    found = strata(clusters, queries, np.array([0.0, 5.0, 10.0, 1.0, 5.0, 0.5, 1.0]), 10)
    assert found.clusters.tolist() == [0, 2, 3]  # cluster 2 with two queries, cluster 7 with one
    assert found.queries.tolist() == [0, 2, 3, 4]  # query 4 has two bins that are not empty, the others one
    assert found.bins.tolist() == [0, 2, 3, 5, 7]
    assert found.examples.tolist() == [0, 5, 2, 3, 6, 1, 4]
    whole = strata(clusters, queries, None, 1)
    assert whole.queries.tolist() == [0, 1, 2, 3] and whole.bins.tolist() == [0, 3, 5, 7]
    assert whole.examples.tolist() == [0, 2, 5, 3, 6, 1, 4]


def test_strata_are_kept_by_their_contents(cache) -> None:
    queries, clusters = np.array([3, 3, 8]), np.array([0, 0, 1])
    strata(clusters, queries, None, 1)
    before = set((cache / "strata").glob("[!.]*"))
    strata(clusters.copy(), queries.copy(), None, 1)
    assert set((cache / "strata").glob("[!.]*")) == before
    strata(clusters, queries, np.array([1.0, 2.0, 1.0]), 10)
    assert len(set((cache / "strata").glob("[!.]*"))) == len(before) + 1
