"""Files read line by line: what is wrong is told with file and line."""

from __future__ import annotations

import gzip

import pytest

from armlib.data.text_files import columns, finite_number, numbered_lines, whole_number, write_columns
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


@pytest.mark.parametrize("name", ["a.gz", "a.txt"])
def test_contents_tell_what_is_compressed(tmp_path, name):
    for data in (b"one\ntwo\n", gzip.compress(b"one\n") + gzip.compress(b"two\n")):
        (tmp_path / name).write_bytes(data)
        assert list(numbered_lines(tmp_path / name)) == [(1, "one"), (2, "two")]
    (tmp_path / name).write_bytes(gzip.compress(b"one\n") + b"noise")
    with pytest.raises(InputError, match="is not whole gzip data after line "):
        list(numbered_lines(tmp_path / name))


def test_byte_order_marks_are_read_away_wherever_a_line_begins(tmp_path):
    path = tmp_path / "a.txt"
    for data in ("\ufeffone\ntwo\n", "\ufeffone\n\ufefftwo\n", "\ufeff\ufeffone\n\ufeff\ntwo\n"):
        for packed in (data.encode(), gzip.compress(data.encode())):
            path.write_bytes(packed)
            assert [line for _, line in numbered_lines(path)] == ["one", "two"]


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("utf-16", "is UTF-16 text: expected UTF-8, which 'iconv -f UTF-16 -t UTF-8' makes of it"),
        ("utf-16-be", "a.txt:1: expected UTF-8 text, got a NUL character"),
        ("utf-32-be", "a.txt:1: expected UTF-8 text, got a NUL character"),
        ("latin-1", "a.txt:2: expected UTF-8 text"),
    ],
)
def test_other_encodings_are_told(tmp_path, encoding, message):
    for data in ("one\nzwölf\n".encode(encoding), gzip.compress("one\nzwölf\n".encode(encoding))):
        (tmp_path / "a.txt").write_bytes(data)
        with pytest.raises(InputError, match=message):
            list(numbered_lines(tmp_path / "a.txt"))


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(InputError, match="b.tsv does not exist"):
        list(numbered_lines(tmp_path / "b.tsv"))
    with pytest.raises(InputError, match="is a folder, expected a file"):
        list(numbered_lines(tmp_path))
    (tmp_path / "file").touch()
    for path, said in ((tmp_path / "file" / "b.tsv", "Not a directory"), (tmp_path / ("b" * 300), "File name too long")):
        with pytest.raises(InputError, match=f"^cannot read .*: {said}$"):
            list(numbered_lines(path))


def test_the_line_that_is_not_utf8_is_named(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes(b"good\n" * 9 + b"b\xff\n" + b"good\n" * 9)
    with pytest.raises(InputError, match=r"a\.tsv:10: expected UTF-8 text"):
        list(numbered_lines(path))


@pytest.mark.parametrize(
    ("text", "whole", "finite"),
    [("1", 1, 1.0), ("-2", -2, -2.0), ("+3.00", 3, 3.0), ("1.5", None, 1.5), ("1e3", None, 1000.0)]
    + [(text, None, None) for text in ("", "1_0", "٣", "１", "nan", "inf", "-Infinity", "1e999", "0x1", "1 0", 5000 * "9")],
)
def test_numbers_are_written_in_ascii_digits(text, whole, finite):
    assert whole_number(text) == whole and finite_number(text) == finite


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
