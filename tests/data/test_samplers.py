"""Samplers: batches that are a function of seed, epoch and step, about topics, balanced by margins, or of neighbours."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import chisquare

from armlib.data.samplers import ByTopic, Clustered, Examples, RandomSampler, Sampler, parse_sampler
from armlib.errors import InputError


def numbered(count: int) -> Examples:
    """Examples each of a query of its own."""
    return Examples(np.arange(count))


def grouped(queries: list[int], clusters: list[int], margins: list[float] | None = None) -> Examples:
    """Examples whose clusters and margins are said."""
    return Examples(np.array(queries), lambda k, encoder: np.array(clusters), lambda by: np.array(margins))


# 40 queries in five clusters of 8, 8, 8, 15 and 1 (numbers 2 and 5 have none), with 1 to 12 triples each.
SIZES = {0: 8, 1: 8, 3: 8, 4: 15, 6: 1}
CLUSTERS = np.repeat(list(SIZES), list(SIZES.values()))
TRIPLES = 1 + np.arange(40) % 12
QUERIES = np.random.default_rng(0).permutation(np.repeat(np.arange(40), TRIPLES))
TOPICS = grouped(QUERIES.tolist(), CLUSTERS[QUERIES].tolist(), np.random.default_rng(1).exponential(size=len(QUERIES)).tolist())


def batches_of(sampler: Sampler, count: int) -> list[np.ndarray]:
    return [sampler.positions(*divmod(step, sampler.steps_per_epoch)) for step in range(count)]


def test_an_epoch_has_whole_batches_and_no_example_twice() -> None:
    sampler = parse_sampler("random")(numbered(103), 10, 5)
    assert isinstance(sampler, RandomSampler) and sampler.steps_per_epoch == 10
    batches = [sampler.positions(0, step) for step in range(10)]
    assert {batch.dtype for batch in batches} == {np.dtype(np.int64)} and {len(batch) for batch in batches} == {10}
    assert len(set(np.concatenate(batches).tolist())) == 100
    again = parse_sampler("random")(numbered(103), 10, 5)
    np.testing.assert_array_equal(again.positions(0, 7), batches[7])  # no step before it was asked for
    others = [sampler.positions(1, 7), parse_sampler("random")(numbered(103), 10, 6).positions(0, 7)]
    assert all(batches[7].tolist() != other.tolist() for other in others)


def test_what_cannot_be_sampled_is_refused() -> None:
    with pytest.raises(InputError, match="^a batch of 11 triples cannot be made: there are only 10$"):
        parse_sampler("random")(numbered(10), 11, 0)
    with pytest.raises(
        InputError,
        match=r"^unknown sampler 'rndom'; did you mean 'random'\? \(available: balanced, clustered, random, topic-aware\)$",
    ):
        parse_sampler("rndom")
    with pytest.raises(InputError, match=r"^the sampler 'random\(3\)' cannot be read: expected random$"):
        parse_sampler("random(3)")


def test_random_batches_stay_what_they_were() -> None:
    assert RandomSampler(numbered(1000), 8, 3).positions(2, 5).tolist() == [537, 711, 827, 571, 719, 255, 518, 368]


def test_a_batch_is_of_one_cluster_where_it_is_large_enough() -> None:
    for batch in batches_of(parse_sampler("topic-aware(7)")(TOPICS, 8, 0), 200):
        assert batch.shape == (8,) and batch.dtype == np.int64
        found = CLUSTERS[QUERIES[batch]].tolist()
        if 6 not in found:
            assert len(set(found)) == 1 and len(set(QUERIES[batch])) == 8
        else:
            assert found.count(6) < 8, "the cluster of one query is filled up from others"


@pytest.mark.parametrize(("size", "clusters_per_batch"), [(25, 1), (9, 4), (30, 2)])
def test_further_clusters_follow_until_the_batch_is_full(size: int, clusters_per_batch: int) -> None:
    """Each draw is of distinct queries of one cluster, all of it or its share of the batch; the last one is cut."""
    sampler = parse_sampler(f"topic-aware(7, clusters_per_batch={clusters_per_batch})")(TOPICS, size, 0)
    for batch in batches_of(sampler, 50):
        queries, start = QUERIES[batch], 0
        while start < size:
            cluster = CLUSTERS[queries[start]]
            drawn = min(SIZES[cluster], size // clusters_per_batch, size - start)
            assert len(set(queries[start : start + drawn])) == drawn
            assert set(CLUSTERS[queries[start : start + drawn]]) == {cluster}
            start += drawn


def test_clusters_queries_bins_and_triples_are_drawn_uniformly() -> None:
    batches = np.stack(batches_of(parse_sampler("topic-aware(7)")(TOPICS, 1, 5), 8_000))[:, 0]
    clusters = np.unique(CLUSTERS[QUERIES[batches]], return_counts=True)
    assert clusters[0].tolist() == list(SIZES) and chisquare(clusters[1]).pvalue > 0.01
    of_one = QUERIES[batches][CLUSTERS[QUERIES[batches]] == 4]
    assert chisquare(np.unique(of_one, return_counts=True)[1]).pvalue > 0.01
    of_query = batches[QUERIES[batches] == 11]  # it has twelve triples
    assert len(set(of_query)) == 12 and chisquare(np.unique(of_query, return_counts=True)[1]).pvalue > 0.01


def test_bins_are_balanced() -> None:
    """One query: 97 margins near 0, one at 5.5 and two at 10, so three bins that are not empty."""
    examples = grouped([3] * 100, [0] * 100, [*np.linspace(0, 0.9, 97), 5.5, 10.0, 10.0])
    drawn = np.concatenate(batches_of(parse_sampler("balanced(1)")(examples, 1, 0), 4000))
    assert chisquare([np.sum(drawn < 97), np.sum(drawn == 97), np.sum(drawn > 97)]).pvalue > 0.01
    assert chisquare(np.unique(drawn[drawn < 97], return_counts=True)[1]).pvalue > 0.01
    # Two bins: below 5, and the rest.
    halves = np.concatenate(batches_of(parse_sampler("balanced(1, bins=2)")(examples, 1, 0), 4000))
    assert chisquare([np.sum(halves < 97), np.sum(halves >= 97)]).pvalue > 0.01


def test_equal_margins_and_single_triples_are_one_bin() -> None:
    examples = grouped([3, 3, 3, 3, 8], [0] * 5, [2.0, 2.0, 2.0, 2.0, -1.0])
    drawn = np.concatenate(batches_of(parse_sampler("balanced(1)")(examples, 2, 0), 4000))
    counts = np.unique(drawn, return_counts=True)[1]
    assert counts[4] == 4000 and chisquare(counts[:4]).pvalue > 0.01


# 60 queries in clusters of 12 pairs, every sixth query with a second positive in the next cluster; 1 to 12 triples a pair.
PAIRS = [(query, query // 12) for query in range(60)] + [(query, (query // 12 + 1) % 5) for query in range(0, 60, 6)]
PAIR_OF = np.random.default_rng(2).permutation(np.repeat(np.arange(70), 1 + np.arange(70) % 12))
NEAR = Examples(
    np.array([PAIRS[pair][0] for pair in PAIR_OF]), pair_clusters=lambda *asked: np.array([PAIRS[pair][1] for pair in PAIR_OF])
)


def epoch_of(sampler: Sampler, epoch: int) -> np.ndarray:
    return np.stack([sampler.positions(epoch, step) for step in range(sampler.steps_per_epoch)])


@pytest.mark.parametrize("name", ["clustered(12)", "clustered(12, order='tour')"])
@pytest.mark.parametrize("size", [1, 7, 10, 16, 26])  # in 17 batches of 26, a query with 17 examples is in each
def test_an_epoch_of_clusters_has_every_example_once_and_no_query_twice_in_a_batch(name: str, size: int) -> None:
    sampler, left_out = parse_sampler(name)(NEAR, size, 4), []
    assert sampler.steps_per_epoch == len(PAIR_OF) // size
    for epoch in range(4):
        batches = epoch_of(sampler, epoch)
        assert batches.shape == (sampler.steps_per_epoch, size) and batches.dtype == np.int64
        assert all(len(set(NEAR.queries[batch])) == size for batch in batches)
        assert len(set(batches.ravel().tolist())) == batches.size
        left_out.append(set(range(len(PAIR_OF))) - set(batches.ravel().tolist()))
        assert len(left_out[-1]) == len(PAIR_OF) % size
    assert len(PAIR_OF) % size == 0 or any(each != left_out[0] for each in left_out[1:])


def test_batches_of_clusters_are_of_few_clusters_and_in_random_order() -> None:
    """Ten clusters of 64 queries with four triples each, in batches of 32: eight batches of each cluster, anywhere."""
    queries = np.repeat(np.arange(640), 4)
    examples = Examples(queries, pair_clusters=lambda *asked: queries // 64)
    sampler = parse_sampler("clustered(64)")(examples, 32, 0)
    found = queries[epoch_of(sampler, 0)] // 64  # (80, 32)
    assert (found == found[:, :1]).all()
    orders = [(queries[epoch_of(sampler, epoch)] // 64)[:, 0].tolist() for epoch in (0, 1)]
    assert sorted(orders[0]) == sorted(orders[1]) == np.repeat(np.arange(10), 8).tolist()
    assert orders[0] != orders[1] and np.count_nonzero(np.diff(orders[0])) > 40, "the batches are shuffled, not the clusters alone"
    companions = [{frozenset(batch.tolist()) for batch in queries[epoch_of(sampler, epoch)]} for epoch in (0, 1)]
    assert not companions[0] & companions[1], "a cluster is cut at other places in every epoch"


def test_a_batch_of_several_clusters_has_neighbours_of_the_tour() -> None:
    """Twenty clusters of eight queries, two in a batch: any two at random, two that follow each other on the tour."""
    queries = np.repeat(np.arange(160), 5)
    examples = Examples(queries, pair_clusters=lambda *asked: queries // 8)
    for name, along in (("clustered(8)", False), ("clustered(8, order='tour')", True)):
        steps = []
        for epoch in range(3):
            for batch in queries[epoch_of(parse_sampler(name)(examples, 16, 1), epoch)] // 8:
                first, second = np.unique(batch).tolist()
                steps.append((second - first) in (1, 19))
        assert all(steps) is along


def test_clusters_are_asked_for_with_size_encoder_and_order() -> None:
    asked: list[tuple] = []

    def pair_clusters(*given: object) -> np.ndarray:
        asked.append(given)
        return np.zeros(len(NEAR.queries), np.int32)

    for name in ("clustered", "clustered(5, order='tour', encoder='other')"):
        parse_sampler(name)(Examples(NEAR.queries, pair_clusters=pair_clusters), 8, 0)
    assert asked == [(256, "", False), (5, "other", True)]


def test_a_query_with_more_triples_than_batches_is_refused() -> None:
    examples = Examples(np.array([0] * 6 + list(range(1, 15))), pair_clusters=lambda *asked: np.zeros(20, np.int32))
    sentence = (
        "^a query has 6 of the 20 triples, and can be in each of the 5 batches of 4 only once; expected a smaller batch_size$"
    )
    with pytest.raises(InputError, match=sentence):
        parse_sampler("clustered")(examples, 4, 0)
    assert (epoch_of(parse_sampler("clustered")(examples, 3, 0), 0) < 6).any(axis=1).all(), "it is in each of six batches"


@pytest.mark.parametrize("name", ["topic-aware(7)", "balanced(7)", "balanced(7, by='student')", "topic-aware(7, 2)"])
def test_any_step_can_be_asked_for_alone(name: str) -> None:
    sampler = parse_sampler(name)(TOPICS, 10, 3)
    assert sampler.steps_per_epoch == len(QUERIES) // 10
    whole = batches_of(sampler, 50)
    for step in (49, 0, 26, 26):
        again = parse_sampler(name)(TOPICS, 10, 3)
        np.testing.assert_array_equal(again.positions(*divmod(step, again.steps_per_epoch)), whole[step])
    assert len({tuple(batch.tolist()) for batch in whole}) == 50, "epochs and steps differ"
    assert whole[0].tolist() != parse_sampler(name)(TOPICS, 10, 4).positions(0, 0).tolist()


@pytest.mark.parametrize("name", ["clustered(12)", "clustered(12, order='tour')"])
def test_any_step_of_clusters_can_be_asked_for_alone(name: str) -> None:
    sampler = parse_sampler(name)(NEAR, 10, 3)
    whole = batches_of(sampler, 3 * sampler.steps_per_epoch)
    for step in (len(whole) - 1, 0, 26, 26):
        again = pickle.loads(pickle.dumps(parse_sampler(name)(NEAR, 10, 3)))  # as it is sent to other processes
        np.testing.assert_array_equal(again.positions(*divmod(step, again.steps_per_epoch)), whole[step])
    assert whole[0].tolist() != parse_sampler(name)(NEAR, 10, 4).positions(0, 0).tolist()


def test_what_a_sampler_asks_for() -> None:
    asked: list[tuple] = []

    def clusters(*given: object) -> np.ndarray:
        asked.append(given)
        return CLUSTERS[QUERIES]

    def margins(by: str) -> np.ndarray:
        asked.append((by,))
        return np.zeros(len(QUERIES))

    examples = Examples(QUERIES, clusters, margins)
    RandomSampler(examples, 8, 0)
    assert asked == []
    parse_sampler("topic-aware(7, encoder='other')")(examples, 8, 0)
    parse_sampler("balanced(6, by='student')")(examples, 8, 0)
    assert set(asked) == {(7, "other"), ("student",), (6, "")} and len(asked) == 3


PRINTED = """
import json, numpy as np
from armlib.data.samplers import Examples, parse_sampler
queries = np.random.default_rng(0).integers(0, 300, 5000)
examples = Examples(
    queries, lambda k, encoder: queries % k, lambda by: np.sin(np.arange(5000.0)), lambda size, encoder, tour: queries // size
)
samplers = [parse_sampler(name)(examples, 20, 1) for name in ("balanced(9)", "clustered(30)")]
print(json.dumps([sampler.positions(0, step).tolist() for sampler in samplers for step in range(5)]))
"""


def test_batches_are_equal_whatever_the_hash_seed(tmp_path) -> None:
    found = []
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "ARMLIB_CACHE": str(tmp_path / seed)}
        done = subprocess.run([sys.executable, "-c", PRINTED], env=environment, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout))
    assert found[0] == found[1]


def test_settings_are_written_in_one_way() -> None:
    assert parse_sampler("Topic-Aware( k=5 )") == ByTopic(5, 1, "")
    for text in ("topic-aware(5)", "topic-aware(5, clusters_per_batch=2, encoder='lsa/mpnet')", "balanced(5, by='student')"):
        assert str(parse_sampler(text)) == text
    assert str(parse_sampler("balanced(5, 10, 'teacher', 1)")) == "balanced(5)"
    assert parse_sampler("Clustered( size=9 )") == Clustered(9) and str(parse_sampler("clustered")) == "clustered(256)"
    text = "clustered(9, order='tour', encoder='lsa/mpnet')"
    assert str(parse_sampler(text)) == text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("topic-aware", r"cannot be read: expected topic-aware\(k, clusters_per_batch=1, encoder=''\)$"),
        ("topic-aware(0)", "^k of topic-aware must be a whole number of at least 1, not 0$"),
        ("topic-aware(2.0)", "^k of topic-aware must be a whole number of at least 1, not 2.0$"),
        ("topic-aware(True)", "^k of topic-aware must be a whole number of at least 1, not True$"),
        ("topic-aware(5, encoder=3)", "^encoder of topic-aware must be the quoted name of an encoder, not 3$"),
        ("balanced(5, bins=0)", "^bins of balanced must be a whole number from 1 to 1000, not 0$"),
        ("balanced(5, by='teachers')", "^by of balanced must be 'teacher' or 'student', not 'teachers'$"),
        ("clustered(0)", "^size of clustered must be a whole number of at least 1, not 0$"),
        ("clustered(2.5)", "^size of clustered must be a whole number of at least 1, not 2.5$"),
        ("clustered(9, 'tours')", r"^unknown order of clustered 'tours'; did you mean 'tour'\? \(available: random, tour\)$"),
        ("clustered(9, order=1)", "^unknown order of clustered '1'"),
        ("clustered(9, encoder=3)", "^encoder of clustered must be the quoted name of an encoder, not 3$"),
        ("balanced(5, by='')", "^by of balanced must be 'teacher' or 'student', not ''$"),
    ],
)
def test_settings_that_cannot_be_are_refused(text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        parse_sampler(text)


def test_what_cannot_be_sampled_by_topic_is_refused() -> None:
    with pytest.raises(InputError, match="^a batch of 8 triples cannot be of 9 clusters of queries$"):
        parse_sampler("topic-aware(7, clusters_per_batch=9)")(TOPICS, 8, 0)
    with pytest.raises(InputError, match="^a batch of 1000 triples cannot be made: there are only"):
        parse_sampler("topic-aware(7)")(TOPICS, 1000, 0)
    with pytest.raises(InputError, match="row numbers alone, without clusters or margins; expected the sampler 'random'$"):
        parse_sampler("topic-aware(7)")(numbered(20), 8, 0)
    with pytest.raises(InputError, match="row numbers alone, without clusters or margins; expected the sampler 'random'$"):
        parse_sampler("clustered(7)")(numbered(20), 8, 0)
