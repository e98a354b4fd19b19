"""How often a collection's documents are read from their file: once for a result that is made, never for one that is there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from armlib.experiments.experiment import Experiment
from armlib.experiments.store import RunStore

_WATCHED: list[list[str]] = []


def _note(event: str, arguments: tuple) -> None:
    if _WATCHED and event == "open" and isinstance(arguments[0], str | os.PathLike):
        _WATCHED[-1].append(os.fspath(arguments[0]))


@pytest.fixture(scope="module", autouse=True)
def _watch_files() -> None:
    sys.addaudithook(_note)  # which cannot be taken away again


@contextmanager
def opened(name: str) -> Iterator[list[str]]:
    """The paths of files of a name that this process opens in a block, filled at its end."""
    found: list[str] = []
    _WATCHED.append([])
    try:
        yield found
    finally:
        found += [path for path in _WATCHED.pop() if Path(path).name == name]


@pytest.fixture
def folder(beir_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the small collection with a dev split, too; its files are older than a moment, and the cache is empty."""
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path / "cache"))
    copy = tmp_path / "collection"
    shutil.copytree(beir_folder, copy)
    header, *rows = (copy / "qrels" / "train.tsv").read_text().splitlines(keepends=True)
    (copy / "qrels" / "train.tsv").write_text(header + "".join(rows[20:]))
    (copy / "qrels" / "dev.tsv").write_text(header + "".join(rows[:20]))
    age(copy)
    return copy


def age(folder: Path) -> None:
    """Let the files of a folder be written a minute ago, each at a time of its own."""
    for number, file in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        moment = file.stat().st_mtime_ns - (60 + number) * 10**9
        os.utime(file, ns=(moment, moment))


@pytest.fixture
def experiment(folder: Path) -> Experiment:
    """Two steps from word vectors of the collection, validated on its dev split and measured on its test split."""
    return Experiment(collection=str(folder), batch_size=16, steps=2, validate_every=1, query_length=24, passage_length=48)


def test_a_result_reads_the_documents_once_and_a_finished_one_never(experiment: Experiment, folder: Path, tmp_path: Path) -> None:
    with opened("corpus.jsonl") as first:
        result = RunStore(tmp_path / "runs").result(experiment)
    assert result.about["validated_on"] == f"{folder}/dev" and set(result.measures.collection) == {f"{folder}/test"}
    assert len(first) == 1

    with opened("corpus.jsonl") as second:
        store = RunStore(tmp_path / "runs")
        assert store.result(experiment).key == result.key == experiment.key()
        assert store.missing([experiment]) == [] and store.state(experiment) == "finished"
    assert second == []


@pytest.mark.slow
def test_another_process_reads_nothing_of_a_finished_result(experiment: Experiment, tmp_path: Path) -> None:
    result = RunStore(tmp_path / "runs").result(experiment)
    script = tmp_path / "again.py"
    script.write_text(AGAIN)
    arguments = [str(tmp_path / "runs"), json.dumps(asdict(experiment))]
    done = subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [result.key, []]


AGAIN = """
import json, os, sys
opened = []
sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)
from armlib.experiments.experiment import Experiment
from armlib.experiments.store import RunStore
key = RunStore(sys.argv[1], device="cpu").result(Experiment(**json.loads(sys.argv[2]))).key
print(json.dumps([key, [path for path in opened if path.endswith("corpus.jsonl")]]))
"""


def test_a_folder_that_changes_has_another_key(experiment: Experiment, folder: Path) -> None:
    before = experiment.key()
    age(folder)
    with opened("corpus.jsonl") as read:
        assert experiment.key() == before, "other times, the same contents"
    assert len(read) == 1

    corpus = folder / "corpus.jsonl"
    contents = corpus.read_text()
    keys = [before]
    for changed in (contents.replace("Return ", "Nruter "), contents + '{"_id": "new", "text": "one more"}\n'):
        corpus.write_text(changed)
        age(folder)
        with opened("corpus.jsonl") as read:
            keys.append(experiment.key())
        assert len(read) == 1
    assert len(set(keys)) == 3, "a changed text of the same length, and one more document"
    for split in ("train", "dev", "test"):
        file = folder / "qrels" / f"{split}.tsv"
        file.write_text(file.read_text() + "q-os.walk\tos.getgrouplist\t1\n")
        age(folder)
        keys.append(experiment.key())
    assert len(set(keys)) == 6, "the judgments of each split"
    corpus.write_text(contents)
    age(folder)
    assert experiment.key() not in keys, "the judgments are still others"


def test_a_file_that_was_just_written_is_read_again(experiment: Experiment, folder: Path) -> None:
    """Two writes within a tick of the clock have one time of modification, so such a time tells nothing."""
    just_now = (folder / "corpus.jsonl").stat().st_mtime_ns + 10**12  # and still is, however busy the machine
    os.utime(folder / "corpus.jsonl", ns=(just_now, just_now))
    for _ in range(2):
        with opened("corpus.jsonl") as read:
            experiment.key()
        assert len(read) == 1
