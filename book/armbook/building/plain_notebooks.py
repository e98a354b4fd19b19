"""Notebooks outside the book: roles and directives of MyST as the plain Markdown that any notebook program shows."""

from __future__ import annotations

import copy
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from pybtex.database import parse_file

from armbook.building.checks import pages
from armbook.extensions.bibliography import label

ROLE = re.compile(r"\{([a-z:]+)\}`([^`]+)`")
TITLED = re.compile(r"(.+?)\s*<(.+)>", re.DOTALL)
OPENING = re.compile(r"^(?P<fence>`{3,}|:{3,})\{(?P<name>[\w:-]+)\}(?P<argument>.*)$")
OPTION = re.compile(r"^:([\w-]+):\s*(.*)$")
ANY_FENCE = re.compile(r"^(`{3,}|~{3,})")


@dataclass(frozen=True)
class References:
    """What the text of a page refers to.

    Attributes:
        titles: of pages, by their name in ``_toc.yml``.
        citations: of the bibliography by key, such as ``Gienapp et al., 2024``.
        numbers: of figures, tables and equations by label, such as ``Fig. 4.1``; what is not there is called by its kind.
    """

    titles: Mapping[str, str] = field(default_factory=dict)
    citations: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, str] = field(default_factory=dict)


def of_sources(root: Path) -> References:
    """What is known without building the book: the first headings of its pages, and its bibliography."""
    titles = {}
    for page in pages(root):
        notebook = root / f"{page}.ipynb"
        text = nbformat.read(notebook, 4).cells[0].source if notebook.is_file() else (root / f"{page}.md").read_text("utf8")
        titles[page] = next((line[2:].strip() for line in text.splitlines() if line.startswith("# ")), page)
    return References(titles, citations(root / "book" / "references.bib"))


def citations(file: Path) -> dict[str, str]:
    """The labels of a BibTeX file by key."""
    return {key: label(entry) for key, entry in parse_file(str(file), "bibtex").entries.items()}


def plain(notebook: nbformat.NotebookNode, page: str, references: References) -> nbformat.NotebookNode:
    """A copy of a notebook whose Markdown, in cells and in outputs, has no roles and directives of MyST.

    Args:
        notebook: a page of the book.
        page: its name in ``_toc.yml``, to which links are relative.
        references: what it refers to.
    """
    made = copy.deepcopy(notebook)
    for cell in made.cells:
        if cell.cell_type == "markdown":
            cell.source = plain_text(cell.source, page, references)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/markdown" in data:
                data["text/markdown"] = plain_text(data["text/markdown"], page, references)
    return made


def plain_text(text: str, page: str, references: References) -> str:
    """MyST Markdown as plain Markdown; code stays as it is."""
    return "\n".join(_lines(iter(text.split("\n")), page, references))


def _lines(lines: Iterator[str], page: str, references: References) -> Iterator[str]:
    """Text up to the next fence at a time, since a role may go over a line's end."""
    waiting: list[str] = []

    def written() -> list[str]:
        found = _inline("\n".join(waiting), page, references).split("\n") if waiting else []
        waiting.clear()
        return found

    for line in lines:
        opening, code = OPENING.match(line), ANY_FENCE.match(line)
        if opening or code:
            yield from written()
        if opening:
            body = list(_until(lines, opening["fence"]))
            yield from _directive(opening["name"], opening["argument"].strip(), body, page, references)
        elif code:
            yield line
            yield from _until(lines, code[1])
            yield code[1]
        elif not re.fullmatch(r"\([\w-]+\)=", line):
            waiting.append(re.sub(r"^(\$\$)\s*\([\w:-]+\)$", r"\1", line))
    yield from written()


def _until(lines: Iterator[str], fence: str) -> Iterator[str]:
    """The lines before the closing fence, which is at least as long as the opening one."""
    for line in lines:
        if re.fullmatch(f"{re.escape(fence[0])}{{{len(fence)},}}", line.strip()):
            return
        yield line


def _directive(name: str, argument: str, body: list[str], page: str, references: References) -> Iterator[str]:
    options = {}
    while body and (found := OPTION.match(body[0])):
        options[found[1]] = found[2]
        body = body[1:]
    inner = list(_lines(iter(body), page, references))
    if name == "dropdown":
        yield from ("<details>", f"<summary>{argument}</summary>", "", *inner, "", "</details>")
    elif name in ("image", "figure"):
        yield from (f"![{options.get('alt', '')}]({argument})", "", *inner)
    elif name == "math":
        yield from ("$$", *([argument] if argument else []), *body, "$$")
    elif name.startswith("glue"):
        yield f"*(computed: {argument})*"
    else:  # an admonition, or what only groups its contents
        title = argument or ("" if name in ("admonition", "grid", "div") else name.capitalize())
        yield from (f"> {line}".rstrip() for line in ([f"**{title}**", ""] if title else []) + inner)


def _inline(text: str, page: str, references: References) -> str:
    parts = re.split(r"((?<!`)``(?!`).+?``(?!`))", text, flags=re.DOTALL)  # what is between two backticks is code
    return "".join(
        part if number % 2 else ROLE.sub(lambda found: _role(found, page, references), part) for number, part in enumerate(parts)
    )


def _role(found: re.Match[str], page: str, references: References) -> str:
    name, content = found[1], " ".join(found[2].split())
    titled = TITLED.fullmatch(content)
    shown, target = (titled[1], titled[2]) if titled else ("", content)
    if name.startswith("cite"):
        return _cited(target.split(","), name, references)
    if name == "doc":
        return _linked(shown, target, page, references)
    roles: dict[str, Callable[[], str]] = {
        "numref": lambda: _numbered(shown, target, references),
        "eq": lambda: references.numbers.get(target, "the equation"),
        "ref": lambda: shown or references.numbers.get(target, target),
        "term": lambda: shown or target,
        "math": lambda: f"${content}$",
    }
    if name in roles:
        return roles[name]()
    if name.startswith("glue"):
        return f"*(computed: {target})*"
    return f"`{(shown or target).removeprefix('~')}`"  # of Python's domain, and literal ones


def _cited(keys: list[str], role: str, references: References) -> str:
    labels = [references.citations.get(key.strip(), key.strip()) for key in keys]
    if role == "cite:t":
        split = (one.rpartition(", ") for one in labels)
        return " and ".join(f"{names} ({year})" if names else year for names, _, year in split)
    return f"({'; '.join(labels)})"


def _linked(shown: str, target: str, page: str, references: References) -> str:
    folder = posixpath.dirname(page)
    path = target.removeprefix("/") if target.startswith("/") else posixpath.normpath(posixpath.join(folder, target))
    title = shown or references.titles.get(path, target)
    suffix = ".ipynb" if path.startswith("notebooks/") else ".md"
    return f"[{title}]({posixpath.relpath(path, folder or '.')}{suffix})"


def _numbered(shown: str, target: str, references: References) -> str:
    number = references.numbers.get(target)
    if number is None:
        return "the table" if target.startswith(("tab", "table")) else "the figure"
    return re.sub(r"%s|\{number\}", number.rpartition(" ")[2], shown) if shown else number
