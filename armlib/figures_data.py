"""Figures of token lengths and of what padding wastes (section 4 of arXiv 2407.21515 cuts at 30 and 200 tokens)."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from armlib.figures import GREY, STYLE
from armlib.tables_data import TrainingData

HATCH = "////"  # what is cut off or padded, in both figures
BINS = 50
SHOWN = 99.5  # percent of the texts; the last bar holds the longer ones too


def token_lengths(data: TrainingData) -> Figure:
    """How long queries and passages are, with the maximum lengths marked.

    Returns:
        Two axes, queries and passages. Bars are the percentage of texts by tokens, special tokens included; the last one holds
        all longer texts. Bars of texts that are cut are hatched, the line stands at the last length that is not cut.
    """
    asked = data.profile.experiment
    with plt.rc_context(STYLE):
        figure, room = plt.subplots(1, 2, figsize=(7.5, 2.8), layout="constrained")
        for axes, name, store, limit in (
            (room[0], "queries", data.queries, asked.query_length),
            (room[1], "passages", data.passages, asked.passage_length),
        ):
            tokens = store.lengths
            edges = _edges(tokens, limit)
            counts, _ = np.histogram(np.minimum(tokens, edges[-1] - 1), edges)
            cut = edges[:-1] > limit
            axes.bar(
                edges[:-1], 100 * counts / len(tokens), np.diff(edges), align="edge", edgecolor=GREY, linewidth=0.6,
                facecolor=[(*plt.matplotlib.colors.to_rgb(GREY), 0.0 if beyond else 0.6) for beyond in cut],
                hatch=[HATCH if beyond else "" for beyond in cut],
            )  # fmt: skip
            axes.axvline(limit + 1, color=GREY, linestyle="--")
            share = 100 * float((tokens > limit).mean())
            axes.set(xlabel="tokens", title=f"{len(tokens):,} {name}: {share:.1f} % are cut at {limit}")
        room[0].set_ylabel("percent of texts")
    return figure


def padding(table: pd.DataFrame) -> Figure:
    """Tokens per triple by how they are padded, real tokens and padding told apart.

    Args:
        table: as `armlib.tables_data.padding` gives it.

    Returns:
        One axes for each pair of maximum lengths, with a horizontal bar a row: real tokens filled, padding hatched after them.
    """
    groups = list(table.groupby(level=0, sort=False))
    with plt.rc_context(STYLE):
        figure, room = plt.subplots(
            len(groups), 1, figsize=(7.5, 0.8 + 1.4 * len(groups)), layout="constrained", squeeze=False, sharex=True
        )
        for axes, (lengths, rows) in zip(room[:, 0], groups, strict=True):
            names = rows.index.get_level_values(1)
            axes.barh(names, rows.real, color=GREY, alpha=0.6, label="real tokens")
            axes.barh(names, rows.padding, left=rows.real, facecolor="none", edgecolor=GREY, hatch=HATCH, label="padding")
            axes.invert_yaxis()
            axes.set_title(f"maximum lengths: {lengths}", loc="left")
        room[-1, 0].set_xlabel("tokens per triple")
        figure.legend(*room[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _edges(tokens: np.ndarray, limit: int) -> np.ndarray:
    """Edges of bars of equal width, one of them right behind the limit, so that no bar holds both cut and whole texts."""
    last = max(float(np.percentile(tokens, SHOWN)), limit + 2)
    width = max(1, round((last - tokens.min()) / BINS))
    first = limit + 1 - width * int(np.ceil((limit + 1 - tokens.min()) / width))
    return np.arange(first, last + width, width)
