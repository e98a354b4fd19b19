"""Locks between processes, also of several machines; who waits is told for whom."""

from __future__ import annotations

import json
import os
import platform
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from armlib.errors import InputError
from armlib.storage.disk import disk_errors

PATIENCE = 2.0  # seconds of waiting after which it is told


@contextmanager
def locked(lock: Path, doing: str, wait: bool = True) -> Iterator[None]:
    """Hold a lock file, alone among all processes.

    Whoever waits for longer than a moment is told in a warning which process holds it, and since when.

    Args:
        lock: the file; it and its folder are made. A file beside it, ``.holder``, says who holds it.
        doing: for that warning, such as ``"training 0f3b"``.
        wait: otherwise a lock that somebody holds is refused.

    Raises:
        InputError: the file cannot be made, or the lock is held.
    """
    held, record = FileLock(lock), lock.with_suffix(".holder")
    with disk_errors(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            held.acquire(timeout=PATIENCE if wait else 0)
        except Timeout:
            if not wait:
                raise InputError(f"{lock} is held by {_holder(record)}") from None
            warnings.warn(f"waiting for {_holder(record)}", stacklevel=3)
            held.acquire()
    try:
        about = {"process": os.getpid(), "host": platform.node(), "doing": doing, "since": time.time()}
        with suppress(OSError):  # a full disk keeps nobody from what a lock is for
            record.write_text(json.dumps(about), encoding="utf8")
        yield
    finally:
        with suppress(OSError):
            record.unlink()
        held.release()


def is_held(lock: Path) -> bool:
    """Whether some process holds a lock file now."""
    if not lock.is_file():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # a store that is read-only here: nobody can be seen
        return False


def _holder(record: Path) -> str:
    try:
        about = json.loads(record.read_text(encoding="utf8"))
        since, now = time.localtime(about["since"]), time.localtime()
        at = time.strftime("%H:%M" if since[:3] == now[:3] else "%Y-%m-%d %H:%M", since)
        return f"process {about['process']} on {about['host']}, which has been {about['doing']} since {at}"
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):  # absent, or not whole yet
        return "another process"
