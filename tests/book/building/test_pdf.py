"""All pages as one: links, names that pages share, contents; and a PDF of it where Chromium is installed."""

from __future__ import annotations

import builtins
import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from armbook.building import pdf
from armlib.errors import InputError
from browsing import chromium

TOC = """
format: jb-book
root: book/intro
parts:
  - caption: One & two
    chapters:
      - file: notebooks/one
        sections:
          - file: notebooks/two
"""
PAGE = """<html><head><title>{name}</title><link rel="stylesheet" href="../_static/book.css?digest=1"/>
<script>window.MathJax = {{"options": {{}}}}</script><script defer src="../_static/tex-svg-full.js"></script>
<script src="../_static/theme.js"></script></head>
<body><nav>not printed</nav><article class="bd-article"><section id="{name}">
<h1><span class="section-number">1. </span>Page {name}<a class="headerlink" href="#{name}">#</a></h1>
<p id="same">{text}</p><label for="same">label</label><img src="../_images/x.svg"></section></article></body></html>"""
TEXTS = {
    "book/intro": '<a href="../notebooks/two.html">whole</a><a href="../notebooks/two.html#same">part</a><a href="#same">here</a>',
    "notebooks/one": '<a href="two.html#two">own</a><a href="https://example.org/a">outside</a><a href="../_sources/x.py">file</a>',
    "notebooks/two": '<a href="../_modules/m.html#f">source</a>',
}


@pytest.fixture
def book(tmp_path: Path) -> Path:
    (tmp_path / "_toc.yml").write_text(TOC)
    (tmp_path / "_config.yml").write_text("title: A <book>\nauthor: Us\n")
    for page, text in TEXTS.items():
        file = tmp_path / "html" / f"{page}.html"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(PAGE.format(name=page.split("/")[1], text=text))
    return tmp_path


def test_links_between_pages_become_links_within_the_file(book: Path) -> None:
    soup = BeautifulSoup(pdf.combined(book, book / "html", "demo"), "html.parser")
    found = {link.text: link["href"] for link in soup.select("article p a")}
    assert found["whole"] == "#notebooks-two" and found["part"] == "#notebooks-two--same" and found["here"] == "#book-intro--same"
    assert found["own"] == "#two", "a name that one page alone has stays"
    assert found["outside"] == "https://example.org/a"
    assert found["file"] == "_sources/x.py" and found["source"] == "_modules/m.html#f"
    names = [node["id"] for node in soup.select("[id]")]
    assert len(names) == len(set(names))
    within = {link["href"][1:] for link in soup.select("a") if link["href"].startswith("#")}
    assert within <= set(names)
    assert [label["for"] for label in soup.select("label")] == [
        f"{page}--same" for page in ("book-intro", "notebooks-one", "notebooks-two")
    ]
    assert {image["src"] for image in soup.select("img")} == {"_images/x.svg"}


def test_it_has_a_title_page_the_contents_and_the_styles(book: Path) -> None:
    soup = BeautifulSoup(pdf.combined(book, book / "html", "small"), "html.parser")
    assert soup.select_one("header h1").text == "A <book>" and "profile small" in soup.select_one("header").text
    entries = [item.find(string=True, recursive=False) or item.a.text for item in soup.select("main > nav li")]
    assert entries == ["1. Page intro", "One & two", "1. Page one", "1. Page two"]
    assert soup.select_one("main > nav ol ol ol a")["href"] == "#notebooks-two"
    assert soup.select_one("link")["href"] == "_static/book.css"
    scripts = [script.get("src") for script in soup.select("script")]
    assert scripts == [None, "_static/tex-svg-full.js"] and "not printed" not in soup.text


def test_a_page_that_was_not_built_is_named(book: Path) -> None:
    (book / "html" / "notebooks" / "two.html").unlink()
    with pytest.raises(InputError, match="notebooks/two of _toc.yml is not among the built pages"):
        pdf.combined(book, book / "html", "demo")


def test_what_is_absent_is_said_in_one_sentence(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="printed by Chromium, but none of chromium, chromium-browser, google-chrome is installed"):
        pdf.browser()
    found = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name.startswith("playwright"):
            raise ImportError("No module named 'playwright'", name="playwright")
        return found(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"absent \(playwright\): pip install 'armlib\[pdf\]'"):
        pdf.browser()


@pytest.mark.slow
def test_it_is_printed_with_an_outline(book: Path) -> None:
    if not chromium():
        pytest.skip("chromium, which prints the book, is not installed: apt-get install chromium")
    file = pdf.print_book(book, book / "html", "demo")
    content = file.read_bytes()
    assert file == book / pdf.FILE and content.startswith(b"%PDF") and b"/Outlines" in content
    assert len(re.findall(rb"/Type\s*/Page\b", content)) == 2 + len(TEXTS)
    assert sorted(path.name for path in (book / "html").iterdir()) == ["book", "notebooks"], "what was printed is cleared away"
