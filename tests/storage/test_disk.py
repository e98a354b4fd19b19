"""What the operating system refuses is one sentence, whichever library passes it on; and what is written may be read by others."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from armlib import storage
from armlib.errors import InputError

NUMBERS = [errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOTDIR, errno.EISDIR]
NUMBERS += [errno.ENAMETOOLONG, errno.ELOOP, errno.EIO, errno.ENOENT, errno.ESTALE, errno.EMFILE]


@pytest.mark.parametrize("number", NUMBERS)
def test_errors_of_the_system_are_one_sentence(tmp_path: Path, number: int) -> None:
    with (
        pytest.raises(InputError, match=rf"^cannot write .*result: {os.strerror(number)}$"),
        storage.disk_errors(tmp_path / "result"),
    ):
        raise OSError(number, os.strerror(number), str(tmp_path / "result" / "part"))
    with pytest.raises(InputError, match=r"cannot write .*: .* \(/elsewhere/texts\)"), storage.disk_errors(tmp_path / "result"):
        raise OSError(number, os.strerror(number), "/elsewhere/texts")


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError(111, "refused"), OSError("no such model"), KeyError("x"), ValueError("y")]
)
def test_other_errors_are_passed_on(error: Exception) -> None:
    with pytest.raises(type(error)) as found, storage.disk_errors("result"):
        raise error
    assert found.value is error


TENSORS = {"a": torch.zeros(100_000)}
WRITERS = {
    "torch": lambda path: torch.save(TENSORS, path),
    "safetensors": lambda path: save_file(TENSORS, path),
    "tokenizers": lambda path: Tokenizer(WordLevel({f"word{n}": n for n in range(20_000)}, "word0")).save(str(path)),
    "numpy": lambda path: np.save(path, np.zeros(100_000)),
    "tofile": lambda path: np.zeros(100_000).tofile(path),
    "pandas": lambda path: pd.DataFrame({"a": range(100_000)}).to_csv(path),
    "text": lambda path: path.write_text("x" * 400_000),
}


@pytest.mark.parametrize("library", WRITERS)
def test_a_folder_that_is_gone_is_one_sentence(tmp_path: Path, library: str) -> None:
    path = tmp_path / "gone" / "file.npy"
    with pytest.raises(InputError, match="cannot write .*No such file or directory"), storage.disk_errors(path):
        WRITERS[library](path)


@pytest.mark.parametrize("library", WRITERS)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # torch's writer, as it is collected
def test_a_file_that_may_not_grow_is_one_sentence(tmp_path: Path, library: str) -> None:
    """As on a full disk: the limit on the size of files stops the writing halfway."""
    path = tmp_path / "file.npy"
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(InputError, match=f"cannot write .*({os.strerror(errno.EFBIG)}|not all of it could be written)"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
            with storage.disk_errors(path):
                WRITERS[library](path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_what_is_no_folder_is_refused_before_work_begins(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    storage.check_writable(tmp_path / "new" / "folder")
    assert not list((tmp_path / "new" / "folder").iterdir())
    for path in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match="^cannot write .*"):
            storage.check_writable(path)
        with pytest.raises(InputError, match="^cannot write .*"), storage.atomic_folder(path / "below"):
            pytest.fail("nothing can be written")
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"^cannot write .*Not a directory; \$ARMLIB_CACHE can name another folder"):
        storage.kept("things/one", "thing", lambda draft: pytest.fail("nothing can be kept"))


@pytest.mark.parametrize("path", ["/dev/null", "{root}/folder", "{root}/pipe", "/"])
def test_only_files_are_replaced_by_a_file(tmp_path: Path, path: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="^cannot write"), storage.atomic_file(Path(path.format(root=tmp_path))) as draft:
        draft.write_text("text")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_paths_are_written_in_one_way(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "real" / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path / "real")
    monkeypatch.setenv("HOME", str(tmp_path))
    ways = ["below", "./below", "below/", "below/../below", "../link/below", "~/real/below", tmp_path / "link" / "below"]
    assert {storage.canonical(way) for way in ways} == {tmp_path / "real" / "below"}
    for wrong in ("~nobody-of-this-name/x", "a\0b", tmp_path / "loop" / "x"):
        with pytest.raises(InputError, match="cannot be used as a path"):
            storage.canonical(wrong)


@pytest.mark.parametrize(("configured", "folder"), [("", "{home}/d"), (" ", "{home}/d"), ("~/x", "{home}/x"), ("x", "{here}/x")])
def test_configured_folders(tmp_path: Path, monkeypatch, configured: str, folder: str) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ARMLIB_RUNS", configured)
    assert storage.configured_folder("ARMLIB_RUNS", "~/d") == Path(folder.format(home=tmp_path, here=tmp_path / "here"))


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o027, 0o077])
def test_permissions_follow_the_umask(tmp_path: Path, monkeypatch, umask: int) -> None:
    """Also of what some libraries write for its owner alone, and of locks."""
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path / "cache"))

    def make(draft: Path) -> None:
        (draft / "sub").mkdir(mode=0o700)
        save_file(TENSORS, draft / "sub" / "weights.safetensors")
        storage.write_json(draft / "about.json", {})

    before = os.umask(umask)
    try:
        storage.kept("things/one", "thing", make)
        storage.write_json(tmp_path / "cache" / "record.json", {})
    finally:
        os.umask(before)
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "cache").rglob("*")}
    folders = {"things", "one", "sub"}
    files = {"weights.safetensors", "about.json", "record.json", "manifest.json", ".one.lock"}
    assert found == dict.fromkeys(folders, 0o777 & ~umask) | dict.fromkeys(files, 0o666 & ~umask)


def test_files_and_folders_are_on_the_disk_before_they_have_their_names(tmp_path: Path, monkeypatch) -> None:
    done: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append(("fsync", os.readlink(f"/proc/self/fd/{handle}"))), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append(("replace", str(paths[1]))), replace(*paths)))
    with storage.atomic_folder(tmp_path / "folder") as draft:
        (draft / "sub").mkdir()
        (draft / "sub" / "a.txt").write_text("text")
        name = str(draft)
    at = done.index(("replace", str(tmp_path / "folder")))
    flushed = {path for kind, path in done[:at] if kind == "fsync"}
    assert flushed == {name, f"{name}/sub", f"{name}/sub/a.txt", f"{name}/manifest.json"}
    assert done[at + 1 :] == [("fsync", str(tmp_path))]
