"""Books to be built by tests, as this one is: its settings, styles and bibliography, and pages that a test writes."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def bare_book(root: Path, chapters: Sequence[str]) -> None:
    """Fill an empty folder with what a book needs besides its introduction and these chapters; a bibliography comes last."""
    for name in ("book", "notebooks", "figures"):
        (root / name).mkdir()
    shutil.copy(REPOSITORY / "_config.yml", root)
    shutil.copytree(REPOSITORY / "web", root / "web")
    for name in ("references.bib", "bibliography.md"):
        shutil.copy(REPOSITORY / "book" / name, root / "book")
    listed = "".join(f"- file: {page}\n" for page in (*chapters, "book/bibliography"))
    (root / "_toc.yml").write_text(f"format: jb-book\nroot: book/intro\nchapters:\n{listed}")
