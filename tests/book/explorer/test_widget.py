"""The explorer computes what armlib's losses compute, is told and tells what is chosen, and runs on a page without a kernel."""

from __future__ import annotations

import itertools
import json
import random
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest
import torch
from matplotlib.colors import to_hex

from armbook.building.checks import IN_CODE
from armbook.explorer.circle import BATCH, ROLES, descend, loss_on_circle, margins_of, points, random_start, step
from armbook.explorer.lessons import COLLAPSING
from armbook.explorer.widget import _KINDS, SYNCED, LossExplorer
from armbook.style import COLOURS
from armlib.errors import InputError
from armlib.losses import ERRORS, READINGS, MarginLoss, Static
from books import REPOSITORY

MODULE = REPOSITORY / "book" / "armbook" / "explorer" / "explorer.mjs"
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed, which runs the explorer here")
TARGETS = [Static(0.3), Static(-0.4), Static(0.5, variance=1.5), *(kind() for kind in _KINDS.values())]


def settings(target, in_batch, error, reading, stop_gradient) -> dict:
    kind, value = str(target).split("(")[0], target if isinstance(target, Static) else Static(0.5)
    chosen = {"in_batch": in_batch, "error": error, "reading": reading, "stop_gradient": stop_gradient}
    return {"target": kind, "value": value.value, "penalty": value.variance, "chosen": 0, **chosen}


def combinations() -> list[tuple]:
    return list(itertools.product(TARGETS, (False, True), ERRORS, READINGS, (False, True)))


def allowed(combination) -> MarginLoss | None:
    try:
        return MarginLoss(*combination)
    except InputError:
        return None


def some_angles(size: int, seed: int) -> dict[str, list[float]]:
    numbers = random.Random(seed)
    return {role: [numbers.uniform(0, 360) for _ in range(size)] for role in ROLES}


