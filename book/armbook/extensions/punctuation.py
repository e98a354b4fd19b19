"""A Sphinx extension: punctuation after a formula stays on its line, where browsers would otherwise begin a new one with it."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

CLASS = "unbroken"  # of what the book's style keeps on one line
PUNCTUATION = re.compile(r"[^\s\w([{<=>+*/|–—]+")


class Punctuation(SphinxTransform):
    """Puts a formula and the punctuation after it into one element."""

    default_priority = 800

    def apply(self, **_: Any) -> None:
        for formula in list(self.document.findall(nodes.math)):
            after = formula.next_node(descend=False, siblings=True)
            found = PUNCTUATION.match(after.astext()) if isinstance(after, nodes.Text) else None
            if found and after.parent is formula.parent:
                parent, rest = formula.parent, after.astext()[found.end() :]
                kept = nodes.inline("", "", formula.deepcopy(), nodes.Text(found[0]), classes=[CLASS])
                parent.replace(after, nodes.Text(rest))
                parent.replace(formula, kept)


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the transform."""
    app.add_transform(Punctuation)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
