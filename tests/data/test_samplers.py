"""Samplers: permutations that are never made, batches that are a function of seed, epoch and step."""

from __future__ import annotations

import numpy as np
import pytest

from armlib.data.samplers import RandomSampler, parse_sampler, shuffled
from armlib.errors import InputError


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


def test_an_epoch_has_whole_batches_and_no_example_twice() -> None:
    sampler = parse_sampler("random")(103, 10, 5)
    assert isinstance(sampler, RandomSampler) and sampler.steps_per_epoch == 10
    batches = [sampler.positions(0, step) for step in range(10)]
    assert {batch.dtype for batch in batches} == {np.dtype(np.int64)} and {len(batch) for batch in batches} == {10}
    assert len(set(np.concatenate(batches).tolist())) == 100
    again = parse_sampler("random")(103, 10, 5)
    np.testing.assert_array_equal(again.positions(0, 7), batches[7])  # no step before it was asked for
    others = [sampler.positions(1, 7), parse_sampler("random")(103, 10, 6).positions(0, 7)]
    assert all(batches[7].tolist() != other.tolist() for other in others)


def test_what_cannot_be_sampled_is_refused() -> None:
    with pytest.raises(InputError, match="^a batch of 11 triples cannot be made: there are only 10$"):
        parse_sampler("random")(10, 11, 0)
    with pytest.raises(InputError, match=r"^unknown sampler 'rndom'; did you mean 'random'\? \(available: random\)$"):
        parse_sampler("rndom")
    with pytest.raises(InputError, match=r"^the sampler 'random\(3\)' cannot be read: expected random$"):
        parse_sampler("random(3)")
