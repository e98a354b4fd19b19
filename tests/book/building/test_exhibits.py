"""Figures and tables of a page: numbered, referred to, in the page's colours, with their files beside them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import nbformat
import nbformat.v4 as v4
import pytest
from bs4 import BeautifulSoup

from armbook.building.pages import build
from armlib.errors import InputError
from books import bare_book

pytestmark = pytest.mark.slow
INTRO = "# Tiny\n\nSee {numref}`table-scores`, {numref}`fig-line` and {eq}`eq-square` in [a notebook](../notebooks/shown.ipynb).\n"
TEXT = "Words. {numref}`table-scores` follows.\n\n$$\nx = y^2\n$$ (eq-square)\n\n:::{table} Two rows.\n| a |\n| --- |\n| 1 |\n:::"
CELLS = (
    ("profile: str = 'demo'\nrows: int = 20", {"tags": ["parameters", "remove-input"]}),
    ("import matplotlib.pyplot as plt\nimport pandas as pd\nfrom IPython.display import Markdown\n", {"tags": ["remove-input"]}),
    ("from armbook import style, tables", {"tags": ["remove-input"]}),
    ("Markdown('Static targets lead by .02.')", {"tags": ["answer", "remove-input"]}),
    ("figure, axes = plt.subplots()\naxes.plot([0, 1], [1, 2], color=style.GREY)\nexported = style.save(figure, 'line')", {
        "mystnb": {"figure": {"caption": "A line.", "name": "fig-line"}, "image": {"alt": "A line that rises."}}
    }),
    ("scores = pd.DataFrame({'target': ['static'] * rows, 'nDCG@10': [k / 7 for k in range(rows)]})", {"tags": ["remove-input"]}),
    ("tables.show(scores, 'scores', 'Scores of a *run*.')", {"tags": ["remove-input"]}),
    ("tables.show(scores.astype(str), 'marked', 'Marked.')", {"tags": ["remove-input"]}),
)  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book whose one numbered chapter shows a figure and tables."""
    root = tmp_path_factory.mktemp("book")
    bare_book(root, ())
    (root / "_toc.yml").write_text(
        "format: jb-book\nroot: book/intro\nparts:\n- caption: A part\n  numbered: true\n  chapters:\n  - file: notebooks/shown\n"
        "- caption: Back\n  chapters:\n  - file: book/bibliography\n"
    )
    (root / "book" / "intro.md").write_text(INTRO)
    title = v4.new_markdown_cell("# A chapter", id="title", metadata={"prerequisites": "[the start](../book/intro.md)"})
    cells = [v4.new_code_cell(source, id=f"cell-{k}", metadata=metadata) for k, (source, metadata) in enumerate(CELLS)]
    cells.insert(4, v4.new_markdown_cell(TEXT, id="text"))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(v4.new_notebook(cells=[title, *cells], metadata={"kernelspec": kernel}), root / "notebooks" / "shown.ipynb")
    (root / "book" / "parameters.yml").write_text("shown: {rows: 17}\n")
    build(root)
    return root


@pytest.fixture(scope="module")
def page(built: Path) -> BeautifulSoup:
    """The chapter."""
    return BeautifulSoup((built / "book/_build/html/notebooks/shown.html").read_text(encoding="utf8"), "html.parser")


def words(tag) -> str:
    return " ".join(tag.get_text(" ", strip=True).replace("#", "").split())


def test_tables_are_numbered_by_chapter_and_order(page, built):
    captions = [words(caption) for caption in page.select("table caption")]
    assert captions == ["Table 1.1 Two rows.", "Table 1.2 Scores of a run .", "Table 1.3 Marked."]
    assert [words(link) for link in page.select('p a[href="#table-scores"]')] == ["Table 1.2"]
    intro = BeautifulSoup((built / "book/_build/html/book/intro.html").read_text(encoding="utf8"), "html.parser")
    links = {link["href"]: words(link) for link in intro.select("main p a") if "shown.html#" in link["href"]}
    assert links["../notebooks/shown.html#table-scores"] == "Table 1.2" and links["../notebooks/shown.html#fig-line"] == "Fig. 1.1"
    assert "Eq. 1.1" in links.values() and words(page.select_one("div.math .eqno")) == "(1.1)"


def test_a_figure_is_a_part_of_the_page_in_its_colours(page, built):
    figure = page.select_one("figure#fig-line")
    drawing = figure.select_one("svg.drawing")
    assert drawing["aria-label"] == "A line that rises." and "currentColor" in str(drawing) and not page.select("main img")
    assert words(figure.figcaption) == "Fig. 1.1 A line."
    assert re.search(r"data-values='?\"?\{", str(drawing)) and "axes.plot" in page.get_text()
    assert not (built / "book/_build/html/_images").exists(), "the drawing is there once"


def test_the_files_of_figures_and_tables_are_beside_them(page, built):
    links = [[link["href"] for link in line.select("a")] for line in page.select("p.downloads")]
    names = [["line.svg", "line.pdf"], ["scores.csv", "scores.tex"], ["marked.csv", "marked.tex"]]
    assert links == [[f"../_static/downloads/{name}" for name in some] for some in names]
    for name in sum(names, []):
        linked = built / "book/_build/html/_static/downloads" / name
        assert linked.read_bytes() == (built / "figures/generated" / name).read_bytes()
        assert linked.read_bytes() == (built / "book/_build/executed/demo/shown.exports" / name).read_bytes()
    assert page.select_one("figure#fig-line + p.downloads") and len(page.select("table#table-scores tbody tr")) == 17


def test_a_chapter_begins_with_facts_and_its_answer(page):
    content = page.select_one("main article")
    facts = content.select_one(".chapter-facts")
    assert words(facts) == "1 minute to read · read first: the start · run with rows = 17"
    assert facts.find_previous("h1") and facts.find_next(class_="tag_answer") and not facts.find_previous(class_="cell")
    assert words(content.select_one(".tag_answer")) == "Static targets lead by .02." and "rows: int" not in content.get_text()


def test_files_that_are_not_there_are_refused(built, tmp_path):
    root = shutil.copytree(built, tmp_path / "book")
    (root / "book/_build/executed/demo/shown.exports/line.pdf").unlink()
    with pytest.raises(InputError, match="the figure line was not exported: there is no file line.pdf"):
        build(root)


def test_exports_that_are_gone_are_made_again(built, tmp_path, capsys):
    root = shutil.copytree(built, tmp_path / "book")
    shutil.rmtree(root / "book/_build/executed/demo/shown.exports")
    build(root)
    assert "1 of 1 notebooks to run" in capsys.readouterr().out
    assert (root / "book/_build/executed/demo/shown.exports/line.pdf").is_file()
