"""The explorer on the built page, without a kernel or a network: mouse and keyboard move it, and it shows the library's numbers."""

from __future__ import annotations

import math
import re

import pytest
from playwright.sync_api import Locator, Page, expect

from armbook.explorer.circle import BATCH, ROLES, loss_on_circle, points, random_start, step
from armbook.explorer.lessons import COLLAPSING, LESSONS, PLAIN
from armbook.style import COLOURS
from armlib.losses import MarginLoss
from browsing import EXPLORER, NARROW, WIDE, accessibility_faults, overflowing

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


def take(explorer: Locator, lesson: str) -> None:
    explorer.locator(f"[data-lesson={lesson}]").click()


def on_four_triples(page: Page) -> Locator:
    """The explorer with the points of `BATCH` under adaptive targets alone, all settings and differences in view."""
    explorer = first(page)
    take(explorer, "three")
    explorer.locator("[data-steps='0']").click()
    for name in ("settings", "every"):
        explorer.locator(f"details.{name} > summary").click()
    explorer.locator("[data-key=compare]").uncheck()
    return explorer


def point(explorer: Locator, role: str, index: int) -> Locator:
    return explorer.locator(f".point[data-role={role}][data-index='{index}']")


def panel(explorer: Locator, target: str) -> Locator:
    return explorer.locator(f"[data-panel={target}]")


def angles(explorer: Locator) -> dict[str, list[float]]:
    """What the points of an explorer with one panel, or of a panel, say of themselves, in degrees."""
    read = "points => points.map(point => Number(point.getAttribute('aria-valuenow')))"
    return {role: explorer.locator(f".point.{role}").evaluate_all(read) for role in ROLES}


def written(number: float, digits: int = 2) -> str:
    text = f"{number:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def shown(explorer: Locator) -> dict[str, object]:
    rows = "rows => rows.map(row => [...row.querySelectorAll('td')].map(field => field.textContent))"
    return {
        "loss": explorer.locator(".loss").text_content(),
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
    explorer = on_four_triples(page)
    assert angles(explorer) == BATCH and shown(explorer) == computed(BATCH, MarginLoss("adaptive"))
    for role, index, degrees in (("positives", 0, 200), ("negatives", 2, 10), ("queries", 1, 300)):
        point(explorer, role, index).scroll_into_view_if_needed()
        drag(page, point(explorer, role, index), degrees)
        assert float(point(explorer, role, index).get_attribute("aria-valuenow")) == pytest.approx(degrees, abs=1)
        assert re.search(r"\bchosen\b", point(explorer, role, index).get_attribute("class"))
    moved = angles(explorer)
    still = [(role, k) for role in ROLES for k in range(4) if (role, k) not in (("positives", 0), ("negatives", 2), ("queries", 1))]
    assert all(moved[role][k] == BATCH[role][k] for role, k in still)
    loss = float(explorer.locator(".loss").text_content().removeprefix("loss "))
    # The angles are shown with one digit.
    assert loss == pytest.approx(loss_on_circle(moved, MarginLoss("adaptive")).loss, abs=0.003)
    page.mouse.move(5, 5)
    assert angles(explorer) == moved, "a point that was let go follows the mouse"


def test_points_turn_by_the_keyboard_and_show_the_librarys_numbers(page):
    explorer = on_four_triples(page)
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
    point(explorer, "negatives", 0).press("End")
    assert point(explorer, "negatives", 0).get_attribute("aria-valuenow") == "359.0"
    point(explorer, "negatives", 0).press("Home")
    turned["negatives"] = [0.0, *BATCH["negatives"][1:]]
    assert angles(explorer) == turned and shown(explorer) == computed(turned, MarginLoss("distributed"))
    summary = f"Target distributed, reading of the paper, squared error: {shown(explorer)['loss']}"
    expect(explorer.locator(".summary")).to_contain_text(summary)


def test_every_setting_changes_what_is_computed(one_page):
    explorer, why = on_four_triples(one_page), first(one_page).locator(".why")
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
    explorer, loss = on_four_triples(page), MarginLoss("adaptive")
    explorer.locator("button[data-steps='1']").click()
    moved = {role: [degrees % 360 for degrees in turned] for role, turned in step(BATCH, loss).items()}
    assert shown(explorer) == computed(moved, loss)
    explorer.locator("button[data-steps='50']").click()
    for _ in range(50):
        moved = step(moved, loss)
    expect(explorer.locator("[data-value=steps]")).to_have_text("51")
    expect(explorer.locator(".loss")).to_have_text(f"loss {loss_on_circle(moved, loss).loss:.3f}")
    walked = explorer.locator("[data-key=steps]")
    walked.press("Home")
    assert angles(explorer) == BATCH
    walked.press("End")
    expect(explorer.locator("[data-value=steps]")).to_have_text("200")
    explorer.locator("button[data-steps='0']").click()
    assert angles(explorer) == BATCH and shown(explorer) == computed(BATCH, loss)


def test_it_opens_with_one_triple_and_one_slider(page):
    explorer = first(page)
    assert len(explorer.locator(".point").all()) == 3
    sliders = [slider for slider in explorer.locator("input[type=range]").all() if slider.is_visible()]
    assert len(sliders) == 1
    start = {role: list(degrees) for role, degrees in LESSONS[0].angles.items()}
    assert angles(explorer) == start and shown(explorer) == computed(start, MarginLoss("adaptive"))
    for key, away in (("End", 360), ("Home", 0), ("ArrowRight", 1)):
        sliders[0].press(key)
        start["negatives"] = [(start["positives"][0] + away) % 360]
        assert angles(explorer) == start and shown(explorer) == computed(start, MarginLoss("adaptive"))


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.key)
def test_a_suggestion_sets_the_state_plays_and_says_what_to_see(one_page, lesson):
    explorer = first(one_page)
    take(explorer, lesson.key)
    expect(explorer.locator(".see")).to_have_text(lesson.see)
    expect(explorer.locator(f"[data-lesson={lesson.key}]")).to_have_attribute("aria-pressed", "true")
    settings = {**PLAIN, **lesson.settings}
    plain = ("in_batch", "error", "reading", "stop_gradient")
    targets = ("static", "adaptive", "distributed") if settings["compare"] else (lesson.target,)
    assert explorer.locator("[data-panel]").count() == len(targets)
    for target in targets:
        loss = MarginLoss(f"static({settings['value']})" if target == "static" else target, *(settings[name] for name in plain))
        moved = {role: list(degrees) for role, degrees in lesson.angles.items()}
        for _ in range(lesson.steps):
            moved = step(moved, loss)
        expect(panel(explorer, target).locator(".loss")).to_have_text(f"loss {loss_on_circle(moved, loss).loss:.3f}")
        for role in ROLES:
            away = [(a - b + 180) % 360 - 180 for a, b in zip(angles(panel(explorer, target))[role], moved[role], strict=True)]
            assert max(map(abs, away)) < 0.06, (target, role)
    assert explorer.locator("details.every").evaluate("details => details.open") == lesson.detail
    assert not re.search("NaN|undefined", explorer.inner_html())


