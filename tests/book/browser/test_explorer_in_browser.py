"""The explorer on the built page, without a kernel or a network: mouse and keyboard move it, and it shows the library's numbers."""

from __future__ import annotations

import math
import re

import pytest
from playwright.sync_api import Locator, Page, expect

from armbook.explorer.circle import BATCH, ROLES, loss_on_circle, points, step
from armbook.style import COLOURS
from armlib.losses import MarginLoss
from browsing import EXPLORER, NARROW, accessibility_faults

pytestmark = pytest.mark.slow
OVER = ("http", "file")


@pytest.fixture(params=OVER)
def page(request, visitor, addresses) -> Page:
    return visitor.open(f"{addresses[request.param]}/{EXPLORER}.html")


@pytest.fixture
def one_page(visitor, addresses) -> Page:
    return visitor.open(f"{addresses['file']}/{EXPLORER}.html")


def first(page: Page) -> Locator:
    return page.locator(".armlib-explorer").first


def point(explorer: Locator, role: str, index: int) -> Locator:
    return explorer.locator(f".point[data-role={role}][data-index='{index}']")


def angles(explorer: Locator) -> dict[str, list[float]]:
    """What the points say of themselves, in degrees."""
    read = "points => points.map(point => Number(point.getAttribute('aria-valuenow')))"
    return {role: explorer.locator(f".point.{role}").evaluate_all(read) for role in ROLES}


def written(number: float, digits: int = 2) -> str:
    text = f"{number:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def shown(explorer: Locator) -> dict[str, object]:
    rows = "rows => rows.map(row => [...row.querySelectorAll('td')].map(field => field.textContent))"
    return {
        "loss": explorer.locator("text.loss").text_content(),
        "margins": [row[0] for row in explorer.locator("[data-triple]").evaluate_all(rows)],
        "targets": [row[1] for row in explorer.locator("[data-triple]").evaluate_all(rows)],
        "differences": explorer.locator(".matrix tbody tr").evaluate_all(rows),
        "pulls": [
            text.split("pulled ")[1]
            for text in explorer.locator(".point").evaluate_all("all => all.map(one => one.getAttribute('aria-valuetext'))")
        ],
    }


def computed(degrees: dict[str, list[float]], loss: MarginLoss) -> dict[str, object]:
    """What the explorer should show, computed by the library and written as the explorer writes it."""
    measured, size = loss_on_circle(degrees, loss), len(degrees["queries"])
    margins, _ = MarginLoss("adaptive").terms(*(points(degrees[role]) for role in ROLES))
    whole, differences = measured.targets.ndim == 2, measured.margins - measured.targets
    targets = [row if whole else [row] for row in measured.targets.tolist()]
    ends = [[written(min(row)), written(max(row))] for row in targets]
    pulls = [float(value) for role in ROLES for value in measured.pulls[role]]
    ways = [f"{'counter-clockwise' if pull > 0 else 'clockwise'} by {abs(pull):.2f}" for pull in pulls]
    return {
        "loss": f"loss {measured.loss:.3f}",
        "margins": [written(float(margin)) for margin in margins],
        "targets": [low if low == high else f"{low} to {high}" for low, high in ends],
        "differences": [
            [written(float(differences[i, j] if whole else differences[i])) if whole or i == j else "·" for j in range(size)]
            for i in range(size)
        ],
        "pulls": [way if abs(pull) >= 0.005 else "nowhere" for pull, way in zip(pulls, ways, strict=True)],
    }


