"""Figures of the book: one style, one colour a variant, one marker an encoder, one function a figure."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import seaborn
from matplotlib.figure import Figure

from armlib.store import Result
from armlib.training import MEASURE

# The colour-blind palette, in an order whose brightness differs, so that variants stay apart in grey.
_PALETTE = seaborn.color_palette("colorblind")
COLOURS = {
    "static": _PALETTE[0], "static, in-batch": _PALETTE[9], "adaptive": _PALETTE[1], "adaptive, in-batch": _PALETTE[3],
    "distributed": _PALETTE[2], "mean": _PALETTE[4], "variance": _PALETTE[7],
}  # fmt: skip
MARKERS = {"distilbert": "o", "roberta": "s", "mpnet": "^"}
GREY = "#808080"  # readable on a white page and on a dark one
STYLE = {
    "figure.dpi": 110, "savefig.transparent": True, "figure.facecolor": "none", "axes.facecolor": "none",
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": GREY, "axes.labelcolor": GREY,
    "axes.titlecolor": GREY, "axes.titlesize": "medium", "text.color": GREY, "xtick.color": GREY, "ytick.color": GREY,
    "legend.frameon": False, "svg.hashsalt": "armlib", "svg.fonttype": "none",
}  # fmt: skip


def colour(variant: str) -> tuple[float, float, float]:
    """The colour of a variant in every figure, whatever its static value, such as ``static(0.3), in-batch``."""
    kind = variant.split("(")[0].split(",")[0]
    return COLOURS[f"{kind}, in-batch" if "in-batch" in variant and kind != "distributed" else kind]


def marker(encoder: str) -> str:
    """The marker of an encoder in every figure."""
    return next((shape for name, shape in MARKERS.items() if name in encoder.lower()), "D")


def learning(results: Sequence[Result]) -> Figure:
    """How trainings went: validation nDCG@10 on the left, the mean of D+ x D- with its range on the right.

    Args:
        results: one training each; several seeds of a variant share its colour, the first one's range is drawn.
    """
    with plt.rc_context(STYLE):
        figure, (scores, targets) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
        named: set[str] = set()
        for result in results:
            experiment, shade = result.experiment, colour(result.experiment.variant())
            label = None if experiment.variant() in named else experiment.variant()
            triples = result.validations.step * experiment.batch_size
            scores.plot(triples, result.validations[MEASURE], color=shade, marker=marker(experiment.encoder), label=label)
            smooth = result.trace.rolling(32, min_periods=1).mean()
            dashes = (0, (4, 2)) if experiment.target == "adaptive" else "solid"  # it runs along distributed's line
            targets.plot(result.trace.triples, smooth.similarity_mean, color=shade, linestyle=dashes)
            if label:
                lowest, highest = smooth.similarity_minimum, smooth.similarity_maximum
                targets.fill_between(result.trace.triples, lowest, highest, color=shade, alpha=0.15, linewidth=0)
            named.add(experiment.variant())
        scores.set(xlabel="triples seen", ylabel=f"validation {MEASURE}", title="effectiveness")
        targets.set(xlabel="triples seen", ylabel="cosine similarity", title="positives against negatives: mean and range")
        figure.legend(loc="outside lower center", ncols=len(named))
    return figure


def save(figure: Figure, name: str) -> list[Path]:
    """Export a figure as SVG and PDF into ``$ARMLIB_FIGURES``, by default ``figures/generated``.

    The same data give the same bytes.
    """
    folder = Path(os.environ.get("ARMLIB_FIGURES", "figures/generated"))
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    with plt.rc_context(STYLE):
        for kind, stamp in (("svg", {"Date": None}), ("pdf", {"CreationDate": None})):
            made.append(folder / f"{name}.{kind}")
            figure.savefig(made[-1], metadata=stamp)
    return made
