"""The built pages as one PDF with a title page, a table of contents and an outline, printed by Chromium without a network."""

from __future__ import annotations

import html as markup
import posixpath
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml
from bs4 import BeautifulSoup, Tag

from armbook.building.checks import pages
from armbook.building.outline import Entry, add_outline, contents, entries, page_numbers
from armlib.errors import InputError

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FILE = "book.pdf"
WIDTH = 672  # pixels of CSS between the margins of the sheet
# What takes less than two fifths of a sheet is not divided.
KEEPING = """() => {
    for (const node of document.querySelectorAll(".printed :is(table, div.cell_input, div.highlight, dl.py > dt, .sd-dropdown)"))
        node.classList.toggle("whole", node.offsetHeight < 400);
}"""
NUMBERING = """numbers => {
    for (const link of document.querySelectorAll(".printed > nav a"))
        link.lastElementChild.textContent = numbers[decodeURIComponent(link.hash.slice(1))];
}"""
PATIENCE = 600_000  # milliseconds that setting all formulas of the book may take
REFERRING = ("for", "aria-labelledby", "aria-describedby", "aria-controls")
STYLE = """
@page { size: A4; margin: 18mm 16mm 20mm; }
html, body { background: #fff; }
body { display: block; min-height: 0; }
.printed { max-width: none; margin: 0; padding: 0; overflow: visible; }
.printed > article, .printed > nav { break-before: page; }
.printed > header { padding-top: 80mm; text-align: center; }
.printed > header h1 { font-size: 2.6rem; }
.printed > nav { font-size: 9pt; line-height: 1.25; }
.printed > nav ol { list-style: none; margin: 0; padding-left: 1.2rem; }
.printed > nav > ol { padding-left: 0; }
.printed > nav > ol > li { margin-top: 0.6rem; font-weight: bold; break-after: avoid; }
.printed > nav > ol ol > li { margin: 0; font-weight: normal; break-after: auto; }
.printed > nav a { display: flex; gap: 0.4rem; color: inherit; text-decoration: none; }
.printed > nav a i { flex: 1; border-bottom: 1px dotted; margin-bottom: 0.3em; }
.printed > nav a b { width: 2.2em; font-weight: inherit; text-align: right; }
.printed .headerlink, .printed .copybtn, .printed button { display: none; }
.printed .whole { break-inside: avoid; }
.printed details.made { font-size: 6.5pt; line-height: 1.3; }  /* keys of training runs, to be looked up and not to be read */
.printed details.made > summary { font-size: 8pt; font-weight: 600; list-style: none; }
.printed details.made :is(p, ul, li, code, pre) { font-size: inherit; line-height: inherit; margin-top: 0; margin-bottom: 0.2em; }
.printed mjx-container g { stroke: none; }  /* a line of no width is a hairline in a PDF */
"""
FOOTER = '<div style="font-size: 8pt; width: 100%; text-align: center"><span class="pageNumber"></span></div>'


def browser() -> str:
    """The program that prints.

    Raises:
        InputError: it is not there, or what drives it is not.
    """
    try:
        # Asked for before a long build.
        import playwright.sync_api  # noqa: F401
        import pypdf  # noqa: F401
    except ImportError as error:
        raise InputError(f"a PDF is printed with a package that is absent ({error.name}): pip install 'armlib[pdf]'") from error
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        raise InputError(f"a PDF is printed by Chromium, but none of {', '.join(PROGRAMS)} is installed")
    return found


def print_book(root: Path, html: Path, profile: str) -> Path:
    """Print a built book.

    Args:
        root: the checkout, whose ``_toc.yml`` names the pages and whose ``_config.yml`` the book.
        html: its built pages.
        profile: with which it was built, for the title page.

    Returns:
        The file, beside the folder of the pages.

    Raises:
        InputError: as `browser`, or a page of ``_toc.yml`` was not built.
    """
    program = browser()
    from playwright.sync_api import sync_playwright

    target = html.parent / FILE
    with tempfile.NamedTemporaryFile("w", suffix=".html", dir=html, encoding="utf8") as file, sync_playwright() as playwright:
        text, tree = combined(root, html, profile)
        file.write(text)
        file.flush()
        chromium = playwright.chromium.launch(executable_path=program)
        size = {"width": WIDTH, "height": 1000}
        page = chromium.new_context(offline=True, color_scheme="light", viewport=size).new_page()
        page.emulate_media(media="print")  # formulas are set in the size of the letters around them
        page.set_default_timeout(PATIENCE)
        page.goto(Path(file.name).as_uri())
        page.evaluate("async () => { await globalThis.MathJax?.startup?.promise; await document.fonts.ready; }")
        page.evaluate(KEEPING)
        for _ in range(2):  # on which pages the entries of the contents are is known when they are printed
            page.pdf(
                path=target,
                prefer_css_page_size=True,
                print_background=True,
                tagged=True,
                display_header_footer=True,
                header_template="<div></div>",
                footer_template=FOOTER,
            )
            page.evaluate(NUMBERING, page_numbers(target))
        chromium.close()
    add_outline(target, tree)
    return target


