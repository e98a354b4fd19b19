"""What the judges of measured claims read that no run store holds, and how they say that something is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from armlib.evaluation.measures import Evaluation


@dataclass(frozen=True)
class Example:
    """A batch as a fine-tuned encoder sees it, as in Table 2.

    Attributes:
        key: of the experiment that the encoder comes from.
        relevance: cosine of query i and negative j, (B, B).
        targets: t_ij, the scaled similarity of positive i and negative j, (B, B).
        losses: squared error of query i and negative j, (B, B).
    """

    key: str
    relevance: np.ndarray
    targets: np.ndarray
    losses: np.ndarray


@dataclass(frozen=True)
class Retriever:
    """A row of Table 4 that was measured here.

    Attributes:
        name: what to call it.
        triples: that its training saw.
        evaluations: of full ranking, by collection name.
        distilled: whether a teacher was distilled into it, in one of the ways that Table 4 compares with.
        seconds: of one training run and of all that came before it, the teacher's training and scoring included; None of a
            retriever that was trained elsewhere.
        stopped: whether validation decided when its training stopped, so that its triples say how many it needed.
        keys: of the experiments behind it; none where it was measured from run files.
    """

    name: str
    triples: int
    evaluations: dict[str, Evaluation]
    distilled: bool = True
    seconds: float | None = None
    stopped: bool = True
    keys: tuple[str, ...] = ()


class Missing(Exception):
    """Raised by a judge when results that it needs are not there; the message names them."""


def gather(get: Callable, wanted: Iterable) -> list:
    """What ``get`` gives for each of the wanted.

    Raises:
        Missing: one error that names everything missing (five at most, and how many more).
    """
    found, missing = [], []
    for each in wanted:
        try:
            found.append(get(each))
        except Missing as lacking:
            missing.append(str(lacking))
    if missing:
        rest = f"; and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise Missing("; ".join(missing[:5]) + rest)
    return found