def node(expression: str, given: object) -> list:
    """What the module's functions (as ``m``) make of ``given``, a list, one by one as ``x``."""
    code = f"import * as m from {json.dumps(MODULE.as_uri())}; import fs from 'node:fs';"
    code += f"console.log(JSON.stringify(JSON.parse(fs.readFileSync(0)).map(x => ({expression}))))"
    ran = subprocess.run(["node", "--input-type=module", "-e", code], input=json.dumps(given), capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@needs_node
def test_the_module_computes_what_the_library_computes():
    cases = []
    for number, combination in enumerate(combinations()):
        if loss := allowed(combination):
            cases += [(loss, settings(*combination), some_angles(size, 10 * number + size)) for size in (1, 2, 4, 5)]
    assert len(cases) == 300  # 75 variants in 4 sizes
    given = [{"state": state, "angles": angles} for _, state, angles in cases]
    found = node("{...m.measure(x.angles, x.state), moved: m.descend(x.angles, x.state, 0.7)}", given)
    for (loss, state, angles), page in zip(cases, found, strict=True):
        expected, size, where = loss_on_circle(angles, loss), len(angles["queries"]), f"{state} at {angles}"
        assert page["loss"] == pytest.approx(expected.loss, abs=1e-12), where
        for role in ROLES:
            assert [-value for value in page["gradient"][role]] == pytest.approx(expected.pulls[role].tolist(), abs=1e-12), where
            moved = [degrees % 360 for degrees in step(angles, loss, 0.7)[role]]
            assert page["moved"][role] == pytest.approx(moved, abs=1e-9), where
        whole = expected.targets.ndim == 2
        for name, values in {"margins": expected.margins, "targets": expected.targets}.items():
            for i, j in itertools.product(range(size), repeat=2):
                shown = page[name][i][j]
                if name == "margins" and state["target"] == "variance" or not whole and i != j:
                    assert shown is None, where
                else:
                    assert shown == pytest.approx(float(values[i, j] if whole else values[i]), abs=1e-12), where


@needs_node
def test_the_page_refuses_exactly_what_the_library_refuses():
    every = combinations()
    found = node("Object.keys(m.refusals(x)).length", [settings(*combination) for combination in every])
    for combination, count in zip(every, found, strict=True):
        assert (count > 0) == (allowed(combination) is None), combination


@needs_node
def test_choosing_a_target_gives_way_only_where_it_must():
    states = [settings(*combination) for combination in combinations() if allowed(combination)]
    kinds = ["static", *_KINDS]
    given = [{"state": state, "target": kind} for state in states for kind in kinds]
    for case, changes in zip(given, node("m.chooseTarget(x.state, x.target)", given), strict=True):
        after = case["state"] | changes
        target = Static(after["value"], after["penalty"]) if after["target"] == "static" else _KINDS[after["target"]]()
        rest = ("in_batch", "error", "reading", "stop_gradient")
        assert allowed((target, *(after[name] for name in rest))) is not None, case
        for name in set(changes) - {"target"}:
            assert allowed((target, *((after | {name: case["state"][name]})[other] for other in rest))) is None, (case, name)


@needs_node
def test_a_control_that_cannot_be_used_says_why():
    distributed = node("m.reasons(x)", [settings(_KINDS["distributed"](), False, "squared", "paper", False)])[0]
    assert set(distributed) == {"in_batch", "value", "penalty"} and "uses the batch already" in distributed["in_batch"]
    released = node("m.reasons(x)", [settings(Static(0.3), True, "squared", "released-code", False)])[0]
    assert set(released) == {"penalty", "stop_gradient"}
    assert "released code has no static target with a penalty" in released["penalty"]
    assert set(node("m.reasons(x)", [settings(_KINDS["adaptive"](), False, "squared", "paper", False)])[0]) == {"value", "penalty"}


@needs_node
@pytest.mark.parametrize("target", ["static(0.3)", "adaptive", "distributed"])
def test_the_points_said_to_enter_a_difference_are_those_that_change_it(target):
    """Each point is turned in the library; the cells of l_ij that change are compared with what the page would highlight."""
    for in_batch, reading in itertools.product((False, True), READINGS):
        if not (loss := allowed((target, in_batch, "squared", reading, False))):
            continue
        angles = some_angles(4, 7)
        margins, targets = loss.terms(*(points(angles[role]) for role in ROLES))
        affected: dict[tuple[int, int], set] = {}
        for role, k in itertools.product(ROLES, range(4)):
            turned = {name: list(degrees) for name, degrees in angles.items()}
            turned[role][k] += 20
            other_margins, other_targets = loss.terms(*(points(turned[name]) for name in ROLES))
            difference = (margins - targets) - (other_margins - other_targets)
            matrix = difference if difference.ndim == 2 else torch.diag(difference)
            for i, j in matrix.abs().gt(1e-9).nonzero().tolist():
                affected.setdefault((i, j), set()).add((role, k))
        state = settings(loss.target, in_batch, "squared", reading, False)
        cells = list(itertools.product(range(4), repeat=2))
        given = [{"state": state, "i": i, "j": j} for i, j in cells]
        for cell, members in zip(cells, node("m.members(x.state, 4, x.i, x.j)", given), strict=True):
            assert {(role, k) for role, k in members} == affected.get(cell, set()), (target, in_batch, reading, cell)


@needs_node
def test_a_negative_on_its_mark_meets_the_target():
    """Static targets do not move with the negative, so a negative put on its mark has no difference left."""
    state = settings(Static(0.4), False, "squared", "paper", False)
    marks_of_each = "m.terms(x.state, 4).map(term => m.goals(x.angles, x.state, m.measure(x.angles, x.state), term))"
    found = node(marks_of_each, [{"angles": BATCH, "state": state}])
    placed = 0
    for k, marks in enumerate(found[0]):
        for degrees in marks:
            angles = {role: list(values) for role, values in BATCH.items()}
            angles["negatives"][k] = degrees
            margins, targets = MarginLoss("static(0.4)").terms(*(points(angles[role]) for role in ROLES))
            assert margins[k] == pytest.approx(float(targets[k]), abs=1e-9)
            placed += 1
    assert placed >= 4


@needs_node
def test_words_and_drawing():
    states = [settings(*combination) for combination in combinations() if allowed(combination)]
    given = [{"angles": BATCH, "state": {**state, "chosen": 2, "steps": 0}} for state in states]
    parts = (
        "m.summary([{state: x.state, angles: x.angles, measured: y}], x.state)",
        "m.compare(x.angles, x.state, y, 2)",
        "m.bars(x.angles, x.state, y)",
        "m.marks(x.angles, x.state, y)",
        "m.chords(x.angles, x.state, 1, 2)",
        "m.lengths(x.angles, x.state, y)",
        "m.trails(m.path(x.angles, x.state, 7))",
    )
    made = node(f"(y => [{', '.join(parts)}])(m.measure(x.angles, x.state))", given)
    for state, (summary, compared, *drawn) in zip(states, made, strict=True):
        assert f"loss {loss_on_circle(BATCH, MarginLoss(*_arguments(state))).loss:.3f}" in summary and "q₃" in summary
        assert compared.startswith("Triple 3") and not re.search("NaN|undefined", "".join([summary, compared, *drawn]))
        for piece in drawn:
            ElementTree.fromstring(f"<svg>{piece}</svg>")
    (made,) = node("m.skeleton(x, `a`)", [{**LossExplorer(compare=True).get_state(SYNCED)}])
    skeleton = ElementTree.fromstring(f"<div>{made}</div>")
    controls = [tag for name in ("select", "input", "button") for tag in skeleton.iter(name)]
    labelled = {tag.get("for") for tag in skeleton.iter("label")}
    for tag in controls:
        assert tag.get("data-lm-suppress-shortcuts") == "true"
        assert tag.get("id") in labelled or (tag.tag == "button" and ((tag.text or "").strip() or tag.get("data-look")))
    sliders = [tag for tag in skeleton.iter("g") if tag.get("role") == "slider"]
    assert len(sliders) == 3 * 12 and all(tag.get("aria-label") for tag in sliders)
    assert sum(tag.get("tabindex") == "0" for tag in sliders) == 12, "the Tab key goes through one panel"
    assert len(list(skeleton.iter("td"))) >= 16 and skeleton.find("p[@aria-live='polite']") is not None


@needs_node
@pytest.mark.parametrize("target", ["static(0.4)", "adaptive", "distributed"])
def test_the_way_of_the_points_is_that_of_the_library(target):
    state, loss = settings(MarginLoss(target).target, False, "squared", "paper", False), MarginLoss(target)
    (found,) = node("m.path(x.angles, x.state, 40)", [{"angles": BATCH, "state": state}])
    turned: dict[str, list[float]] = BATCH
    assert len(found) == 41
    for angles in found:
        for role in ROLES:
            assert angles[role] == pytest.approx([degrees % 360 for degrees in turned[role]], abs=1e-6)
        turned = step(turned, loss)
    many = node("m.margins(x)", found)
    assert many[40] == pytest.approx(margins_of(descend(_tensor(BATCH), loss, 40))[0].tolist(), abs=1e-9)


def _tensor(angles: dict[str, list[float]]) -> torch.Tensor:
    return torch.tensor([[angles[role] for role in ROLES]], dtype=torch.float64)


@needs_node
def test_a_seed_gives_the_same_start_on_the_page():
    seeds = [0, 1, 47, 12345, 2**31, 2**32 - 1]
    assert node("m.randomStart(x)", seeds) == [random_start(seed) for seed in seeds]
    assert node("m.randomStart(x, 2)", [5]) == [random_start(5, 2)]


@needs_node
def test_three_targets_stand_side_by_side_with_the_settings_that_they_have():
    states = [settings(*combination) | {"compare": True} for combination in combinations() if allowed(combination)]
    for state, shown in zip(states, node("m.panels(x)", states), strict=True):
        if state["target"] not in ("static", "adaptive", "distributed"):
            assert [each["target"] for each in shown] == [state["target"]]
            continue
        assert [each["target"] for each in shown] == ["static", "adaptive", "distributed"]
        for each in shown:
            assert allowed(_arguments(each)) is not None and each["error"] == state["error"]
        assert shown[[each["target"] for each in shown].index(state["target"])] == state
    assert len(node("m.panels(x)", [settings(Static(0.5), False, "squared", "paper", False)])[0]) == 1


@needs_node
def test_labels_and_points_move_out_of_each_others_way():
    numbers = random.Random(3)
    crowds = [[numbers.gauss(350, 8) for _ in range(12)] for _ in range(20)] + [[90.0] * 12, [10.0, 200.0], [5.0]]
    for crowd, placed in zip(crowds, node("m.spread(x, 13)", crowds), strict=True):
        ordered = sorted(degrees % 360 for degrees in placed)
        gaps = [after - before for before, after in itertools.pairwise([*ordered, ordered[0] + 360])]
        assert len(crowd) == 1 or min(gaps) > 12.9, (crowd, placed)
    assert node("m.spread(x, 13)", [[10.0, 200.0]])[0] == [10, 200], "labels move only where they are in the way"
    for crowd, found in zip(crowds, node("m.levels(x, 9)", crowds), strict=True):
        for (a, one), (b, other) in itertools.combinations(zip(crowd, found, strict=True), 2):
            assert one != other or abs((a - b + 180) % 360 - 180) >= 9, (crowd, found)
    # The fault that this is for: after 50 adaptive steps one negative stands where another triple's positive does.
    adaptive = settings(_KINDS["adaptive"](), False, "squared", "paper", False)
    (radii,) = node("m.radii(m.path(x.angles, x.state, 50)[50])", [{"angles": BATCH, "state": adaptive}])
    assert radii["negatives"][0] != radii["positives"][3]


@needs_node
def test_lengths_are_margins_and_targets():
    """On a circle of radius 1, the black length is the margin and the coloured one the target; signs have a class each."""
    for target in ("static(0.4)", "adaptive", "distributed"):
        loss = MarginLoss(target)
        state = settings(loss.target, False, "squared", "paper", False)
        measured = loss_on_circle(BATCH, loss)
        own = margins_of(_tensor(BATCH))[0]
        for k in range(4):
            (drawn,) = node(
                "m.lengths(x.angles, x.state, m.measure(x.angles, x.state))", [{"angles": BATCH, "state": {**state, "chosen": k}}]
            )
            long = {kind: _length(drawn, kind) / (_length(drawn, "axis") / 2) for kind in ("margin", "target")}
            wanted = float(measured.targets[k].mean())
            assert long["margin"] == pytest.approx(abs(float(own[k])), abs=2e-3)
            assert long["target"] == pytest.approx(wanted, abs=2e-3)
            assert ('class="gap narrow"' in drawn, 'class="gap wide"' in drawn) == (own[k] < wanted, own[k] > wanted)
            (bars,) = node(
                "m.bars(x.angles, x.state, m.measure(x.angles, x.state))", [{"angles": BATCH, "state": {**state, "chosen": k}}]
            )
            row = ElementTree.fromstring(f"<div>{bars}</div>").findall("div")[k]
            widths = {tag.get("class"): tag.get("style") for tag in row.iter("i")}
            assert float(re.search(r"width:([\d.]+)%", widths["margin"])[1]) == pytest.approx(25 * abs(float(own[k])), abs=0.01)
            assert float(re.search(r"left:([\d.]+)%", widths["target"])[1]) == pytest.approx(25 * (wanted + 2), abs=0.01)


def _length(drawn: str, kind: str) -> float:
    found = re.search(rf'class="{kind}" d="M([-\d.]+) ([-\d.]+)L([-\d.]+) ([-\d.]+)"', drawn)
    x, y, u, v = map(float, found.groups())
    return ((x - u) ** 2 + (y - v) ** 2) ** 0.5


@needs_node
def test_arrows_start_at_the_edge_of_their_point():
    for degrees, amount in ((0, 0.3), (90, -0.2), (200, 2.0)):
        (drawn,) = node("m.arrow(x[0], x[1])", [[degrees, amount]])
        x, y = map(float, re.search(r"M([-\d.]+) ([-\d.]+)", drawn).groups())
        (point,) = node("m.arrow(x[0], x[1], 132, 0)", [[degrees, amount]])
        u, v = map(float, re.search(r"M([-\d.]+) ([-\d.]+)", point).groups())
        assert ((x - u) ** 2 + (y - v) ** 2) ** 0.5 == pytest.approx(10, abs=0.2)
    assert node("m.arrow(x[0], x[1])", [[0, 0.001]]) == [""]


@needs_node
def test_curves_hold_their_values_and_say_them():
    series = [
        {"name": "static", "kind": "static", "values": [1.0, 0.5, 0.25]},
        {"name": "adaptive", "kind": "adaptive", "values": [0.8, 0.4, 0.2501]},
    ]
    (drawn,) = node("m.chart('Loss', x, 4, 0, 1)", [series])
    picture = ElementTree.fromstring(drawn)
    assert picture.get("aria-label") == "Loss after 2 steps: static 0.25, adaptive 0.25"
    curves = {tag.get("class"): tag.get("d") for tag in picture.iter("path")}
    assert {"curve static", "curve adaptive"} <= set(curves)
    line = [tuple(map(float, pair.split())) for pair in re.findall(r"[ML]([-\d.]+ [-\d.]+)", _first_curve(picture, "static"))]
    top, bottom = min(y for _, y in line), 132.0
    assert [(bottom - y) / (bottom - top) for _, y in line] == pytest.approx([1, 0.5, 0.25], abs=0.01)
    names = [float(tag.get("y")) for tag in picture.iter("text") if tag.get("class") == "series"]
    assert abs(names[0] - names[1]) >= 13.9, "names of lines that end together stand apart"


def _first_curve(picture: ElementTree.Element, kind: str) -> str:
    return next(tag.get("d") for tag in picture.iter("path") if tag.get("class") == f"curve {kind}")


@needs_node
def test_what_is_pointed_at_is_described():
    state = settings(_KINDS["adaptive"](), False, "squared", "paper", False)
    pointed = "m.describe(x.angles, x.state, m.measure(x.angles, x.state), 'negatives', 1, 'a text')"
    (said,) = node(pointed, [{"angles": BATCH, "state": state}])
    queries, positives, negatives = (points(BATCH[role]) for role in ROLES)
    own, other = float(queries[1] @ negatives[1]), float(positives[1] @ negatives[1])
    assert said.startswith(f"d₂⁻ at 225.0°: φ(q₂, d₂⁻) = {own:.2f}, φ(d₂⁺, d₂⁻) = {other:.2f}; pulled ") and said.endswith(
        "“a text”"
    )


def _arguments(state: dict) -> tuple:
    target = Static(state["value"], state["penalty"]) if state["target"] == "static" else _KINDS[state["target"]]()
    return (target, *(state[name] for name in ("in_batch", "error", "reading", "stop_gradient")))


def test_python_and_reader_share_the_state():
    explorer, seen = LossExplorer("static(0.3)", in_batch=True, reading="released-code"), []
    assert set(SYNCED) <= set(explorer.keys) and set(SYNCED) <= set(explorer.get_state())
    assert str(explorer.loss) == str(MarginLoss("static(0.3)", in_batch=True, reading="released-code"))
    explorer.observe(lambda change: seen.append((change["name"], change["new"])), names=["angles", "target", "in_batch"])
    turned = {**BATCH, "queries": [10, 20, 30, 40]}
    explorer.set_state({"angles": turned})  # what arrives from the browser
    assert seen == [("angles", turned)] and explorer.angles == turned
    explorer.set_state({"target": "distributed", "in_batch": False})  # what choosing distributed sends
    assert str(explorer.loss) == str(MarginLoss("distributed", reading="released-code"))
    assert explorer.measured().loss == pytest.approx(float(explorer.loss(*(points(turned[role]) for role in ROLES))))
    explorer.show("static(0.5, variance=1.0)", error="soft")
    assert str(explorer.loss) == str(MarginLoss("static(0.5, variance=1.0)", error="soft"))
    assert explorer.colours == {name: to_hex(colour) for name, colour in COLOURS.items()}


def test_python_walks_as_far_as_the_reader():
    explorer = LossExplorer("adaptive", steps=3)
    turned: dict[str, list[float]] = BATCH
    for _ in range(3):
        turned = step(turned, MarginLoss("adaptive"))
    assert explorer.moved() == turned and explorer.measured().loss == loss_on_circle(turned, MarginLoss("adaptive")).loss
    explorer.set_state({"steps": 0})
    assert explorer.moved() == BATCH


def test_a_suggestion_sets_what_it_says():
    explorer = LossExplorer.suggesting()
    assert explorer.lesson == "one" and len(explorer.angles["queries"]) == 1 and not explorer.compare and explorer.steps == 0
    explorer.take("readings")
    assert str(explorer.loss) == str(MarginLoss("adaptive", in_batch=True, reading="released-code")) and explorer.angles == BATCH
    explorer.take("collapse")  # takes back what the one before has set
    assert explorer.compare and not explorer.in_batch and explorer.reading == "paper" and explorer.seed == COLLAPSING
    with pytest.raises(InputError, match="unknown lesson 'none'"):
        explorer.take("none")
    assert explorer.lesson == "collapse"


def test_a_state_that_is_not_defined_is_refused_and_nothing_changes():
    explorer = LossExplorer("distributed")
    with pytest.raises(InputError, match="uses the batch already"):
        explorer.in_batch = True
    with pytest.raises(InputError, match="unknown error"):
        LossExplorer(error="cubed")
    with pytest.raises(InputError, match="uses the batch already"):
        explorer.show("mean", in_batch=True)
    with pytest.raises(InputError, match="as many queries as positives"):
        explorer.angles = {**BATCH, "queries": [1.0]}
    with pytest.raises(InputError, match="from -2 to 2"):
        explorer.value = 3.0
    with pytest.raises(InputError, match="uses the batch already"):
        explorer.set_state({"target": "mean", "in_batch": True})
    assert str(explorer.loss) == str(MarginLoss("distributed")) and explorer.angles == BATCH and explorer.value == 0.5


def test_the_page_needs_nothing_from_outside():
    explorer = LossExplorer("adaptive")
    data, _ = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    page = data["text/html"]
    assert "http:" not in page and "https:" not in page and not IN_CODE.findall(page)
    script = re.search(r'<script type="module">(.*?)</script>', page, re.DOTALL)[1]
    module = json.loads(re.search(r"new Blob\(\[(.*?)\], \{type", script, re.DOTALL)[1])
    assert module == MODULE.read_text(encoding="utf8") and page.rstrip().endswith("</script>")
    assert "<noscript>" in page and (MODULE.parent / "explorer.css").read_text(encoding="utf8") in page
    assert page == LossExplorer("adaptive")._repr_mimebundle_()[0]["text/html"], "pages would differ from one build to the next"
