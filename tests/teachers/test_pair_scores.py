"""Pairs are scored once, whatever stops the scoring, and looked up by row."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armlib.data.beir import BeirFolder
from armlib.data.collection import Collection
from armlib.data.triple_rows import triple_rows
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.token_stores import passage_tokens, query_tokens
from armlib.errors import InputError
from armlib.storage import cache_folder, short_digest
from armlib.teachers import pair_scores
from armlib.teachers.base import Teacher
from armlib.teachers.pair_scores import PairScores, write_unique_pairs
from armlib.training.interrupts import Stopped

SHARD = 64


class Lengths(Teacher):
    """Scores by the lengths of query and passage; calls ``before`` with the number of the call first."""

    def __init__(self, before: Callable[[int], None] = lambda call: None) -> None:
        super().__init__()
        self.before, self.calls, self.prepared = before, 0, 0

    def __str__(self) -> str:
        return "lengths"

    def fingerprint(self, collection: Collection) -> str:
        return short_digest("lengths")

    def prepare(self, collection: Collection) -> None:
        self.cost = {"training_seconds": 1.5}

    def scores(self, collection: Collection, queries: Sequence[str], passages: Sequence[str]) -> np.ndarray:
        self.calls += 1
        self.before(self.calls)
        self.operations += 2.0 * len(queries)
        return np.array([len(q) / (1 + len(p)) for q, p in zip(queries, passages, strict=True)], np.float32)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pair_scores, "SHARD", SHARD)
    return tmp_path / "cache"


class Data:
    """A collection with its stores and triples."""

    def __init__(self, folder: Path, encoder: BiEncoder) -> None:
        self.collection = BeirFolder(folder, None)
        self.queries, self.passages = query_tokens(self.collection, encoder), passage_tokens(self.collection, encoder)
        self.triples = triple_rows(self.collection, self.queries, self.passages)

    def scored(self, teacher: Teacher) -> PairScores:
        found = teacher.scored(self.collection, self.queries, self.passages, self.triples)
        assert isinstance(found, PairScores)
        return found

    def every_score(self, scores: PairScores) -> np.ndarray:
        return scores(self.triples).pointwise.numpy()

    @property
    def shards(self) -> int:
        pairs = {pair for triple in self.triples.tolist() for pair in ((triple[0], triple[1]), (triple[0], triple[2]))}
        return -(-len(pairs) // SHARD)


@pytest.fixture
def data(beir_folder: Path, tiny_encoder: BiEncoder, own_cache: Path) -> Data:
    return Data(beir_folder, tiny_encoder)


@pytest.fixture
def expected(data: Data) -> np.ndarray:
    """The scores of all triples, (T, 2), by the formula."""
    documents = {document.id: document.text for document in data.collection.documents()}
    queries = data.collection.queries()
    asked = [[len(queries[data.queries.ids[q].decode()])] * 2 for q, _, _ in data.triples]
    read = [[1 + len(documents[data.passages.ids[row].decode()]) for row in pair] for _, *pair in data.triples]
    return (np.array(asked) / np.array(read)).astype(np.float32)


@given(
    lists=st.lists(st.tuples(*[st.integers(0, 30)] * 4), min_size=1, max_size=60),
    step=st.integers(1, 9),
    passages=st.sampled_from([31, 8_841_823]),
)
@settings(deadline=None, max_examples=60)
def test_unique_pairs_ascend(
    lists: list[tuple[int, ...]], step: int, passages: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("pairs") / "pairs.bin"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pair_scores, "STEP", step)
        count = write_unique_pairs(np.array(lists, np.int32), passages, path)
    pairs = sorted({query * passages + passage for query, *row in lists for passage in row})
    assert np.fromfile(path, np.int64).tolist() == pairs and count == len(pairs)
    assert [file.name for file in path.parent.iterdir()] == ["pairs.bin"]


def test_each_pair_is_scored_once_and_found_by_its_rows(data: Data, expected: np.ndarray) -> None:
    teacher = Lengths()
    scores = data.scored(teacher)
    np.testing.assert_array_equal(data.every_score(scores), expected)
    assert teacher.calls == data.shards > 3
    cost = scores.cost
    assert cost["operations"] == 2 * cost["pairs"] and cost["seconds"] > 0 and cost["training_seconds"] == 1.5
    assert cost["device"] == "cpu" and scores.complete(data.triples) is data.triples
    again = Lengths()
    kept = data.scored(again)
    assert not again.calls and kept.cost == cost
    mapped = pickle.loads(pickle.dumps(kept))  # as a process that gathers batches gets them
    np.testing.assert_array_equal(data.every_score(mapped), expected)
    query, passage = data.triples[0, 0], (set(range(len(data.passages))) - set(data.triples[:, 1:].ravel().tolist())).pop()
    assert np.isnan(scores.of_pairs(np.array([query]), np.array([passage]))).all()


def stop_at(call: int, how: Callable[[], None]) -> Callable[[int], None]:
    return lambda now: how() if now == call else None


def fail() -> None:
    raise RuntimeError("the power failed")


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_scoring_that_failed_or_was_told_to_stop_goes_on(data: Data, expected: np.ndarray) -> None:
    with pytest.raises(RuntimeError, match="power"):
        data.scored(Lengths(stop_at(2, fail)))
    with pytest.raises(Stopped, match=f"after 1 of {data.shards - 1} shards; the same call goes on"):
        data.scored(Lengths(stop_at(1, terminate)))
    teacher = Lengths()
    scores = data.scored(teacher)
    assert teacher.calls == data.shards - 2 and scores.cost["operations"] == 2 * scores.cost["pairs"]
    assert data.every_score(scores).tobytes() == expected.tobytes()
    assert not list((cache_folder() / "teacher-scores").glob("*.scoring")), "what was unfinished is cleared away"


def test_a_scoring_that_was_killed_goes_on_and_damage_is_scored_again(data: Data, expected: np.ndarray) -> None:
    if not (child := os.fork()):
        data.scored(Lengths(stop_at(4, kill)))
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    first, second, third = sorted((cache_folder() / "teacher-scores").glob("*.scoring/shard-*"))
    (second / "scores.bin").write_bytes(bytes(4 * SHARD))
    (third / "about.json").unlink()
    teacher = Lengths()
    with pytest.warns(UserWarning, match="is damaged.*scored again"):
        scores = data.scored(teacher)
    assert teacher.calls == data.shards - 1 and data.every_score(scores).tobytes() == expected.tobytes()


@pytest.mark.parametrize("wrong", [np.full(SHARD, np.nan), np.zeros(3), np.zeros((SHARD, 1))])
def test_a_teacher_that_gives_no_score_is_refused(data: Data, wrong: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lengths, "scores", lambda *_: wrong)
    with pytest.raises(InputError, match="teacher lengths gave scores of shape .* expected one number for each"):
        data.scored(Lengths())


def test_scores_depend_on_what_they_are_of(data: Data) -> None:
    data.scored(Lengths())
    teacher = Lengths()
    teacher.scored(data.collection, data.queries, data.passages, data.triples[:-1])
    assert teacher.calls, "other lists are other pairs"


SCORED = """
import sys
from armlib.data.beir import BeirFolder
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.token_stores import passage_tokens, query_tokens
from armlib.data.triple_rows import triple_rows
from armlib.storage import file_digest
from armlib.teachers.registry import parse_teacher
collection, encoder = BeirFolder(__import__("pathlib").Path(sys.argv[1]), None), BiEncoder.load(sys.argv[2])
queries, passages = query_tokens(collection, encoder), passage_tokens(collection, encoder)
scores = parse_teacher(sys.argv[3]).scored(collection, queries, passages, triple_rows(collection, queries, passages))
print(scores.folder.name, *(file_digest(scores.folder / name) for name in ("pairs.bin", "scores.bin")))
"""


@pytest.mark.slow
def test_scores_do_not_depend_on_the_hash_seed(
    beir_folder: Path, tiny_folder: Path, cross_encoder_folder: Path, tmp_path: Path
) -> None:
    said, teacher = [], f"cross-encoder({str(cross_encoder_folder)!r})"
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "ARMLIB_CACHE": str(tmp_path / seed)}
        command = [sys.executable, "-c", SCORED, *map(str, (beir_folder, tiny_folder, teacher))]
        said.append(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    assert said[0] == said[1] and len(said[0].split()) == 3
