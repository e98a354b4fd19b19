"""A tiny book with this book's configuration: built, kept, resumed, and refused where something is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import filelock
import nbformat
import pytest

from armbook.building.pages import NUMBERED, build, run_one
from armlib.errors import InputError
from books import REPOSITORY, bare_book, printed, write_notebook

pytestmark = pytest.mark.slow
INTRO = "# Tiny\n\nA formula, $x^2$, a source, {cite:t}`gienapp2024`, and [a notebook](../notebooks/one.ipynb).\n"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book of two notebooks, built once for all tests."""
    root = tmp_path_factory.mktemp("book")
    bare_book(root, ("notebooks/one", "notebooks/two"))
    (root / "book" / "intro.md").write_text(INTRO)
    (root / "book" / "parameters.yml").write_text("one: {count: 41}\n")
    settings = 'count: int = 1  # how many\nprofile: str = "demo"  # how much'
    write_notebook(root / "notebooks" / "one.ipynb", settings, "print('answer', count + 1, profile)")
    write_notebook(root / "notebooks" / "two.ipynb", "n: int = 1", "print('second', n)")
    for name in ("one", "two"):
        notebook = nbformat.read(root / "notebooks" / f"{name}.ipynb", 4)
        notebook.cells.insert(0, nbformat.v4.new_markdown_cell(f"# Page {name}", id="title"))
        nbformat.write(notebook, root / "notebooks" / f"{name}.ipynb")
    build(root)
    return root


@pytest.fixture
def root(built: Path, tmp_path: Path) -> Path:
    """A copy of the built book, to be changed."""
    return shutil.copytree(built, tmp_path / "book")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_pages_show_what_was_run(built):
    html = built / "book" / "_build" / "html"
    assert (html / "index.html").is_file()
    page = (html / "notebooks" / "one.html").read_text()
    assert "answer 42 demo" in page and "second 1" in (html / "notebooks" / "two.html").read_text()
    assert (html / "_static" / "tex-svg-full.js").stat().st_size > 2e6
    assert 'src="../_static/tex-svg-full.js' in (html / "book" / "intro.html").read_text()
    downloadable = (html / "_sources" / "notebooks" / "one.ipynb").read_text()
    assert "answer 42 demo" in downloadable and "papermill" not in downloadable and str(built) not in downloadable


def test_nothing_is_made_again_when_nothing_changed(root, capsys):
    page = root / "book" / "_build" / "html" / "notebooks" / "one.html"
    before = page.stat().st_mtime_ns
    assert build(root) == root / "book" / "_build" / "html"
    assert page.stat().st_mtime_ns == before
    assert capsys.readouterr().out == "nothing has changed since the last build\n"


@pytest.mark.parametrize("folder", ["results/msmarco-mini", "benchmarks/results"])
def test_chapters_are_run_again_when_other_results_came_with_the_repository(root, folder, capsys):
    (root / folder).mkdir(parents=True)
    (root / folder / "measured.json").write_text("{}")
    build(root)
    assert capsys.readouterr().out.startswith("2 of 2 notebooks to run")


def test_a_change_of_prose_runs_no_notebook(root, capsys):
    edit(root / "book" / "intro.md", "# Tiny", "# Smaller")
    build(root)
    assert "Smaller" in (root / "book" / "_build" / "html" / "book" / "intro.html").read_text()
    assert capsys.readouterr().out == "making the pages\n"