def test_three_targets_start_from_the_same_points_wherever_one_is_moved(page):
    explorer = first(page)
    take(explorer, "three")
    panels = [panel(explorer, target) for target in ("static", "adaptive", "distributed")]
    assert len({str(angles(each)) for each in panels}) == 3
    assert all(each.locator(".trail").count() == 12 for each in panels)
    moved = point(panels[2], "positives", 2)
    moved.scroll_into_view_if_needed()
    drag(page, moved, 250)
    places = [angles(each) for each in panels]
    assert places[0] == places[1] == places[2] and places[0]["positives"][2] == pytest.approx(250, abs=1)
    assert explorer.locator(".trail").count() == 0
    charts = explorer.locator(".charts svg")
    explorer.locator("button[data-steps='50']").click()
    for number, title in enumerate(("Loss", "Smallest margin")):
        said = charts.nth(number).get_attribute("aria-label")
        assert said.startswith(f"{title} after 50 steps: static ") and len(re.findall(r"[−\d.]+(?=,|$)", said)) == 3
    panels[0].locator("[data-look]").click()
    expect(explorer.locator("[data-key=target]")).to_have_value("static")
    assert panels[0].locator(".point[tabindex='0']").count() == 12 and panels[1].locator(".point[tabindex='0']").count() == 0


def test_a_random_start_is_that_of_its_seed(one_page):
    explorer = first(one_page)
    take(explorer, "collapse")
    seed = explorer.locator("[data-key=seed]")
    expect(seed).to_have_value(str(COLLAPSING))
    explorer.locator("[data-random]").click()
    expect(seed).to_have_value(str(COLLAPSING + 1))
    expect(explorer.locator(".see")).to_contain_text(f"Random start {COLLAPSING + 1}")
    explorer.locator("[data-steps='0']").click()
    assert angles(panel(explorer, "static")) == random_start(COLLAPSING + 1)
    seed.fill("12345")
    seed.press("Enter")
    explorer.locator("[data-steps='0']").click()
    assert angles(panel(explorer, "distributed")) == random_start(12345)


def test_real_passages_stand_on_the_points(one_page):
    explorer = first(one_page)
    take(explorer, "passages")
    texts = explorer.locator(".texts li")
    assert texts.count() in (9, 12) and texts.count() == panel(explorer, "adaptive").locator(".point").count()
    first_negative = texts.nth(2).text_content().split(" ", 1)[1]
    assert len(first_negative) > 3
    panel(explorer, "adaptive").locator("[data-name='negatives 0']").hover()
    expect(explorer.locator(".footer")).to_contain_text(f"“{first_negative}”")
    take(explorer, "three")
    assert texts.count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_every_suggestion_is_accessible_and_whole(visitor, addresses, scheme, width):
    page = visitor.open(f"{addresses['file']}/{EXPLORER}.html", width, scheme)
    explorer = first(page)
    for name in ("settings", "every"):
        explorer.locator(f"details.{name} > summary").click()
    for button in explorer.locator("[data-lesson], [data-random]").all():
        button.click()
        said = button.text_content()
        assert accessibility_faults(page, ".armlib-explorer") == [], said
        assert overflowing(page) == [], said
        collisions = page.evaluate(COLLIDING)
        assert collisions == [], f"{said}: {collisions}"


