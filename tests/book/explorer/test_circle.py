"""Points on the circle: angles that are checked, cosines and gradients that are those of the losses."""

from __future__ import annotations

import math

import pytest
import torch

from armbook.explorer.circle import BATCH, ROLES, check_angles, loss_on_circle, points, step
from armlib.errors import InputError
from armlib.losses import MarginLoss, similarities

TARGETS = ("static(0.3)", "static(0.5, variance=1.0)", "adaptive", "distributed", "mean", "variance")


@pytest.mark.parametrize(
    ("angles", "message"),
    [
        ({"queries": [1]}, "expected angles for queries, positives, negatives"),
        ({**BATCH, "queries": []}, "as many queries"),
        ({**BATCH, "queries": [0, 1, 2, math.nan]}, "finite number of degrees, but queries hold nan"),
        ({**BATCH, "negatives": [0, 1, 2, "3"]}, "negatives hold '3'"),
        ([1, 2], r"got \[1, 2\]"),
    ],
)
def test_angles_that_are_not_defined_are_refused(angles, message):
    with pytest.raises(InputError, match=message):
        check_angles(angles)


def test_points_have_the_cosines_of_their_angles():
    found = similarities(points([0, 90]), points([60, 180, 90]))
    torch.testing.assert_close(found, torch.tensor([[0.5, -1, 0], [math.sqrt(3) / 2, 0, 1]], dtype=torch.float64))


def test_steps_go_downhill():
    for target in TARGETS:
        angles, loss = BATCH, MarginLoss(target)
        before = loss_on_circle(angles, loss).loss
        for _ in range(20):
            angles = step(angles, loss, 0.1)
        assert loss_on_circle(angles, loss).loss < before, target


@pytest.mark.parametrize("target", TARGETS)
def test_pulls_are_differences_of_the_loss(target):
    loss, small = MarginLoss(target), 1e-4
    pulls = loss_on_circle(BATCH, loss).pulls
    for role in ROLES:
        for k in range(4):
            either = []
            for sign in (1, -1):
                turned = {name: list(degrees) for name, degrees in BATCH.items()}
                turned[role][k] += sign * math.degrees(small)
                either.append(float(loss(*(points(turned[name]) for name in ROLES))))
            assert float(pulls[role][k]) == pytest.approx((either[1] - either[0]) / (2 * small), abs=1e-6), (role, k)
