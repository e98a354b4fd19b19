"""Sweeps of indexes over real text: what is measured is what the indexes do, and what is computed agrees with it."""

from __future__ import annotations

from dataclasses import replace

import faiss
import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from armbook.index_costs.growth import best_recall, exponents, grow, index_bytes, one_list, projection, synthetic
from armbook.index_costs.measurements import (
    FLAT,
    HNSW,
    IVF,
    KINDS,
    PAPER,
    RELEASED_PARAMETERS,
    IndexMeasurements,
    Searched,
    build,
    encoded,
    measure_indexes,
    settings,
)
from armlib.errors import InputError
from armlib.evaluation.measures import evaluate
from armlib.names import load_collection
from armlib.retrieval.exact import ExactSearch
from armlib.retrieval.indexes import build_index
from armlib.retrieval.rankings import to_run
from fabricated import fabricated


@pytest.fixture(scope="module")
def searched(small_store, small_experiment) -> Searched:
    return encoded(small_store.result(small_experiment))


@pytest.fixture(scope="module")
def costs(searched) -> IndexMeasurements:
    return measure_indexes(searched, training=512, rounds=3, batch=16)


def test_passages_and_judged_queries_are_encoded(searched, small_experiment) -> None:
    collection = load_collection(small_experiment.evaluation[0])
    names = [each.id for each in collection.documents()]
    assert [name.decode() for name in searched.ids] == names and searched.vectors.shape == (len(names), 32)
    assert searched.collections == {collection.name: list(collection.qrels())}
    assert len(searched.queries) == len(collection.qrels())
    np.testing.assert_allclose(np.linalg.norm(searched.queries, axis=1), 1, atol=1e-5)


def test_the_sweep_starts_with_exact_search_and_has_the_released_code_once() -> None:
    points = settings(20_000)
    assert points[0].kind == FLAT and [point.parameters for point in points if point.released] == [RELEASED_PARAMETERS]
    probes = [point.parameters["nprobe"] for point in points if point.kind == IVF]
    assert probes == [1, 2, 8, 32, 128, 512, 593]
    assert all(point.parameters["efSearch"] >= point.parameters["nprobe"] for point in points if point.kind == PAPER)
    assert {point.kind for point in settings(20_000, [HNSW])} == {HNSW}
    assert max(point.parameters["nprobe"] for point in settings(8_841_823) if point.kind == IVF) == 2048


def test_every_setting_is_measured(costs, searched) -> None:
    table, count = costs.table, len(searched.ids)
    assert list(table.kind.unique()) == list(KINDS) and len(table) == len(settings(count))
    exact, whole = table[table.kind == FLAT].iloc[0], min(1000, count)
    assert costs.depth == whole
    assert exact[["recall@10", "recall@100", f"recall@{whole}"]].tolist() == [1, 1, 1]
    assert exact.found == whole and exact.compared == count and exact["bytes a vector"] == pytest.approx(4 * 32, abs=0.5)
    assert (table["ms low"] <= table.ms).all() and (table.ms <= table["ms high"]).all() and (table["ms low"] > 0).all()
    full = table[(table.kind == IVF) & (table.nprobe == table.nprobe.max())].iloc[0]
    assert full.compared == count and full[f"recall@{whole}"] == 1
    assert costs.made["machine"]["threads"] == 1


def test_recall_and_scores_are_those_of_the_index_itself(costs, searched) -> None:
    depth, released = costs.depth, costs.released
    with threadpool_limits(1):
        index = build_index(searched.vectors, "paper:nprobe=1,efSearch=16,k_factor=1", threads=1, training=512)
    values, rows = index.search(searched.queries, depth)
    exact = ExactSearch(searched.vectors).search(searched.queries, depth)[1]
    assert released["index"] == index.specification
    shared = [len(set(approximate) & set(true)) / depth for approximate, true in zip(rows.tolist(), exact.tolist(), strict=True)]
    assert released[f"recall@{depth}"] == pytest.approx(np.mean(shared))
    assert released.found == (rows >= 0).sum(axis=1).mean() == released.compared < len(searched.ids) / 4
    ((name, queries),) = searched.collections.items()
    expected = evaluate(to_run(values, rows, queries, searched.ids), load_collection(name).qrels(), ["nDCG@10", "R@1000"]).mean
    scored = costs.scores[costs.scores.released].set_index("measure")
    for measure, value in scored.value.items():
        assert value == pytest.approx(expected[measure.replace("(rel=1)", "")])
    assert (scored.difference == scored.value - scored.exact).all()
    assert (costs.scores[costs.scores.kind == FLAT].difference == 0).all()


