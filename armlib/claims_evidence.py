"""What the judges of measured claims read: finished experiments, and what a run store cannot hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from armlib.evaluation import Evaluation
from armlib.experiments import Experiment
from armlib.sweeps import ADAPTIVE, DISTRIBUTED

SEEDS = 2  # the fewest that a comparison may rest on
STATIC, MEAN = "static", "mean"
VARIANTS = ((STATIC, False), (STATIC, True), (ADAPTIVE, False), (ADAPTIVE, True), (DISTRIBUTED, False))


class Measured(Protocol):
    """What a judge reads of a finished experiment; `armlib.store.Result` is one.

    Attributes:
        key: the experiment's key.
        experiment: what was run.
        about: ``seconds`` with ``training``, ``triples`` seen, ``available_triples``, ``kept_step``, ``stopped_early``.
        trace: one row a step; ``similarity_mean``, ``similarity_minimum``, ``similarity_maximum`` of D+ x D-.
        validations: one row a validation; ``step`` and ``nDCG@10``.
        measures: one row for each ``collection``, ``mode`` and ``measure``, with its mean ``value``.
    """

    key: str
    experiment: Experiment
    about: dict
    trace: pd.DataFrame
    validations: pd.DataFrame
    measures: pd.DataFrame

    def value(self, collection: str, mode: str, measure: str) -> float:
        """One mean value."""

    def per_query(self, collection: str, mode: str) -> Evaluation:
        """The measures of every query."""


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
class Teacher:
    """A retriever trained by teacher distillation elsewhere, measured here from its run files.

    Attributes:
        name: what to call it.
        triples: that its training saw.
        evaluations: of full ranking, by collection name.
    """

    name: str
    triples: int
    evaluations: dict[str, Evaluation]


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


def variant_name(target: str, in_batch: bool) -> str:
    """A variant in words."""
    return f"{target}, in-batch" if in_batch else target


def named(encoder: str, target: str, in_batch: bool) -> str:
    """A variant and its encoder in words."""
    return f"{variant_name(target, in_batch)} with {encoder}"
