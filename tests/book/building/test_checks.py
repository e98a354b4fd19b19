"""Planted faults are found, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat.v4 as v4
import pytest

from armbook.building.checks import check_html, check_sources, pages
from books import REPOSITORY


def notebook(*sources: str, tags: str = "parameters") -> str:
    cells = [v4.new_code_cell(source, id=f"cell-{number}") for number, source in enumerate(sources)]
    cells[0].metadata["tags"] = [tags]
    return json.dumps(v4.new_notebook(cells=cells, metadata={"language_info": {"name": "python"}}))


def book(folder: Path, toc: str, **files: str) -> Path:
    for name in ("book", "notebooks"):
        (folder / name).mkdir()
    (folder / "_toc.yml").write_text(f"format: jb-book\nroot: book/intro\n{toc}")
    for name, text in {"book/intro.md": "# A", **{k.replace("__", "/"): v for k, v in files.items()}}.items():
        (folder / name).write_text(text)
    return folder


def test_the_sources_of_this_book_are_in_order():
    assert check_sources(REPOSITORY) == []
    assert pages(REPOSITORY)[0] == "book/intro" and "book/bibliography" in pages(REPOSITORY)


def test_a_page_that_exists_and_is_named_is_in_order(tmp_path):
    toc = "parts:\n- chapters:\n  - file: notebooks/one\n    sections:\n    - file: book/two\n"
    root = book(tmp_path, toc, **{"notebooks__one.ipynb": notebook("n: int = 1"), "book__two.md": "# B"})
    assert check_sources(root) == []
    assert pages(root) == ["book/intro", "notebooks/one", "book/two"]


@pytest.mark.parametrize(
    ("toc", "files", "problem"),
    [
        ("chapters:\n- file: book/lost\n", {}, "_toc.yml names book/lost, so there has to be one file"),
        ("", {"book__orphan.md": "# B"}, "book/orphan.md is not in _toc.yml"),
        ("chapters:\n- file: book/intro\n", {}, "_toc.yml names book/intro 2 times"),
        ("chapters:\n- file: notebooks/a\n", {"notebooks__a.ipynb": notebook("1", tags="x")}, "has no cell tagged 'parameters'"),
        ("chapters:\n- file: notebooks/a\n", {"notebooks__a.ipynb": "{"}, "cannot be read as a notebook"),
    ],
)
def test_faults_in_the_sources(tmp_path, toc, files, problem):
    found = check_sources(book(tmp_path, toc, **files))
    assert len(found) == 1 and problem in found[0], found


def test_outputs_in_notebooks(tmp_path):
    made = json.loads(notebook("n: int = 1", "print(n)"))
    made["cells"][1] |= {"execution_count": 2, "outputs": [v4.new_output("stream", text="1\n")], "id": ""}
    made["metadata"] = {"widgets": {}}
    root = book(tmp_path, "chapters:\n- file: notebooks/a\n", **{"notebooks__a.ipynb": json.dumps(made)})
    assert check_sources(root) == [
        "notebooks/a.ipynb: names no language, so papermill refuses it",
        "notebooks/a.ipynb: holds the state of widgets; strip it",
        "notebooks/a.ipynb: cell 2 holds outputs; strip them",
        "notebooks/a.ipynb: cell 2 has no id, so each run would give it another",
    ]


GOOD = """<!DOCTYPE html><html><head><link rel="canonical" href="https://example.org/"><link rel="stylesheet" href="_static/a.css">
<script type="module">const url = "https://example.org/"; const m = await import(blob);</script></head>
<body><nav><img src="_static/logo.png"></nav><main><h1 id="top">A</h1><a href="https://example.org/x.html">out</a>
<a href="mailto:a@example.org">write</a><a href="b.html#part%20two">b</a><a href="#">up</a><a href="#top">top</a>
<img src="_static/logo.png" alt="A curve that falls"><svg role="img"><title>A circle</title></svg></main></body></html>"""


@pytest.fixture
def html(tmp_path: Path) -> Path:
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "logo.png").write_bytes(b"")
    (tmp_path / "_static" / "a.css").write_text("@import 'b.css'; p { background: url(data:image/png;base64,AA==) }")
    (tmp_path / "_static" / "template.html").write_text("<a href='nowhere.html'>")
    (tmp_path / "index.html").write_text(GOOD)
    (tmp_path / "b.html").write_text("<main><h2 id='part two'>B</h2></main>")
    return tmp_path


def test_pages_in_order_have_no_problems(html):
    assert check_html(html) == []


@pytest.mark.parametrize(
    ("planted", "problem"),
    [
        ("<a href='c.html'>c</a>", "links to c.html, which does not exist"),
        ("<a href='b.html#part'>c</a>", "links to b.html#part, where there is no such anchor"),
        ("<a href='#part'>c</a>", "links to #part, where there is no such anchor"),
        ("<a href='mailto:nDCG%4010'>nDCG</a>", "links to nDCG@10 as if it were an e-mail address"),
        ("<p id='top'>", "the id top is given 2 times"),
        ("<script src='https://example.org/x.js'></script>", "loads https://example.org/x.js from outside"),
        ("<script src='//example.org/x.js'></script>", "loads //example.org/x.js from outside"),
        ("<link rel='stylesheet' href='https://example.org/x.css'>", "loads https://example.org/x.css from outside"),
        ("<link rel='preconnect' href='https://example.org'>", "loads https://example.org from outside"),
        ("<iframe src='http://example.org/'></iframe>", "loads http://example.org/ from outside"),
        ("<img alt='x' src='b.html' srcset='b.html 1x, https://example.org/2.png 2x'>", "loads https://example.org/2.png from"),
        ("<style>@font-face { src: url('https://example.org/f.woff') }</style>", "loads https://example.org/f.woff from"),
        ("<p style='background: url(https://example.org/p.png)'>", "loads https://example.org/p.png from outside"),
        ("<script type='module'>import x from 'https://example.org/x.mjs'</script>", "loads https://example.org/x.mjs from"),
        ("<script>await import('https://example.org/x.mjs')</script>", "loads https://example.org/x.mjs from outside"),
        ("<img src='b.html'>", "the picture b.html has no alt text"),
        ("<img src='b.html' alt=' '>", "the picture b.html has no alt text"),
        ("<img src='b.html' alt='../_images/8f3a.png'>", "the picture b.html has no alt text"),
        ("<svg role='img'><title> </title></svg>", "a drawing (svg) has neither a title nor a label"),
    ],
)
def test_planted_faults_in_pages(html, planted, problem):
    (html / "index.html").write_text(GOOD.replace("</main>", f"{planted}</main>"))
    found = check_html(html)
    assert len(found) == 1 and found[0].startswith(f"index.html: {problem}"), found


def test_style_sheets_that_load_from_outside(html):
    (html / "_static" / "a.css").write_text("@import 'https://example.org/fonts.css';")
    assert check_html(html) == ["_static/a.css: loads https://example.org/fonts.css from outside"]
