"""Who waits for a lock is told for whom; what is whole needs no lock."""

from __future__ import annotations

import multiprocessing
import os
import platform
import warnings
from pathlib import Path

import pytest

from armlib import storage
from armlib.errors import InputError
from armlib.storage import locks


def _hold(lock: Path, begun, end) -> None:
    with storage.locked(lock, "training 0f3b"):
        begun.set()
        end.wait(60)


@pytest.fixture
def holder(tmp_path: Path):
    """A process that holds the lock ``x.lock``, until its event is set."""
    context = multiprocessing.get_context("fork")
    begun, end = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path / "x.lock", begun, end))
    process.start()
    assert begun.wait(60)
    process.end = end
    yield process
    end.set()
    process.join()


def test_who_waits_is_told_for_whom(holder, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.1)
    said = rf"^waiting for process {holder.pid} on {platform.node()}, which has been training 0f3b since \d\d:\d\d$"
    monkeypatch.setattr(warnings, "warn", lambda message, **_: (told.append(message), holder.end.set()))
    told: list[str] = []
    with storage.locked(tmp_path / "x.lock", "training 0f3b"):
        pass
    (line,) = told
    with pytest.raises(UserWarning, match=said):
        raise UserWarning(line)


def test_who_does_not_wait_is_refused(holder, tmp_path: Path) -> None:
    assert storage.is_held(tmp_path / "x.lock")
    refused = pytest.raises(InputError, match=f"is held by process {holder.pid} on .*training 0f3b")
    with refused, storage.locked(tmp_path / "x.lock", "deleting", wait=False):
        pytest.fail("the lock is held")
    holder.end.set()
    holder.join()
    assert not storage.is_held(tmp_path / "x.lock") and not storage.is_held(tmp_path / "absent.lock")
    with storage.locked(tmp_path / "x.lock", "deleting", wait=False):
        assert (tmp_path / "x.holder").is_file()
    assert not (tmp_path / "x.holder").exists()


@pytest.mark.parametrize("record", [b"", b"{", b"[]", b"3", b'{"since": "then"}', b'{"since": 1e300}', b"[" * 100_000, b"\xff"])
def test_a_record_that_cannot_be_read_names_nobody(holder, tmp_path: Path, record: bytes) -> None:
    (tmp_path / "x.holder").write_bytes(record)
    with pytest.raises(InputError, match="is held by another process"), storage.locked(tmp_path / "x.lock", "x", wait=False):
        pytest.fail("the lock is held")


def test_a_lock_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.lock").mkdir()
    for lock in (tmp_path / "file" / "x.lock", tmp_path / "folder.lock", tmp_path / f"{'x' * 300}.lock"):
        with pytest.raises(InputError, match="^cannot write"), storage.locked(lock, "x"):
            pytest.fail("there is no lock")


def test_what_is_whole_is_read_without_a_lock(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path))
    folder = storage.kept("things/one", "thing", lambda draft: (draft / "text").write_text("whole"))
    os.remove(folder.parent / ".one.lock")
    monkeypatch.setattr(locks, "FileLock", lambda *_, **__: pytest.fail("a lock in a cache that may not be written"))
    assert storage.kept("things/one", "thing", lambda draft: pytest.fail("made again")) == folder
