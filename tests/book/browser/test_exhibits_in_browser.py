"""Figures and tables in a browser: sorted, filtered, pointed at, stacked on a narrow page, whole on a wide one and on paper."""

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
    line = sample.locator("figure svg.drawing g.values path").first
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
    frames = page.locator("figure svg.drawing g.axes > g:first-child path")
    first, second = (frame.bounding_box() for frame in frames.all())
    assert abs(first["x"] - second["x"]) < 1 and second["y"] > first["y"] + first["height"]
    texts = [axes.locator("text").all_text_contents() for axes in page.locator("figure svg.drawing g.axes").all()]
    assert texts[0] == texts[1] and "height" in texts[1], "both have the axis that they shared"
    size = page.locator("figure svg.drawing g.axis text").first.evaluate("node => node.getBoundingClientRect().height")
    assert size >= 11 and overflowing(page) == []
    page.set_viewport_size({"width": USUAL, "height": 900})
    first, second = (frame.bounding_box() for frame in frames.all())
    assert abs(first["y"] - second["y"]) < 1 and second["x"] > first["x"] + first["width"]
