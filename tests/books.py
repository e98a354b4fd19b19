"""Books and notebooks of tests: this book's settings, styles and bibliography, and pages that a test writes."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import nbformat
import nbformat.v4 as v4

REPOSITORY = Path(__file__).resolve().parents[1]


def bare_book(root: Path, chapters: Sequence[str]) -> None:
    """Fill an empty folder with what a book needs besides its introduction and these chapters; a bibliography comes last."""
    for name in ("book", "notebooks"):
        (root / name).mkdir()
    shutil.copy(REPOSITORY / "_config.yml", root)
    for name in ("book/web", "figures"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("generated"))
    for name in ("references.bib", "bibliography.md"):
        shutil.copy(REPOSITORY / "book" / name, root / "book")
    listed = "".join(f"- file: {page}\n" for page in (*chapters, "book/bibliography"))
    (root / "_toc.yml").write_text(f"format: jb-book\nroot: book/intro\nchapters:\n{listed}")


def write_notebook(path: Path, *sources: str) -> Path:
    """Write a notebook of these cells, of which the first holds the parameters."""
    cells = [v4.new_code_cell(source, id=f"cell-{number}") for number, source in enumerate(sources)]
    cells[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


def printed(path: Path) -> str:
    """What the cells of an executed notebook printed."""
    return "".join(output.get("text", "") for cell in nbformat.read(path, 4).cells for output in cell.get("outputs", []))
