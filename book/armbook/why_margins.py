"""Two ways to a target: a teacher's margins, and self-distillation (after the idea of Figure 1 of arXiv 2407.21515)."""

from __future__ import annotations

from typing import NamedTuple

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from armbook.style import GREY, STYLE

LEFT, RIGHT, MIDDLE = 0.24, 0.76, 0.5  # centres of boxes, in widths of a panel
HALF, FULL = 0.44, 0.96  # widths of boxes
TARGET_PATH = "--"  # dashes wherever a target comes from


class Box(NamedTuple):
    """A step: its text, its centre (rows count from the bottom), its width, and its kind: data, a model, a value or the loss."""

    text: str
    x: float
    row: float
    width: float
    kind: str


class Step(NamedTuple):
    """An arrow from one box to another; ``target`` where it is the way of the target, ``bent`` where it turns a corner."""

    start: str
    end: str
    target: bool = False
    bent: bool = False


STEPS = (Step("batches", "encoder"), Step("encoder", "margin"), Step("margin", "loss"), Step("target", "loss", target=True))
SHARED = {
    "triples": Box("triples $(q,\\,d^+,\\,d^-)$", MIDDLE, 6, FULL, "data"),
    "encoder": Box("bi-encoder", LEFT, 2, HALF, "model"),
    "margin": Box("margin $m$\n$\\phi(q,d^+) - \\phi(q,d^-)$", LEFT, 1, HALF, "value"),
    "loss": Box("loss: $(m - t)^2$", MIDDLE, 0, FULL, "loss"),
}
PANELS = {
    "with a teacher": (
        SHARED
        | {
            "teacher": Box("cross-encoder: the teacher\nscores every triple", MIDDLE, 5, FULL, "model"),
            "scored": Box("triples with scores", MIDDLE, 4, FULL, "data"),
            "batches": Box("batches sampled\nby score", LEFT, 3, HALF, "data"),
            "target": Box("target $t$\nteacher's margin", RIGHT, 1, HALF, "value"),
        },
        (
            *STEPS,
            Step("triples", "teacher"),
            Step("teacher", "scored"),
            Step("scored", "batches"),
            Step("scored", "target", target=True),
        ),
    ),
    "self-distillation": (
        SHARED
        | {
            "batches": Box("batches in\nrandom order", LEFT, 3, HALF, "data"),
            "target": Box("target $t$\n$\\frac{1}{2}\\,(1 + \\phi(d^+,d^-))$", RIGHT, 1, HALF, "value"),
        },
        (*STEPS, Step("triples", "batches"), Step("encoder", "target", target=True, bent=True)),
    ),
}
HEIGHT = 0.62  # of a box, in rows
FILLS = {"data": 0.0, "model": 0.12, "value": 0.0, "loss": 0.0}
SQUARE, ROUND = "square,pad=0", "round,pad=0,rounding_size=0.05"
CORNERS = {"data": SQUARE, "model": ROUND, "value": SQUARE, "loss": ROUND}
OUTLINES = {"data": 1.0, "model": 2.0, "value": 0.0, "loss": 1.0}


def two_ways() -> Figure:
    """Where the target of a margin loss comes from, side by side.

    Returns:
        A figure of two axes, ``with a teacher`` and ``self-distillation``. Models are filled, data outlined, values bare; the ways
        of the targets are dashed. What both panels share stands at the same coordinates, so that what is missing is seen.
    """
    with plt.rc_context(STYLE):
        figure, row = plt.subplots(1, 2, figsize=(6.4, 5.4), layout="constrained")
        for axes, (title, (boxes, steps)) in zip(row, PANELS.items(), strict=True):
            axes.set(xlim=(0, 1), ylim=(-0.5, 6.5), title=title)
            axes.axis("off")
            for name, box in boxes.items():
                _draw_box(axes, name, box)
            for step in steps:
                _draw_step(axes, boxes[step.start], boxes[step.end], step)
    return figure


def _draw_box(axes: Axes, name: str, box: Box) -> None:
    corner = (box.x - box.width / 2, box.row - HEIGHT / 2)
    patch = FancyBboxPatch(
        corner,
        box.width,
        HEIGHT,
        boxstyle=CORNERS[box.kind],
        mutation_aspect=5,
        edgecolor=GREY,
        linewidth=OUTLINES[box.kind],
        facecolor=to_rgba(GREY, FILLS[box.kind]),
        gid=name,
    )
    axes.add_patch(patch)
    axes.text(box.x, box.row, box.text, ha="center", va="center", fontsize=10, gid=name)


def _draw_step(axes: Axes, start: Box, end: Box, step: Step) -> None:
    if step.bent:  # out at the side, then down
        tail, head, way = (start.x + start.width / 2, start.row), (end.x, end.row + HEIGHT / 2), "angle,angleA=0,angleB=90"
    else:  # straight down, at the centre of the narrower box
        x = min(start, end, key=lambda box: box.width).x
        tail, head, way = (x, start.row - HEIGHT / 2), (x, end.row + HEIGHT / 2), "arc3"
    axes.add_patch(
        FancyArrowPatch(
            tail,
            head,
            connectionstyle=way,
            arrowstyle="-|>",
            mutation_scale=13,
            shrinkA=0,
            shrinkB=0,
            color=GREY,
            linewidth=1.3,
            linestyle=TARGET_PATH if step.target else "-",
            gid=f"{step.start} to {step.end}",
        )
    )
