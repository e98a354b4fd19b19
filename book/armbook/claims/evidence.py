"""What the judges of measured claims read that no run store holds, and how they say that something is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from armbook.claims.verdicts import NOT_TRAINED
from armbook.sentences import listed_in_words
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
    """Raised by a judge when results that it needs are not there.

    Args:
        what: is missing, or, where a premise of the claim is absent, a sentence without its full stop.
        of: what it is missing of, such as an encoder; empty where that goes without saying.
        reason: one of `armbook.claims.verdicts.REASONS`.
    """

    def __init__(self, what: str, of: str = "", reason: str = NOT_TRAINED) -> None:
        super().__init__(what)
        self.parts: dict[str, list[str]] = {what: [of] if of else []}
        self.reason = reason

    def __str__(self) -> str:
        together: dict[tuple[str, ...], list[str]] = {}
        for what, of in self.parts.items():
            together.setdefault(tuple(of), []).append(what)
        return "; ".join(
            f"{listed_in_words(what)} ({listed_in_words(of)})" if of else listed_in_words(what) for of, what in together.items()
        )


def gather(get: Callable, wanted: Iterable) -> list:
    """What ``get`` gives for each of the wanted.

    Raises:
        Missing: one error that names everything missing; what several lack is named once.
    """
    found, missing = [], []
    for each in wanted:
        try:
            found.append(get(each))
        except Missing as lacking:
            missing.append(lacking)
    if missing:
        first, *others = missing
        for other in others:
            for what, of in other.parts.items():
                known = first.parts.setdefault(what, [])
                known += [one for one in of if one not in known]
        raise first
    return found
