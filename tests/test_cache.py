"""Folders that are made once."""

from __future__ import annotations

import pytest

from armlib.errors import InputError
from armlib.storage import kept


def test_a_kept_folder_is_made_once(tmp_path, monkeypatch):
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path))
    made = []

    def make(folder):
        made.append(folder)
        (folder / "text").write_text("whole")

    first = kept("things/a", "thing", make)
    assert first == kept("things/a", "thing", make) == tmp_path / "things" / "a"
    assert len(made) == 1 and (first / "text").read_text() == "whole"


def test_a_damaged_folder_is_made_again_with_a_warning(tmp_path, monkeypatch):
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path))
    folder = kept("a", "thing", lambda draft: (draft / "text").write_text("whole"))
    (folder / "text").write_text("other")
    with pytest.warns(UserWarning, match="the thing in .* is damaged .*text does not have the contents.* made again"):
        kept("a", "thing", lambda draft: (draft / "text").write_text("whole"))
    assert (folder / "text").read_text() == "whole"


def test_nothing_is_kept_of_a_failure(tmp_path, monkeypatch):
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path))

    def fail(draft):
        (draft / "text").write_text("half")
        raise InputError("no")

    with pytest.raises(InputError, match="no"):
        kept("a", "thing", fail)
    assert not (tmp_path / "a").exists()
    assert kept("a", "thing", lambda draft: (draft / "text").write_text("whole")).is_dir()
