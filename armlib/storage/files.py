"""Files and folders written beside their final path and renamed; JSON; and what is made once and kept in the cache."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from armlib.errors import InputError
from armlib.storage.disk import check_writable, configured_folder, disk_errors, flush
from armlib.storage.locks import is_held, locked
from armlib.storage.seals import damage, seal

A_DAY = 24 * 3600.0


def cache_folder() -> Path:
    """Where collections, token stores and encoders are kept: ``$ARMLIB_CACHE``, else ``~/.cache/armlib``."""
    return configured_folder("ARMLIB_CACHE", "~/.cache/armlib")


def write_json(path: Path, value: object) -> None:
    """Write JSON, indented and with sorted keys, so that the file appears whole."""
    with atomic_file(path) as draft:
        draft.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf8")


def read_json(path: Path, kind: type = object) -> Any:
    """Read a JSON file.

    Args:
        path: the file.
        kind: what it must hold: ``dict``, ``list``, or by default anything.

    Raises:
        InputError: the file cannot be read, is not JSON, or holds something else.
    """
    with disk_errors(path, "read"):
        try:
            value = json.loads(path.read_text(encoding="utf-8-sig"))
        except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, a number of thousands of digits, or nested without end
            reason = str(error) or type(error).__name__
            raise InputError(f"{path} is damaged: expected JSON, but {reason}; delete it to have it made again") from error
    if not isinstance(value, kind):
        raise InputError(f"{path} is damaged: expected a JSON {kind.__name__}, not {type(value).__name__}")
    return value


def read_record(path: Path) -> dict[str, Any]:
    """The JSON object of a file that only saves time: empty where it is absent or damaged."""
    try:
        return read_json(path, dict)
    except InputError:
        return {}


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; on success it takes the name ``path``, on failure it is removed.

    Raises:
        InputError: the file cannot be written: the disk is full or read-only, or there is something else in its place.
    """
    with disk_errors(path):
        if path.exists() and not path.is_file():
            raise InputError(f"cannot write {path}: there is something else in its place, expected a file or nothing")
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path, A_DAY)
        draft = _beside(path)
        draft.touch(exist_ok=False)
        mode = draft.stat().st_mode
    try:
        with disk_errors(path):
            yield draft
            _set_mode(draft, mode)
            flush(draft)
            os.replace(draft, path)
            flush(path.parent)
    finally:
        _delete(draft)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a folder beside ``path`` to fill; on success it is sealed (see `armlib.storage.seal`) and takes the name ``path``.

    A folder that stands at ``path`` already is replaced. On failure nothing is left and ``path`` is as it was.

    Raises:
        InputError: the folder cannot be written: the disk is full or read-only, for example.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path, A_DAY)
        draft = _beside(path)
        draft.mkdir()
        mode = draft.stat().st_mode
    try:
        with disk_errors(path):
            yield draft
            seal(draft)
            for each in (*draft.rglob("*"), draft):
                _set_mode(each, mode)
                flush(each)
            _rename(draft, path)
    finally:
        _delete(draft)


def _rename(draft: Path, path: Path) -> None:
    """Give a folder its name. What had it is moved away first, as folders must be; `sweep` puts it back should this be killed."""
    old, there = draft.with_suffix(".old"), os.path.lexists(path)
    if there:
        os.replace(path, old)
    try:
        os.replace(draft, path)
    except BaseException:
        if there:
            os.replace(old, path)
        raise
    flush(path.parent)
    if there:
        _delete(old)


def _beside(path: Path) -> Path:
    """A new name in the same folder, from which `sweep` knows ``path``."""
    if not path.name:
        raise InputError(f"cannot write {path}: it is not the name of a file or folder")
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


def _set_mode(path: Path, mode: int) -> None:
    """Give what some libraries write for its owner alone the permissions that a new file or folder has here."""
    wanted = mode & (0o777 if path.is_dir() else 0o666)
    if path.stat().st_mode & 0o777 != wanted:
        path.chmod(wanted)


def sweep(path: Path, age: float = 0.0) -> None:
    """Delete what killed processes left of writing ``path``; a folder that one of them was replacing is put back.

    Args:
        path: a file or folder, which need not be there.
        age: only what nobody has touched for so many seconds; 0 is for whoever has the lock under which ``path`` is written.
    """
    for left in _left(path):
        if age and time.time() - _last_touched(left) < age:
            continue
        if left.suffix == ".old" and not os.path.lexists(path):
            os.replace(left, path)
        else:
            _delete(left)


def sweep_unless_held(path: Path, lock: Path) -> None:
    """`sweep` what killed processes left of ``path``, which is whole; not where a process writes it, under its lock."""
    if _left(path) and not is_held(lock):
        sweep(path)


def _left(path: Path) -> list[Path]:
    """What is being written of ``path``, or was by a process that was killed."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[^.]+\.(part|old)")
    return [each for each in sorted(path.parent.iterdir()) if name.fullmatch(each.name)] if path.parent.is_dir() else []


def _last_touched(path: Path) -> float:
    moments = [0.0]
    for each in (path, *path.rglob("*")):
        with suppress(OSError):  # it is being renamed or deleted now
            status = each.lstat()
            moments.append(max(status.st_mtime, status.st_ctime))
    return max(moments)


def link_or_copy(source: Path, target: Path) -> None:
    """Have a file under a second name: the same bytes, or a copy where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def remove(path: Path) -> None:
    """Delete a file or folder; it is gone at once, and never there in part.

    Raises:
        InputError: it may not be deleted.
    """
    with disk_errors(path, "delete"):
        aside = _beside(path)
        os.replace(path, aside)
    _delete(aside)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def kept(name: str, what: str, make: Callable[[Path], None]) -> Path:
    """The sealed folder ``name`` of the cache folder, made by ``make(folder)`` where there is none.

    One process makes it, others wait for it; a damaged one is made again, with a warning. One that is whole needs no lock, so the
    cache may be read-only.

    Args:
        name: its path below `cache_folder`; it must change with everything that the contents depend on.
        what: what it is, for that warning.
        make: fills an empty folder; nothing is kept if it raises.

    Raises:
        InputError: the folder cannot be written, or not be read.
    """
    folder = cache_folder() / name
    lock = folder.parent / f".{folder.name}.lock"
    if _trouble(folder) is None:
        sweep_unless_held(folder, lock)
        return folder
    check_writable(folder.parent, "ARMLIB_CACHE")
    with locked(lock, f"making the {what}"):
        sweep(folder)
        reason = _trouble(folder)
        if reason:
            warnings.warn(f"the {what} in {folder} is damaged ({reason}); it is made again", stacklevel=2)
        if reason is not None:
            with atomic_folder(folder) as draft:
                make(draft)
    return folder


def _trouble(folder: Path) -> str | None:
    """What is wrong with a folder of the cache: the empty text where there is none, None where it is whole."""
    with disk_errors(folder, "read"):
        return damage(folder) if os.path.lexists(folder) else ""
