"""Figures and tables in a browser: sorted, filtered, pointed at, switched; stacked on a narrow page, whole on paper."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from browsing import NARROW, SAMPLE, accessibility_faults, overflowing

pytestmark = pytest.mark.slow
USUAL = 1280  # pixels of a laptop's window
CUT = """() => [...document.querySelectorAll(".table-on-page")].filter(node => node.scrollWidth > node.clientWidth + 1)
    .map(node => node.querySelector("table").id)"""


@pytest.fixture
def sample(visitor, addresses):
    """The page with one of every kind of output, as a file."""
    return visitor.open(f"{addresses['file']}/{SAMPLE}.html", USUAL)


def column(page, number: int) -> list[str]:
    cells = page.locator(f"#table-many tbody tr:not([hidden]) td:nth-child({number})")
    return cells.evaluate_all("found => found.map(cell => cell.textContent)")


def test_headings_sort_by_numbers_and_back(sample):
    before = column(sample, 2)
    heading = sample.locator("#table-many th", has_text="count")
    assert heading.get_attribute("aria-sort") is None
    heading.get_by_role("button").focus()
    for order, expected in (("ascending", ["3", "9", "12", "20"]), ("descending", ["1,980,000", "33", "32"]), (None, before)):
        sample.keyboard.press("Enter")
        assert heading.get_attribute("aria-sort") == order and column(sample, 2)[: len(expected)] == expected
    sample.locator("#table-many th", has_text="time").get_by_role("button").click()
    assert column(sample, 3)[:2] == ["2:30", "15:07"], "times are no texts"


def test_a_table_shows_the_rows_that_are_looked_for(sample):
    sample.get_by_label("Rows that contain").fill("ROW 1")
    assert column(sample, 1) == ["row 1", *(f"row {k}" for k in range(10, 18))]
    expect(sample.locator(".table-filter output")).to_have_text("9 of 18 rows")
    sample.get_by_label("Rows that contain").fill("")
    assert len(column(sample, 1)) == 18
    assert accessibility_faults(sample, "#table-many") == []


def test_small_tables_have_no_buttons(sample):
    assert sample.locator("#table-wide button").count() == 0 and sample.locator("#table-many button").count() == 3


def test_no_table_is_cut_on_a_usual_window(sample):
    assert sample.evaluate(CUT) == [] and overflowing(sample) == []
    widths = [sample.locator(f"#table-{name}").bounding_box()["width"] for name in ("many", "wide")]
    column = sample.locator("article p").first.bounding_box()["width"]
    assert widths[0] < column < widths[1], "the wide one has some of the margin"


def test_no_table_is_cut_on_paper(sample):
    sample.emulate_media(media="print")
    sample.set_viewport_size({"width": 700, "height": 1000})  # what a sheet of A4 leaves between its margins
    boxes = sample.locator(".table-on-page table").evaluate_all("found => found.map(node => node.getBoundingClientRect().right)")
    assert len(boxes) == 3 and max(boxes) <= 701, boxes
    heights = sample.locator("#table-wide tbody td").evaluate_all("found => found.map(node => node.getBoundingClientRect().height)")
    line = sample.locator("#table-wide tbody td").first.evaluate("node => parseFloat(getComputedStyle(node).lineHeight)")
    assert max(heights) < 2 * line, "a score is on one line with its spread"


def test_the_value_under_the_pointer_is_shown(sample):
    line = sample.locator("#fig-line g.values path").first
    line.scroll_into_view_if_needed()
    box = line.bounding_box()
    sample.mouse.move(box["x"] + box["width"] - 1, box["y"] + 2)
    expect(sample.locator(".drawing-values")).to_have_text("rising: 4 at 2")
    sample.mouse.move(box["x"] + box["width"] / 2, box["y"] + 2 * box["height"] / 3)
    expect(sample.locator(".drawing-values")).to_have_text("rising: 2 at 1")
    sample.mouse.move(5, 5)
    expect(sample.locator(".drawing-values")).to_have_count(0)


def test_panels_stand_below_each_other_on_a_narrow_page(visitor, addresses):
    page = visitor.open(f"{addresses['file']}/{SAMPLE}.html", NARROW)
    frames = page.locator("#fig-line g.axes > g:first-child path")
    first, second = (frame.bounding_box() for frame in frames.all())
    assert abs(first["x"] - second["x"]) < 1 and second["y"] > first["y"] + first["height"]
    texts = [axes.locator("text").all_text_contents() for axes in page.locator("#fig-line g.axes").all()]
    assert texts[0] == texts[1] and "height" in texts[1], "both have the axis that they shared"
    size = page.locator("#fig-line g.axis text").first.evaluate("node => node.getBoundingClientRect().height")
    assert size >= 11 and overflowing(page) == []
    page.set_viewport_size({"width": USUAL, "height": 900})
    first, second = (frame.bounding_box() for frame in frames.all())
    assert abs(first["y"] - second["y"]) < 1 and second["x"] > first["x"] + first["width"]


def lines_shown(page) -> list[str]:
    """The own names of the entries of what is drawn, each once."""
    shown = page.locator("#fig-rows g.axes [data-entries]:not(.off)")
    return sorted(set(shown.evaluate_all("found => found.map(node => node.dataset.entries)")))


def press(page, name: str) -> None:
    page.locator("#fig-rows").get_by_role("button", name=name, exact=True).press("Enter")


def pressed(page) -> list[str]:
    buttons = page.locator("#fig-rows button[aria-pressed=true]")
    return buttons.evaluate_all("found => found.map(node => node.ariaLabel || node.textContent)")


def test_entries_of_a_legend_show_what_belongs_to_them_alone(sample):
    parts = sample.locator("#fig-rows g.axes [data-entries]")
    whole = ["a0 b1", "a0 b2", "a3 b1", "a3 b2"]
    assert lines_shown(sample) == whole and parts.count() == 4 * 4 * 2, "bands go with their lines"
    press(sample, "red")
    assert lines_shown(sample) == ["a3 b1", "a3 b2"] and pressed(sample) == ["all", "red"]
    assert sample.locator("#fig-rows g.axes .off").first.evaluate("node => getComputedStyle(node).opacity") < "0.1"
    press(sample, "dotted")
    assert lines_shown(sample) == ["a3 b2"], "the two kinds filter together"
    press(sample, "blue")
    assert lines_shown(sample) == ["a0 b2", "a3 b2"]
    for name in ("blue", "red", "dotted"):
        press(sample, name)
    assert lines_shown(sample) == whole, "after the last one was taken back"
    press(sample, "blue")
    sample.keyboard.press("Escape")
    assert lines_shown(sample) == whole and pressed(sample) == ["all"]
    press(sample, "blue")
    press(sample, "Show all")
    assert lines_shown(sample) == whole and accessibility_faults(sample, "#fig-rows") == []


def test_hidden_lines_have_no_values_under_the_pointer(sample):
    line = sample.locator("#fig-rows g.axes g.values[data-entries='a3 b2'] path").first
    line.scroll_into_view_if_needed()
    box = line.bounding_box()
    sample.mouse.move(box["x"] + 1, box["y"] + box["height"] - 1)
    expect(sample.locator(".drawing-values")).to_have_text("red, dotted: 3 at 0")
    press(sample, "blue")
    sample.mouse.move(box["x"] + 2, box["y"] + box["height"] - 1)
    expect(sample.locator(".drawing-values")).to_have_count(0)


def test_a_figure_with_one_entry_and_one_row_has_no_switches(sample):
    assert sample.locator("#fig-line button").count() == 0 and sample.locator("#fig-rows button").count() == 3 + 4 + 1


def test_a_row_is_shown_alone_without_a_gap(sample):
    figure = sample.locator("#fig-rows svg.drawing")
    whole, markup = figure.bounding_box()["height"], figure.inner_html()
    press(sample, "red")
    for name, other in (("hits", "nDCG@10"), ("nDCG@10", "hits")):
        press(sample, name)
        words = figure.locator("text").all_text_contents()
        assert figure.locator("g.axes").count() == 2 and {name, "left", "triples", "blue"} <= set(words) and other not in words
        assert figure.bounding_box()["height"] < 0.75 * whole and lines_shown(sample) == ["a3 b1", "a3 b2"]
        used = figure.locator("use").evaluate_all("found => found.map(node => node.getAttribute('xlink:href'))")
        assert used and all(figure.locator(f"[id='{each[1:]}']").count() == 1 for each in set(used)), "ticks keep their shapes"
    frames = [frame.bounding_box() for frame in figure.locator("g.axes > g:first-child path").all()]
    assert abs(frames[0]["y"] - frames[1]["y"]) < 1, "panels of a row stay beside each other"
    sample.emulate_media(media="print")
    expect(figure.locator("g.axes")).to_have_count(4)  # on paper a figure is whole
    opacity = "found => found.map(node => getComputedStyle(node).opacity)"
    assert set(sample.locator("#fig-rows g.axes [data-entries]").evaluate_all(opacity)) == {"1"}
    expect(sample.locator("#fig-rows .drawing-switches").first).to_be_hidden()
    sample.emulate_media(media="screen")
    expect(figure.locator("g.axes")).to_have_count(2)
    assert pressed(sample) == ["nDCG@10", "red"]
    press(sample, "red")
    press(sample, "all")
    assert figure.inner_html().replace(' class=""', "") == markup and abs(figure.bounding_box()["height"] - whole) < 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_switches_lie_over_their_entries_on_a_narrow_page(visitor, addresses, scheme):
    page = visitor.open(f"{addresses['file']}/{SAMPLE}.html", NARROW, scheme)
    press(page, "hits")
    press(page, "dotted")
    assert page.locator("#fig-rows g.axes").count() == 2 and lines_shown(page) == ["a0 b2", "a3 b2"]
    for name in ("blue", "dotted"):
        button = page.locator("#fig-rows").get_by_role("button", name=name, exact=True).bounding_box()
        text = page.locator("#fig-rows .legend text", has_text=name).bounding_box()
        assert button["x"] < text["x"] and text["x"] + text["width"] < button["x"] + button["width"] + 1
        assert abs(button["y"] + button["height"] / 2 - text["y"] - text["height"] / 2) < 4
    assert overflowing(page) == [] and accessibility_faults(page, "#fig-rows") == []
    page.set_viewport_size({"width": USUAL, "height": 900})
    expect(page.locator("#fig-rows svg.drawing:not(.stacked)")).to_have_count(1)
    assert lines_shown(page) == ["a0 b2", "a3 b2"] and pressed(page) == ["hits", "dotted"]
