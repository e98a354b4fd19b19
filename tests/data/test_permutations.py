"""Permutations that are never made."""

from __future__ import annotations

import numpy as np
import pytest

from armlib.data.permutations import shuffled


@pytest.mark.parametrize("count", [1, 2, 3, 64, 1000, 4097])
def test_shuffled_is_a_permutation(count: int) -> None:
    assert sorted(shuffled(np.arange(count), count, seed=3, epoch=0)) == list(range(count))


def test_shuffled_depends_on_seed_and_epoch_and_looks_random() -> None:
    count = 10_000
    orders = [shuffled(np.arange(count), count, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    for order in orders:
        # Of a random permutation, the correlation with the identity is within 4 / sqrt(n).
        assert abs(np.corrcoef(order, np.arange(count))[0, 1]) < 4 / np.sqrt(count)
        # Neighbours are far apart: a third of the range on average.
        assert abs(np.abs(np.diff(order)).mean() / count - 1 / 3) < 0.02
    assert sum(orders[0] == orders[1]) < 10 and sum(orders[0] == orders[2]) < 10


def test_shuffled_is_asked_for_some_places_alone() -> None:
    whole = shuffled(np.arange(5000), 5000, seed=7, epoch=2)
    some = np.array([4999, 0, 17, 17])
    np.testing.assert_array_equal(shuffled(some, 5000, seed=7, epoch=2), whole[some])
