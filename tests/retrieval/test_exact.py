"""Exact search against full products, over SciFact's 5,183 abstracts in 128 dimensions of latent semantic analysis."""

from __future__ import annotations

import tracemalloc

import faiss
import numpy as np
import pytest
import torch

from armlib.retrieval.exact import ExactSearch
from armlib.retrieval.indexes import build_index


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize("block", [700, 65_536])
def test_exact_search_finds_what_a_full_product_does(scifact, exact_rows, device, block):
    passages, queries = scifact
    scores, rows = ExactSearch(passages, device=device, block=block).search(queries, 100)
    assert scores.dtype == np.float32 and rows.dtype == np.int64 and scores.shape == rows.shape == (200, 100)
    # The sums are made in another order, so results within a rounding error may change places.
    expected = np.take_along_axis(queries @ passages.T, exact_rows[:, :100], axis=1)
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert (rows == exact_rows[:, :100]).mean() > 0.999


@pytest.mark.parametrize("make", [ExactSearch, lambda passages: build_index(passages, "Flat")])
def test_faiss_compares_several_queries_by_a_matrix_product(scifact, make, monkeypatch):
    (passages, queries), settings, before = scifact, [], threshold()
    index = make(passages)
    owner, name = (faiss, "knn") if make is ExactSearch else (type(index.faiss_index), "search")
    search = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *given, **options: settings.append(threshold()) or search(*given, **options))
    several, one = index.search(queries[:9], 5), [index.search(query[None], 5) for query in queries[:9]]
    np.testing.assert_allclose(several[0], np.concatenate([scores for scores, _ in one]), atol=1e-6)
    assert settings == [1] + 9 * [before] and threshold() == before > 1


def threshold() -> int:
    return faiss.cvar.distance_compute_blas_threshold


@pytest.mark.parametrize("device", [None, "cpu"])
def test_exact_search_reads_float16_from_disk_in_blocks(tmp_path, scifact, device):
    passages, queries = scifact
    np.save(tmp_path / "all.npy", passages.astype(np.float16))
    mapped = np.load(tmp_path / "all.npy", mmap_mode="r")
    scores, rows = ExactSearch(mapped, device=device, block=1000).search(queries, 10)
    expected = np.sort(queries @ np.asarray(mapped, np.float32).T, axis=1)[:, ::-1][:, :10]
    np.testing.assert_allclose(scores, expected, atol=1e-6)


@pytest.mark.parametrize("device", [None, "cpu"])
def test_equal_scores_come_in_order_and_absent_results_are_marked(device):
    vectors = np.eye(4, dtype=np.float32)[[0, 1, 1, 2, 1]]
    scores, rows = ExactSearch(vectors, device=device, block=2).search(np.eye(4, dtype=np.float32)[[1]], 7)
    assert rows.tolist() == [[1, 2, 4, 0, 3, -1, -1]]
    assert scores.tolist() == [[1, 1, 1, 0, 0, -np.inf, -np.inf]]


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize(("count", "block", "k"), [(1, 1, 3), (23, 5, 23), (60, 7, 4), (60, 60, 12), (61, 20, 100)])
def test_blocks_are_merged_in_the_order_of_scores_and_then_of_rows(device, count, block, k):
    """Scores of few values, so that most of them are shared, also beyond the end of a block."""
    generator = np.random.default_rng(count + block)
    vectors, queries = (np.eye(8, dtype=np.float32)[generator.integers(0, 4, size)] for size in (count, 9))
    scores, rows = ExactSearch(vectors, device=device, block=block).search(queries, k)
    every = queries @ vectors.T
    for query, found_scores, found_rows in zip(every, scores, rows, strict=True):
        expected = np.sort(query)[::-1][:k]
        there = len(expected)
        np.testing.assert_array_equal(found_scores[:there], expected)
        np.testing.assert_array_equal(query[found_rows[:there]], expected)
        assert len(set(found_rows[:there].tolist())) == there and set(found_rows[there:].tolist()) <= {-1}
        for score in set(expected.tolist()):
            alike = found_rows[:there][expected == score]
            assert (np.diff(alike) > 0).all(), "equal scores stand in the order of rows"


def test_results_leave_the_device_once(scifact, monkeypatch):
    copied, cpu = [], torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: copied.append(tuple(tensor.shape)) or cpu(tensor))
    ExactSearch(scifact[0], device="cpu", block=700).search(scifact[1], 10)
    assert copied == [(200, 10), (200, 10)], "scores and rows of all queries and blocks"


def test_exact_search_needs_memory_for_a_block_only(tmp_path, scifact):
    np.save(tmp_path / "many.npy", np.tile(scifact[0].astype(np.float16), (20, 1)))
    search = ExactSearch(np.load(tmp_path / "many.npy", mmap_mode="r"), block=2000)
    tracemalloc.start()
    search.search(scifact[1][:50], 10)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * 2000 * 128 * 4 < 103_660 * 128 * 2 / 8
