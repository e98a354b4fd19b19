"""Files of scores are joined by ids; what they lack is counted, and what could run code is refused."""

from __future__ import annotations

import gzip
import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armlib.data.beir import BeirFolder
from armlib.data.text_files import write_columns
from armlib.data.triple_rows import triple_rows
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.token_stores import passage_tokens, query_tokens
from armlib.errors import InputError
from armlib.retrieval.run_files import write_run
from armlib.teachers import score_files
from armlib.teachers.pair_scores import PairScores
from armlib.teachers.registry import parse_teacher
from armlib.teachers.score_files import RunFile, Scored, ScoreFile, join


class Data:
    """A collection with its stores, and triples by rows and by ids."""

    def __init__(self, folder: Path, encoder: BiEncoder) -> None:
        self.collection = BeirFolder(folder, None)
        self.queries, self.passages = query_tokens(self.collection, encoder), passage_tokens(self.collection, encoder)
        self.triples = triple_rows(self.collection, self.queries, self.passages)
        names = [self.queries.ids, self.passages.ids, self.passages.ids]
        self.ids = [tuple(ids[row].decode() for ids, row in zip(names, triple, strict=True)) for triple in self.triples]

    def scored(self, source: ScoreFile | RunFile) -> PairScores:
        return source.scored(self.collection, self.queries, self.passages, self.triples)


@pytest.fixture
def data(beir_folder: Path, tiny_encoder: BiEncoder) -> Data:
    return Data(beir_folder, tiny_encoder)


def score(query: str, passage: str) -> float:
    """Some score of a pair, always the same."""
    return round(int(hashlib.md5(f"{query} {passage}".encode()).hexdigest()[:6], 16) / (1 << 20) - 8, 4)


def five_columns(data: Data) -> list[tuple[object, ...]]:
    return [(score(q, p), score(q, n), q, p, n) for q, p, n in data.ids]


@pytest.fixture
def expected(data: Data) -> np.ndarray:
    return np.array([[score(q, p), score(q, n)] for q, p, n in data.ids], np.float32)


@pytest.mark.parametrize("form", ["five columns", "three columns", "five columns, gzip", "run", "run, gzip"])
def test_scores_are_joined_by_ids(data: Data, expected: np.ndarray, form: str, tmp_path: Path) -> None:
    path = tmp_path / ("scores.tsv.gz" if "gzip" in form else "scores.tsv")
    pairs = {(q, passage): score(q, passage) for q, *both in data.ids for passage in both}
    pairs |= {("nobody", "nothing"): 1.0, (data.ids[0][0], "nothing"): 2.0}
    source: ScoreFile | RunFile = ScoreFile(str(path))
    if "five" in form:
        write_columns(path, [*five_columns(data), (1, 2, "nobody", "nothing", "nothing")])
    elif "three" in form:
        write_columns(path, [(*pair, value) for pair, value in pairs.items()])
    else:
        run: dict[str, dict[str, float]] = {}
        for (query, passage), value in pairs.items():
            run.setdefault(query, {})[passage] = value
        write_run(path, run)
        source = RunFile(str(path))
    scores = data.scored(source)
    np.testing.assert_array_equal(scores(data.triples).pointwise, expected)
    assert scores.complete(data.triples) is data.triples and scores.cost["seconds"] is None
    assert str(parse_teacher(str(source))) == str(source)


def test_triples_without_one_score_for_each_pair_are_left_out_and_counted(
    data: Data, expected: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_files, "LINES", 7)
    lost, broken, conflicting = bad = [(q, n) for q, _, n in (data.ids[3], data.ids[11], data.ids[20])]
    pairs = {(q, passage): score(q, passage) for q, *both in data.ids for passage in both}
    rows = [(*pair, "nan" if pair == broken else value) for pair, value in pairs.items() if pair != lost]
    write_columns(tmp_path / "scores.tsv", [*rows, (*conflicting, 99)])
    whole = np.array([(q, p) not in bad and (q, n) not in bad for q, p, n in data.ids])
    with pytest.warns(UserWarning) as told:
        scores = data.scored(ScoreFile(str(tmp_path / "scores.tsv")))
    (said,) = [str(each.message) for each in told]
    assert f"so {(~whole).sum():,} of {len(whole):,} triples are left out" in said
    assert "1 are missing, 1 are not finite, 1 are conflicting" in said
    np.testing.assert_array_equal(scores.complete(data.triples), data.triples[whole])
    np.testing.assert_array_equal(scores(data.triples[whole]).pointwise, expected[whole])
    assert scores.cost["lists left out"] == (~whole).sum() > 0
    assert scores(data.triples[~whole]).pointwise.isnan().any(1).all()


def test_scores_that_differ_as_two_batches_of_half_precision_do_are_no_conflict(
    data: Data, expected: np.ndarray, tmp_path: Path
) -> None:
    rows = five_columns(data)
    write_columns(tmp_path / "scores.tsv", rows + [(p + 0.01, n - 0.01, *ids) for p, n, *ids in rows])
    scores = data.scored(ScoreFile(str(tmp_path / "scores.tsv")))
    np.testing.assert_array_equal(scores(data.triples).pointwise, expected)


