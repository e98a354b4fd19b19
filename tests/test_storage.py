"""Files are whole or absent."""

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


def test_unknown_names_the_nearest_and_what_there_is() -> None:
    message = str(unknown("target", "adaptve", ["static(0.3)", "adaptive", "distributed"]))
    assert "did you mean 'adaptive'" in message and "static(0.3)" in message
