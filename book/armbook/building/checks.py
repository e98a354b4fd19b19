"""What the book's tools do not notice: pages left out, outputs in notebooks, dead links, loads from outside, missing alt texts."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml
from bs4 import BeautifulSoup, Tag

# What a browser fetches by itself; a link that a reader may follow (<a href>) is not among them.
LOADING = {
    "script": ("src",),
    "link": ("href",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "track": ("src",),
    "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
}
NOT_LOADED = {"canonical", "next", "prev", "search", "author", "license"}  # of <link rel="...">
IN_CODE = re.compile(r"""(?:url\(\s*["']?|@import\s+["']|\bfrom\s+["']|\bimport\s*\(?\s*["'])((?:https?:)?//[^"')\s]+)""")


def pages(root: Path) -> list[str]:
    """The pages that ``_toc.yml`` names, in order, without suffix and relative to the book's root."""

    def walk(node: object) -> Iterator[str]:
        if isinstance(node, dict):
            yield from (str(node[key]) for key in ("root", "file") if key in node)
            for value in node.values():
                yield from walk(value)
        elif isinstance(node, list):
            for item in node:
                yield from walk(item)

    return list(walk(yaml.safe_load((root / "_toc.yml").read_text(encoding="utf8"))))


def check_sources(root: Path) -> list[str]:
    """What is wrong with the sources of a book, one phrase each; empty when nothing is.

    Every page of ``_toc.yml`` exists, every page and notebook is in it, notebooks hold no outputs and have a cell tagged
    ``parameters``.

    Args:
        root: the folder of ``_toc.yml``, ``book/`` and ``notebooks/``.
    """
    named = pages(root)
    problems = [f"_toc.yml names {page} {count} times" for page, count in Counter(named).items() if count > 1]
    for page in dict.fromkeys(named):
        if sum((root / f"{page}{suffix}").is_file() for suffix in (".md", ".ipynb")) != 1:
            problems.append(f"_toc.yml names {page}, so there has to be one file {page}.md or {page}.ipynb")
    sources = [*sorted((root / "book").glob("*.md")), *sorted((root / "notebooks").glob("*.ipynb"))]
    for source in sources:
        name = source.relative_to(root)
        if str(name.with_suffix("")) not in named:
            problems.append(f"{name} is not in _toc.yml, so no reader would find it")
        if source.suffix == ".ipynb":
            problems += [f"{name}: {problem}" for problem in _notebook_problems(source)]
    return problems


def _notebook_problems(source: Path) -> Iterator[str]:
    try:
        notebook = json.loads(source.read_text(encoding="utf8"))
    except json.JSONDecodeError as error:
        yield f"cannot be read as a notebook: {error}"
        return
    if not any("parameters" in cell["metadata"].get("tags", []) for cell in notebook["cells"]):
        yield "has no cell tagged 'parameters'"
    if not (notebook["metadata"].get("kernelspec", {}).get("language") or notebook["metadata"].get("language_info")):
        yield "names no language, so papermill refuses it"
    if "widgets" in notebook["metadata"]:
        yield "holds the state of widgets; strip it"
    for number, cell in enumerate(notebook["cells"], 1):
        if cell.get("outputs") or cell.get("execution_count"):
            yield f"cell {number} holds outputs; strip them"
        if not cell.get("id"):
            yield f"cell {number} has no id, so each run would give it another"


def check_html(folder: Path) -> list[str]:
    """What is wrong with built pages, one phrase each; empty when nothing is.

    Found are links to files and anchors that do not exist, measures such as nDCG@10 that became e-mail links, ids given
    twice, anything that a browser would load from outside, and pictures of the content without a text that stands for them.

    Args:
        folder: the HTML as Sphinx writes it.
    """
    texts = {
        path.resolve(): BeautifulSoup(path.read_text(encoding="utf8"), "html.parser")
        for path in sorted(folder.rglob("*.html"))
        if "_static" not in path.parts
    }
    anchors = {path: [str(tag["id"]) for tag in page.find_all(id=True)] for path, page in texts.items()}
    problems = []
    for path, page in texts.items():
        found = [
            *(f"the id {name} is given {count} times" for name, count in Counter(anchors[path]).items() if count > 1),
            *_dead_links(path, page, anchors),
            *_outside_loads(page),
            *_pictures_without_text(page),
        ]
        problems += [f"{path.relative_to(folder.resolve())}: {problem}" for problem in found]
    for style in sorted(folder.rglob("*.css")):
        outside = IN_CODE.findall(style.read_text(encoding="utf8"))
        problems += [f"{style.relative_to(folder)}: loads {address} from outside" for address in outside]
    return problems


def _dead_links(path: Path, page: BeautifulSoup, anchors: dict[Path, list[str]]) -> Iterator[str]:
    for attribute in ("href", "src"):
        for tag in page.find_all(attrs={attribute: True}):
            address = urlsplit(str(tag[attribute]))
            if address.scheme == "mailto" and re.search(r"@\d+$", unquote(address.path)):
                yield f"links to {unquote(address.path)} as if it were an e-mail address"
            if address.scheme or address.netloc or str(tag[attribute]) in ("", "#"):
                continue
            target = (path.parent / unquote(address.path)).resolve() if address.path else path
            if not target.exists():
                yield f"links to {tag[attribute]}, which does not exist"
            elif address.fragment and target in anchors and unquote(address.fragment) not in anchors[target]:
                yield f"links to {tag[attribute]}, where there is no such anchor"


def _outside_loads(page: BeautifulSoup) -> Iterator[str]:
    for tag in page.find_all(list(LOADING)):
        if tag.name == "link" and set(tag.get("rel") or []) & NOT_LOADED:
            continue
        for attribute in LOADING[tag.name]:
            for address in re.findall(r"(?:^|[,\s])((?:https?:)?//\S+)", str(tag.get(attribute, ""))):
                yield f"loads {address} from outside"
    code = [tag.get_text() for tag in page.find_all(["style", "script"]) if tag.get("type") != "application/json"]
    code += [str(tag["style"]) for tag in page.find_all(style=True)]
    for address in IN_CODE.findall("\n".join(code)):
        yield f"loads {address} from outside"


def _pictures_without_text(page: BeautifulSoup) -> Iterator[str]:
    content = page.find("main") or page
    for tag in content.find_all("img"):
        text = str(tag.get("alt") or "").strip()
        # The file name is what is put there where the author gave no text.
        if not text or text == tag.get("src") or "_images/" in text:
            yield f"the picture {tag.get('src')} has no alt text"
    for tag in content.find_all("svg", role="img"):
        title = tag.find("title")
        named = isinstance(title, Tag) and title.get_text().strip()
        if not (named or tag.get("aria-label") or tag.get("aria-labelledby")):
            yield "a drawing (svg) has neither a title nor a label"