class Numbered:
    """A token store whose ids are its row numbers."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def find(self, ids: list[str]) -> np.ndarray:
        return np.array([int(name) if int(name) < self.count else -1 for name in ids])


numbers = st.sampled_from([0.0, 1.0, -3.5, 1e300, math.nan, math.inf])


@given(
    scored=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), numbers), max_size=40),
    asked=st.sets(st.tuples(st.integers(0, 2), st.integers(0, 4)), min_size=1),
    lines=st.integers(1, 9),
)
@settings(deadline=None)
def test_joining_is_looking_up(scored: list[tuple[int, int, float]], asked: set[tuple[int, int]], lines: int) -> None:
    pairs = sorted(asked)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(score_files, "LINES", lines)
        found, counts = join(
            [Scored(str(q), str(p), value) for q, p, value in scored],
            np.array([q * 5 + p for q, p in pairs]),
            Numbered(3),
            Numbered(5),
        )
    values = {pair: [value for *other, value in scored if tuple(other) == pair] for pair in pairs}
    usable = {pair: [value for value in each if abs(value) < 1e30] for pair, each in values.items()}
    kinds = {
        pair: "not finite" if len(usable[pair]) < len(values[pair]) else "missing" if not values[pair] else "there"
        for pair in pairs
    }
    for pair in pairs:  # the values that differ are far apart, if any two pairs differ at all
        if kinds[pair] == "there" and len(set(usable[pair])) > 1:
            kinds[pair] = "conflicting"
    assert counts == {kind: list(kinds.values()).count(kind) for kind in ("missing", "not finite", "conflicting")}
    np.testing.assert_array_equal(found, [usable[pair][0] if kinds[pair] == "there" else np.nan for pair in pairs])


@pytest.mark.parametrize("name", ["scores.pkl", "scores.pkl.gz", "a.pickle", "SCORES.PKL", "scores.npy", "scores.bin"])
def test_pickles_are_refused_by_name(name: str) -> None:
    for kind in ("scores", "run"):
        with pytest.raises(InputError, match="could run any code; expected text"):
            parse_teacher(f"{kind}({name!r})")


@pytest.mark.parametrize("name", ["train-00000.parquet", "x.parquet.gz"])
def test_parquet_is_refused_by_name(name: str) -> None:
    with pytest.raises(InputError, match="Parquet file, for which armlib has no reader"):
        parse_teacher(f"scores({name!r})")


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        (b"\x80\x04\x95\x00.", "scores.tsv:1: expected UTF-8"),
        (b"pos_score\tneg_score\tquery_id\tpos_id\tneg_id\n", "scores.tsv:1: expected a number as score, found 'pos_score'"),
        (b"1 2 3 4 5\n", "scores.tsv:1: expected 5 columns separated by tabs"),
        (b"1\t2\t3\t4\n", "scores.tsv:1: expected 5 columns"),
        (b"1\t2\tq\tp\tn\nq\tp\t1\n", "scores.tsv:2: expected 5 columns .* got 3"),
        (b"q\tp\t1\n1\t2\tq\tp\tn\n", "scores.tsv:2: expected 3 columns .* got 5"),
        (b"q\tp\tone\n", "scores.tsv:1: expected a number as score, found 'one'"),
        (b"q\t\t1\n", "passage id is empty"),
        (b"q\tp\t1\n", "has no score for any of the"),
        (b"", "has no score for any of the"),
        (b"PAR1\x15\x04", "expected 5 columns"),
    ],
)
def test_contents_that_are_no_scores_are_refused(data: Data, contents: bytes, said: str, tmp_path: Path) -> None:
    for name, packed in (("scores.tsv", contents), ("scores.tsv.gz", gzip.compress(contents))):
        (tmp_path / name).write_bytes(packed)
        with pytest.raises(InputError, match=said.replace("scores.tsv", name)):
            data.scored(ScoreFile(str(tmp_path / name)))


def test_a_name_may_speak_of_anything() -> None:
    assert str(parse_teacher("scores('/data/model.bin.tsv')")) == "scores('/data/model.bin.tsv')"


def test_a_file_that_is_not_there_is_named(data: Data, tmp_path: Path) -> None:
    for source in (ScoreFile(str(tmp_path / "nothing.tsv")), RunFile(str(tmp_path / "nothing.run"))):
        with pytest.raises(InputError, match="there is no file of scores at .*nothing"):
            source.fingerprint(data.collection)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_published_files_are_checked_by_their_sum(
    data: Data, expected: np.ndarray, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "bert_cat_ensemble_msmarcopassage_train_scores_ids.tsv"
    path = tmp_path / f"{name}{ending}"
    write_columns(path, five_columns(data))
    with pytest.raises(InputError, match=f"has the MD5 .* not {score_files.PUBLISHED[name]} as the published file"):
        data.scored(ScoreFile(str(path)))
    contents = gzip.decompress(path.read_bytes()) if ending else path.read_bytes()
    monkeypatch.setitem(score_files.PUBLISHED, name, hashlib.md5(contents).hexdigest())
    scores = data.scored(ScoreFile(str(path)))
    np.testing.assert_array_equal(scores(data.triples).pointwise, expected)
    assert scores.cost["file"].endswith("as published")
    other = ScoreFile(str(path.rename(tmp_path / f"mine.tsv{ending}")))
    assert data.scored(other).cost["file"].startswith(("contents not checked", "MD5"))
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(contents)[:-9])
    with pytest.raises(InputError, match="not whole gzip data"):
        data.scored(ScoreFile(str(tmp_path / f"{name}.gz")))


def test_the_fingerprint_is_that_of_the_contents(data: Data, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.tsv", "b.tsv", "c.tsv")]
    for path, text in zip(paths, ("q\tp\t1\n", "q\tp\t1\n", "q\tp\t2\n"), strict=True):
        path.write_text(text)
    one, same, other = (ScoreFile(str(path)).fingerprint(data.collection) for path in paths)
    assert one == same != other
