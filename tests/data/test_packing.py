"""Groups of examples in batches: every example once, no query twice, near each other in the order where that can be."""

from __future__ import annotations

import numpy as np
import pytest

from armlib.data.packing import Packing, packed


def unpacked(packing: Packing) -> list[list[tuple[int, int]]]:
    """Group and number of each example of each batch."""
    return [list(zip(*(each.tolist() for each in packing.batch(b)), strict=True)) for b in range(packing.batches)]


def check(queries: np.ndarray, counts: np.ndarray, size: int) -> list[list[tuple[int, int]]]:
    batches = unpacked(packed(queries, counts, size))
    assert len(batches) == counts.sum() // size and {len(batch) for batch in batches} == {size}
    for batch in batches:
        assert len({queries[group] for group, _ in batch}) == size, "a query is in a batch twice"
    used = [example for batch in batches for example in batch]
    assert len(set(used)) == len(used), "an example comes twice"
    # All examples are used but the last ones of the order.
    wanted = [(group, number) for group, count in enumerate(counts.tolist()) for number in range(count)]
    assert sorted(used) == wanted[: len(used)]
    return batches


def test_equal_groups_are_cut_into_blocks() -> None:
    """Eight queries of three examples in batches of four: three batches of the first four queries, three of the others."""
    batches = check(np.arange(8), np.full(8, 3), 4)
    assert [sorted({group for group, _ in batch}) for batch in batches] == [[0, 1, 2, 3]] * 3 + [[4, 5, 6, 7]] * 3
    assert [sorted(batch)[0] for batch in batches[:3]] == [(0, 0), (0, 1), (0, 2)]


def test_the_end_of_the_order_is_left_out() -> None:
    batches = check(np.arange(7), np.full(7, 3), 4)  # 21 examples in five batches
    assert {example for batch in batches for example in batch} == {(g, k) for g in range(7) for k in range(3)} - {(6, 2)}


def test_a_query_that_must_be_in_every_batch_is_in_every_batch_wherever_it_stands() -> None:
    counts = np.array([2, 2, 2, 2, 2, 2, 2, 2, 8])
    for place in range(9):
        order = np.roll(counts, place)
        batches = check(np.arange(9), order, 3)
        assert all(np.argmax(order) in [group for group, _ in batch] for batch in batches)


def test_groups_of_one_query_wait_for_each_other() -> None:
    batches = check(np.array([0, 0, 1, 2, 0, 3]), np.array([2, 2, 4, 4, 2, 2]), 2)
    assert len(batches) == 8
    check(np.array([0, 1, 0, 1, 0, 1]), np.array([1, 2, 3, 3, 2, 1]), 2)  # two queries, both in all of six batches


def test_whatever_the_sizes_nothing_is_lost_and_no_query_meets_itself() -> None:
    draw, tried = np.random.default_rng(0), 0
    while tried < 1000:
        groups = int(draw.integers(1, 40))
        queries = draw.integers(0, draw.integers(1, groups + 1), groups)
        counts = draw.integers(1, draw.integers(2, 30), groups) if draw.random() < 0.5 else draw.geometric(0.1, groups)
        size = int(draw.integers(1, 13))
        if np.bincount(queries, weights=counts).max() <= counts.sum() // size:
            check(queries, counts, size)
            tried += 1


@pytest.mark.parametrize("counts", [np.full(3000, 20), 1 + np.random.default_rng(1).poisson(19, 3000)])
def test_a_batch_is_made_of_neighbours(counts: np.ndarray) -> None:
    for batch in unpacked(packed(np.arange(3000), counts, 32))[:-30]:
        groups = sorted(group for group, _ in batch)
        assert groups[-1] - groups[0] < 4 * 32
