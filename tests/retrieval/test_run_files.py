"""Run files: what is written comes back, and what cannot be read is named by file and line."""

from __future__ import annotations

import gzip
import random
import resource

import numpy as np
import pytest

from armlib.errors import InputError
from armlib.retrieval.run_files import ranked, read_run, write_run


def test_equal_scores_are_ordered_by_descending_id():
    assert list(ranked({"a": 1.0, "c": 2.0, "b": 2.0, "B": 2.0})) == ["c", "b", "B", "a"]
    assert list(ranked({"a": 1.0, "c": 2.0, "b": 2.0}, 2)) == ["c", "b"]


def test_order_of_equal_scores_is_trec_evals():
    import pytrec_eval

    # With five equal scores the reciprocal rank of one relevant document tells its rank in trec_eval.
    scores = {name: 1.0 for name in ("d1", "D2", "d10", "e", "é")}
    for rank, name in enumerate(ranked(scores), start=1):
        found = pytrec_eval.RelevanceEvaluator({"q": {name: 1}}, {"recip_rank"}).evaluate({"q": scores})
        assert found["q"]["recip_rank"] == pytest.approx(1 / rank)


@pytest.mark.parametrize("name", ["a.run", "a.run.gz"])
def test_scores_come_back_exactly(tmp_path, name):
    chance = random.Random(0)
    run = {
        f"q{i}": {f"d{j}": chance.choice([chance.gauss(0, 1), float(np.float32(chance.random())), 1e-300, -0.0]) for j in range(50)}
        for i in range(20)
    }
    write_run(tmp_path / name, run, "ours")
    back = read_run(tmp_path / name)
    assert back == run
    assert list(back) == list(run)
    assert all(list(back[query]) == list(ranked(run[query])) for query in run)


def test_equal_runs_are_equal_files_whatever_their_order(tmp_path):
    write_run(tmp_path / "a.run.gz", {"q": {"a": 1.0, "b": 1.0, "c": 3}})
    write_run(tmp_path / "b.run.gz", {"q": {"c": 3.0, "b": np.float32(1.0), "a": 1.0}})
    assert (tmp_path / "a.run.gz").read_bytes() == (tmp_path / "b.run.gz").read_bytes()
    written = gzip.decompress((tmp_path / "a.run.gz").read_bytes()).decode()
    assert written == "q Q0 c 1 3.0 armlib\nq Q0 b 2 1.0 armlib\nq Q0 a 3 1.0 armlib\n"


def test_rank_column_is_not_believed(shared_data):
    with gzip.open(shared_data / "runs" / "dl19.bm25-bert.run.gz", "rt") as lines:
        columns = [line.split() for line in lines]
    query = columns[0][0]
    by_rank = [c[2] for c in sorted((c for c in columns if c[0] == query), key=lambda c: int(c[3]))]
    run = read_run(shared_data / "runs" / "dl19.bm25-bert.run.gz")
    scores = list(run[query].values())
    assert scores == sorted(scores, reverse=True)
    assert list(run[query]) != by_rank
    assert sorted(run[query]) == sorted(by_rank)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("q Q0 a 1 2.0 t\nq Q0 b 2 1.0\n", r"x\.run, line 2: expected 6 columns .* found 5"),
        ("\nq Q0 a 1 high t\n", r"x\.run, line 2: expected a finite number as score in column 5, found 'high'"),
        ("q Q0 a 1 nan t\n", r"x\.run, line 1: .*'nan'"),
        ("q Q0 a 1 inf t\n", r"x\.run, line 1: .*'inf'"),
        ("q Q0 a 1 2 t\nq Q0 a 2 1 t\nq Q0 a 3 1 t\n", r"2 results repeat .* line 2 \(query 'q', document 'a'\)"),
        ("", "holds no results"),
        (" \n\n", "holds no results"),
    ],
)
def test_malformed_lines_are_named(tmp_path, text, complaint):
    (tmp_path / "x.run").write_text(text)
    with pytest.raises(InputError, match=complaint):
        read_run(tmp_path / "x.run")


def test_unreadable_files_are_named(tmp_path, shared_data):
    with pytest.raises(InputError, match="no run file .*absent"):
        read_run(tmp_path / "absent.run")
    whole = (shared_data / "runs" / "dl19.ance.run.gz").read_bytes()
    (tmp_path / "cut.run.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut\.run\.gz is damaged after line [1-9]\d+"):
        read_run(tmp_path / "cut.run.gz")
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    (tmp_path / "flipped.run.gz").write_bytes(flipped)
    with pytest.raises(InputError, match=r"flipped\.run\.gz"):
        read_run(tmp_path / "flipped.run.gz")
    (tmp_path / "latin.run").write_bytes(b"q Q0 a 1 2 t\nq Q0 \xe9 2 1 t\n")
    with pytest.raises(InputError, match="not UTF-8"):
        read_run(tmp_path / "latin.run")


@pytest.mark.parametrize(
    ("run", "tag", "complaint"),
    [
        ({"q 1": {"a": 1.0}}, "t", "query id 'q 1'"),
        ({"q": {"a\u2003b": 1.0}}, "t", "document id"),
        ({"q": {"": 1.0}}, "t", "document id ''"),
        ({"q": {"a": 1.0}}, "two words", "tag 'two words'"),
        ({"q": {"a": float("nan")}}, "t", "score of document 'a' for query 'q' is nan"),
        ({}, "t", "holds no results"),
        ({"q": {}}, "t", "holds no results"),
    ],
)
def test_what_would_not_come_back_is_not_written(tmp_path, run, tag, complaint):
    (tmp_path / "x.run").write_text("before")
    with pytest.raises(InputError, match=complaint):
        write_run(tmp_path / "x.run", run, tag)
    assert (tmp_path / "x.run").read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["x.run"]


def test_full_disk_leaves_what_was_there(tmp_path):
    (tmp_path / "x.run").write_text("before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(InputError, match="cannot write .*x.run"):
            write_run(tmp_path / "x.run", {"q": {f"d{i}": float(i) for i in range(10_000)}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("x.run", "before")]
