"""Built pages in a browser without a network: accessible, whole in a narrow window, with formulas, search and dark mode."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from playwright.sync_api import expect

from browsing import (
    EXPLORER,
    INTRODUCTION,
    NARROW,
    SAMPLE,
    WIDE,
    accessibility_faults,
    content_pages,
    cut_formulas,
    overflowing,
    web_server,
)

pytestmark = pytest.mark.slow
PAGES = [f"{page}.html" for page in (INTRODUCTION, SAMPLE, EXPLORER, "book/bibliography")]
OVER = ("http", "file")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_our_content_is_accessible(visitor, addresses, name, scheme):
    page = visitor.open(f"{addresses['file']}/{name}", scheme=scheme)
    assert page.locator("html").get_attribute("data-theme") == scheme
    assert accessibility_faults(page) == []


@pytest.mark.parametrize("name", PAGES)
def test_nothing_reaches_beyond_a_narrow_window(visitor, addresses, name):
    page = visitor.open(f"{addresses['http']}/{name}", NARROW)
    assert overflowing(page) == []
    assert accessibility_faults(page, rules=["scrollable-region-focusable"]) == []


def test_the_checks_see_faults(visitor, addresses):
    page = visitor.open(f"{addresses['http']}/{PAGES[0]}", NARROW)
    faulty = "<p style='width: 500px; color: #999; background: #fff'>faint</p><img src='../_static/favicon.svg'>"
    page.locator("article section").first.evaluate("(node, faulty) => node.insertAdjacentHTML('beforeend', faulty)", faulty)
    assert any("p. reaches" in fault for fault in overflowing(page))
    assert cut_formulas(page, displayed=True) == []
    formula = "<p><span class='math' style='display: inline-block'><span style='display: block; width: 500px'>x</span></span></p>"
    page.locator("article section").first.evaluate("(node, formula) => node.insertAdjacentHTML('beforeend', formula)", formula)
    assert [fault.split(" px")[0] for fault in cut_formulas(page, displayed=False)] == ["a formula of 500"]
    assert {fault.split()[0] for fault in accessibility_faults(page)} == {"color-contrast", "image-alt"}
    with page.expect_console_message(lambda message: message.text == "no network"):
        page.evaluate("fetch('https://example.org/').catch(() => console.warn('no network'))")
    told = "\n".join(visitor.problems)
    assert "asks for https://example.org/" in told and "does not get https://example.org/" in told and "prints no network" in told
    visitor.problems.clear()


@pytest.mark.parametrize("over", OVER)
def test_mathematics_is_set_without_a_network(visitor, addresses, over):
    page = visitor.open(f"{addresses[over]}/{SAMPLE}.html")
    expect(page.locator("article .math")).to_have_count(3)
    expect(page.locator("article .math mjx-container")).to_have_count(3)
    assert page.locator("article mjx-merror").count() == 0 and "$" not in page.locator("article p").first.inner_text()
    widths = page.locator("article mjx-container").evaluate_all("found => found.map(node => node.getBoundingClientRect().width)")
    assert min(widths) > 8 and max(widths) > 300


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_figures_have_the_colour_of_the_text(visitor, addresses, scheme):
    page = visitor.open(f"{addresses['http']}/{SAMPLE}.html", scheme=scheme)
    script = "node => [getComputedStyle(node).fill, getComputedStyle(document.body).color]"
    label, text = page.locator("article figure svg.drawing text").first.evaluate(script)
    assert label == text


@pytest.mark.parametrize("over", OVER)
def test_the_search_finds_a_page(visitor, addresses, over):
    page = visitor.open(f"{addresses[over]}/search.html?q=explorer")
    found = page.locator("#search-results li a")
    expect(found.filter(has_text="The loss explorer").first).to_be_visible()
    assert any(f"{EXPLORER}.html" in str(link.get_attribute("href")) for link in found.all())


def test_the_first_page_leads_to_the_introduction(visitor, addresses):
    page = visitor.open(f"{addresses['http']}/{INTRODUCTION}.html")
    page.goto(f"{addresses['http']}/index.html")
    page.wait_for_url(f"**/{INTRODUCTION}.html")


def test_every_page_of_a_whole_book(visitor):
    """All pages of the built book that ``$ARMLIB_BOOK`` names, such as ``book/_build/html``."""
    if not os.environ.get("ARMLIB_BOOK"):
        pytest.skip("ARMLIB_BOOK does not name the built pages of a book, such as book/_build/html")
    html, faults = Path(os.environ["ARMLIB_BOOK"]).resolve(), []
    names = content_pages(html)
    assert names and (html / "index.html").is_file(), f"there is no built book in {html}"
    places = (tempfile.gettempdir() + "/", f"{html.parents[2]}/")
    faults += [f"{name} names {place}" for name in names for place in places if place in (html / name).read_text(encoding="utf8")]
    with web_server(html) as address:
        for name in names:
            for start, width, scheme in ((html.as_uri(), WIDE, "light"), (html.as_uri(), WIDE, "dark"), (address, NARROW, "light")):
                page = visitor.open(f"{start}/{name}", width, scheme)
                found = accessibility_faults(page) + overflowing(page) + cut_formulas(page, displayed=width == WIDE)
                faults += [f"{name} ({scheme}, {width} px) {fault}" for fault in found]
                unset = page.locator("article .math:not(:has(mjx-container))").count() + page.locator("mjx-merror").count()
                faults += [f"{name} ({scheme}, {width} px) has {unset} formulas that are not set"] if unset else []
                page.context.close()
    told = visitor.problems + faults
    visitor.problems = []
    if told:
        pytest.fail("\n".join([f"{len(names)} pages have {len(told)} faults:", *told]), pytrace=False)
