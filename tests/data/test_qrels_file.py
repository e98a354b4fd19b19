"""Judgments from files of both layouts, and from collections."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from armlib import read_qrels
from armlib.data.types import HIGHEST_GRADE
from armlib.errors import InputError
from armlib.names import load_collection

TREC = "q 0 a 1\nq 0 b 0\nr 0 a -2\n"
BEIR = "query-id\tcorpus-id\tscore\nq\ta\t1\nq\tb\t0\nr\ta\t-2\n"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        TREC,
        BEIR,
        TREC.replace(" ", "\t"),
        TREC.replace(" ", "  ").replace("\n", "\r\n"),
        BEIR.replace("\t", " "),
        BEIR.replace("query-id\tcorpus-id\tscore", "Query_ID\tCorpus_ID\tScore"),
        "\ufeff" + TREC,
        "\ufeff" + BEIR.replace("\n", "\r\n"),
        TREC.replace("1\n", "1.0\n").replace("b 0\n", "b 0.00\n"),
        TREC + "q 0 a 1\n",
        " \n" + BEIR + "\n\t \n",
    ],
)
def test_both_layouts_are_read(tmp_path: Path, text: str, packed: bool) -> None:
    (tmp_path / "any.qrels").write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    assert read_qrels(tmp_path / "any.qrels") == read_qrels(str(tmp_path / "any.qrels")) == {"q": {"a": 1, "b": 0}, "r": {"a": -2}}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q 0 c 1.5", r"any:4: expected a whole number as score, got '1\.5'"),
        ("q 0 c 1_0", r"any:4: expected a whole number as score, got '1_0'"),
        ("q 0 c ٣", r"any:4: expected a whole number as score, got '٣'"),
        ("q 0 c high", r"any:4: expected a whole number as score, got 'high'"),
        ("q 0 c 10001", r"any:4: the grade 10001 is out of range: expected one from -10,000 to 10,000"),
        ("q 0 c -2147483648", r"any:4: the grade -2147483648 is out of range"),
        ("q 0 a 2", r"any:4: query 'q' and document 'a' are judged 2, but 1 in a line before"),
        ("q 0 c d 1", r"any:4: expected the header query-id TAB .*, or the 4 columns .*, got 5 columns: q, 0, c, d, 1"),
        ("q c 1", r"any:4: expected the header .* got 3 columns"),
        ("q\t0\tc d\t1", r"any:4: the document id 'c d' cannot stand in a TREC run"),
        ("q\x07 0 c 1", r"any:4: the query id 'q\\x07' cannot stand in a TREC run"),
        ("q 0 \ufeffc 1", r"any:4: the document id '\\ufeffc' cannot stand in a TREC run"),
    ],
)
def test_malformed_lines_are_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "any").write_text(TREC + line + "\n")
    with pytest.raises(InputError, match=message):
        read_qrels(tmp_path / "any")


def test_highest_grades_are_read(tmp_path: Path) -> None:
    (tmp_path / "any").write_text(f"q 0 a {HIGHEST_GRADE}\nq 0 b -{HIGHEST_GRADE}\n")
    assert read_qrels(tmp_path / "any") == {"q": {"a": HIGHEST_GRADE, "b": -HIGHEST_GRADE}}


@pytest.mark.parametrize("text", ["", "\n", "query-id\tcorpus-id\tscore\n"])
def test_a_file_without_judgments(tmp_path: Path, text: str) -> None:
    (tmp_path / "any").write_text(text)
    with pytest.raises(InputError, match="any holds no judgments: expected the header query-id TAB corpus-id TAB score and these"):
        read_qrels(tmp_path / "any")


def test_judgments_of_a_collection_and_of_nothing(beir_folder: Path, tmp_path: Path) -> None:
    collection = load_collection(f"{beir_folder}/test")
    assert read_qrels(f"{beir_folder}/test") == read_qrels(beir_folder / "qrels" / "test.tsv") == collection.qrels()
    for name in ("docstring/test", str(tmp_path / "none.qrels"), "none.tsv"):
        with pytest.raises(InputError, match="^there is no file of judgments '.*', nor such a collection: "):
            read_qrels(name)


def test_real_judgments(shared_data: Path, ir_datasets_home: Path) -> None:
    for year, name in (("dl19", "msmarco-passage/trec-dl-2019/judged"), ("dl20", "msmarco-passage/trec-dl-2020/judged")):
        assert read_qrels(shared_data / "trec-dl" / f"qrels.{year}-passage.txt") == read_qrels(name)
    assert read_qrels(shared_data / "cranfield" / "qrels" / "test.tsv") == read_qrels("cranfield")
