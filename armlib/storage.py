"""Files and folders that are whole or absent: written beside their final path, renamed at the end, checked before they are used."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from armlib.errors import InputError

MANIFEST = "manifest.json"


def cache_folder() -> Path:
    """Where collections, token stores and encoders are kept: ``$ARMLIB_CACHE``, else ``~/.cache/armlib``."""
    configured = os.environ.get("ARMLIB_CACHE")
    return Path(configured) if configured else Path.home() / ".cache" / "armlib"


def digest(*parts: str | bytes) -> str:
    """A hexadecimal SHA-256 of the parts, each preceded by its length, so that no two lists of parts collide."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little"))
        total.update(data)
    return total.hexdigest()


def short_digest(*parts: str | bytes) -> str:
    """The first 16 digits of `digest`: enough to name a cached thing."""
    return digest(*parts)[:16]


def file_digest(path: Path) -> str:
    """The hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def write_json(path: Path, value: object) -> None:
    """Write JSON, indented and with sorted keys, so that the file appears whole."""
    with atomic_file(path) as draft:
        draft.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf8")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf8"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is damaged: expected JSON, but {error}; delete it to have it made again") from error


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; on success it takes the name ``path``, on failure it is removed.

    Raises:
        InputError: the disk is full or read-only.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    draft = Path(name)
    try:
        with disk_errors(path):
            yield draft
            os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a folder beside ``path`` to fill; on success it is sealed (see `seal`) and takes the name ``path``.

    A folder that stands at ``path`` already is replaced. On failure nothing is left and ``path`` is as it was.

    Raises:
        InputError: the disk is full or read-only.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
    try:
        with disk_errors(path):
            yield draft
            seal(draft)
            old = draft.with_suffix(".old")
            if path.exists():
                os.replace(path, old)
            os.replace(draft, path)
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full or read-only disk into one sentence that names ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}:
            raise
        raise InputError(f"cannot write {path}: {error.strerror or error}; nothing of it was kept") from error


def seal(folder: Path) -> None:
    """Write ``manifest.json``: the size and SHA-256 of every file below ``folder``."""
    entries = {
        str(file.relative_to(folder)): {"bytes": file.stat().st_size, "sha256": file_digest(file)}
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != MANIFEST
    }
    (folder / MANIFEST).write_text(json.dumps(entries, indent=1) + "\n", encoding="utf8")


def damage(folder: Path, *, contents: bool = True) -> str | None:
    """What is wrong with a sealed folder, as a phrase; None when it is whole.

    Args:
        folder: a folder written through `atomic_folder`.
        contents: also compare SHA-256 sums, which reads every byte; otherwise only sizes are compared.
    """
    try:
        entries = json.loads((folder / MANIFEST).read_text(encoding="utf8"))
    except (OSError, json.JSONDecodeError) as error:
        return f"its manifest cannot be read ({error.__class__.__name__})"
    for name, entry in entries.items():
        file = folder / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != entry["bytes"]:
            return f"{name} has {file.stat().st_size} bytes, not {entry['bytes']}"
        if contents and file_digest(file) != entry["sha256"]:
            return f"{name} does not have the contents that were written"
    return None


def kept(name: str, what: str, make: Callable[[Path], None]) -> Path:
    """The sealed folder ``name`` of the cache folder, made by ``make(folder)`` where there is none.

    One process makes it, others wait for it; a damaged one is made again, with a warning.

    Args:
        name: its path below `cache_folder`; it must change with everything that the contents depend on.
        what: what it is, for that warning.
        make: fills an empty folder; nothing is kept if it raises.

    Raises:
        InputError: the disk is full or read-only.
    """
    folder = cache_folder() / name
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.parent / f".{folder.name}.lock")
        lock.acquire()
    try:
        reason = damage(folder) if folder.exists() else "absent"
        if reason not in (None, "absent"):
            warnings.warn(f"the {what} in {folder} is damaged ({reason}); it is made again", stacklevel=2)
        if reason:
            with atomic_folder(folder) as draft:
                make(draft)
    finally:
        lock.release()
    return folder
