"""Files read line by line: what is wrong is told with file and line."""

from __future__ import annotations

import gzip

import pytest

from armlib.data.text_files import columns, numbered_lines, write_columns
from armlib.errors import InputError


def test_lines_and_their_numbers(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("one\r\n\ntwo\rhalf\nüber".encode())
    assert list(numbered_lines(path)) == [(1, "one"), (3, "two\rhalf"), (4, "über")]


def test_a_cut_off_gzip_file_is_told(tmp_path):
    path = tmp_path / "a.tsv.gz"
    path.write_bytes(gzip.compress(b"".join(b"%d\t%d\n" % (n, n * n) for n in range(50_000)))[:-2000])
    with pytest.raises(InputError, match=r"a\.tsv\.gz is cut off after line \d{4,}: fetch or write it again"):
        list(numbered_lines(path))


def test_what_is_not_gzip(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(b"plain text")
    with pytest.raises(InputError, match="not whole gzip data after line 0"):
        list(numbered_lines(path))


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(InputError, match="b.tsv does not exist"):
        list(numbered_lines(tmp_path / "b.tsv"))
    with pytest.raises(InputError, match="is a folder, expected a file"):
        list(numbered_lines(tmp_path))


def test_what_is_not_utf8(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes(b"good\nb\xff\n")
    with pytest.raises(InputError, match=r"a\.tsv:\d+: expected UTF-8 text"):
        list(numbered_lines(path))


def test_columns_are_counted_and_filled(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("1\t2\n3\n")
    with pytest.raises(InputError, match=r"a\.tsv:2: expected 2 columns separated by tabs \(left, right\), got 1"):
        list(columns(path, ("left", "right")))
    path.write_text("1\t \n")
    with pytest.raises(InputError, match=r"a\.tsv:1: .* but right is empty"):
        list(columns(path, ("left", "right")))


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz"])
def test_written_columns_are_read_back_and_are_the_same_bytes(tmp_path, name):
    rows = [("a", 1), ("ü", 2.5)]
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        write_columns(tmp_path / folder / name, rows)
    assert [cells for _, cells in columns(tmp_path / "x" / name, ("text", "number"))] == [["a", "1"], ["ü", "2.5"]]
    assert (tmp_path / "x" / name).read_bytes() == (tmp_path / "y" / name).read_bytes()
