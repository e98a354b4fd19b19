"""Sealed folders: what was written into them is listed with sizes and SHA-256 sums, so that damage is found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from armlib.errors import InputError
from armlib.storage.digests import digest, file_digest
from armlib.storage.disk import disk_errors

MANIFEST = "manifest.json"


class Damaged(InputError):
    """What is wrong with a sealed folder, as a phrase."""


def seal(folder: Path) -> None:
    """Write ``manifest.json``: the size and SHA-256 of every file below ``folder``, and of this list itself."""
    entries = {
        file.relative_to(folder).as_posix(): {"bytes": file.stat().st_size, "sha256": file_digest(file)}
        for file in folder.rglob("*")
        if file.is_file() and file != folder / MANIFEST
    }
    (folder / MANIFEST).write_text(_as_text({**entries, MANIFEST: _own_entry(entries)}), encoding="utf8")


def damage(folder: Path, *, contents: bool = True) -> str | None:
    """What is wrong with a sealed folder, as a phrase; None when it is whole.

    Args:
        folder: a folder written through `armlib.storage.atomic_folder`.
        contents: also compare SHA-256 sums, which reads every byte; otherwise only sizes are compared.

    Raises:
        InputError: it may not be read, so that nothing is known of it.
    """
    try:
        for name, entry in _entries(folder).items():
            _check(folder, name, entry, contents)
    except Damaged as found:
        return str(found)
    return None


def whole_file(folder: Path, name: str) -> Path:
    """The path of a file of a sealed folder, whose contents are those that were written.

    Raises:
        InputError: they are not, or the file may not be read.
    """
    try:
        entries = _entries(folder)
        if name not in entries:
            raise Damaged(f"its manifest does not list {name}")
        _check(folder, name, entries[name], contents=True)
    except Damaged as found:
        raise InputError(f"{folder} is damaged: {found}") from found
    return folder / name


def _as_text(entries: Mapping[str, Any]) -> str:
    ordered = {name: entries[name] for name in sorted(entries, key=PurePosixPath)}
    return json.dumps(ordered, indent=1) + "\n"


def _own_entry(entries: Mapping[str, Any]) -> dict[str, object]:
    text = _as_text(entries)
    return {"bytes": len(text), "sha256": digest(text)}


def _entries(folder: Path) -> dict[str, dict[str, Any]]:
    """The manifest's entries, without its own."""
    file = folder / MANIFEST
    try:
        text = file.read_bytes().decode()
        entries = json.loads(text)
    except PermissionError:
        with disk_errors(file, "read"):
            raise
    except (OSError, ValueError, RecursionError) as error:  # absent, a folder, not UTF-8, not JSON, or nested without end
        raise Damaged(f"its manifest cannot be read ({type(error).__name__})") from error
    if not isinstance(entries, dict) or not all(map(_is_entry, entries.values())) or text != _as_text(entries):
        raise Damaged("its manifest is not as it was written")
    own = entries.pop(MANIFEST, None)
    if own is None:  # sealed before manifests listed themselves and those in folders below
        unlisted = [name for name in _files(folder) if name not in entries and PurePosixPath(name).name != MANIFEST]
        if unlisted or not entries:
            raise Damaged(f"its manifest does not list {unlisted[0] if unlisted else 'anything'}")
    elif own != _own_entry(entries):
        raise Damaged("its manifest is not as it was written")
    return entries


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict) or entry.keys() != {"bytes", "sha256"}:
        return False
    return type(entry["bytes"]) is int and isinstance(entry["sha256"], str)


def _files(folder: Path) -> list[str]:
    """The files below a folder; hidden ones, which file managers and network file systems make, are passed over."""
    found = [file.relative_to(folder) for file in sorted(folder.rglob("*")) if file.is_file()]
    return [name.as_posix() for name in found if not any(part.startswith(".") for part in name.parts)]


def _check(folder: Path, name: str, entry: Mapping[str, Any], contents: bool) -> None:
    try:
        whole = folder.resolve()
        file = (whole / name).resolve()
        if file.as_posix() != f"{whole.as_posix()}/{name}":
            raise Damaged(f"{name} in its manifest is not the name of a file in it")
        if not file.is_file():
            raise Damaged(f"{name} is missing")
        size = file.stat().st_size
        if size != entry["bytes"]:
            raise Damaged(f"{name} has {size} bytes, not {entry['bytes']}")
        if contents and file_digest(file) != entry["sha256"]:
            raise Damaged(f"{name} does not have the contents that were written")
    except PermissionError:
        with disk_errors(folder / name, "read"):
            raise
    except Damaged:
        raise
    except (OSError, ValueError, RuntimeError) as error:  # a name that cannot be one, links in a circle, a disk that fails
        raise Damaged(f"{name} cannot be read ({type(error).__name__})") from error
