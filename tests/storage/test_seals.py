"""Damage of a sealed folder is found, whatever became of its files or of its manifest."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from armlib import storage
from armlib.errors import InputError

HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
DEEP = b"[" * 100_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sealed folder with a sealed folder in it."""
    with storage.atomic_folder(tmp_path / "sealed") as draft:
        (draft / "a.txt").write_text("hello")
        with storage.atomic_folder(draft / "sub") as inner:
            (inner / "b.bin").write_bytes(bytes(100))
    assert storage.damage(tmp_path / "sealed") is None
    return tmp_path / "sealed"


def entries(folder: Path) -> dict:
    return json.loads((folder / storage.MANIFEST).read_text())


def rewrite(folder: Path, value: object) -> None:
    (folder / storage.MANIFEST).write_text(json.dumps(value, indent=1) + "\n")


def old_seal(folder: Path) -> dict:
    """Seal a folder as manifests were once: without themselves, and without those in folders below."""
    old = {name: entry for name, entry in entries(folder).items() if Path(name).name != storage.MANIFEST}
    rewrite(folder, old)
    return old


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (lambda folder: (folder / "a.txt").write_text("other"), "a.txt does not have the contents"),
        (lambda folder: (folder / "a.txt").write_text("longer text"), "a.txt has 11 bytes, not 5"),
        (lambda folder: (folder / "a.txt").unlink(), "a.txt is missing"),
        (lambda folder: rewrite(folder / "sub", {}), "sub/manifest.json has 3 bytes"),
        (lambda folder: (folder / "sub" / storage.MANIFEST).unlink(), "sub/manifest.json is missing"),
    ],
)
def test_harm_to_files_is_found(folder: Path, harm, found: str) -> None:
    harm(folder)
    assert found in storage.damage(folder)


def _entry(**values: object) -> dict:
    return {"bytes": 5, "sha256": HELLO} | values


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'"text"',
        DEEP,
        b'{"a.txt": ' + DEEP,
        b'{"a.txt": {"bytes": ' + b"9" * 5000 + b"}}",
        *(
            json.dumps(value, indent=1).encode() + b"\n"
            for value in (
                {},
                {"a.txt": 5},
                {"a.txt": {}},
                {"a.txt": {"bytes": 5}},
                {"a.txt": _entry(bytes="5")},
                {"a.txt": _entry(bytes=True)},
                {"a.txt": _entry(bytes=5.0)},
                {"a.txt": _entry(sha256=None)},
                {"a.txt": _entry(more=1)},
                {"a.txt": _entry(), "": _entry()},
                {"a.txt": _entry(), ".": _entry()},
                {"a.txt": _entry(), "\0": _entry()},
                {"a.txt": _entry(), "\ud800": _entry()},
                {"a.txt": _entry(), "x" * 100_000: _entry()},
                {"a.txt": _entry(), "x/" * 10_000: _entry()},
                {"a.txt": _entry()},
            )
        ),
    ],
)
def test_a_manifest_that_was_not_written_so_is_damage(folder: Path, contents: bytes) -> None:
    (folder / storage.MANIFEST).write_bytes(contents)
    reason = storage.damage(folder)
    assert reason and len(reason) <= 1000 and reason.isprintable()
    with pytest.raises(InputError, match="is damaged"):
        storage.whole_file(folder, "a.txt")


@pytest.mark.parametrize("change", ["drop", "add", "double", "order", "space", "mark", "own"])
def test_every_change_of_a_manifest_is_damage(folder: Path, change: str) -> None:
    """Also one after which it still fits the files that are there."""
    file, value = folder / storage.MANIFEST, entries(folder)
    text = file.read_text()
    match change:
        case "drop":
            del value["a.txt"]
            rewrite(folder, value)
        case "add":
            rewrite(folder, value | {"a.txt": value["a.txt"] | {"shaes": 5}})
        case "double":
            file.write_text(text.replace('"bytes": 5,', '"bytes": 5,\n  "bytes": 5,'))
        case "order":
            rewrite(folder, dict(reversed(value.items())))
        case "space":
            file.write_text(text + "\n")
        case "mark":
            file.write_text("\ufeff" + text)
        case "own":
            rewrite(folder, value | {storage.MANIFEST: _entry()})
    assert file.read_text() != text and storage.damage(folder)


def test_a_folder_in_the_manifests_place_is_damage(folder: Path) -> None:
    (folder / storage.MANIFEST).unlink()
    (folder / storage.MANIFEST).mkdir()
    assert "manifest cannot be read" in storage.damage(folder)


@pytest.mark.parametrize("name", ["../outside", "{root}/outside", "link", "linked/outside", "sub/../a.txt", "./a.txt", "loop"])
def test_a_manifest_names_files_of_its_folder_only(folder: Path, name: str) -> None:
    outside = folder.parent / "outside"
    outside.write_text("hello")
    if name.partition("/")[0] in (links := {"link": outside, "linked": folder.parent, "loop": "loop"}):
        (folder / name.partition("/")[0]).symlink_to(links[name.partition("/")[0]])
    old = old_seal(folder)
    name = name.format(root=folder.parent)
    rewrite(folder, dict(sorted((old | {name: _entry()}).items(), key=lambda item: Path(item[0]))))
    assert ("cannot be read" if name == "loop" else "is not the name of a file in it") in storage.damage(folder)


def test_what_was_sealed_before_manifests_listed_themselves_is_whole(folder: Path) -> None:
    old = old_seal(folder)
    assert storage.damage(folder) is None
    (folder / ".DS_Store").write_text("made by a file manager")
    assert storage.damage(folder) is None
    del old["a.txt"]
    rewrite(folder, old)
    assert storage.damage(folder) == "its manifest does not list a.txt"


def test_files_beside_those_that_were_sealed_do_no_harm(folder: Path) -> None:
    (folder / "notes.txt").write_text("a remark on this result")
    assert storage.damage(folder) is None


def test_what_may_not_be_read_is_not_called_damaged(folder: Path, monkeypatch) -> None:
    """Else it would be deleted, and made again."""

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InputError, match=r"cannot read .*manifest\.json: Permission denied"):
        storage.damage(folder)


def test_a_file_is_read_only_with_the_contents_that_were_written(folder: Path) -> None:
    assert storage.whole_file(folder, "a.txt").read_text() == "hello"
    (folder / "a.txt").write_text("other")
    assert storage.damage(folder, contents=False) is None
    with pytest.raises(InputError, match=r"sealed is damaged: a\.txt does not have the contents"):
        storage.whole_file(folder, "a.txt")
    with pytest.raises(InputError, match="sealed is damaged: its manifest does not list c"):
        storage.whole_file(folder, "c")


def test_manifests_of_bug_reports_are_damage(shared: Path, tmp_path: Path) -> None:
    cases = sorted((shared / "cases" / "fuzz" / "manifest").glob("*/manifest.json"))
    if not cases:
        pytest.skip("the cases are not there")
    for case in cases:
        with storage.atomic_folder(tmp_path / case.parent.name) as draft:
            (draft / "a.txt").write_text("hello")
            (draft / "sub").mkdir()
            (draft / "sub" / "b.bin").write_bytes(os.urandom(100))
        (tmp_path / case.parent.name / storage.MANIFEST).write_bytes(case.read_bytes())
        assert storage.damage(tmp_path / case.parent.name, contents=False)
