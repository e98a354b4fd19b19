"""Pages that show things badly are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from armbook.building.presentation import LINE, check_presentation

NUMBERED = '<span class="caption-number">Table 1.1 </span>'
GOOD = f"""<html><body><main><div class="highlight"><pre>{"x" * LINE}\nshort</pre></div>
<table><caption>{NUMBERED}Scores.</caption><tr><td>1</td></tr></table>
<figure><svg class="drawing" aria-label="A line"></svg><figcaption>{NUMBERED}A line.</figcaption></figure>
<details class="made"><summary>How</summary><table><tr><td>1</td></tr></table></details>
<div class="armlib-explorer-page"><table><tr><td>1</td></tr></table></div></main></body></html>"""


def problems(folder: Path, planted: str = "") -> list[str]:
    (folder / "_static").mkdir(exist_ok=True)
    (folder / "_static" / "template.html").write_text("<table></table>")
    output = f"<div class='cell_output'><div class='highlight'><pre>{'y' * 200}</pre></div></div>"
    (folder / "a.html").write_text(GOOD.replace("</main>", f"{output}{planted}</main>"))
    for apart, text in {"_modules": f"<pre>{'x' * 200}</pre>", "book": "<table><tr><td>1</td></tr></table>"}.items():
        (folder / apart).mkdir(exist_ok=True)
        (folder / apart / "source.html").write_text(f"<main><div class='highlight'>{text}</div></main>")
    return check_presentation(folder)


def test_a_page_in_order_has_no_problems(tmp_path) -> None:
    assert problems(tmp_path) == []


@pytest.mark.parametrize(
    ("planted", "problem"),
    [
        ("<details class='admonition hide'><summary>Show</summary></details>" * 2, "2 folded cells; tag them remove-input"),
        (
            f"<div class='highlight'><pre>ok\n{'long ' * 20}x</pre></div>",
            "1 lines of code have more than 88 characters; the first one",
        ),
        ("<table><tr><td>1</td><td>2</td></tr></table>", "a table has no number and caption: 1 2"),
        ("<table><caption>Scores.</caption></table>", "a table has no number and caption: Scores."),
        (f"<table><caption>{NUMBERED}</caption></table>", "a table has no number and caption: Table 1.1"),
        ("<div class='cell_output'><img alt='A line'></div>", "a figure has no number and caption: A line"),
        ("<svg class='drawing' aria-label='A line'></svg>", "a figure has no number and caption: A line"),
        ("<figure><svg class='drawing' aria-label='A line'></svg></figure>", "a figure has no number and caption: A line"),
    ],
)
def test_planted_faults_are_found(tmp_path, planted, problem) -> None:
    found = problems(tmp_path, planted)
    assert len(found) == 1 and found[0].startswith(f"a.html: {problem}"), found