def drag(page: Page, moved: Locator, degrees: float) -> None:
    """Take a point with the mouse and let it go outside the circle, in the given direction from its centre."""
    box = moved.locator(".shape").bounding_box()
    picture = moved.locator("xpath=ancestor::*[local-name()='svg']").bounding_box()
    x, y = picture["x"] + picture["width"] / 2, picture["y"] + picture["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    for far in (0.2, 0.3, 0.4):
        away = far * picture["width"]
        page.mouse.move(x + away * math.cos(math.radians(degrees)), y - away * math.sin(math.radians(degrees)))
    page.mouse.up()


def test_a_point_is_dragged_by_the_mouse(page):
    explorer = first(page)
    assert angles(explorer) == BATCH and shown(explorer) == computed(BATCH, MarginLoss("adaptive"))
    for role, index, degrees in (("positives", 0, 200), ("negatives", 2, 10), ("queries", 1, 300)):
        point(explorer, role, index).scroll_into_view_if_needed()
        drag(page, point(explorer, role, index), degrees)
        assert float(point(explorer, role, index).get_attribute("aria-valuenow")) == pytest.approx(degrees, abs=1)
        assert re.search(r"\bchosen\b", point(explorer, role, index).get_attribute("class"))
    moved = angles(explorer)
    still = [(role, k) for role in ROLES for k in range(4) if (role, k) not in (("positives", 0), ("negatives", 2), ("queries", 1))]
    assert all(moved[role][k] == BATCH[role][k] for role, k in still)
    loss = float(explorer.locator("text.loss").text_content().removeprefix("loss "))
    # The angles are shown with one digit.
    assert loss == pytest.approx(loss_on_circle(moved, MarginLoss("adaptive")).loss, abs=0.003)
    page.mouse.move(5, 5)
    assert angles(explorer) == moved, "a point that was let go follows the mouse"


def test_points_turn_by_the_keyboard_and_show_the_librarys_numbers(page):
    explorer = first(page)
    point(explorer, "positives", 1).focus()
    for key in ("ArrowLeft", "ArrowDown", "Shift+ArrowRight", "PageUp"):
        page.keyboard.press(key)
    page.keyboard.press("Tab")
    expect(point(explorer, "positives", 2)).to_be_focused()
    page.keyboard.press("PageDown")
    turned = {**BATCH, "positives": [118.0, 150 - 5 - 5 + 0.5 + 30, 300.0 - 30, 35.0]}
    assert angles(explorer) == turned and shown(explorer) == computed(turned, MarginLoss("adaptive"))
    target = explorer.locator("[data-key=target]")
    target.focus()
    page.keyboard.press("ArrowDown")
    expect(target).to_have_value("distributed")
    assert shown(explorer) == computed(turned, MarginLoss("distributed"))
    summary = f"Target distributed, reading of the paper, squared error: {shown(explorer)['loss']}"
    expect(explorer.locator(".summary")).to_contain_text(summary)


def test_every_setting_changes_what_is_computed(one_page):
    explorer, why = first(one_page), first(one_page).locator(".why")
    names = ("target", "value", "error", "reading", "in_batch", "stop_gradient")
    control = {name: explorer.locator(f"[data-key={name}]") for name in names}
    expect(why).to_have_text("Only static targets have a value and a penalty.")
    assert control["value"].is_disabled()
    control["target"].select_option("static")
    expect(why).to_have_text("A static target has no gradient to stop.")
    control["value"].focus()
    one_page.keyboard.press("ArrowRight")
    assert shown(explorer) == computed(BATCH, MarginLoss("static(0.55)"))
    control["in_batch"].check()
    assert shown(explorer) == computed(BATCH, MarginLoss("static(0.55)", in_batch=True))
    control["reading"].select_option("released-code")
    assert shown(explorer) == computed(BATCH, MarginLoss("static(0.55)", in_batch=True, reading="released-code"))
    control["target"].select_option("adaptive")
    control["error"].select_option("soft")
    control["stop_gradient"].check()
    variant = MarginLoss("adaptive", in_batch=True, error="soft", reading="released-code", stop_gradient=True)
    assert shown(explorer) == computed(BATCH, variant)
    control["target"].select_option("mean")  # takes back what it cannot go with
    assert not control["in_batch"].is_checked() and control["reading"].input_value() == "paper"
    assert shown(explorer) == computed(BATCH, MarginLoss("mean", error="soft", stop_gradient=True))
    expect(why).to_contain_text("In batch is for static and adaptive targets; mean uses the batch already.")
    control["target"].select_option("variance")
    expect(why).to_contain_text("With its gradient stopped, the variance would not move anything.")
    assert shown(explorer)["loss"] == computed(BATCH, MarginLoss("variance"))["loss"]


@pytest.mark.parametrize("still", [True, False])
def test_points_walk_downhill_and_back(visitor, addresses, still):
    page = visitor.open(f"{addresses['http']}/{EXPLORER}.html", still=still)
    explorer, loss = first(page), MarginLoss("adaptive")
    explorer.locator("button[data-steps='1']").click()
    moved = {role: [degrees % 360 for degrees in turned] for role, turned in step(BATCH, loss).items()}
    assert shown(explorer) == computed(moved, loss)
    explorer.locator("button[data-steps='50']").click()
    for _ in range(50):
        moved = step(moved, loss)
    expect(explorer.locator("text.loss")).to_have_text(f"loss {loss_on_circle(moved, loss).loss:.3f}")
    explorer.locator("button[data-steps='0']").click()
    assert angles(explorer) == BATCH and shown(explorer) == computed(BATCH, loss)


def test_cells_of_the_matrix_say_what_they_compare(one_page):
    explorer, told = first(one_page), first(one_page).locator(".explained")
    cell = {(i, j): explorer.locator(f"td[data-row='{i}'][data-column='{j}']") for i in range(4) for j in range(4)}
    explorer.locator("[data-key=in_batch]").check()
    cell[0, 1].hover()
    expect(told).to_contain_text("l₁₂ = φ(q₁, d₁⁺) − φ(q₁, d₂⁻)")
    assert explorer.locator(".chords path").count() == 3
    explorer.locator("[data-key=reading]").select_option("released-code")
    cell[0, 1].hover()
    expect(told).to_contain_text("l₁₂ = φ(q₂, d₂⁺) − φ(q₁, d₂⁻)")
    cell[0, 0].focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        one_page.keyboard.press(key)
    expect(cell[2, 1]).to_be_focused()
    expect(told).to_contain_text("l₃₂ = φ(q₂, d₂⁺) − φ(q₃, d₂⁻)")
    assert told.text_content().endswith(f" = {written(float(_difference(2, 1)), 3)}")
    cell[3, 0].click()
    expect(explorer.locator("[data-key=chosen]")).to_have_value("3")


def _difference(i: int, j: int) -> float:
    loss = MarginLoss("adaptive", in_batch=True, reading="released-code")
    margins, targets = loss.terms(*(points(BATCH[role]) for role in ROLES))
    return margins[i, j] - targets[i, j]


def test_two_explorers_on_a_page_do_not_meet(one_page):
    explorers = one_page.locator(".armlib-explorer")
    expect(explorers).to_have_count(2)
    second, before = explorers.nth(1), shown(explorers.nth(1))
    assert before["loss"] == "loss 0.000" and set(before["pulls"]) == {"nowhere"}
    point(explorers.first, "queries", 3).press("PageUp")
    explorers.first.locator("[data-key=target]").select_option("distributed")
    assert shown(second) == before
    changed = shown(explorers.first)
    second.get_by_label("Target", exact=True).select_option("static")
    point(second, "queries", 0).press("ArrowLeft")
    assert shown(second) != before and shown(explorers.first) == changed


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_numbers_can_be_read_on_every_variants_colour(visitor, addresses, scheme):
    page = visitor.open(f"{addresses['file']}/{EXPLORER}.html", NARROW, scheme)
    explorer, cells = first(page), first(page).locator(".matrix td[data-row]")
    point(explorer, "negatives", 0).press("Shift+ArrowLeft")
    for variant in COLOURS:
        explorer.locator("[data-key=target]").select_option(variant.split(",")[0])
        if variant.startswith(("static", "adaptive")):
            explorer.locator("[data-key=in_batch]").set_checked("in-batch" in variant)
        cells.evaluate_all("all => all.forEach(cell => cell.style.setProperty('--share', '45%'))")  # the most that a cell is filled
        assert accessibility_faults(page, "table.matrix", ["color-contrast"]) == []
