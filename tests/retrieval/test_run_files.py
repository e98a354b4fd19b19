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
        ("q Q0 a 1 2.0 t\nq Q0 b 2 1.0\n", r"x\.run:2: expected 6 columns .* found 5"),
        ("\nq Q0 a 1 high t\n", r"x\.run:2: expected a finite number as score in column 5, found 'high'"),
        ("q Q0 a 1 nan t\n", r"x\.run:1: .*'nan'"),
        ("q Q0 a 1 inf t\n", r"x\.run:1: .*'inf'"),
        ("q Q0 a 1 1e999 t\n", r"x\.run:1: expected a finite number as score in column 5, found '1e999'"),
        ("q Q0 a 1 1_0 t\n", r"x\.run:1: expected a finite number as score in column 5, found '1_0'"),
        ("q Q0 a 1 ٣ t\n", r"x\.run:1: expected a finite number as score in column 5, found '٣'"),
        ("q Q0 a 1_0 2 t\n", r"x\.run:1: expected a whole number as rank in column 4, found '1_0'"),
        ("q Q0 a ٣ 2 t\n", r"x\.run:1: expected a whole number as rank in column 4, found '٣'"),
        ("q Q0 a 2.5 1 t\n", r"x\.run:1: expected a whole number as rank in column 4, found '2.5'"),
        ("q Q0 a\x07 1 2 t\n", r"x\.run:1: the document id 'a\\x07' cannot stand in a TREC run"),
        ("q Q0 \ufeffa 1 2 t\n", r"x\.run:1: the document id '\\ufeffa' cannot stand in a TREC run"),
        ("q Q0 a b 1 2 t\n", r"x\.run:1: expected 6 columns .* found 7"),
        ("q Q0 a 1 2 t\nq Q0 a 2 1 t\nq Q0 a 3 1 t\n", r"2 results repeat .* line 2 \(query 'q', document 'a'\)"),
        ("", "holds no results"),
        (" \n\n", "holds no results"),
    ],
)
def test_malformed_lines_are_named(tmp_path, text, complaint):
    (tmp_path / "x.run").write_text(text)
    with pytest.raises(InputError, match=complaint):
        read_run(tmp_path / "x.run")


@pytest.mark.parametrize("text", ["q Q0 a 1 2.0 t\nNA Q0 null 1 1 t\n", "q\tQ0\ta\t1\t2\tt\r\n\r\nNA\tQ0\tnull\t7\t1e0\tt"])
def test_marks_compression_and_spacing_change_nothing(tmp_path, text):
    expected = {"q": {"a": 2.0}, "NA": {"null": 1.0}}
    for data in (text.encode(), text.encode("utf-8-sig"), gzip.compress(text.encode("utf-8-sig"))):
        for name in ("x.run", "x.run.gz"):
            (tmp_path / name).write_bytes(data)
            assert read_run(tmp_path / name) == read_run(str(tmp_path / name)) == expected


def test_a_byte_order_mark_changes_nothing_of_a_real_run(tmp_path, shared_data):
    whole = shared_data / "runs" / "dl19.bm25.terrier.run.gz"
    (tmp_path / "bom.run").write_bytes(b"\xef\xbb\xbf" + gzip.decompress(whole.read_bytes()))
    assert read_run(tmp_path / "bom.run") == read_run(whole)


def test_several_tags_are_told(tmp_path):
    (tmp_path / "x.run").write_text("q Q0 a 1 2 one\nr Q0 a 1 2 two\nr Q0 b 2 1 one\n")
    with pytest.warns(UserWarning, match=r"x\.run has lines of 2 tags \('one', 'two'\), which are read as one run$"):
        assert read_run(tmp_path / "x.run") == {"q": {"a": 2.0}, "r": {"a": 2.0, "b": 1.0}}


def test_unreadable_files_are_named(tmp_path, shared_data):
    with pytest.raises(InputError, match=r"absent\.run does not exist$"):
        read_run(tmp_path / "absent.run")
    with pytest.raises(InputError, match="is a folder, expected a file$"):
        read_run(tmp_path)
    whole = (shared_data / "runs" / "dl19.ance.run.gz").read_bytes()
    (tmp_path / "cut.run.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut\.run\.gz is cut off after line [1-9]\d+"):
        read_run(tmp_path / "cut.run.gz")
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    (tmp_path / "flipped.run.gz").write_bytes(flipped)
    with pytest.raises(InputError, match=r"flipped\.run\.gz"):
        read_run(tmp_path / "flipped.run.gz")
    (tmp_path / "latin.run").write_bytes(b"q Q0 a 1 2 t\nq Q0 \xe9 2 1 t\n")
    with pytest.raises(InputError, match=r"latin\.run:2: expected UTF-8 text"):
        read_run(tmp_path / "latin.run")


@pytest.mark.parametrize(
    ("run", "tag", "complaint"),
    [
        ({"q 1": {"a": 1.0}}, "t", "query id 'q 1'"),
        ({"q": {"a\u2003b": 1.0}}, "t", "document id"),
        ({"q": {"": 1.0}}, "t", "document id ''"),
        ({"q": {"a\x1b": 1.0}}, "t", "document id 'a"),
        ({"\ufeffq": {"a": 1.0}}, "t", "query id"),
        ({"q": {"\ud800": 1.0}}, "t", "document id"),
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
