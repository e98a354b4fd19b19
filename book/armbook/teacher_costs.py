"""What distilled and other retrievers cost: their own training, what came before it, and the teacher's training and scoring."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from armbook.tuned_losses import Tuning
from armlib.experiments.result import Result


@dataclass(frozen=True)
class Cost:
    """Seconds of a system of Table 4, as means over seeds.

    Attributes:
        training: of optimiser steps, of the systems whose encoders it starts from included.
        teacher_training: of the teachers, each counted once; None where somebody else trained one, such as a model from a hub.
        scoring: of the training examples by the teachers; None where somebody else scored them, as in a file of scores.
        shared: what is known of both, shared among all students here that learn from the same.
        search: of optimiser steps of the training runs that its settings were chosen from.
    """

    training: float
    teacher_training: float | None
    scoring: float | None
    shared: float
    search: float

    @property
    def full(self) -> float:
        """What is known of one student for which alone the teachers are trained and asked."""
        return self.training + (self.teacher_training or 0.0) + (self.scoring or 0.0)

    @property
    def amortised(self) -> float:
        """What is known of one student among all that share the teachers."""
        return self.training + self.shared


def cost(name: str, tuning: Tuning) -> Cost:
    """The cost of a system of `armbook.tuned_losses.systems` whose training runs are among the results."""
    lines = [line_of(name, tuning, number) for number in range(len(tuning.profile.seeds))]
    students = _students(tuning.found.values())
    parts = [_once(part for result in line for part in _parts(result)) for line in lines]
    search = [result.about["seconds"]["training"] for result in tuning.searched(name)]
    return Cost(
        training=_mean(sum(result.about["seconds"]["training"] for result in line) for line in lines),
        teacher_training=_seconds([[part for part in each if part.training] for each in parts]),
        scoring=_seconds([[part for part in each if not part.training] for each in parts]),
        shared=_mean(sum((part.seconds or 0.0) / students[part.name] for part in each) for each in parts),
        search=sum(search) / len(tuning.profile.sweep_seeds),
    )


def line_of(name: str, tuning: Tuning, number: int) -> list[Result]:
    """The training run of a system with the seed of a number, after those whose encoders it goes on from, the first in front."""
    after = tuning.systems[name].after
    return [*(line_of(after, tuning, number) if after else []), tuning.results(name)[number]]


@dataclass(frozen=True)
class _Part:
    """A teacher's training, or its scoring of some examples; equal ones are done once."""

    name: str
    training: bool
    seconds: float | None


def _parts(result: Result) -> Iterator[_Part]:
    about = result.about.get("teacher")
    if about:
        single = {name: value for name, value in about.items() if name != "pairwise"}
        for one in (single, *([about["pairwise"]] if "pairwise" in about else [])):
            yield _Part(f"{one['name']} {one['fingerprint']}", True, one.get("training_seconds"))
            yield _Part(json.dumps(one, sort_keys=True), False, one["seconds"])


def _once(parts: Iterable[_Part]) -> list[_Part]:
    return list({part.name: part for part in parts}.values())


def _seconds(parts: Sequence[Sequence[_Part]]) -> float | None:
    """The sum of some parts, as a mean over seeds; None where the seconds of one are not known."""
    if any(part.seconds is None for each in parts for part in each):
        return None
    return _mean(sum(part.seconds or 0.0 for part in each) for each in parts)


def _students(results: Iterable[Result]) -> Mapping[str, int]:
    """How many training runs learn from each of the parts."""
    return Counter(part.name for result in {each.key: each for each in results}.values() for part in _parts(result))


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
