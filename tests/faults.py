"""Faults at every point at which a process opens, makes, renames or deletes a file: an error of the system, or its own end."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.link", "faults.fsync"}
KILLED = 9


@dataclass
class _Watch:
    root: str
    at: int
    fault: Callable[[], None]
    seen: int = 0


_watches: list[_Watch] = []


def _note(event: str, arguments: tuple) -> None:
    if not _watches or event not in EVENTS:
        return
    watch, path = _watches[-1], arguments[0]
    if event != "faults.fsync" and not (isinstance(path, str | os.PathLike) and os.fspath(path).startswith(watch.root)):
        return
    watch.seen += 1
    if watch.seen == watch.at:
        watch.fault()


@contextmanager
def _watched(watch: _Watch) -> Iterator[None]:
    if not getattr(sys, "_faults_noted", False):
        sys._faults_noted = True
        sys.addaudithook(_note)  # which cannot be taken away again
    fsync, os.fsync = os.fsync, lambda handle: sys.audit("faults.fsync", handle)
    _watches.append(watch)
    try:
        yield
    finally:
        _watches.pop()
        os.fsync = fsync


def points(root: Path, action: Callable[[], object]) -> int:
    """At how many points an action could fail below a folder."""
    watch = _Watch(str(root), 0, lambda: None)
    with _watched(watch):
        action()
    return watch.seen


def fail(root: Path, at: int, number: int, action: Callable[[], object]) -> object:
    """What an action gives, whose point ``at`` (from 1) fails with the system's error of a number; its exceptions are passed on."""

    def fault() -> None:
        raise OSError(number, os.strerror(number), str(root / "somewhere"))

    with _watched(_Watch(str(root), at, fault)):
        return action()


def kill(root: Path, at: int, action: Callable[[], object]) -> None:
    """Let a process be killed at point ``at`` of an action, with nothing cleared away after it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with _watched(_Watch(str(root), at, lambda: os._exit(KILLED))):
                action()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == KILLED
