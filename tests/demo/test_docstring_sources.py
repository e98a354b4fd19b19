"""Docstrings taken apart, and found without importing anything."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import pytest

from armlib.demo import docstring_sources
from armlib.demo.docstring_sources import (
    BOOK_VERSIONS,
    PACKAGES,
    documented_objects,
    other_versions,
    parse_docstring,
    source_files,
    versions,
)
from armlib.demo.docstrings import warn_of_other_versions
from armlib.errors import InputError

CONSTRAINTS = Path(__file__).resolve().parents[2] / "constraints.txt"

NUMPYDOC = """
Return the thing, e.g. Some value. Then a second sentence.

A longer text about the :func:`~package.thing` and ``code``.

Parameters
----------
x : int
    A number.

See Also
--------
other, Class.method : These do more.
:func:`role` : In a role.
    An indented description, with a comma.

Notes
-----
.. versionadded:: 1.0
A note.

Examples
--------
>>> secret()
"""


def test_numpydoc_sections():
    summary, body, see_also = parse_docstring(NUMPYDOC)
    assert summary == "Return the thing, e.g. Some value."
    assert body == (
        "Then a second sentence. A longer text about the package.thing and code. parameters: x : int A number. notes: A note."
    )
    assert see_also == ("other", "Class.method", "role")


@pytest.mark.parametrize("text", ["", "Only a summary.", "Summary.\n\nExamples\n--------\n>>> 1\n"])
def test_without_body_there_is_nothing(text):
    assert parse_docstring(text) is None


def test_signatures_before_the_summary_are_no_summary():
    assert parse_docstring("array(object, dtype=None)\n\nCreate an array.\n\nMore.") == ("Create an array.", "More.", ())


def test_public_objects_of_a_file(tmp_path):
    path = tmp_path / "_core.py"
    path.write_text(
        textwrap.dedent('''
        def shown():
            """Shown to all.

            Body."""
        def _hidden():
            """Hidden from all.

            Body."""
        class Box:
            """A box.

            Body."""
            def open(self):
                """Open it.

                Body."""
            def __init__(self):
                """Private.

                Body."""
        try:
            pass
        except ImportError:
            def fallback():
                """Fall back.

                Body."""
        add_newdoc("package._core.multi", "array", """
            array(x)

            Make an array.

            Body.
            """.replace("x", "y"))
        add_newdoc("package._core", "array", ("size", "The size.\\n\\nBody."))
        add_newdoc("package._core", "array", ("__len__", "The length.\\n\\nBody."))
        add_newdoc("short", "Two arguments.\\n\\nBody.")
        ''')
    )
    names = [thing.name for thing in documented_objects(path, "package")]
    expected = ["shown", "Box", "Box.open", "fallback", "multi.array", "array.size", "short"]
    assert names == [f"package.{name}" for name in expected]


def test_code_of_another_python_is_passed_over(tmp_path):
    path = tmp_path / "old.py"
    path.write_text('"""Doc."""\nprint "old"\n')
    assert documented_objects(path, "old") == []


def test_sources_are_public_and_nobodys_tests():
    files = source_files()
    modules = {module for _, module in files}
    assert {"numpy.fromnumeric", "sklearn.linear_model", "scipy.optimize", "statistics", "networkx"} <= modules
    assert not any(part.startswith("_") or part in {"tests", "externals"} for module in modules for part in module.split("."))
    assert len(files) > 1500


def test_nothing_is_imported():
    code = """if True:
        import sys
        from armlib.demo.docstring_sources import documented_objects, source_files
        files = source_files()
        documented_objects(*files[0])  # which brings what reading itself needs
        before = set(sys.modules)
        for path, module in files[::100]:
            documented_objects(path, module)
        print(sorted(set(sys.modules) - before))
    """
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_package_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(docstring_sources.PACKAGES, "no-such-distribution", "nothing")
    with pytest.raises(InputError, match=r"no-such-distribution is not installed; install it with: pip install 'armlib\[demo\]'"):
        versions()


def test_the_versions_of_the_book_are_the_pinned_ones():
    pins = dict(line.split("==") for line in CONSTRAINTS.read_text().splitlines() if "==" in line)
    assert BOOK_VERSIONS == {name: pins[name] for name in PACKAGES} | {"python": "3.11.7"}


def test_other_versions_than_the_books_are_told(monkeypatch):
    monkeypatch.setattr(docstring_sources, "versions", lambda: dict(BOOK_VERSIONS))
    assert other_versions() == ""
    monkeypatch.setattr(docstring_sources, "versions", lambda: BOOK_VERSIONS | {"numpy": "2.5.5", "python": "3.13.0"})
    said = "the docstrings of numpy 2.5.5, python 3.13.0, in place of numpy 2.4.6, python 3.11.7: scores on it cannot be compared"
    assert said in other_versions()
    warn_of_other_versions.cache_clear()
    with pytest.warns(UserWarning, match="^the collection docstrings is mined here from .* of numpy 2.5.5, "):
        warn_of_other_versions()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_other_versions()  # once is enough
    warn_of_other_versions.cache_clear()
