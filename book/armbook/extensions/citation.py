"""BibTeX from ``CITATION.cff``: the directive ``bibtex`` shows the entry of the software, or that of the paper."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import TextWrapper

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FILE = "CITATION.cff"
WIDTH = 72  # characters that a line of the page has room for
_WRAPPER = TextWrapper(WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def software(citation: Mapping) -> str:
    """The BibTeX entry of the software that a CITATION.cff describes."""
    fields = {
        "author": _authors(citation["authors"]),
        "title": f"{{{citation['title']}}}",
        "version": citation["version"],
        "year": str(citation["date-released"])[:4] if "date-released" in citation else "",
        "url": citation.get("repository-code", ""),
        "license": citation["license"],
    }
    return _entry("software", citation["title"], fields)


def paper(citation: Mapping) -> str:
    """The BibTeX entry of the paper that a CITATION.cff wants cited."""
    preferred = citation["preferred-citation"]
    first = preferred["authors"][0]
    fields = {
        "author": _authors(preferred["authors"]),
        "title": preferred["title"],
        "journal": preferred["journal"],
        "year": str(preferred["year"]),
        "doi": preferred["doi"],
        "url": preferred["url"],
    }
    return _entry("article", f"{first['family-names'].lower()}{preferred['year']}", fields)


def _authors(authors: list[Mapping[str, str]]) -> str:
    people = (f"{one['family-names']}, {one['given-names']}" if "family-names" in one else f"{{{one['name']}}}" for one in authors)
    return " and ".join(people)


def _entry(kind: str, key: str, fields: Mapping[str, str]) -> str:
    lines = (line for name, value in fields.items() if value for line in _WRAPPER.wrap(f"{name} = {{{value}}},"))
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])


ENTRIES = {"software": software, "paper": paper}


class Bibtex(SphinxDirective):
    """``{bibtex} software`` or ``{bibtex} paper``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        [name] = self.arguments
        file = Path(self.env.srcdir) / FILE
        if name not in ENTRIES or not file.is_file():
            raise self.error(f"bibtex shows {' or '.join(ENTRIES)} of {file.name} beside _config.yml, not {name}")
        self.env.note_dependency(str(file))
        text = ENTRIES[name](yaml.safe_load(file.read_text(encoding="utf8")))
        return [nodes.literal_block(text, text, language="bibtex")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("bibtex", Bibtex)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
