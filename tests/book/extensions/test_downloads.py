"""The notebook that a page gives has the page's numbers and labels, and no roles, in a small book built by Sphinx."""

from __future__ import annotations

import subprocess
import sys

import nbformat
import nbformat.v4 as v4
import pytest

TEXT = """# First

```{math}
:label: eq-one
x = y
```

:::{figure} x.svg
:name: fig-one
:alt: A line.

A line.
:::

See {numref}`fig-one` and {eq}`eq-one`, {doc}`index` and {cite:t}`one`.
"""
BIB = "@misc{one, author = {Lovelace, Ada}, title = {Notes}, year = {1843}, url = {https://example.org/}}"
INDEX = "# Index\n\n```{toctree}\n:numbered:\nfirst\n```\n\n```{bibliography}\n```\n"


@pytest.fixture(scope="module", params=["", "https://github.com/somebody/a-book"])
def downloaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, nbformat.NotebookNode]:
    """The repository's address, and the notebook that the built page gives."""
    source = tmp_path_factory.mktemp("downloads")
    (source / "index.md").write_text(INDEX)
    (source / "references.bib").write_text(BIB)
    (source / "x.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    notebook = v4.new_notebook(
        cells=[v4.new_markdown_cell(TEXT)], metadata={"kernelspec": {"name": "python3", "display_name": "x"}}
    )
    nbformat.write(notebook, source / "first.ipynb")
    extensions = ["myst_nb", "sphinxcontrib.bibtex", "armbook.extensions.bibliography", "armbook.extensions.downloads"]
    options = {
        "extensions": extensions,
        "html_theme": "sphinx_book_theme",
        "html_theme_options": {"repository_url": request.param} if request.param else {},
        "html_sourcelink_suffix": "",
        "bibtex_bibfiles": ["references.bib"],
        "bibtex_default_style": "author-year",
        "nb_execution_mode": "off",
        "myst_enable_extensions": ["colon_fence"],
        "numfig": True,
        "math_numfig": True,
    }
    # In a process of its own: an application of Sphinx leaves parsers behind that a second one does not find.
    (source / "conf.py").write_text("".join(f"{name} = {value!r}\n" for name, value in options.items()))
    out = tmp_path_factory.mktemp("built")
    subprocess.run([sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", str(source), str(out)], check=True)
    return request.param, nbformat.read(out / "_sources" / "first.ipynb", 4)


def test_references_have_the_numbers_of_the_page(downloaded) -> None:
    text = next(cell.source for cell in downloaded[1].cells if cell.cell_type == "markdown")
    assert "See Fig. 1.1 and Eq. 1.1, [Index](index.md) and Lovelace (1843)." in text
    assert "![A line.](x.svg)" in text and "$$\nx = y\n$$" in text and "{" not in text


def test_it_first_gets_the_repository_where_one_is_known(downloaded) -> None:
    url, notebook = downloaded
    first = notebook.cells[0]
    assert (first.cell_type == "code") == bool(url) and (not url or url in first.source)
