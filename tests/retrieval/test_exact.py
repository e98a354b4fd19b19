"""Exact search against full products, over SciFact's 5,183 abstracts in 128 dimensions of latent semantic analysis."""

from __future__ import annotations

import tracemalloc

import faiss
import numpy as np
import pytest

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


def test_exact_search_needs_memory_for_a_block_only(tmp_path, scifact):
    np.save(tmp_path / "many.npy", np.tile(scifact[0].astype(np.float16), (20, 1)))
    search = ExactSearch(np.load(tmp_path / "many.npy", mmap_mode="r"), block=2000)
    tracemalloc.start()
    search.search(scifact[1][:50], 10)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * 2000 * 128 * 4 < 103_660 * 128 * 2 / 8
