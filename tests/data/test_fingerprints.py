"""Fingerprints of files are computed once, for as long as the files stay as they are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from armlib.data.fingerprints import fingerprint_of, fingerprint_of_files, judged_parts

AN_HOUR = 3600 * 10**9


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two files that were written an hour ago."""
    made = [tmp_path / "one.txt", tmp_path / "two.txt"]
    for file in made:
        write(file, "text")
    return made


def write(file: Path, text: str, ago: int = AN_HOUR) -> None:
    file.write_text(text)
    moment = file.stat().st_mtime_ns - ago
    os.utime(file, ns=(moment, moment))


class Computing:
    """Hashes the files, and counts how often it is asked to."""

    def __init__(self, files: list[Path]) -> None:
        self.files, self.times = files, 0

    def __call__(self) -> str:
        self.times += 1
        return fingerprint_of(file.read_text() for file in self.files)


def test_it_is_computed_once(files: list[Path], own_cache: Path) -> None:
    compute = Computing(files)
    first = fingerprint_of_files(files, "texts", compute)
    assert fingerprint_of_files(files, "texts", compute) == first == fingerprint_of(["text", "text"])
    assert compute.times == 1
    (record,) = (own_cache / "fingerprints").iterdir()
    assert json.loads(record.read_text())["files"] == [str(file) for file in files]


def test_another_size_or_time_has_it_computed_again(files: list[Path]) -> None:
    compute = Computing(files)
    first = fingerprint_of_files(files, "texts", compute)
    write(files[1], "longer text")
    assert fingerprint_of_files(files, "texts", compute) != first and compute.times == 2
    write(files[1], "text", ago=2 * AN_HOUR)
    assert fingerprint_of_files(files, "texts", compute) == first and compute.times == 3
    write(files[0], "tixt", ago=3 * AN_HOUR)
    assert fingerprint_of_files(files, "texts", compute) != first and compute.times == 4, "of the same size"


def test_what_was_just_written_is_not_trusted(files: list[Path]) -> None:
    compute = Computing(files)
    write(files[0], "text", ago=-AN_HOUR)
    first = fingerprint_of_files(files, "texts", compute)
    assert fingerprint_of_files(files, "texts", compute) == first and compute.times == 2


def test_several_of_the_same_files_are_told_apart(files: list[Path]) -> None:
    assert fingerprint_of_files(files, "one way", lambda: "1") == "1"
    assert fingerprint_of_files(files, "another way", lambda: "2") == "2"
    assert fingerprint_of_files(files[:1], "one way", lambda: "3") == "3"
    assert fingerprint_of_files(files, "one way", lambda: pytest.fail("computed again")) == "1"


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"stamp": 3}', '{"fingerprint": 3}'])
def test_a_damaged_record_is_no_record(files: list[Path], own_cache: Path, damage: str) -> None:
    compute = Computing(files)
    first = fingerprint_of_files(files, "texts", compute)
    (record,) = (own_cache / "fingerprints").iterdir()
    record.write_text(damage)
    assert fingerprint_of_files(files, "texts", compute) == first and compute.times == 2
    assert fingerprint_of_files(files, "texts", compute) == first and compute.times == 2


def test_where_a_text_ends_counts_and_in_which_order_judgments_come_does_not() -> None:
    assert len({fingerprint_of(parts) for parts in (["ab", "c"], ["a", "bc"], ["abc"], [], [""])}) == 5
    qrels = {"q": {"a": 1, "b": 0}, "r": {"c": 2}}
    turned = {"r": {"c": 2}, "q": {"b": 0, "a": 1}}
    queries = {"q": "one", "r": "two"}
    assert [*judged_parts(queries, qrels)] == [*judged_parts(dict(reversed(queries.items())), turned)]
    assert [*judged_parts(queries, qrels)] != [*judged_parts(queries, {**qrels, "r": {"c": 1}})]
    assert fingerprint_of(["\ud800"]), "half of a pair of surrogates, which JSON lets through"