def combined(root: Path, html: Path, profile: str) -> tuple[str, list[Entry]]:
    """All pages as one, in the order of ``_toc.yml``, with links between them as links within it; and its contents.

    Args:
        root, html, profile: as `print_book` takes them.

    Raises:
        InputError: a page was not built.
    """
    config = yaml.safe_load((root / "_config.yml").read_text("utf8"))
    soups = {}
    for page in pages(root):
        file = html / f"{page}.html"
        if not file.is_file():
            raise InputError(f"{page} of _toc.yml is not among the built pages in {html}; build the book again")
        soups[page] = BeautifulSoup(file.read_text("utf8"), "html.parser")
    articles = {page: soup.select_one("article.bd-article") or Tag(name="article") for page, soup in soups.items()}
    counts = Counter(str(node["id"]) for article in articles.values() for node in article.select("[id]"))
    shared = {name for name, count in counts.items() if count > 1}
    for page, article in articles.items():
        _localise(page, article, shared, articles)
        _settle(article)
    first = next(iter(soups))
    tree = entries(root, articles, _anchor)
    title, author = markup.escape(config["title"]), markup.escape(config["author"])
    front = f"<header><h1>{title}</h1><p>{author}</p><p>Built with profile {markup.escape(profile)}</p></header>"
    listed = f"<nav><h1>Contents</h1>{contents(tree)}</nav>"
    body = "\n".join(
        f'<article id="{_anchor(page)}" class="bd-article">{article.decode_contents()}</article>'
        for page, article in articles.items()
    )
    text = (
        f'<!DOCTYPE html><html lang="en" data-theme="light" data-mode="light"><head><meta charset="utf-8"><title>{title}</title>'
        f"{''.join(_head(soups[first], first))}<style>{STYLE}</style></head>"
        f'<body><main class="printed bd-content">{front}{listed}{body}</main></body></html>'
    )
    return text, tree


def _anchor(page: str, fragment: str = "") -> str:
    return f"{page.replace('/', '-')}--{fragment}" if fragment else page.replace("/", "-")


def _settle(article: Tag) -> None:
    """Open what is opened by a click, and take away links to files beside the pages, which a PDF does not bring along."""
    for node in article.select("details"):
        node["open"] = ""
    for link in article.select("a[href]"):
        if link.select_one(".viewcode-link"):
            link.decompose()
        elif not urlsplit(str(link["href"])).scheme and not str(link["href"]).startswith("#"):
            link.unwrap()


def _localise(page: str, article: Tag, shared: set[str], articles: dict[str, Tag]) -> None:
    """Make links of a page links of the combined one, and names that other pages have, too, its own."""
    for node in article.select("[id]"):
        if node["id"] in shared:
            node["id"] = _anchor(page, str(node["id"]))
    for name in REFERRING:
        for node in article.select(f"[{name}]"):
            words = " ".join(node.get_attribute_list(name)).split()
            node[name] = " ".join(_anchor(page, word) if word in shared else word for word in words)
    for node in article.select("[href], [src]"):
        for name in {"href", "src"} & node.attrs.keys():
            node[name] = _moved(page, str(node[name]), shared, articles)
    # Within drawings: markers that are used again, and what clips or fills a shape.
    for node in article.select("svg *"):
        for name, value in node.attrs.items():
            if name == "xlink:href" and str(value)[1:] in shared:
                node[name] = f"#{_anchor(page, str(value)[1:])}"
            elif isinstance(value, str) and "url(#" in value:
                node[name] = re.sub(
                    r"url\(#([^)]+)\)", lambda url: f"url(#{_anchor(page, url[1])})" if url[1] in shared else url[0], value
                )


def _moved(page: str, address: str, shared: set[str], articles: dict[str, Tag]) -> str:
    """Where an address of a page is, seen from the folder of all pages."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return address
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(parts.path))) if parts.path else f"{page}.html"
    other = path.removesuffix(".html")
    if path.endswith(".html") and other in articles:
        fragment = unquote(parts.fragment)
        return f"#{(_anchor(other, fragment) if fragment in shared else fragment) or _anchor(other)}"
    return f"{path}#{parts.fragment}" if parts.fragment else path


def _head(soup: BeautifulSoup, page: str) -> Iterator[str]:
    """The styles of a page, and the script that sets formulas with its settings."""
    for node in soup.select('head link[rel="stylesheet"], head style, script'):
        address = str(node.get("href") or node.get("src") or "")
        if node.name == "script" and "mathjax" not in (address + node.get_text()).lower() and "tex-svg" not in address:
            continue
        if address and not urlsplit(address).scheme:
            node["href" if node.name == "link" else "src"] = posixpath.normpath(
                posixpath.join(posixpath.dirname(page), re.sub(r"\?.*", "", address))
            )
        yield str(node)
