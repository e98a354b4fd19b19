"""Suggestions of the explorer: what each says is what armlib's losses compute at its end."""

from __future__ import annotations

import pytest
import torch

from armbook.explorer.circle import BATCH, ROLES, descend, loss_on_circle, margins_of
from armbook.explorer.lessons import COLLAPSING, LESSONS, MOST_STEPS, RESTING, Lesson
from armlib.errors import InputError
from armlib.losses import MarginLoss

BY_KEY = {lesson.key: lesson for lesson in LESSONS}
COMPARED = ("static(0.5)", "adaptive", "distributed")


def ends(lesson: Lesson) -> dict[str, torch.Tensor]:
    start = torch.tensor([[lesson.angles[role] for role in ROLES]], dtype=torch.float64)
    return {target: descend(start, MarginLoss(target), lesson.steps) for target in COMPARED}


def loss_at(angles: torch.Tensor, target: str) -> float:
    return loss_on_circle({role: row.tolist() for role, row in zip(ROLES, angles[0], strict=True)}, MarginLoss(target)).loss


def test_each_has_a_name_of_its_own_and_a_whole_state():
    assert len(BY_KEY) == len(LESSONS) and LESSONS[0].key == "one" and len(LESSONS[0].angles["queries"]) == 1
    names = {frozenset(lesson.state()) for lesson in LESSONS}
    assert len(names) in (1, 2) and all(state >= frozenset({"target", "angles", "compare", "steps", "lesson"}) for state in names)
    assert all(lesson.state()["steps"] == 0 and lesson.see for lesson in LESSONS)


def test_where_the_lengths_of_one_triple_are_equal_nothing_is_pulled():
    one, loss = BY_KEY["one"], MarginLoss("adaptive")
    away = [loss_on_circle({**one.angles, "negatives": [one.angles["positives"][0] + turn]}, loss) for turn in range(0, 181)]
    targets = [float(each.targets) for each in away]
    assert targets == sorted(targets, reverse=True), "the target does not shrink as the negative leaves the positive"
    differences = [float(each.margins - each.targets) for each in away]
    assert differences[0] < 0 < max(differences), "there is no place on the slider where the lengths are equal"


def test_three_targets_end_as_they_are_said_to():
    lesson = BY_KEY["three"]
    margins = {target: margins_of(end)[0] for target, end in ends(lesson).items()}
    torch.testing.assert_close(margins["static(0.5)"], torch.full((4,), 0.5, dtype=torch.float64), atol=1e-3, rtol=0)
    adaptive = margins["adaptive"].sort().values
    assert (adaptive.diff() > 0.01).all(), "the margins are not the triples' own"
    losses = {target: loss_at(end, target) for target, end in ends(lesson).items()}
    assert max(losses["static(0.5)"], losses["adaptive"]) < 1e-6 and losses["distributed"] > 0.01


def test_the_collapsing_start_collapses_under_adaptive_targets_alone():
    lesson = BY_KEY["collapse"]
    found = ends(lesson)
    margins = {target: margins_of(end)[0] for target, end in found.items()}
    assert lesson.settings["seed"] == COLLAPSING and str(COLLAPSING) in lesson.see
    assert int((margins["adaptive"] < 0.06).sum()) == 3 and loss_at(found["adaptive"], "adaptive") < 1e-9
    assert margins["static(0.5)"].min() > 0.499 and margins["distributed"].min() > 0.3


def test_only_adaptive_targets_rest_without_a_ranking():
    pulls = {target: loss_on_circle(RESTING, MarginLoss(target)).pulls for target in COMPARED}
    strongest = {target: max(float(role.abs().max()) for role in each.values()) for target, each in pulls.items()}
    assert strongest["adaptive"] < 1e-12 and min(strongest["static(0.5)"], strongest["distributed"]) > 0.01
    assert loss_on_circle(RESTING, MarginLoss("adaptive")).loss < 1e-12


def test_targets_as_constants_leave_a_negative_to_its_own_query():
    """Turning another triple's positive changes a negative's pull only where the targets have a gradient."""
    assert BY_KEY["constants"].settings["stop_gradient"]
    turned = {**BATCH, "positives": [*BATCH["positives"][:3], BATCH["positives"][3] + 30]}
    for stop, same in ((True, True), (False, False)):
        loss = MarginLoss("distributed", stop_gradient=stop)
        fixed = dict(BATCH)  # the margin's pull depends on the targets' values, so queries and own passages stay
        one, other = (loss_on_circle(angles, loss).pulls["negatives"][0] for angles in (fixed, turned))
        assert bool(torch.isclose(one, other)) == same


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"angles": {"queries": [1.0]}}, "expected angles for"),
        ({"texts": {"queries": ["a"]}}, "expected 4 texts for each"),
        ({"steps": MOST_STEPS + 1}, "from 0 to 200 steps, not 201"),
    ],
)
def test_what_is_not_a_lesson_is_refused(changes, message):
    given = {"key": "a", "title": "A", "see": "See.", "target": "adaptive", "angles": BATCH}
    with pytest.raises(InputError, match=message):
        Lesson(**given | changes)
