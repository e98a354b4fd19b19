"""All pages as one: links, names that pages share, contents; and a PDF of it, with bookmarks, where Chromium is installed."""

from __future__ import annotations

import builtins
import re
from pathlib import Path

import pypdf
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
<p id="same">{text}</p><label for="same">label</label><img src="../_images/x.svg">
<svg><defs><path id="dot"/><clipPath id="frame"/></defs><g clip-path="url(#frame)"><use xlink:href="#dot"/></g></svg>
{sections}</section></article></body></html>"""
SECTIONS = """<section id="first"><h2>First
{name} &amp; more<a class="headerlink" href="#first">#</a></h2><p style="height: 900px">It takes a page.</p></section>
<section id="second-{name}"><h2>Second</h2><details><summary>Solution</summary><h4>No heading</h4><p>{name} is solved</p></details>
</section>"""
TEXTS = {
    "book/intro": '<a href="../notebooks/two.html">whole</a><a href="../notebooks/two.html#same">part</a><a href="#same">here</a>',
    "notebooks/one": '<a href="two.html#two">own</a><a href="https://example.org/a">outside</a><a href="../_sources/x.py">file</a>',
    "notebooks/two": '<a href="../_modules/m.html">a module</a> <a href="../_modules/m.html#f">'
    '<span class="viewcode-link">[code]</span></a>',
}


@pytest.fixture
def book(tmp_path: Path) -> Path:
    (tmp_path / "_toc.yml").write_text(TOC)
    (tmp_path / "_config.yml").write_text("title: A <book>\nauthor: Us\n")
    for page, text in TEXTS.items():
        file = tmp_path / "html" / f"{page}.html"
        file.parent.mkdir(parents=True, exist_ok=True)
        name = page.split("/")[1]
        file.write_text(PAGE.format(name=name, text=text, sections=SECTIONS.format(name=name)))
    return tmp_path


def test_links_between_pages_become_links_within_the_file(book: Path) -> None:
    soup = BeautifulSoup(pdf.combined(book, book / "html", "demo")[0], "html.parser")
    found = {link.text: link["href"] for link in soup.select("article p a")}
    assert found["whole"] == "#notebooks-two" and found["part"] == "#notebooks-two--same" and found["here"] == "#book-intro--same"
    assert found["own"] == "#two", "a name that one page alone has stays"
    assert found["outside"] == "https://example.org/a"
    assert "file" in soup.text and "a module" in soup.text, "what a PDF does not bring along is no link"
    assert not {"file", "a module", "[code]"} & found.keys() and "[code]" not in soup.text
    names = [node["id"] for node in soup.select("[id]")]
    assert len(names) == len(set(names))
    within = {link["href"][1:] for link in soup.select("a") if link["href"].startswith("#")}
    assert within <= set(names)
    assert [label["for"] for label in soup.select("label")] == [
        f"{page}--same" for page in ("book-intro", "notebooks-one", "notebooks-two")
    ]
    assert {image["src"] for image in soup.select("img")} == {"_images/x.svg"}


def test_drawings_keep_their_markers_and_frames(book: Path) -> None:
    soup = BeautifulSoup(pdf.combined(book, book / "html", "demo")[0], "html.parser")
    for page in ("book-intro", "notebooks-one", "notebooks-two"):
        drawing = soup.select_one(f"article#{page} svg")
        assert drawing.use["xlink:href"] == f"#{page}--dot" == f"#{drawing.path['id']}"
        assert drawing.g["clip-path"] == f"url(#{page}--frame)" and drawing.clippath["id"] == f"{page}--frame"


def test_it_has_a_title_page_the_contents_and_the_styles(book: Path) -> None:
    soup = BeautifulSoup(pdf.combined(book, book / "html", "small")[0], "html.parser")
    assert soup.select_one("header h1").text == "A <book>" and "profile small" in soup.select_one("header").text
    entries = [item.find(string=True, recursive=False) or item.a.text for item in soup.select("main > nav li")]
    intro, one, two = ([f"1. Page {page}", f"First {page} & more", "Second"] for page in ("intro", "one", "two"))
    assert entries == [*intro, "One & two", *one, *two]
    assert soup.select_one("main > nav > ol ol ol ol a")["href"] == "#notebooks-two--first", "sections of a page below a page"
    targets = {node["id"] for node in soup.select("[id]")}
    assert {link["href"][1:] for link in soup.select("main > nav a")} <= targets
    assert soup.select_one("link")["href"] == "_static/book.css"
    scripts = [script.get("src") for script in soup.select("script")]
    assert scripts == [None, "_static/tex-svg-full.js"] and "not printed" not in soup.text


def test_what_is_closed_on_a_page_is_open_on_paper(book: Path) -> None:
    soup = BeautifulSoup(pdf.combined(book, book / "html", "demo")[0], "html.parser")
    assert len(soup.select("details")) == 3 and all(node.has_attr("open") for node in soup.select("details"))


def test_a_page_that_was_not_built_is_named(book: Path) -> None:
    (book / "html" / "notebooks" / "two.html").unlink()
    with pytest.raises(InputError, match="notebooks/two of _toc.yml is not among the built pages"):
        pdf.combined(book, book / "html", "demo")


def test_what_is_absent_is_said_in_one_sentence(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="printed by Chromium, but none of chromium, chromium-browser, google-chrome is installed"):
        pdf.browser()
    found = builtins.__import__
    for absent in ("playwright", "pypdf"):

        def without(name: str, *rest: object, absent: str = absent) -> object:
            if name.partition(".")[0] == absent:
                raise ImportError(f"No module named '{absent}'", name=absent)
            return found(name, *rest)

        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(InputError, match=rf"absent \({absent}\): pip install 'armlib\[pdf\]'"):
            pdf.browser()


@pytest.mark.slow
def test_it_is_printed_with_contents_and_bookmarks_that_lead_to_their_pages(book: Path) -> None:
    if not chromium():
        pytest.skip("chromium, which prints the book, is not installed: apt-get install chromium")
    file = pdf.print_book(book, book / "html", "demo")
    assert file == book / pdf.FILE
    assert sorted(path.name for path in (book / "html").iterdir()) == ["book", "notebooks"], "what was printed is cleared away"
    reader = pypdf.PdfReader(file)
    texts = [page.extract_text() for page in reader.pages]
    starts = {name: next(k for k, text in enumerate(texts) if f"Page {name}" in text and k > 1) for name in ("intro", "one", "two")}
    assert starts == {"intro": 2, "one": 4, "two": 6} and len(texts) == 8, "a title, the contents, and two of each page"

    def shown(items: list[object]) -> list[object]:
        return [shown(item) if isinstance(item, list) else (item.title, reader.get_destination_page_number(item)) for item in items]

    def of(name: str) -> tuple[tuple[str, int], list[tuple[str, int]]]:
        first, second = (next(k for k, text in enumerate(texts) if k >= starts[name] and of in text) for of in ("First", "Second"))
        assert second > first, "the sections are on pages of their own"
        return (f"1. Page {name}", starts[name]), [(f"First {name} & more", first), ("Second", second)]

    intro, below_intro = of("intro")
    one, below_one = of("one")
    two, below_two = of("two")
    assert shown(reader.outline) == [intro, below_intro, ("One & two", one[1]), [one, [*below_one, two, below_two]]]
    listed = re.findall(r"Second\D*(\d+)", texts[1])
    assert [int(number) for number in listed] == [below[1][1] + 1 for below in (below_intro, below_one, below_two)]
    assert all(f"{name} is solved" in "".join(texts) for name in starts), "solutions are printed"
    assert "/StructTreeRoot" in reader.trailer["/Root"], "tagged, for those who have it read to them"
    assert reader.pdf_header >= "%PDF-1.4", "the first version with tags"
