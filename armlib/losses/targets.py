"""What margins are compared with, as small objects that print as, and parse from, strings such as ``static(0.3)``.

A new target is one class here: what it computes, and what it goes together with.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from armlib.losses.cosines import READINGS, adaptive_targets, distributed_targets, mean_targets, target_variance
from armlib.parsing import number, parse_call, written

Error = Callable[[Tensor, Tensor], Tensor]
TARGETS: dict[str, type[Target]] = {}


class Target(ABC):
    """The targets of a batch of triples.

    Attributes:
        name: what it is called in strings.
        goes_in_batch: whether it can be compared with the margins of in-batch negatives.
        readings: of `armlib.losses.cosines.READINGS`, those in which it is defined.
        learned: whether it depends on the embeddings, so that stopping its gradient changes the loss and leaves one.
    """

    name: ClassVar[str]
    goes_in_batch: ClassVar[bool] = False
    readings: ClassVar[tuple[str, ...]] = ("paper",)
    learned: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        TARGETS[cls.name] = cls

    @abstractmethod
    def of_batch(
        self, margins: Float[Tensor, " B *negatives"], positives: Float[Tensor, "B D"], negatives: Float[Tensor, "B D"]
    ) -> Float[Tensor, " B *targets"]:
        """The targets.

        Args:
            margins: what they will be compared with: (B,), or (B, B) with in-batch negatives.
            positives, negatives: embeddings of any length.

        Returns:
            (B,), one target for each triple; or (B, B), positive i along rows and negative j along columns.
        """

    def loss(self, error: Error, margins: Tensor, targets: Tensor) -> Float[Tensor, ""]:
        """The loss of margins against the targets: by default their mean error."""
        return error(margins, targets).mean()

    def penalty(self, positives: Float[Tensor, "B D"], negatives: Float[Tensor, "B D"]) -> Float[Tensor, ""] | None:
        """What is added to that loss; None by default."""
        return None

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Static(Target):
    """The same target for every triple (equation 1), with an optional penalty on the spread of the scaled similarities.

    Args:
        value: the target, a difference of two cosines, so within [-2, 2]; the paper searches 0 to 1.
        variance: weight, at least 0, of ``mean_i Var_j t_ij``, the term by which distributed targets differ from their
            mean; with 0 the loss is the paper's.

    Raises:
        InputError: a number is out of its range.
    """

    name = "static"
    goes_in_batch = True
    learned = False
    value: float
    variance: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", number(self.value, "the value of a static target", -2, 2))
        object.__setattr__(self, "variance", number(self.variance, "the variance of a static target", 0, math.inf))

    @property
    def readings(self) -> tuple[str, ...]:  # type: ignore[override]
        """Of `armlib.losses.cosines.READINGS`, those in which it is defined: with a penalty, the paper's alone."""
        return ("paper",) if self.variance else READINGS

    def of_batch(self, margins: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        return torch.full_like(margins, self.value, requires_grad=False)

    def penalty(self, positives: Tensor, negatives: Tensor) -> Tensor | None:
        return self.variance * target_variance(positives, negatives) if self.variance else None

    def __str__(self) -> str:
        return written(self.name, self.value, variance=(self.variance, 0.0))


@dataclass(frozen=True)
class Adaptive(Target):
    """The scaled similarity of the triple's own passages, t_ii (equation 2); in batch t_ij."""

    name = "adaptive"
    goes_in_batch = True
    readings = READINGS

    def of_batch(self, margins: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        return (distributed_targets if margins.dim() == 2 else adaptive_targets)(positives, negatives)


@dataclass(frozen=True)
class Distributed(Target):
    """The scaled similarities of the triple's positive to every negative of the batch, t_ij (equation 3)."""

    name = "distributed"
    readings = READINGS

    def of_batch(self, margins: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        return distributed_targets(positives, negatives)


@dataclass(frozen=True)
class Mean(Target):
    """The explicit mean of the distributed targets, mean_j t_ij: what the end of section 3 says does not work."""

    name = "mean"

    def of_batch(self, margins: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        return mean_targets(positives, negatives)


@dataclass(frozen=True)
class Variance(Target):
    """No target at all, only the penalty mean_i Var_j t_ij: what distributed targets add to their mean, by itself."""

    name = "variance"
    learned = False  # nothing would be left of it

    def of_batch(self, margins: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        return distributed_targets(positives, negatives)

    def loss(self, error: Error, margins: Tensor, targets: Tensor) -> Tensor:
        return targets.var(dim=1, correction=0).mean()


def parse_target(text: str | Target) -> Target:
    """The target that a string names; ``parse_target(str(target)) == target``.

    Args:
        text: such as ``static(0.3)``, ``static(0.5, variance=1.0)``, ``adaptive``, ``distributed``, ``mean`` or
            ``variance``; a target is returned as it is.

    Raises:
        InputError: the string names no target, or a number in it cannot be read or is out of range.
    """
    return text if isinstance(text, Target) else parse_call(text, "target", TARGETS)
