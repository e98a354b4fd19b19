"""Static, adaptive and distributed targets on the unit circle: after the idea of Figure 2 of arXiv 2407.21515."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

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
        A figure with one axes a variant and one for the key; the arrows of each are one quiver, tangent to the circle, as long as
        `ARROW` times minus the derivative of the loss by the angle (added up where points coincide).

    Raises:
        InputError: angles or a value that are not defined.
    """
    angles = check_angles(angles)
    panels = {"a": f"static({value})", "b": "adaptive", "c": "distributed"}
    with plt.rc_context(STYLE | {"font.size": 13}):  # read at half of this size on a narrow screen
        figure, grid = plt.subplots(2, 2, figsize=(7.4, 7.0), layout="constrained")
        for axes, (letter, target) in zip(grid.flat, panels.items(), strict=False):
            measured = loss_on_circle(angles, MarginLoss(target))
            axes.add_patch(plt.Circle((0, 0), 1, fill=False, color=GREY, linewidth=0.8))
            _draw_goals(axes, goals(angles, measured), chosen if target == "distributed" else None, colour(target))
            _draw_pulls(axes, angles, measured, colour(target))
            _draw_points(axes, angles)
            axes.set(xlim=(-1.35, 1.35), ylim=(-1.3, 1.3), aspect="equal", title=f"({letter}) {target}: loss {measured.loss:.2f}")
            axes.axis("off")
        _draw_key(grid[1, 1])
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


def _draw_goals(axes: Axes, positions: np.ndarray, triple: int | None, shade: tuple[float, float, float]) -> None:
    """Ticks across the circle, with the negatives whose target they are; for one triple all of its targets, else the own of all."""
    meant: dict[float, list[int]] = {}
    for k, row in enumerate(positions if triple is None else positions[triple][:, None]):
        for degrees in row[~np.isnan(row)].round(6).tolist():
            meant.setdefault(degrees, []).append(k + 1)
    for degrees in meant:
        x, y = _on_circle(degrees)
        axes.plot([0.91 * x, 1.09 * x], [0.91 * y, 1.09 * y], color=shade, linewidth=2.5)
    for near in _neighbours(sorted(meant)):
        x, y = _on_circle(float(np.mean(near)))
        numbers = sorted(number for degrees in near for number in meant[degrees])
        axes.text(1.13 * x, 1.13 * y, ", ".join(map(str, numbers)), ha="left" if x > 0 else "right", va="center", zorder=4)


def _on_circle(degrees: float) -> tuple[float, float]:
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))


def _neighbours(ordered: Sequence[float], apart: float = 8) -> list[list[float]]:
    """Angles in rising order, in groups whose labels would collide."""
    groups: list[list[float]] = []
    for degrees in ordered:
        if groups and degrees - groups[-1][-1] < apart:
            groups[-1].append(degrees)
        else:
            groups.append([degrees])
    return groups


def _draw_key(axes: Axes) -> None:
    """What the signs of the panels stand for, in the place of a fourth one."""
    signs = [
        Line2D([], [], color=GREY, marker=shape, markerfacecolor=face, markersize=9, linestyle="none")
        for shape, face in _SHAPES.values()
    ]
    signs += [Line2D([], [], color=GREY, marker="|", markersize=14, markeredgewidth=2.5, linestyle="none")]
    signs += [Line2D([], [], color=GREY, marker=r"$\rightarrow$", markersize=18, linestyle="none")]
    words = [
        "query",
        "positive passage",
        "negative passages 1 to 4",
        "where the margin meets\nthe target of that negative",
        "pull of the loss",
    ]
    axes.legend(signs, words, loc="center", labelspacing=1.0)
    axes.axis("off")


def _draw_points(axes: Axes, angles: Mapping[str, Sequence[float]]) -> None:
    for role, sign in zip(ROLES, ("q", "d^+", "d^-"), strict=True):
        shape, face = _SHAPES[role]
        positions = list(dict.fromkeys(angles[role]))
        for number, degrees in enumerate(positions, 1):
            x, y = _on_circle(degrees)
            axes.plot(x, y, shape, color=GREY, markerfacecolor=face, markersize=9, linestyle="none")
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
