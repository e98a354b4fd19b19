"""What a reader should not meet on a built page: folded code, code that is cut, tables and figures without number and caption."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bs4 import BeautifulSoup, Tag

LINE = 88  # letters of code that a page's column holds
NOT_WRITTEN = {"_static", "_modules"}  # folders of templates, and of source code
LISTS = "book"  # the folder of notation and reference, whose tables are the text under a heading
APART = {"armlib-explorer-page", "made"}  # what holds tables that are no exhibits


def check_presentation(folder: Path) -> list[str]:
    """What is wrong with how built pages show things, one phrase each; empty when nothing is.

    Args:
        folder: the HTML as Sphinx writes it.
    """
    problems = []
    for path in sorted(folder.rglob("*.html")):
        if set(path.parts) & NOT_WRITTEN or path.stem in ("genindex", "search", "index"):
            continue
        page = BeautifulSoup(path.read_text(encoding="utf8"), "html.parser")
        content = page.find("main") or page
        if isinstance(content, Tag):
            lists = path.parent.name == LISTS
            problems += [f"{path.relative_to(folder)}: {problem}" for problem in _problems(content, lists=lists)]
    return problems


def _problems(content: Tag, *, lists: bool) -> Iterator[str]:
    folded = content.select("details.hide")
    if folded:
        yield f"{len(folded)} folded cells; tag them remove-input, or show them"
    blocks = [block for block in content.select("div.highlight pre") if not block.find_parent(class_="cell_output")]
    lines = [line.rstrip() for block in blocks for line in block.get_text().splitlines()]
    long = [line for line in lines if len(line) > LINE]
    if long:
        yield f"{len(long)} lines of code have more than {LINE} characters; the first one: {long[0].strip()[:60]}"
    for table in content.find_all("table"):
        if not lists and not table.find_parent(_is_apart) and not _number(table.find("caption")):
            yield f"a table has no number and caption: {' '.join(table.get_text(' ', strip=True).split())[:40]}"
    for drawing in content.select("svg.drawing, div.cell_output img"):
        figure = drawing.find_parent("figure")
        if not _number(figure and figure.find("figcaption")):
            yield f"a figure has no number and caption: {drawing.get('aria-label') or drawing.get('alt')}"


def _is_apart(tag: Tag) -> bool:
    return bool(APART & set(tag.get("class") or []))


def _number(caption: object) -> bool:
    """Whether a caption begins with a number and says more."""
    if not isinstance(caption, Tag):
        return False
    number = caption.find(class_="caption-number")
    return isinstance(number, Tag) and len(caption.get_text(strip=True)) > len(number.get_text(strip=True)) + 1
