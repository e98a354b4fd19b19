"""What stands under a chapter's title."""

from __future__ import annotations

import nbformat.v4 as v4

from armbook.building.reading import WORDS_A_MINUTE, facts, put_under_title, words


def code(source: str, *tags: str, markdown: str = "", **metadata: object):
    outputs = [v4.new_output("display_data", {"text/markdown": markdown})] if markdown else []
    return v4.new_code_cell(source, outputs=outputs, metadata={"tags": list(tags), **metadata})


def chapter(*cells, **metadata: object):
    return v4.new_notebook(cells=[v4.new_markdown_cell("# A title", metadata=metadata), *cells])


def test_words_are_those_that_a_reader_sees() -> None:
    assert words(chapter()) == 2
    assert words(chapter(v4.new_markdown_cell("Two words $x + y$ and [a link](../far/away.md).\n$$\na b c\n$$ (eq-one)"))) == 2 + 5
    assert words(chapter(code("hidden = source", "remove-input", markdown="Three words here."))) == 2 + 3
    assert words(chapter(code("shown = source", markdown="one"))) == 2 + 3
    assert words(chapter(code("a = b", "remove-cell", markdown="never seen"))) == 2
    assert words(chapter(code("a = b", "remove-input", mystnb={"figure": {"caption": "A rising line."}}))) == 2 + 3


def test_facts_name_time_prerequisites_and_what_was_set() -> None:
    prose = v4.new_markdown_cell("word " * (3 * WORDS_A_MINUTE))
    assert facts(chapter()) == "1 minute to read"
    assert facts(chapter(prose)) == "4 minutes to read"
    before = {"prerequisites": "{doc}`02_loss_explorer`."}
    injected = code('# Parameters\nprofile = "small"\nsteps = 7\n', "injected-parameters")
    expected = '1 minute to read · read first: {doc}`02_loss_explorer` · run with `profile = "small"`, `steps = 7`'
    assert facts(chapter(injected, **before)) == expected


def test_facts_stand_below_a_title_that_is_alone() -> None:
    notebook = chapter(code("n: int = 1", "parameters", "remove-input"), code("# Parameters\nn = 2", "injected-parameters"))
    put_under_title(notebook)
    assert notebook.cells[1].source == "[1 minute to read · run with `n = 2`]{.chapter-facts}"
    assert notebook.cells[3].metadata["tags"] == ["injected-parameters", "remove-input"]
    shown = chapter(code("n: int = 1", "parameters"), code("# Parameters\nn = 2", "injected-parameters"))
    put_under_title(shown)
    assert shown.cells[3].metadata["tags"] == ["injected-parameters"], "where the defaults are shown, so are the changes"
    other = v4.new_notebook(cells=[v4.new_markdown_cell("# A title\n\nand more")])
    put_under_title(other)
    assert len(other.cells) == 1
