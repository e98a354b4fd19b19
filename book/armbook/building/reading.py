"""What stands under a chapter's title: how long it takes to read, what to read before it, with what it was run."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import nbformat

from armbook.building.parameters import INJECTED

WORDS_A_MINUTE = 200  # of technical prose
HIDDEN_INPUT = {"remove-input", "remove-cell", "parameters", "injected-parameters"}
HIDDEN_OUTPUT = {"remove-output", "remove-cell"}


def put_under_title(notebook: nbformat.NotebookNode) -> None:
    """Add a cell below the first one of an executed notebook, if that is a title alone; see `facts`.

    What papermill was told to set stands in that cell; its own cell, which would come before the chapter's answer, is hidden where
    the one with the defaults is.
    """
    first = notebook.cells[0] if notebook.cells else None
    if first is None or first.cell_type != "markdown" or not re.fullmatch(r"# .+", first.source.strip()):
        return
    hidden = [cell for cell in notebook.cells if {"parameters", "remove-input"} <= _tags(cell)]
    for cell in notebook.cells:
        if hidden and "injected-parameters" in _tags(cell):
            cell.metadata["tags"] = [*cell.metadata["tags"], "remove-input"]
    added = nbformat.v4.new_markdown_cell(f"[{facts(notebook)}]{{.chapter-facts}}", id="chapter-facts")
    notebook.cells.insert(1, added)


def facts(notebook: nbformat.NotebookNode) -> str:
    """One line of Markdown: reading time, prerequisites if the first cell's metadata has any, parameters that were set."""
    minutes = math.ceil(words(notebook) / WORDS_A_MINUTE)
    parts = ["1 minute to read" if minutes <= 1 else f"{minutes} minutes to read"]
    before = str(notebook.cells[0].metadata.get("prerequisites", "")).strip().rstrip(".")
    parts += [f"read first: {before}"] if before else []
    injected = next((cell.source for cell in notebook.cells if "injected-parameters" in _tags(cell)), "")
    settings = [f"`{line}`" for line in injected.removeprefix(INJECTED).splitlines() if line.strip()]
    parts += [f"run with {', '.join(settings)}"] if settings else []
    return " · ".join(parts)


def words(notebook: nbformat.NotebookNode) -> int:
    """How many words of an executed notebook a reader of its page sees: prose, sentences that cells give, captions and code.

    Not counted are tables, formulas, figures and what is shown closed.
    """
    return sum(len(re.findall(r"\w[\w'.-]*", text)) for text in _texts(notebook))


def _texts(notebook: nbformat.NotebookNode) -> Iterator[str]:
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            yield re.sub(r"\$\$.*?\$\$(?: *\([\w-]+\))?|\]\([^)]*\)|\$[^$]*\$", " ", cell.source, flags=re.DOTALL)
        if cell.cell_type != "code":
            continue
        if not HIDDEN_INPUT & _tags(cell):
            yield cell.source
        yield str(cell.metadata.get("mystnb", {}).get("figure", {}).get("caption", ""))
        if not HIDDEN_OUTPUT & _tags(cell):
            yield from (output.data.get("text/markdown", "") for output in cell.outputs if "data" in output)


def _tags(cell: nbformat.NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", []))
