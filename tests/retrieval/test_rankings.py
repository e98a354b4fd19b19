"""Re-ranking and full ranking with a small encoder over real abstracts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from armlib.errors import InputError
from armlib.retrieval.encoding import encode_rows
from armlib.retrieval.exact import ExactSearch
from armlib.retrieval.indexes import build_index
from armlib.retrieval.rankings import full_ranking, rerank, rerank_first_stage, without_own
from words import WordEncoder, WordStore, one_by_one


def test_rerank_is_cosine_similarity_of_each_pair():
    chance = np.random.default_rng(0)
    queries, passages = chance.normal(size=(2, 8)) * 5, chance.normal(size=(4, 8)).astype(np.float32)
    candidates = {"q1": ["a", "b", "c"], "q0": {"d": 9.0, "a": 1.0}}
    run = rerank(candidates, queries, {"q0": 0, "q1": 1}, passages, {"a": 0, "b": 1, "c": 2, "d": 3})
    assert list(run) == ["q1", "q0"] and set(run["q0"]) == {"a", "d"} and set(run["q1"]) == {"a", "b", "c"}
    for query, found in run.items():
        assert list(found.values()) == sorted(found.values(), reverse=True)
        for document, score in found.items():
            q, p = queries[int(query[1])], passages["abcd".index(document)]
            assert score == pytest.approx(q @ p / np.linalg.norm(q) / np.linalg.norm(p), abs=1e-6)
    with pytest.raises(InputError, match="2 of 4 candidates have no vector, the first is 'x'; those with one look like 'a'"):
        rerank({"q0": ["a", "x", "y", "b"]}, queries, {"q0": 0}, passages, {"a": 0, "b": 1})
    with pytest.raises(InputError, match="1 of 1 queries have no vector, the first is 'q9'"):
        rerank({"q9": ["a"]}, queries, {"q0": 0}, passages, {"a": 0})
    with pytest.raises(InputError, match="no queries"):
        rerank({}, queries, {}, passages, {})


def test_first_stage_is_reranked_with_each_passage_encoded_once(stores):
    queries, passages = stores
    encoder = WordEncoder()
    ids = [name.decode() for name in passages.ids]
    names = [name.decode() for name in queries.ids]
    chance = np.random.default_rng(0)
    first_stage = {query: {ids[i]: 1.0 for i in chance.choice(200, 60, replace=False)} for query in names[:10]}
    passages.gathered.clear()
    run = rerank_first_stage(encoder, queries, passages, first_stage, passage_length=100)
    encoded = np.concatenate(passages.gathered)
    assert len(encoded) == len(set(encoded.tolist())) == len({d for found in first_stage.values() for d in found})
    q, p = one_by_one(encoder, queries, range(30), 30), one_by_one(encoder, passages, range(200), 100)
    for query, found in run.items():
        assert set(found) == set(first_stage[query])
        assert list(found.values()) == sorted(found.values(), reverse=True)
        expected = {d: float(q[names.index(query)] @ p[ids.index(d)]) for d in found}
        assert found == pytest.approx(expected, abs=1e-6)
    passages.gathered.clear()
    vectors = encode_rows(encoder, passages, np.arange(1000), 100)
    given = rerank_first_stage(encoder, queries, passages, first_stage, passage_length=100, passage_vectors=vectors)
    assert {query: list(found) for query, found in given.items()} == {query: list(found) for query, found in run.items()}
    with pytest.raises(InputError, match="candidate of the first stage is not in the collection: 1 of 2 ids .* 'absent'"):
        rerank_first_stage(encoder, queries, passages, {names[0]: {ids[0]: 1.0, "absent": 1.0}})
    with pytest.raises(InputError, match="query of the first stage is unknown: .*'absent'"):
        rerank_first_stage(encoder, queries, passages, {"absent": {ids[0]: 1.0}})
    with pytest.raises(InputError, match="no queries"):
        rerank_first_stage(encoder, queries, passages, {})
    with pytest.raises(InputError, match="each of the 1,000 passages, found 999"):
        rerank_first_stage(encoder, queries, passages, first_stage, passage_vectors=vectors[1:])


def test_full_ranking_finds_every_passage_and_tells_recall(stores):
    queries, passages = stores
    encoder = WordEncoder()
    names, ids = [name.decode() for name in queries.ids], [name.decode() for name in passages.ids]
    run, about = full_ranking(encoder, queries, names[::-1], passages, 50, passage_length=100)
    assert list(run) == names[::-1]
    scores = one_by_one(encoder, queries, range(30), 30) @ one_by_one(encoder, passages, range(1000), 100).T
    for row, query in enumerate(names):
        assert list(run[query].values()) == pytest.approx(np.sort(scores[row])[::-1][:50].tolist(), abs=1e-6)
        best = next(iter(run[query]))
        assert scores[row, ids.index(best)] == pytest.approx(scores[row].max(), abs=1e-6)
    assert about["exact"] and about["index"] == "exact" and about["recall"] == {"10": 1.0, "50": 1.0}
    assert [about[name] for name in ("passages", "queries", "k", "found")] == [1000, 30, 50, 50]
    assert set(about["seconds"]) == {"encode queries", "encode passages", "build index", "search"}
    json.dumps(about)

    vectors = encode_rows(encoder, passages, np.arange(1000), 100)
    near, told = full_ranking(encoder, queries, names, passages, 50, "IVF32,Flat:nprobe=4", passage_vectors=vectors)
    assert told["index"] == "IVF32,Flat:nprobe=4" and not told["exact"] and told["recall_queries"] == 30
    measured = np.mean([len(set(near[q]) & set(run[q])) / 50 for q in names])
    assert told["recall"]["50"] == pytest.approx(measured, abs=0.01) and 0.1 < measured < 0.99
    built = build_index(vectors, "IVF32,Flat:nprobe=4")
    assert full_ranking(encoder, queries, names, passages, 50, built, passage_vectors=vectors)[0] == near


def test_queries_that_are_documents_do_not_find_themselves(stores):
    """The next one takes their place, and queries whose id is that of another document by chance keep it."""
    _, passages = stores
    queries = passages
    encoder, names = WordEncoder(), [name.decode() for name in passages.ids[:6]]
    plain, told = full_ranking(encoder, queries, names, passages, 9, passage_length=100, query_length=100)
    longer, _ = full_ranking(encoder, queries, names, passages, 10, passage_length=100, query_length=100)
    run, about = full_ranking(encoder, queries, names, passages, 9, passage_length=100, query_length=100, own=set(names[:3]))
    assert all(query in found for query, found in plain.items()) and list(run) == names
    for query in names[:3]:
        assert list(run[query]) == [document for document in longer[query] if document != query][:9] and len(run[query]) == 9
    assert {query: run[query] for query in names[3:]} == {query: plain[query] for query in names[3:]}
    assert about["k"] == about["found"] == told["k"] == 9 and about["recall"] == told["recall"]
    whole, about = full_ranking(encoder, queries, names, passages, passage_length=100, own=set(names[:3]))
    assert [len(found) for found in whole.values()] == [999] * 3 + [1000] * 3 and about["k"] == 1000 and about["found"] == 999.5
    assert without_own({"a": {"a": 1.0, "b": 0.5}, "b": {"b": 1.0}}, {"a"}) == {"a": {"b": 0.5}, "b": {"b": 1.0}}


def test_results_that_faiss_does_not_find_are_left_out(stores):
    queries, passages = stores
    names = [name.decode() for name in queries.ids]
    run, about = full_ranking(WordEncoder(), queries, names, passages, 5000, "IVF32,Flat:nprobe=1", passage_length=50)
    assert about["k"] == 1000 and about["found"] < 1000
    assert np.mean([len(found) for found in run.values()]) == about["found"]
    assert all(np.isfinite(list(found.values())).all() for found in run.values())


def test_impossible_rankings_are_explained(stores):
    queries, passages = stores
    encoder = WordEncoder()
    with pytest.raises(InputError, match="no queries to search for"):
        full_ranking(encoder, queries, [], passages)
    with pytest.raises(InputError, match="a query is unknown: 1 of 1 ids"):
        full_ranking(encoder, queries, ["absent"], passages)
    with pytest.raises(InputError, match="each of the 1,000 passages, found 10"):
        few = np.eye(10, 64, dtype=np.float32)
        full_ranking(encoder, queries, [queries.ids[0].decode()], passages, passage_vectors=few)


@pytest.mark.parametrize(("index", "whole"), [("IVF8,Flat:nprobe=1", False), ("IVF8,Flat:nprobe=8", True), ("Flat", True)])
def test_recall_is_a_count_of_what_exact_search_found(index, whole):
    """Over texts that come three times each, so that scores tie, and with an index that finds too few for the depth."""
    words = [f"word{number} word{number % 7} word{number % 3}" for number in range(60)]
    passages = WordStore({f"d{number}": words[number % 60] for number in range(180)})
    queries = WordStore({f"q{number}": words[number] for number in range(12)})
    encoder, names = WordEncoder(), [name.decode() for name in queries.ids]
    vectors = encode_rows(encoder, passages, np.arange(180), 20)
    settings = {"passage_vectors": vectors, "query_length": 20}
    run, about = full_ranking(encoder, queries, names, passages, 120, index, **settings)
    built = build_index(vectors, index)
    query_vectors = encode_rows(encoder, queries, np.arange(12), 20)
    found, exact = (searcher.search(query_vectors, 120)[1] for searcher in (built, ExactSearch(vectors)))
    assert (exact >= 0).all() and (found >= 0).all() == whole and about["recall_queries"] == 12
    for depth in (10, 100, 120):
        pairs = zip(found[:, :depth], exact[:, :depth], strict=True)
        direct = np.mean([len({*ours.tolist()} & {*theirs.tolist()}) / depth for ours, theirs in pairs])
        assert about["recall"][str(depth)] == pytest.approx(direct, abs=1e-12)
    assert (about["recall"]["120"] < 0.9) != whole and about["found"] == np.mean([len(each) for each in run.values()])
    json.dumps(about)
