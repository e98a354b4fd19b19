"""What the operating system says of a path, in a sentence; and writes that outlast a loss of power."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from armlib.errors import InputError

# Not those of networks and processes.
_OF_FILES = {
    getattr(errno, name)
    for name in (
        *("EACCES", "EPERM", "EROFS", "ENOSPC", "EDQUOT", "EFBIG", "EIO", "ENXIO", "ENODEV", "ESTALE", "EBUSY", "ETXTBSY"),
        *("ENOENT", "ENOTDIR", "EISDIR", "EEXIST", "ENOTEMPTY", "ENAMETOOLONG", "ELOOP", "EXDEV", "EMLINK", "EMFILE", "ENFILE"),
    )
    if hasattr(errno, name)
}
# Libraries that write files have errors of their own: safetensors and tokenizers (Rust) give the number in words; torch, NumPy and
# pandas none at all.
_NUMBERED = re.compile(r"\(os error (\d+)\)")
_UNNUMBERED = (
    (RuntimeError, re.compile(r"PytorchStreamWriter|unexpected pos \d+ vs \d+|iostream error"), "not all of it could be written"),
    (RuntimeError, re.compile(r"Parent directory .* does not exist|File .* cannot be opened"), os.strerror(errno.ENOENT)),
    (OSError, re.compile(r"\d+ requested and \d+ written"), "not all of it could be written"),
    (OSError, re.compile(r"non-existent directory"), os.strerror(errno.ENOENT)),
)


@contextmanager
def disk_errors(path: str | os.PathLike[str], doing: str = "write") -> Iterator[None]:
    """Turn what the operating system says of files into one sentence that names ``path``, whichever library passes it on.

    Raises:
        InputError: there is no space, no permission, no such folder, or whatever else keeps a file from being written or read.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = _reason(error, Path(path))
        if reason is None:
            raise
        raise InputError(f"cannot {doing} {path}: {reason}") from error


def _reason(error: Exception, path: Path) -> str | None:
    if isinstance(error, OSError) and error.errno in _OF_FILES:
        # Named where it is another file than one expects, such as one that was to be copied.
        other = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else path
        near = other.is_relative_to(path.parent) or path.is_relative_to(other)
        return (error.strerror or str(error)) + ("" if near else f" ({other})")
    if (found := _NUMBERED.search(str(error))) and int(found[1]) in _OF_FILES:
        return os.strerror(int(found[1]))
    return next((said for kind, pattern, said in _UNNUMBERED if isinstance(error, kind) and pattern.search(str(error))), None)


def canonical(path: str | os.PathLike[str]) -> Path:
    """A path as it is always written: absolute, without links, ``..`` and ``~``.

    Raises:
        InputError: it cannot be a path.
    """
    try:
        return Path(path).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle; no such home; a NUL character
        raise InputError(f"{os.fspath(path)!r} cannot be used as a path: {error}") from error


def configured_folder(variable: str, default: str) -> Path:
    """The folder that an environment variable names, else ``default``; ``~`` is the home folder, in both."""
    configured = os.environ.get(variable, "")
    return canonical(configured if configured.strip() else default)


def check_writable(folder: Path, variable: str = "") -> None:
    """See that files can be made in a folder, before there is anything to lose. The folder is made if it is not there.

    Args:
        folder: where something is to be written.
        variable: the environment variable that chooses another one.

    Raises:
        InputError: they cannot.
    """
    try:
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
    except InputError as error:
        raise InputError(f"{error}; ${variable} can name another folder" if variable else str(error)) from error.__cause__


def flush(path: Path) -> None:
    """Have the contents of a file, or the names in a folder, written to the disk itself (fsync)."""
    folder = path.is_dir()
    if folder and os.name == "nt":
        return  # which cannot open folders
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if not folder or error.errno not in (errno.EINVAL, errno.ENOTSUP):  # not all file systems can with folders
            raise
    finally:
        os.close(handle)