COLLIDING = """() => [...document.querySelectorAll(".armlib-explorer [data-panel]")].flatMap(panel => {
    const boxes = [...panel.querySelectorAll(".name")].map(name => [name.textContent, name.getBBox()]), found = [];
    const shared = (a, b, at, size) => Math.min(a[at] + a[size], b[at] + b[size]) - Math.max(a[at], b[at]);
    for (const [k, [one, a]] of boxes.entries())
        for (const [other, b] of boxes.slice(0, k))  // a name's box is taller than its letters
            if (shared(a, b, "x", "width") > 3 && shared(a, b, "y", "height") > 0.45 * a.height)
                found.push(`${panel.dataset.panel}: ${one} on ${other}`);
    return found;
})"""


def test_cells_of_the_matrix_say_what_they_compare(one_page):
    explorer, told = on_four_triples(one_page), first(one_page).locator(".footer")
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
    assert f" = {written(float(_difference(2, 1)), 3)}, the margin is too " in told.text_content()
    negative = one_page.locator(".armlib-explorer .point.negatives").nth(1)
    negative.hover()
    expect(told).to_contain_text("d₂⁻ at 225.0°: φ(q₂, d₂⁻) = ")
    cell[3, 0].click()
    expect(explorer.locator("[data-key=chosen]")).to_have_value("3")


def _difference(i: int, j: int) -> float:
    loss = MarginLoss("adaptive", in_batch=True, reading="released-code")
    margins, targets = loss.terms(*(points(BATCH[role]) for role in ROLES))
    return margins[i, j] - targets[i, j]


def test_signs_are_told_by_a_class_and_in_words(one_page):
    explorer = on_four_triples(one_page)
    explorer.locator("[data-key=in_batch]").check()
    margins, targets = MarginLoss("adaptive", in_batch=True).terms(*(points(BATCH[role]) for role in ROLES))
    for i in range(4):
        for j in range(4):
            cell = explorer.locator(f"td[data-row='{i}'][data-column='{j}']")
            difference, classes = float(margins[i, j] - targets[i, j]), (cell.get_attribute("class") or "").split()
            assert abs(difference) > 0.005, "the batch has a difference that is written as 0"
            assert [name for name in ("narrow", "wide") if name in classes] == ["narrow" if difference < 0 else "wide"]
            assert cell.get_attribute("aria-label").endswith("too narrow" if difference < 0 else "too wide")


def test_two_explorers_on_a_page_do_not_meet(one_page):
    one_page.evaluate("""() => {
        const page = document.querySelector(".armlib-explorer-page"), copy = page.cloneNode(false);
        const script = document.createElement("script");
        delete copy.dataset.started;
        page.after(copy);
        script.type = "module";
        script.textContent = [...document.scripts].find(each => each.textContent.includes("armlib-explorer-page")).textContent;
        copy.after(script);
    }""")
    explorers = one_page.locator(".armlib-explorer")
    expect(explorers).to_have_count(2)
    second = explorers.nth(1)
    take(second, "rest")
    second.locator("[data-steps='0']").click()
    adaptive = panel(second, "adaptive")
    assert adaptive.locator(".loss").text_content() == "loss 0.000" and adaptive.locator(".arrow").count() == 0
    before = angles(adaptive)
    take(explorers.first, "three")
    assert (
        angles(panel(second, "adaptive")) == before
        and second.locator(".see").text_content() != explorers.first.locator(".see").text_content()
    )
    changed = angles(panel(explorers.first, "adaptive"))
    point(adaptive, "queries", 0).press("ArrowLeft")
    assert angles(adaptive) != before and angles(panel(explorers.first, "adaptive")) == changed


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_numbers_can_be_read_on_every_variants_colour(visitor, addresses, scheme):
    page = visitor.open(f"{addresses['file']}/{EXPLORER}.html", NARROW, scheme)
    explorer, cells = on_four_triples(page), first(page).locator(".matrix td[data-row]")
    point(explorer, "negatives", 0).press("Shift+ArrowLeft")
    for variant in COLOURS:
        explorer.locator("[data-key=target]").select_option(variant.split(",")[0])
        if variant.startswith(("static", "adaptive")):
            explorer.locator("[data-key=in_batch]").set_checked("in-batch" in variant)
        cells.evaluate_all("all => all.forEach(cell => cell.style.setProperty('--share', '40%'))")  # the most that a cell is filled
        assert accessibility_faults(page, "table.matrix", ["color-contrast"]) == []
