"""Files and folders are whole or absent, and made once."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from armlib import storage
from armlib.errors import InputError, unknown


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    place = tmp_path / "result"
    with storage.atomic_folder(place) as draft:
        (draft / "a.txt").write_text("first")
    with pytest.raises(RuntimeError), storage.atomic_folder(place) as draft:
        (draft / "a.txt").write_text("second")
        raise RuntimeError
    assert (place / "a.txt").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["result"], "no draft stays behind"


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    full = pytest.raises(InputError, match="cannot write .*result: No space left on device")
    with full, storage.atomic_folder(tmp_path / "result"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (lambda folder: (folder / "a.bin").write_bytes(b"other"), "contents"),
        (lambda folder: (folder / "a.bin").write_bytes(b"longer bytes"), "12 bytes, not 5"),
        (lambda folder: (folder / "a.bin").unlink(), "missing"),
        (lambda folder: (folder / storage.MANIFEST).write_text("{"), "manifest"),
    ],
)
def test_damage_is_found_and_named(tmp_path: Path, harm, found: str) -> None:
    with storage.atomic_folder(tmp_path / "sealed") as draft:
        (draft / "a.bin").write_bytes(b"bytes")
    assert storage.damage(tmp_path / "sealed") is None
    harm(tmp_path / "sealed")
    assert found in storage.damage(tmp_path / "sealed")


def test_a_kept_folder_is_made_once(tmp_path, monkeypatch):
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path))
    made = []

    def make(folder):
        made.append(folder)
        (folder / "text").write_text("whole")

    first = storage.kept("things/a", "thing", make)
    assert first == storage.kept("things/a", "thing", make) == tmp_path / "things" / "a"
    assert len(made) == 1 and (first / "text").read_text() == "whole"


def test_a_damaged_folder_is_made_again_with_a_warning(tmp_path, monkeypatch):
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path))
    folder = storage.kept("a", "thing", lambda draft: (draft / "text").write_text("whole"))
    (folder / "text").write_text("other")
    with pytest.warns(UserWarning, match="the thing in .* is damaged .*text does not have the contents.* made again"):
        storage.kept("a", "thing", lambda draft: (draft / "text").write_text("whole"))
    assert (folder / "text").read_text() == "whole"


def test_nothing_is_kept_of_a_failure(tmp_path, monkeypatch):
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path))

    def fail(draft):
        (draft / "text").write_text("half")
        raise InputError("no")

    with pytest.raises(InputError, match="no"):
        storage.kept("a", "thing", fail)
    assert not (tmp_path / "a").exists()
    assert storage.kept("a", "thing", lambda draft: (draft / "text").write_text("whole")).is_dir()


def test_unknown_names_the_nearest_and_what_there_is() -> None:
    message = str(unknown("target", "adaptve", ["static(0.3)", "adaptive", "distributed"]))
    assert "did you mean 'adaptive'" in message and "static(0.3)" in message
