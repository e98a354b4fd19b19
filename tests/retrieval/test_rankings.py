"""Encoding, re-ranking and full ranking with a small encoder over real abstracts."""

from __future__ import annotations

import json
import re
import resource
import zlib

import numpy as np
import pytest
import torch
from torch import nn

from armlib.errors import InputError
from armlib.retrieval.indexes import build_index
from armlib.retrieval.rankings import encode_collection, encode_rows, encode_shards, full_ranking, rerank, rerank_first_stage
from armlib.retrieval.vectors import ShardedVectors


class WordStore:
    """A token store with a word for a token, numbered by its checksum."""

    def __init__(self, texts: dict[str, str]) -> None:
        self.ids = np.array([name.encode() for name in texts])
        self.tokens = [[1] + [2 + zlib.crc32(w.encode()) % 4000 for w in re.findall(r"\w+", t.lower())] for t in texts.values()]
        self.lengths = np.array(list(map(len, self.tokens)))
        self.key = f"{zlib.crc32(repr(texts).encode()):08x}"
        self.gathered: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, ids):
        place = {name.decode(): row for row, name in enumerate(self.ids)}
        missing = [name for name in ids if name not in place]
        if missing:
            raise InputError(f"{len(missing)} of {len(ids)} ids are not in the store, the first is {missing[0]!r}")
        return np.array([place[name] for name in ids])

    def gather(self, rows, max_length):
        self.gathered.append(rows)
        lengths = np.minimum(self.lengths[rows], max_length)
        ids = np.zeros((len(rows), lengths.max()), np.int64)
        for i, row in enumerate(rows):
            ids[i, : lengths[i]] = self.tokens[row][: lengths[i]]
        return ids, lengths


class WordEncoder(nn.Module):
    """The mean of word vectors, with dropout to show whether it is on."""

    dim = 64

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.words = nn.Embedding(4002, self.dim)
        self.seed, self.drop, self.frozen = seed, nn.Dropout(0.5), nn.Dropout(0.1).eval()

    def fingerprint(self) -> str:
        return f"words-{self.seed}"

    def forward(self, input_ids, attention_mask):
        assert not torch.is_grad_enabled() and input_ids.dtype == attention_mask.dtype == torch.int64
        weights = attention_mask.unsqueeze(-1).float()
        return self.drop((self.words(input_ids) * weights).sum(1) / weights.sum(1))


@pytest.fixture(scope="module")
def scifact(shared_data) -> tuple[WordStore, WordStore]:
    """Token stores of 30 claims and 1,000 abstracts."""
    stores = []
    for name, count in (("queries", 30), ("corpus", 1000)):
        entries = map(json.loads, (shared_data / "scifact" / f"{name}.jsonl").read_text().splitlines()[:count])
        stores.append(WordStore({str(e["_id"]): f"{e.get('title', '')} {e['text']}" for e in entries}))
    return tuple(stores)


def one_by_one(encoder: nn.Module, store: WordStore, rows, max_length: int) -> np.ndarray:
    vectors = []
    encoder.eval()
    for row in rows:
        tokens = torch.tensor([store.tokens[row][:max_length]])
        with torch.no_grad():
            vectors.append(nn.functional.normalize(encoder(tokens, torch.ones_like(tokens)))[0].numpy())
    return np.stack(vectors)


@pytest.mark.parametrize("batch_tokens", [1, 700, None])
def test_rows_are_encoded_in_length_order_and_put_back(scifact, batch_tokens):
    _, passages = scifact
    encoder = WordEncoder().train()
    encoder.frozen.eval()
    rows = np.random.default_rng(0).integers(0, len(passages), 120)
    passages.gathered.clear()
    vectors = encode_rows(encoder, passages, rows, 150, batch_tokens=batch_tokens)
    assert encoder.training and encoder.drop.training and not encoder.frozen.training
    assert vectors.dtype == np.float32 and vectors.shape == (120, 64)
    np.testing.assert_allclose(vectors, one_by_one(encoder, passages, rows, 150), atol=1e-6)
    longest = [min(passages.lengths[batch].max(), 150) for batch in passages.gathered]
    assert longest == sorted(longest, reverse=True)
    sizes = [len(batch) * most for batch, most in zip(passages.gathered, longest, strict=True)]
    assert max(sizes) <= (batch_tokens or 8192) or set(map(len, passages.gathered)) == {1}
    if batch_tokens == 700:
        assert sum(sizes) < 1.05 * np.minimum(passages.lengths[rows], 150).sum()


def test_mode_is_restored_after_a_failure_and_nothing_is_a_fine_input(scifact):
    _, passages = scifact
    encoder = WordEncoder().train()
    with torch.no_grad():
        encoder.words.weight[passages.tokens[7][3]] = torch.nan
    with pytest.raises(InputError, match="an embedding that is not finite: row"):
        encode_rows(encoder, passages, np.arange(20), 150)
    assert encoder.training
    assert encode_rows(encoder, passages, np.arange(0), 150).shape == (0, 64)


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


def test_first_stage_is_reranked_with_each_passage_encoded_once(scifact):
    queries, passages = scifact
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


def test_full_ranking_finds_every_passage_and_tells_recall(scifact):
    queries, passages = scifact
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


