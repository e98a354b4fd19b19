"""What stands where in the book: parts, pages and sections, as a table of contents and as the outline of a PDF."""

from __future__ import annotations

import html as markup
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from bs4 import Tag


@dataclass
class Entry:
    """A part, a page or a section.

    Args:
        title: with its number, where it has one.
        name: the anchor of its heading; a part has none.
        below: what belongs to it.
    """

    title: str
    name: str = ""
    below: list[Entry] = field(default_factory=list)


def entries(root: Path, articles: Mapping[str, Tag], anchor: Callable[[str], str]) -> list[Entry]:
    """What ``_toc.yml`` names, and the sections of the pages.

    Args:
        root: where ``_toc.yml`` is.
        articles: the text of each page.
        anchor: the name that the place of a page has in the book.
    """

    def below(node: dict[str, Any]) -> list[Entry]:
        return [entry(inner) for key in ("parts", "chapters", "sections") for inner in node.get(key, [])]

    def entry(node: dict[str, Any]) -> Entry:
        page = node.get("root") or node.get("file")
        if not page:
            return Entry(node.get("caption", ""), "", below(node))
        pages = [] if "root" in node else below(node)
        return Entry(_title(articles[page].find("h1")), anchor(page), list(_sections(articles[page])) + pages)

    tree = yaml.safe_load((root / "_toc.yml").read_text("utf8"))
    return [entry(tree), *below(tree)]


def _sections(article: Tag) -> Iterator[Entry]:
    for heading in article.select("section[id] > h2"):
        yield Entry(_title(heading), str(heading.parent["id"]) if heading.parent is not None else "")


def _title(heading: Any) -> str:
    """A heading with its number, less the sign that links to it."""
    parts = heading.find_all(string=True) if heading is not None else []
    return " ".join("".join(part for part in parts if "headerlink" not in part.parent.get_attribute_list("class")).split())


def contents(tree: Iterable[Entry]) -> str:
    """The entries as a list with links, each with room for the number of its page."""

    def item(entry: Entry) -> str:
        title = markup.escape(entry.title)
        own = f'<a href="#{markup.escape(entry.name)}"><span>{title}</span><i></i><b></b></a>' if entry.name else title
        return f"<li>{own}{contents(entry.below) if entry.below else ''}</li>"

    return f"<ol>{''.join(map(item, tree))}</ol>"


def page_numbers(file: Path) -> dict[str, int]:
    """The page, from 1, of each name that is linked to within a PDF."""
    import pypdf

    reader = pypdf.PdfReader(file)
    places = {name.removeprefix("/"): reader.get_destination_page_number(to) for name, to in reader.named_destinations.items()}
    return {name: page + 1 for name, page in places.items() if page is not None and page >= 0}


def add_outline(file: Path, tree: Iterable[Entry]) -> None:
    """Give a PDF the entries as bookmarks, shown when it is opened.

    Args:
        file: in which the anchors of all entries are linked to.
        tree: the entries; a part leads to the first of its pages.
    """
    import pypdf
    from pypdf.generic import Fit

    numbers = page_numbers(file)
    writer = pypdf.PdfWriter(clone_from=file)
    writer.pdf_header = pypdf.PdfReader(file).pdf_header  # tags and bookmarks need more than the writer's 1.3
    tops = {name.removeprefix("/"): to.top for name, to in writer.named_destinations.items()}

    def add(entry: Entry, parent: Any) -> None:
        name = entry.name or entry.below[0].name
        place = Fit.xyz(top=float(tops[name])) if entry.name else Fit.fit()
        # Open down to the pages; their sections are a click away.
        item = writer.add_outline_item(
            title=entry.title, page_number=numbers[name] - 1, parent=parent, fit=place, is_open=not entry.name
        )
        for inner in entry.below:
            add(inner, item)

    for entry in tree:
        add(entry, None)
    writer.page_mode = "/UseOutlines"
    writer.write(file)
