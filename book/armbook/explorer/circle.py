"""Triples as points on the unit circle: the smallest space in which everything that a margin loss does can be seen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import grad, vmap

from armlib.errors import InputError
from armlib.losses import MarginLoss

ROLES = ("queries", "positives", "negatives")
# A batch in which the variants differ visibly: easy and hard triples, and one whose negative is nearer than its positive.
BATCH = {"queries": [90.0, 170.0, 255.0, 15.0], "positives": [118.0, 150.0, 300.0, 35.0], "negatives": [62.0, 225.0, 235.0, 345.0]}


RATE = 0.5  # of gradient descent, in radians for a gradient of 1 per radian
TRIPLES = 4  # of a random start


@dataclass(frozen=True)
class CircleLoss:
    """What a loss says about points on the circle.

    Args:
        loss: the value of the loss.
        margins, targets: (B,) or (B, B) as `MarginLoss.terms` returns them.
        pulls: by role, (B,) values: minus the derivative of the loss by each point's angle in radians, which is where
            gradient descent moves it; positive is counter-clockwise.
    """

    loss: float
    margins: Tensor
    targets: Tensor
    pulls: dict[str, Tensor]


def check_angles(angles: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """The angles as plain lists of numbers.

    Args:
        angles: degrees, counter-clockwise from the right, for each of ``queries``, ``positives`` and ``negatives``.

    Raises:
        InputError: a role is missing or unknown, the numbers of points differ or are 0, or an angle is not a finite number.
    """
    if not isinstance(angles, Mapping) or sorted(angles) != sorted(ROLES):
        found = sorted(map(str, angles)) if isinstance(angles, Mapping) else angles
        raise InputError(f"expected angles for {', '.join(ROLES)}, got {found!r}")
    lengths = {role: len(angles[role]) for role in ROLES}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        raise InputError(f"expected as many queries as positives and negatives, at least one of each, got {lengths}")
    for role in ROLES:
        for angle in angles[role]:
            if isinstance(angle, bool) or not isinstance(angle, int | float) or not math.isfinite(angle):
                raise InputError(f"an angle is a finite number of degrees, but {role} hold {angle!r}")
    return {role: [float(angle) for angle in angles[role]] for role in ROLES}


def points(degrees: Sequence[float] | Tensor) -> Tensor:
    """Angles in degrees, (..., B), to embeddings of length 1, (..., B, 2), in float64."""
    radians = torch.as_tensor(degrees, dtype=torch.float64) * (math.pi / 180)
    return torch.stack([radians.cos(), radians.sin()], dim=-1)


def loss_on_circle(angles: Mapping[str, Sequence[float]], loss: MarginLoss) -> CircleLoss:
    """Loss, margins, targets and pulls of points on the circle, by automatic differentiation of `MarginLoss`.

    Args:
        angles: degrees by role, see `check_angles`.
        loss: the variant.

    Raises:
        InputError: as `check_angles`.
    """
    radians = {
        role: (torch.tensor(degrees, dtype=torch.float64) * (math.pi / 180)).requires_grad_()
        for role, degrees in check_angles(angles).items()
    }
    embedded = [torch.stack([radians[role].cos(), radians[role].sin()], dim=1) for role in ROLES]
    value = loss(*embedded)
    margins, targets = loss.terms(*embedded)
    gradients = torch.autograd.grad(value, list(radians.values()), allow_unused=True, materialize_grads=True)
    pulls = {role: -gradient for role, gradient in zip(radians, gradients, strict=True)}
    return CircleLoss(float(value.detach()), margins.detach(), targets.detach(), pulls)


def step(angles: Mapping[str, Sequence[float]], loss: MarginLoss, rate: float = RATE) -> dict[str, list[float]]:
    """The angles after one step of gradient descent, each moved by ``rate`` times its pull (in radians)."""
    pulls = loss_on_circle(angles, loss).pulls
    moved = {role: torch.tensor(angles[role], dtype=torch.float64) + rate * pulls[role] * (180 / math.pi) for role in ROLES}
    return {role: degrees.tolist() for role, degrees in moved.items()}


def descend(starts: Tensor, loss: MarginLoss, steps: int, rate: float = RATE) -> Tensor:
    """Gradient descent of many batches at once, each by itself.

    Args:
        starts: (N, 3, B) angles in degrees of the queries, positives and negatives of N batches.
        loss: the variant.
        steps: of gradient descent.
        rate: as for `step`.

    Returns:
        (N, 3, B) angles in degrees after the last step.
    """
    gradient = vmap(grad(lambda degrees: loss(*points(degrees))))
    turned = starts
    for _ in range(steps):
        turned = turned - rate * (180 / math.pi) ** 2 * gradient(turned)  # the gradient is by degrees
    return turned


def margins_of(batches: Tensor) -> Tensor:
    """The margin of each triple, (N, B), of angles in degrees as `descend` takes them."""
    queries, positives, negatives = points(batches).unbind(dim=-3)  # (N, B, 2) each
    return (queries * positives).sum(-1) - (queries * negatives).sum(-1)


def random_start(seed: int, triples: int = TRIPLES) -> dict[str, list[float]]:
    """Angles drawn uniformly from the circle, in tenths of a degree; the explorer draws the same from the same seed.

    Args:
        seed: from 0 to 2^32 - 1, of the generator mulberry32.
        triples: how many.

    Raises:
        InputError: a seed or a number of triples that is out of range.
    """
    if not 0 <= seed < 2**32 or triples < 1:
        raise InputError(f"expected a seed from 0 to {2**32 - 1} and at least 1 triple, not {seed} and {triples}")
    drawn = [_mulberry32(seed, number) for number in range(3 * triples)]
    return {role: [int(3600 * share) / 10 for share in drawn[k * triples : (k + 1) * triples]] for k, role in enumerate(ROLES)}


def random_starts(seeds: Iterable[int], triples: int = TRIPLES) -> Tensor:
    """The angles of `random_start` for each seed, (N, 3, B)."""
    starts = (random_start(seed, triples) for seed in seeds)
    return torch.tensor([[start[role] for role in ROLES] for start in starts], dtype=torch.float64)


def _mulberry32(seed: int, number: int) -> float:
    """The draw of that number, counted from 0, of Tommy Ettinger's generator: a few lines in any language, enough for a drawing."""
    whole = 2**32 - 1
    state = (seed + (number + 1) * 0x6D2B79F5) & whole
    mixed = ((state ^ state >> 15) * (state | 1)) & whole
    mixed ^= (mixed + (mixed ^ mixed >> 7) * (mixed | 61)) & whole
    return (mixed ^ mixed >> 14) / 2**32