def test_a_query_finds_no_more_than_one_list_holds(costs) -> None:
    found = one_list(costs).value
    assert found["passages"] == costs.list_sizes.sum() and found["expected size"] == pytest.approx(costs.list_sizes.mean())
    assert found["expected size"] <= found["expected size, weighted"] <= found["largest list"]
    assert costs.released[f"recall@{costs.depth}"] <= found["bound"] < 1
    without = replace(costs, table=costs.table[~costs.table.released])
    with pytest.raises(InputError, match="lack 'paper'"):
        one_list(without)


def test_computed_bytes_are_those_of_built_indexes(searched) -> None:
    vectors = synthetic(searched.vectors, 3000)
    built = build(vectors, KINDS, training=512)
    tables = 32 * 32 * 4 + 256 * 32 * 4  # the rotation and the codes' centroids, which do not grow
    for kind, (index, seconds) in built.items():
        size = faiss.serialize_index(index.faiss_index).nbytes - (tables if kind == PAPER else 0)
        assert size == pytest.approx(index_bytes(kind, 3000, 32), rel=0.02), kind
        assert seconds > 0 and len(index) == 3000


def test_the_papers_size_is_arithmetic() -> None:
    table = projection().set_index("index")
    assert table["memory, GB"]["flat, float16"] == table["GB read a query"]["flat, float16"] == 8_841_823 * 768 * 2 / 1e9
    assert table["passages compared"]["paper's factory, as released"] == pytest.approx(33.7, abs=0.05)
    released = table["GB read a query"]["paper's factory, as released"]
    assert released == pytest.approx(8_841_823 / 262_144 * (40 + 3072) / 1e9)
    assert table["memory, GB"]["flat, float32"] < table["memory, GB"]["paper's factory, as released"] < 29
    assert projection(1000, 32)["passages compared"].max() == 1000


def test_synthetic_vectors_lie_as_near_to_real_ones_as_these_to_each_other(searched) -> None:
    real = np.asarray(searched.vectors[:])
    made, more = synthetic(real, 500, seed=3), synthetic(real, 900, seed=3)
    np.testing.assert_array_equal(made, more[:500])
    assert not np.array_equal(made, synthetic(real, 500, seed=4))
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)
    among = real @ real.T
    np.fill_diagonal(among, -1)
    nearest, to_real = among.max(axis=1), (made @ real.T).max(axis=1)
    assert to_real.min() >= nearest.min() - 1e-5
    assert abs(np.median(to_real) - np.median(nearest)) < 0.05


def test_growth_is_timed_at_every_size(searched) -> None:
    table = grow(searched, [300, 600], rounds=1, batch=4, flat_sizes=[1200])
    assert table.groupby("kind", sort=False)["size"].unique().map(list).to_dict() == {
        FLAT: [300, 600, 1200],
        IVF: [300, 600],
        HNSW: [300, 600],
        PAPER: [300, 600],
    }
    assert table[table.released]["index"].str.contains("nprobe=1,efSearch=16").all() and table.released.sum() == 2
    found = exponents(table.assign(ms=table["size"] ** 0.5)).set_index("kind")
    assert found.exponent.to_numpy() == pytest.approx(0.5) and list(zip(found.index, found.released, strict=True)) == [
        *((kind, False) for kind in KINDS),
        (PAPER, True),
    ]
    assert found["from"][FLAT] == 600 and found["to"][FLAT] == 1200
    assert exponents(table[table["size"] == 300]).empty


def test_the_bound_by_judgments_counts_relevant_passages(searched, small_experiment) -> None:
    collection = load_collection(small_experiment.evaluation[0])
    table = best_recall(searched, 0.5)
    assert table.collection.tolist() == [collection.name] and table.relevant.tolist() == [1.0]
    assert table.bound.tolist() == [0.5] and best_recall(searched, 40.0).bound.tolist() == [1.0]


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda searched: measure_indexes(searched, ["HSNW"]), "'HSNW'.*did you mean 'HNSW'"),
        (lambda searched: measure_indexes(searched, rounds=0), "at least 1 round"),
        (lambda searched: grow(searched, []), "expected sizes, rounds and a batch of at least 1"),
        (lambda searched: grow(searched, [100]), "needs 256 vectors or more"),
    ],
)
def test_impossible_requests_are_refused(searched, call, complaint) -> None:
    with pytest.raises(InputError, match=complaint):
        call(searched)


def test_an_experiment_without_evaluation_is_refused(small_store, small_experiment) -> None:
    unmeasured = fabricated(replace(small_experiment, evaluation=("none",)))
    with pytest.raises(InputError, match="names no collection to measure on"):
        encoded(replace(unmeasured, folder=small_store.result(small_experiment).folder))


def test_tables_have_one_type_a_column(costs) -> None:
    assert {str(costs.table[name].dtype) for name in RELEASED_PARAMETERS} == {"Int64"} and costs.table.released.dtype == bool
    assert isinstance(costs.scores, pd.DataFrame) and not costs.scores[["value", "exact", "difference"]].isna().any().any()
