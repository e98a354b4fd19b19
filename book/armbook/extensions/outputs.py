"""A Sphinx extension: tables and figures that cells show get a number, and links to the files that they were exported to.

A table of `armbook.tables.show` is numbered as Sphinx numbers tables, by chapter and order, and ``{numref}`table-NAME``` refers to
it. A figure that was drawn as SVG becomes a part of the page, in the page's colours (`armbook.building.drawings`).
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging
from sphinx.util.osutil import relative_uri
from sphinx.writers.html5 import HTML5Translator

from armbook.building.drawings import inline
from armlib.errors import InputError

DOWNLOADS = "downloads"  # the folder of exported files, below the static files of the book
STATIC = Path("book/web")
NAME = re.compile(r'<table id="table-([^"]+)"')
FILES = {"table": {"CSV": "csv", "LaTeX": "tex"}, "figure": {"SVG": "svg", "PDF": "pdf"}}
_log = logging.getLogger(__name__)


class PageTable(nodes.General, nodes.Element):
    """A table of `armbook.tables.show`, as HTML."""


class Downloads(nodes.General, nodes.Element):
    """Links to the files of a figure or table."""


class Outputs(SphinxTransform):
    """Finds what cells show, before Sphinx numbers and links it."""

    default_priority = 400

    def apply(self, **_: Any) -> None:
        for node in list(self.document.findall(nodes.raw)):
            if node.get("format") == "html" and NAME.search(node.astext()):
                self._replace_tables(node)
        images = self.document.findall(nodes.image)
        drawn = [node for node in images if getattr(node.parent, "attributes", {}).get("mime_type") == "image/svg+xml"]
        for number, node in enumerate(drawn, 1):
            self._replace_drawing(node, f"drawing{number}-")

    def _replace_tables(self, node: nodes.raw) -> None:
        """Of one output, which may hold several tables and what stands around them."""
        pieces: list[nodes.Node] = []
        for text in re.split(r'(?=<div [^>]*class="table-on-page)', node.astext()):
            found = NAME.search(text)
            if not found:
                pieces += [nodes.raw("", text, format="html", classes=node["classes"])] if text.strip() else []
                continue
            name = html.unescape(found[1])
            table = PageTable("", html=text, ids=[f"table-{name}"], names=[nodes.fully_normalize_name(f"table-{name}")])
            self.document.note_explicit_target(table, table)
            pieces += [table, self._downloads("table", name)]
        node.replace_self(pieces)

    def _replace_drawing(self, node: nodes.image, prefix: str) -> None:
        file = Path(self.app.srcdir, node["uri"].lstrip("/"))
        try:
            drawing, name = inline(file.read_text(encoding="utf8"), prefix, node.get("alt", ""))
        except InputError as error:
            _log.warning("%s", error, location=node)
            return
        figure = next((above for above in _ancestors(node) if isinstance(above, nodes.figure)), None)
        links = [self._downloads("figure", name)] if name else []
        made = nodes.raw("", drawing, format="html")
        if figure is None:
            node.replace_self([made, *links])
        else:
            node.replace_self(made)
            place = figure.parent.index(figure) + 1
            figure.parent[place:place] = links

    def _downloads(self, kind: str, name: str) -> Downloads:
        files = {label: f"{name}.{suffix}" for label, suffix in FILES[kind].items()}
        for file in files.values():
            if not Path(self.app.srcdir, STATIC, DOWNLOADS, file).is_file():
                _log.warning("the %s %s was not exported: there is no file %s", kind, name, file)
        return Downloads("", kind=kind, files=files)


def _ancestors(node: nodes.Node) -> list[nodes.Element]:
    return [*([node.parent, *_ancestors(node.parent)] if node.parent is not None else [])]


def _caption(table: PageTable) -> str:
    found = re.search(r"<caption>(.*?)</caption>", table["html"], flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", "", found[1])) if found else ""


def _visit_table(self: HTML5Translator, node: PageTable) -> None:
    before, mark, after = node["html"].partition("<caption>")
    self.body.append(before + mark)
    if mark:
        self.add_fignumber(node)
        caption, end, rest = after.partition("</caption>")
        self.body.append(caption)
        self.add_permalink_ref(node, "Link to this table")
        self.body.append(end + rest)
    raise nodes.SkipNode


def _visit_downloads(self: HTML5Translator, node: Downloads) -> None:
    here = self.builder.get_target_uri(self.builder.current_docname)
    links = [
        f'<a class="download" href="{html.escape(relative_uri(here, f"_static/{DOWNLOADS}/{file}"))}" download>{label}</a>'
        for label, file in node["files"].items()
    ]
    self.body.append(f'<p class="downloads">This {node["kind"]} as {" or ".join(links)}</p>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, object]:
    """Register what this module adds; called by Sphinx."""
    app.add_enumerable_node(PageTable, "table", _caption, html=(_visit_table, None))
    app.add_node(Downloads, html=(_visit_downloads, None))
    app.add_transform(Outputs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