def test_a_failing_notebook_is_named_and_mended_without_running_the_others(root, capsys):
    notebook = root / "notebooks" / "two.ipynb"
    edit(notebook, "print('second', n)", "raise ValueError('no luck')")
    with pytest.raises(InputError, match=r"two\.ipynb failed in cell 3 .*: ValueError: no luck"):
        build(root)
    assert "second 1" in (root / "book" / "_build" / "html" / "notebooks" / "two.html").read_text()
    edit(notebook, "raise ValueError('no luck')", "print('third', n)")
    build(root)
    assert "third 1" in (root / "book" / "_build" / "html" / "notebooks" / "two.html").read_text()
    assert capsys.readouterr().out.count("1 of 2 notebooks to run") == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("one: {cuont: 1}", r"unknown parameter of one\.ipynb 'cuont'; did you mean 'count'"),
        ("one: {count: many}", r"parameter count of one\.ipynb must be of type int, not 'many'"),
        ("oen: {count: 1}", r"unknown notebook in book/parameters\.yml 'oen'; did you mean 'one'"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_runs(root, given, message, capsys):
    (root / "book" / "parameters.yml").write_text(given)
    with pytest.raises(InputError, match=message):
        build(root)
    assert capsys.readouterr().out == ""


def test_faulty_sources_are_refused(root, capsys):
    (root / "book" / "orphan.md").write_text("# Orphan")
    notebook = json.loads((root / "notebooks" / "two.ipynb").read_text())
    notebook["cells"][2]["execution_count"] = 1
    (root / "notebooks" / "two.ipynb").write_text(json.dumps(notebook))
    with pytest.raises(InputError, match="orphan.md is not in _toc.yml, .* 1 more, listed above"):
        build(root)
    assert "cell 3 holds outputs" in capsys.readouterr().err


def test_warnings_are_errors_and_all_are_listed(root, capsys):
    edit(root / "book" / "intro.md", "gienapp2024", "nobody1999")
    edit(root / "book" / "intro.md", "one.ipynb", "three.ipynb")
    with pytest.raises(InputError, match="Jupyter Book ended with code") as caught:
        build(root)
    listed = capsys.readouterr().err
    assert "nobody1999" in listed and "three.ipynb" in listed and "intro.md" in str(caught.value)
    assert (root / "book" / "_build" / "html" / "index.html").is_file()


def test_a_warning_on_a_page_is_an_error(root):
    edit(root / "notebooks" / "two.ipynb", "print('second', n)", "import sys; print('careful', file=sys.stderr)")
    with pytest.raises(InputError, match="two.ipynb.*stderr"):
        build(root)


def test_faulty_pages_are_refused(root):
    edit(root / "book" / "intro.md", "# Tiny", "# Tiny\n\n<script src='https://example.org/x.js'></script>")
    with pytest.raises(InputError, match="the built pages have faults: .*loads https://example.org/x.js from outside"):
        build(root)


def test_one_notebook_is_run_alone_and_says_what_it_exported(root):
    export = "import pathlib; pathlib.Path('figures/made.txt').write_text(f'{n + 1}')"
    edit(root / "notebooks" / "two.ipynb", "print('second', n)", export)
    for number in ("41", "42"):
        figure, executed = run_one(root, "two", {"n": number})
        assert figure.read_text() == str(int(number) + 1) and executed.name == "two.ipynb"
    with pytest.raises(InputError, match="parameter n of two.ipynb must be of type int, not 'many'"):
        run_one(root, "two", {"n": "many"})
    with pytest.raises(InputError, match="unknown notebook 'three'"):
        run_one(root, "three", {})


def test_what_the_paper_numbers_is_made_by_a_notebook():
    assert all((REPOSITORY / "notebooks" / f"{name}.ipynb").is_file() for name in NUMBERED.values())


def test_training_runs_come_before_notebooks_and_only_where_one_has_to_run(root):
    asked, executed = [], root / "book" / "_build" / "executed" / "demo" / "two.ipynb"
    build(root, train=lambda: asked.append("unchanged"))
    edit(root / "notebooks" / "two.ipynb", "print('second', n)", "print('third', n)")
    build(root, train=lambda: asked.append(printed(executed)))
    assert len(asked) == 1 and "second" in asked[0] and "third" in printed(executed)


def test_two_builds_do_not_meet(root):
    with filelock.FileLock(root / "book" / "_build" / ".lock"), pytest.raises(InputError, match="another build"):
        build(root)


def test_what_cannot_be_built_is_refused(tmp_path):
    with pytest.raises(InputError, match="unknown profile 'dmeo'; did you mean 'demo'"):
        build(REPOSITORY, profile="dmeo")
    with pytest.raises(InputError, match="there is no _toc.yml in"):
        build(tmp_path)
    with pytest.raises(InputError, match="at least 1 notebook"):
        build(REPOSITORY, jobs=0)
