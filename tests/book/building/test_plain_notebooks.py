"""MyST as plain Markdown: every role and directive that pages use, code untouched, and no role left in this book's notebooks."""

from __future__ import annotations

import re

import nbformat
import nbformat.v4 as v4
import pytest

from armbook.building.plain_notebooks import References, of_sources, plain, plain_text
from books import REPOSITORY

KNOWN = References(
    {"notebooks/08_comparison": "Comparison", "book/notation": "Notation"},
    {"a": "Gienapp et al., 2024", "b": "Huang and Chen, 2024"},
    {"fig-x": "Fig. 4.1", "eq-x": "Eq. 2.1"},
)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("{cite:t}`a` say", "Gienapp et al. (2024) say"),
        ("as said {cite}`a,b`.", "as said (Gienapp et al., 2024; Huang and Chen, 2024)."),
        ("as said {cite:p}`a`", "as said (Gienapp et al., 2024)"),
        ("see {doc}`08_comparison`", "see [Comparison](08_comparison.ipynb)"),
        ("see {doc}`that page <08_comparison>`", "see [that page](08_comparison.ipynb)"),
        ("see {doc}`../book/notation`", "see [Notation](../book/notation.md)"),
        ("see {doc}`/book/notation`", "see [Notation](../book/notation.md)"),
        ("{numref}`fig-x` shows", "Fig. 4.1 shows"),
        ("{numref}`the panel %s <fig-x>`", "the panel 4.1"),
        ("{numref}`fig-unknown` and {numref}`table-unknown`", "the figure and the table"),
        ("by {eq}`eq-x`, {eq}`other`", "by Eq. 2.1, the equation"),
        ("{term}`margin`, {term}`margins <margin>`", "margin, margins"),
        ("{py:func}`~armlib.train`", "`armlib.train`"),
        (
            "over\nthe {cite:t}`a`, {doc}`the\npage <08_comparison>`",
            "over\nthe Gienapp et al. (2024), [the page](08_comparison.ipynb)",
        ),
        ("``{cite}`a` `` and `{x}`", "``{cite}`a` `` and `{x}`"),
        ("```python\n{cite}`a`\n```", "```python\n{cite}`a`\n```"),
        ("(label)=\n# Title", "# Title"),
        ("$$\nx\n$$ (eq-x)\nend", "$$\nx\n$$\nend"),
        ("```{image} x.svg\n:alt: A line.\n```", "![A line.](x.svg)\n"),
        ("```{math}\n:label: eq-x\nx^2\n```", "$$\nx^2\n$$"),
        ("```{glue} answer\n:doc: x.ipynb\n```", "*(computed: answer)*"),
        (":::{note}\nSee {cite}`a`.\n:::", "> **Note**\n>\n> See (Gienapp et al., 2024)."),
        (
            "::::{dropdown} Solution\n:::{tip} A tip\nTry.\n:::\nIt is $x$.\n::::",
            "<details>\n<summary>Solution</summary>\n\n> **A tip**\n>\n> Try.\nIt is $x$.\n\n</details>",
        ),
    ],
)
def test_roles_and_directives_are_written_as_markdown(text: str, written: str) -> None:
    assert plain_text(text, "notebooks/04_static_targets", KNOWN) == written


def test_cells_and_computed_sentences_are_rewritten_and_the_notebook_itself_stays() -> None:
    output = v4.new_output("display_data", data={"text/markdown": "{cite}`a`"})
    notebook = v4.new_notebook(cells=[v4.new_markdown_cell("{cite:t}`a`"), v4.new_code_cell("'{cite}`a`'", outputs=[output])])
    made = plain(notebook, "notebooks/x", KNOWN)
    assert made.cells[0].source == "Gienapp et al. (2024)" and notebook.cells[0].source == "{cite:t}`a`"
    assert made.cells[1].source == "'{cite}`a`'" and made.cells[1].outputs[0].data["text/markdown"] == "(Gienapp et al., 2024)"


@pytest.mark.parametrize("path", sorted((REPOSITORY / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_no_role_is_left_in_a_chapter(path) -> None:
    known = of_sources(REPOSITORY)
    page = str(path.relative_to(REPOSITORY).with_suffix(""))
    for cell in plain(nbformat.read(path, 4), page, known).cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"\{[a-z:]+\}`|^(```|:::+)\{", cell.source, re.MULTILINE), cell.source
            for target in re.findall(r"\]\(([^)\s#]+\.(?:md|ipynb))\)", cell.source):
                assert (path.parent / target).is_file(), target


def test_titles_and_citations_are_those_of_the_sources() -> None:
    known = of_sources(REPOSITORY)
    assert known.titles["notebooks/17_benchmarks"] == "Benchmarks" and known.citations["gienapp2024"] == "Gienapp et al., 2024"
