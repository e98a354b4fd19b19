"""Colab opens notebooks of the published pages, in plain Markdown and with what they need; Binder those of the branch."""

from __future__ import annotations

from typing import Any

import nbformat.v4 as v4
from docutils import nodes
from nbformat import NotebookNode
from sphinx.application import Sphinx

from armbook.building.repository import BRANCH, PUBLISHED

_INSTALL = """\
# On Colab this gets the repository and installs what the chapter needs; elsewhere it does nothing.
import sys

if "google.colab" in sys.modules:
    !git clone --quiet --depth 1 {url} book
    %cd -q book
    %pip install --quiet ".[cpu,book]"
"""


def installing(url: str) -> NotebookNode:
    """The first cell of a notebook that may be opened where this project is not installed."""
    return v4.new_code_cell(_INSTALL.format(url=url).strip(), id="install", metadata={"tags": ["remove-cell"]})


def colab(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Lead the theme's button to the notebook that the download button gives."""
    for group in context.get("header_buttons", ()):
        for button in group.get("buttons", ()):
            if button.get("text") == "Colab":
                button["url"] = button["url"].replace(f"/blob/{BRANCH}/", f"/blob/{PUBLISHED}/_sources/")


def setup(app: Sphinx) -> dict[str, bool]:
    """After the theme has made its buttons."""
    app.connect("html-page-context", colab, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
