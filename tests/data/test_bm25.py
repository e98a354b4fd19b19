"""BM25: scores by hand, ties, storage, mining, and the scores published for the real collections."""

from __future__ import annotations

import json
import math

import pytest
from ir_measures import calc_aggregate, nDCG

from armlib.data.bm25 import BM25
from armlib.data.negatives import mine_negatives
from armlib.data.text_files import columns, numbered_lines
from armlib.errors import InputError
from armlib.names import load_collection

DOCUMENTS = [
    ("d1", "The cat sat on the mat"),
    ("d2", "a dog and another dog"),
    ("d3", "cats, mats and dogs"),
    ("d4", "the dog sat with the cat"),
]


def test_scores_are_those_of_the_formula():
    index = BM25.build(DOCUMENTS)
    # Words without stop words: d1 cat sat mat; d2 dog another dog; d3 cats mats dogs; d4 dog sat cat. Mean length 3.
    idf = math.log(1 + (4 - 2 + 0.5) / (2 + 0.5))
    once, twice = 1 / (1 + 0.9), 2 / (2 + 0.9)
    run = index.search({"q": "the dog"}, 10)
    assert run["q"] == pytest.approx({"d2": idf * twice, "d4": idf * once}, rel=1e-6)
    assert list(run["q"]) == ["d2", "d4"]


def test_equal_scores_keep_the_order_of_the_documents():
    index = BM25.build((f"d{number}", "same words here" if number != 7 else "same same words") for number in range(50))
    run = index.search({"q": "same"}, 5)
    assert list(run["q"]) == ["d7", "d0", "d1", "d2", "d3"]


def test_only_documents_that_share_a_word_are_found():
    run = BM25.build(DOCUMENTS).search({"none": "zebra", "stop": "the and", "cat": "CAT!", "empty": ""}, 10)
    assert run["none"] == run["stop"] == run["empty"] == {}
    assert set(run["cat"]) == {"d1", "d4"}


def test_an_index_is_read_as_it_was_built(tmp_path):
    index = BM25.build(DOCUMENTS)
    index.save(tmp_path)
    again = BM25.load(tmp_path)
    queries = {"a": "cat on a mat", "b": "dogs"}
    assert again.search(queries, 3) == index.search(queries, 3)
    assert again.ids == ["d1", "d2", "d3", "d4"] and len(again) == 4


def test_a_damaged_index_is_built_again(tmp_path, monkeypatch):
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path))
    passes = []

    def documents():
        passes.append(1)
        return iter(DOCUMENTS)

    BM25.cached("key", documents)
    expected = BM25.cached("key", documents).search({"q": "cat"}, 4)
    assert len(passes) == 1
    with open(tmp_path / "bm25" / "key" / "data.csc.index.npy", "r+b") as file:
        file.seek(-3, 2)
        file.write(b"\xff\xff\xff")
    with pytest.warns(UserWarning, match="BM25 index in .* is damaged"):
        assert BM25.cached("key", documents).search({"q": "cat"}, 4) == expected
    assert len(passes) == 2


def test_nothing_to_index():
    with pytest.raises(InputError, match="0 documents without a single word"):
        BM25.build([])
    with pytest.raises(InputError, match="1 documents without a single word"):
        BM25.build([("a", "the of and")])


def test_negatives_are_drawn_from_what_is_not_judged_relevant():
    index = BM25.build((f"d{number}", f"apple number{number}") for number in range(200))
    queries = {"q": "apple", "unjudged": "apple"}
    qrels = {"q": {"d1": 2, "d2": 1, "d3": 0, "d500": 2}, "textless": {"d1": 1}}
    triples = list(mine_negatives(index, queries, qrels, relevant_from=2, exclude=lambda query: {"d4"}))
    assert [positive for _, positive, _ in triples] == ["d1"] * 10 + ["d500"] * 10
    negatives = {negative for _, _, negative in triples}
    assert not negatives & {"d1", "d2", "d4"}
    assert all(int(negative[1:]) < 100 for negative in negatives), "from the best 100 only"
    assert len({negative for _, positive, negative in triples if positive == "d1"}) == 10, "without replacement"
    assert triples == list(mine_negatives(index, queries, qrels, relevant_from=2, exclude=lambda query: {"d4"}))
    assert triples != list(mine_negatives(index, queries, qrels, relevant_from=2, exclude=lambda query: {"d4"}, seed=1))


def test_fewer_candidates_give_fewer_negatives():
    index = BM25.build(DOCUMENTS)
    assert list(mine_negatives(index, {"q": "cat"}, {"q": {"d1": 1}})) == [("q", "d1", "d4")]


@pytest.mark.parametrize(
    ("folder", "split", "expected"),
    [("scifact", "test", 0.657), ("cranfield", "test", 0.316), ("msmarco-mini", "dev", 0.739)]
    + [("msmarco-mini", "dl19", 0.433), ("msmarco-mini", "dl20", 0.480)],
)
def test_real_collections_score_what_is_stated_for_them(shared_data, folder, split, expected):
    def rows(name):
        path = next(path for path in (shared_data / folder / name, shared_data / folder / f"{name}.gz") if path.exists())
        return [json.loads(line) for _, line in numbered_lines(path)]

    documents = ((row["_id"], f"{row.get('title') or ''} {row['text']}") for row in rows("corpus.jsonl"))
    qrels: dict[str, dict[str, int]] = {}
    for _, (query, document, grade) in list(columns(shared_data / folder / f"qrels/{split}.tsv", ("q", "d", "g")))[1:]:
        qrels.setdefault(query, {})[document] = int(grade)
    queries = {row["_id"]: row["text"] for row in rows("queries.jsonl") if row["_id"] in qrels}
    index = BM25.cached(f"test-{folder}", lambda: documents)
    assert calc_aggregate([nDCG @ 10], qrels, index.search(queries, 100))[nDCG @ 10] == pytest.approx(expected, abs=6e-4)


def test_the_index_of_a_collection_is_shared_by_its_splits(shared_data):
    train, test = (load_collection(shared_data / "scifact" / split) for split in ("train", "test"))
    assert train.corpus.bm25() is test.corpus.bm25()
    assert train.corpus.bm25().ids == [document.id for document in test.documents()]