def test_results_that_faiss_does_not_find_are_left_out(scifact):
    queries, passages = scifact
    names = [name.decode() for name in queries.ids]
    run, about = full_ranking(WordEncoder(), queries, names, passages, 5000, "IVF32,Flat:nprobe=1", passage_length=50)
    assert about["k"] == 1000 and about["found"] < 1000
    assert np.mean([len(found) for found in run.values()]) == about["found"]
    assert all(np.isfinite(list(found.values())).all() for found in run.values())


def test_impossible_rankings_are_explained(scifact):
    queries, passages = scifact
    encoder = WordEncoder()
    with pytest.raises(InputError, match="no queries to search for"):
        full_ranking(encoder, queries, [], passages)
    with pytest.raises(InputError, match="a query is unknown: 1 of 1 ids"):
        full_ranking(encoder, queries, ["absent"], passages)
    with pytest.raises(InputError, match="each of the 1,000 passages, found 10"):
        few = np.eye(10, 64, dtype=np.float32)
        full_ranking(encoder, queries, [queries.ids[0].decode()], passages, passage_vectors=few)


def test_collection_is_encoded_in_shards_that_go_on_where_they_stopped(tmp_path, scifact):
    _, passages = scifact
    encoder = WordEncoder()
    whole = encode_rows(encoder, passages, np.arange(1000), 60)
    encode_shards(encoder, passages, tmp_path / "v", 60, shard=300, part=1, parts=2)
    assert sorted(file.name for file in (tmp_path / "v").glob("*.npy")) == ["shard-00001.npy", "shard-00003.npy"]
    passages.gathered.clear()
    vectors = encode_collection(encoder, passages, tmp_path / "v", 60, shard=300)
    assert set(np.concatenate(passages.gathered)) == {*range(300), *range(600, 900)}
    assert isinstance(vectors, ShardedVectors) and vectors.shape == (1000, 64) and vectors.dtype == np.float32
    np.testing.assert_allclose(vectors[:], whole, atol=1e-6)
    passages.gathered.clear()
    encode_collection(encoder, passages, tmp_path / "v", 60, shard=300)
    assert not passages.gathered
    half = encode_collection(encoder, passages, tmp_path / "half", 60, shard=300, dtype="float16")
    assert half.dtype == np.float16
    np.testing.assert_allclose(half[:].astype(np.float32), whole, atol=1e-3)


def test_interrupted_encoding_keeps_whole_shards(tmp_path, scifact):
    _, passages = scifact

    class Interrupted(WordEncoder):
        calls = 0

        def forward(self, input_ids, attention_mask):
            self.calls += 1
            if self.calls > 3:
                raise KeyboardInterrupt
            return super().forward(input_ids, attention_mask)

    with pytest.raises(KeyboardInterrupt):
        encode_collection(Interrupted(), passages, tmp_path / "v", 60, shard=200, batch_tokens=8000)
    kept = sorted(file.name for file in (tmp_path / "v").iterdir())
    assert kept == ["about.json", "shard-00000.json", "shard-00000.npy"]
    vectors = encode_collection(WordEncoder(), passages, tmp_path / "v", 60, shard=200)
    np.testing.assert_allclose(vectors[:], encode_rows(WordEncoder(), passages, np.arange(1000), 60), atol=1e-6)


def test_other_vectors_are_refused_and_damaged_ones_made_again(tmp_path, scifact):
    _, passages = scifact
    encoder, folder = WordEncoder(), tmp_path / "v"
    vectors = encode_collection(encoder, passages, folder, 60, shard=400)[:].copy()
    with pytest.raises(InputError, match=r"holds other vectors \(key '.*' instead of '.*'\)"):
        encode_collection(WordEncoder(1), passages, folder, 60, shard=400)
    with pytest.raises(InputError, match=r"\(max_length 60 instead of 50\)"):
        encode_collection(encoder, passages, folder, 50, shard=400)
    with pytest.raises(InputError, match="kept as float16 or float32, not 'int8'"):
        encode_collection(encoder, passages, folder, 60, dtype="int8")
    with pytest.raises(InputError, match="no texts"):
        encode_collection(encoder, WordStore({}), folder, 60)
    for name, harm, complaint in [
        ("shard-00001.npy", lambda data: data[:-1] + bytes([data[-1] ^ 1]), "contents"),
        ("shard-00000.npy", lambda data: data[:-9], "bytes"),
    ]:
        (folder / name).write_bytes(harm((folder / name).read_bytes()))
        with pytest.warns(UserWarning, match=f"{name} is damaged .*{complaint}.*made again"):
            np.testing.assert_array_equal(encode_collection(encoder, passages, folder, 60, shard=400)[:], vectors)
    (folder / "shard-00002.json").unlink()
    with pytest.warns(UserWarning, match="no checksum"):
        encode_collection(encoder, passages, folder, 60, shard=400)
    other = encode_collection(WordEncoder(1), passages, folder, 60, shard=500, rebuild=True)
    assert other.shape == (1000, 64) and not np.allclose(other[:], vectors)
    assert sorted(file.name for file in folder.glob("*.npy")) == ["shard-00000.npy", "shard-00001.npy"]


def test_full_disk_keeps_the_shards_that_were_made(tmp_path, scifact):
    _, passages = scifact
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    encode_shards(WordEncoder(), passages, tmp_path / "v", 60, shard=400, part=0, parts=3)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(InputError, match="cannot write .*shard-00001.npy"):
            encode_collection(WordEncoder(), passages, tmp_path / "v", 60, shard=400)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(file.name for file in (tmp_path / "v").iterdir()) == ["about.json", "shard-00000.json", "shard-00000.npy"]
