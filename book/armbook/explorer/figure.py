"""Static, adaptive and distributed targets on the unit circle: after the idea of Figure 2 of arXiv 2407.21515."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from armbook.explorer.circle import ROLES, CircleLoss, check_angles, loss_on_circle
from armbook.style import GREY, STYLE, colour
from armlib.losses import MarginLoss

# One query and one positive passage with four negative passages: four triples, whose targets are then easy to compare.
FAN = {"queries": [90.0] * 4, "positives": [112.0] * 4, "negatives": [68.0, 42.0, 318.0, 165.0]}
ARROW = 0.8  # length of an arrow, in radii, for a gradient of 1 per radian
_SHAPES = {"queries": ("D", GREY), "positives": ("o", GREY), "negatives": ("o", "none")}


def three_targets(angles: Mapping[str, Sequence[float]] = FAN, *, value: float = 0.5, chosen: int = 0) -> Figure:
    """Three panels with the same points: where each variant wants the negatives, and where it pulls everything.

    Args:
        angles: degrees by role, see `armbook.explorer.circle.check_angles`.
        value: the static target.
        chosen: the triple, counted from 0, whose targets the panel of distributed targets shows.

    Returns:
        A figure with one axes a variant; the arrows of each are one quiver, tangent to the circle, as long as `ARROW`
        times minus the derivative of the loss by the angle (added up where points coincide).

    Raises:
        InputError: angles or a value that are not defined.
    """
    angles = check_angles(angles)
    panels = {"a": f"static({value})", "b": "adaptive", "c": "distributed"}
    with plt.rc_context(STYLE):
        figure, row = plt.subplots(1, 3, figsize=(9.5, 3.4), layout="constrained")
        for axes, (letter, target) in zip(row, panels.items(), strict=True):
            measured = loss_on_circle(angles, MarginLoss(target))
            axes.add_patch(plt.Circle((0, 0), 1, fill=False, color=GREY, linewidth=0.8))
            _draw_goals(axes, goals(angles, measured), [chosen] if target == "distributed" else None, colour(target))
            _draw_points(axes, angles)
            _draw_pulls(axes, angles, measured, colour(target))
            axes.set(xlim=(-1.3, 1.3), ylim=(-1.2, 1.3), aspect="equal", title=f"({letter}) {target}: loss {measured.loss:.2f}")
            axes.axis("off")
    return figure


def goals(angles: Mapping[str, Sequence[float]], measured: CircleLoss) -> np.ndarray:
    """Where the negative of triple i would stand if its margin met target j, on the side where it stands now.

    Args:
        angles: degrees by role.
        measured: of a variant whose margins are those of the triples (not in batch).

    Returns:
        (B, B) angles in degrees, or (B, 1) for one target a triple; NaN where no point of the circle meets the target.
    """
    query, positive, negative = (np.radians(angles[role])[:, None] for role in ROLES)
    targets = measured.targets.numpy().reshape(len(query), -1)
    cosine = np.cos(query - positive) - targets
    away = np.arccos(np.where(np.abs(cosine) <= 1, cosine, np.nan))
    return np.degrees(query + np.where(np.sin(negative - query) < 0, -away, away)) % 360


def _draw_goals(axes: Axes, positions: np.ndarray, triples: Sequence[int] | None, shade: tuple[float, float, float]) -> None:
    """Ticks across the circle, with the negatives that they are meant for; of all triples, or of some."""
    meant: dict[float, list[int]] = {}
    for k in range(len(positions)) if triples is None else triples:
        for degrees in positions[k][~np.isnan(positions[k])].round(6).tolist():
            meant.setdefault(degrees, []).append(k + 1)
    for degrees, numbers in meant.items():
        x, y = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        axes.plot([0.91 * x, 1.09 * x], [0.91 * y, 1.09 * y], color=shade, linewidth=2.5)
        if triples is None:
            listed, side = ", ".join(map(str, sorted(numbers))), "left" if x > 0 else "right"
            axes.text(1.13 * x, 1.13 * y, listed, ha=side, va="center", fontsize="small", zorder=4)


def _draw_points(axes: Axes, angles: Mapping[str, Sequence[float]]) -> None:
    for role, sign in zip(ROLES, ("q", "d^+", "d^-"), strict=True):
        shape, face = _SHAPES[role]
        positions = list(dict.fromkeys(angles[role]))
        for number, degrees in enumerate(positions, 1):
            x, y = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
            axes.plot(x, y, shape, color=GREY, markerfacecolor=face, markersize=7, linestyle="none")
            name = sign if len(positions) == 1 else f"{sign}_{number}"
            axes.text(0.74 * x, 0.74 * y, f"${name}$", ha="center", va="center")


def _draw_pulls(axes: Axes, angles: Mapping[str, Sequence[float]], measured: CircleLoss, shade: tuple[float, float, float]) -> None:
    together: dict[tuple[str, float], float] = {}
    for role in ROLES:
        for degrees, pull in zip(angles[role], measured.pulls[role].tolist(), strict=True):
            together[role, degrees] = together.get((role, degrees), 0.0) + pull
    radians, pulls = np.radians([degrees for _, degrees in together]), ARROW * np.array(list(together.values()))
    tangent = -np.sin(radians) * pulls, np.cos(radians) * pulls
    to_scale = {"angles": "xy", "scale_units": "xy", "scale": 1}
    axes.quiver(np.cos(radians), np.sin(radians), *tangent, **to_scale, color=shade, width=0.012, zorder=3)
