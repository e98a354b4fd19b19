"""Folders that are made once and kept: one process makes them, the others wait; a damaged one is made again."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from armlib.files import atomic_folder, cache_folder, damage, disk_errors


def kept(name: str, what: str, make: Callable[[Path], None]) -> Path:
    """The sealed folder ``name`` of the cache folder, made by ``make(folder)`` where there is none.

    Args:
        name: its path below `armlib.files.cache_folder`; it must change with everything that the contents depend on.
        what: what it is, for the warning that a damaged one is made again.
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
