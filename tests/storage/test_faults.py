"""Whatever fails, at whichever point: what is stored is as it was or whole, and the next one that asks has it whole."""

from __future__ import annotations

import errno
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from armlib import storage
from armlib.errors import InputError
from armlib.experiments import store as store_module
from armlib.experiments.experiment import Experiment
from armlib.experiments.store import RunStore
from faults import fail, kill, points
from fuzzing import INPUTS

STEP = 1 if INPUTS > 40 else 5  # the short form takes every fifth point
NUMBERS = (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO)


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def write_file(root: Path, text: str) -> None:
    with storage.atomic_file(root / "below" / "file.txt") as draft:
        draft.write_text(text)


def write_folder(root: Path, text: str) -> None:
    with storage.atomic_folder(root / "below" / "folder") as draft:
        (draft / "sub").mkdir()
        (draft / "sub" / "a.txt").write_text(text)
        (draft / "b.txt").write_text(text)


def read_file(root: Path) -> str | None:
    file = root / "below" / "file.txt"
    return file.read_text() if file.exists() else None


def read_folder(root: Path) -> str | None:
    folder = root / "below" / "folder"
    if folder.parent.is_dir():
        storage.sweep(folder)  # as whoever has its lock does
    if not folder.exists():
        return None
    assert storage.damage(folder) is None
    texts = {(folder / name).read_text() for name in ("sub/a.txt", "b.txt")}
    assert len(texts) == 1
    return texts.pop()


@pytest.mark.parametrize(("write", "read"), [(write_file, read_file), (write_folder, read_folder)], ids=["file", "folder"])
@pytest.mark.parametrize("before", [None, "before"])
def test_a_write_that_fails_changes_nothing_and_says_so(tmp_path: Path, write, read, before: str | None) -> None:
    root = fresh(tmp_path, write, before)
    count = points(root, partial(write, root, "after"))
    assert count > 5
    for at in range(1, count + 1):
        number = NUMBERS[at % 4]
        fresh(tmp_path, write, before)
        try:
            fail(root, at, number, partial(write, root, "after"))
        except InputError as error:
            assert "cannot write" in str(error) and os.strerror(number) in str(error)
            assert read(root) == before or at > count - 8  # when the last fsync fails, it has its name already
        else:
            assert read(root) == "after"
        write(root, "again")
        assert read(root) == "again"


@pytest.mark.parametrize(("write", "read"), [(write_file, read_file), (write_folder, read_folder)], ids=["file", "folder"])
@pytest.mark.parametrize("before", [None, "before"])
def test_a_process_that_is_killed_leaves_the_former_or_the_new(tmp_path: Path, write, read, before: str | None) -> None:
    root = fresh(tmp_path, write, before)
    for at in range(1, points(root, partial(write, root, "after")) + 1):
        fresh(tmp_path, write, before)
        kill(root, at, partial(write, root, "after"))
        assert read(root) in (before, "after")
        write(root, "again")
        assert read(root) == "again"


def fresh(tmp_path: Path, write: Callable, before: str | None) -> Path:
    root = tmp_path / "root"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    if before is not None:
        write(root, before)
    return root


@pytest.fixture
def things(tmp_path: Path, monkeypatch) -> Iterator[SimpleNamespace]:
    """A cache with one thing in it, or none, and the way to ask for it."""
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path / "cache"))

    def make(draft: Path) -> None:
        (draft / "sub").mkdir()
        (draft / "sub" / "text").write_text("whole")

    def ask() -> Path:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return storage.kept("things/one", "thing", make)

    return SimpleNamespace(root=tmp_path / "cache", ask=ask)


@pytest.mark.parametrize("state", ["absent", "whole", "damaged"])
def test_what_is_kept_is_whole_after_any_fault(things: SimpleNamespace, state: str) -> None:
    def fresh() -> None:
        shutil.rmtree(things.root, ignore_errors=True)
        if state != "absent":
            folder = things.ask()
            (folder / "sub" / "text").write_text("whole" if state == "whole" else "other")

    def assert_whole() -> None:
        folder = things.ask()
        assert (folder / "sub" / "text").read_text() == "whole" and storage.damage(folder) is None
        left = {path.name for path in folder.parent.iterdir()} - {".one.lock", ".one.holder"}
        assert left == {"one"}

    fresh()
    count = points(things.root, things.ask)
    for at in range(1, count + 1, STEP):
        number = NUMBERS[at % 4]
        fresh()
        try:
            folder = fail(things.root, at, number, things.ask)
        except InputError as error:
            assert os.strerror(number) in str(error)
        else:
            assert storage.damage(folder) is None
        assert_whole()
        fresh()
        kill(things.root, at, things.ask)
        assert_whole()


@pytest.fixture
def store(tmp_path: Path, monkeypatch) -> RunStore:
    """A store whose experiments are not trained: each has a result at once."""

    def run(data, folder: Path, work: Path, *_: object) -> None:
        storage.write_json(work / "checkpoints" / "step", 1)
        with storage.atomic_folder(folder) as draft:
            (draft / "encoder").mkdir()
            (draft / "encoder" / storage.MANIFEST).write_text("{}")
            storage.write_json(draft / "experiment.json", asdict(data.experiment))
            storage.write_json(draft / "result.json", {"time": "2024-01-01", "measures": []})

    monkeypatch.setattr(store_module, "run_experiment", run)
    monkeypatch.setattr(store_module, "TrainingData", lambda experiment: SimpleNamespace(experiment=experiment, key="0" * 12))
    main = SimpleNamespace(is_main_process=True, num_processes=1, wait_for_everyone=lambda: None)
    monkeypatch.setattr(store_module, "default_accelerator", lambda *_: main)
    return RunStore(tmp_path / "runs")


@pytest.mark.parametrize("state", ["missing", "finished", "damaged"])
def test_a_result_is_whole_after_any_fault(store: RunStore, state: str) -> None:
    experiment = Experiment()

    def ask() -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return store.result(experiment)

    def fresh() -> None:
        shutil.rmtree(store.path, ignore_errors=True)
        if state != "missing":
            folder = ask().folder
            if state == "damaged":
                (folder / "result.json").write_text("{}")

    def assert_whole() -> None:
        result = ask()
        assert result.experiment == experiment and json.loads((result.folder / "result.json").read_text())["measures"] == []
        assert storage.damage(result.folder) is None and [each.key for each in store.finished()] == [result.key]
        assert not list((store.path / ".unfinished").glob("*")), "the work of a result that is done"
        assert {path.name for path in store.path.iterdir()} <= {result.key, ".locks", ".unfinished"}

    fresh()
    for at in range(1, points(store.path, ask) + 1, STEP):
        number = NUMBERS[at % 4]
        fresh()
        try:
            fail(store.path, at, number, ask)
        except InputError as error:
            assert os.strerror(number) in str(error)
        assert_whole()
        fresh()
        kill(store.path, at, ask)
        assert_whole()
