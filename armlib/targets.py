"""What margins are compared with, as small objects that print as, and parse from, strings such as ``static(0.3)``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from armlib.errors import InputError, unknown

TARGET_FORMS = ("static(0.3)", "static(0.5, variance=1.0)", "adaptive", "distributed", "mean", "variance")


@dataclass(frozen=True)
class Static:
    """The same target for every triple (equation 1), with an optional penalty on the spread of the scaled similarities.

    Args:
        value: the target, a difference of two cosines, so within [-2, 2]; the paper searches 0 to 1.
        variance: weight, at least 0, of ``mean_i Var_j t_ij``, the term by which distributed targets differ from their
            mean; with 0 the loss is the paper's.

    Raises:
        InputError: a number is out of its range.
    """

    value: float
    variance: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", _number(self.value, "the value of a static target", -2, 2))
        object.__setattr__(self, "variance", _number(self.variance, "the variance of a static target", 0, math.inf))

    def __str__(self) -> str:
        return f"static({self.value}, variance={self.variance})" if self.variance else f"static({self.value})"


@dataclass(frozen=True)
class Adaptive:
    """The scaled similarity of the triple's own passages, t_ii (equation 2); in batch t_ij."""

    def __str__(self) -> str:
        return "adaptive"


@dataclass(frozen=True)
class Distributed:
    """The scaled similarities of the triple's positive to every negative of the batch, t_ij (equation 3)."""

    def __str__(self) -> str:
        return "distributed"


@dataclass(frozen=True)
class Mean:
    """The explicit mean of the distributed targets, mean_j t_ij: what the end of section 3 says does not work."""

    def __str__(self) -> str:
        return "mean"


@dataclass(frozen=True)
class Variance:
    """No target at all, only the penalty mean_i Var_j t_ij: what distributed targets add to their mean, by itself."""

    def __str__(self) -> str:
        return "variance"


Target = Static | Adaptive | Distributed | Mean | Variance


def parse_target(text: str | Target) -> Target:
    """The target that a string names; ``parse_target(str(target)) == target``.

    Args:
        text: one of the forms ``static(0.3)``, ``static(0.5, variance=1.0)``, ``adaptive``, ``distributed``, ``mean``,
            ``variance``, or a target object, which is returned as it is.

    Raises:
        InputError: the string names no target, or a number in it cannot be read or is out of range.
    """
    if isinstance(text, Target):
        return text
    if not isinstance(text, str):
        raise InputError(f"a target is a string or an object such as Static(0.3), not {text!r}")
    plain = {str(target): target for target in (Adaptive(), Distributed(), Mean(), Variance())}
    written = text.strip().lower()
    if written in plain:
        return plain[written]
    match = re.fullmatch(r"static\s*\(\s*([^,()]+?)\s*(?:,\s*variance\s*=\s*([^,()]+?)\s*)?,?\s*\)", written)
    if match is None:
        raise unknown("target", text, TARGET_FORMS)
    return Static(match[1], match[2] or 0.0)


def _number(value: object, name: str, low: float, high: float) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and low <= number <= high):
        allowed = f"of at least {low}" if high == math.inf else f"from {low} to {high}"
        raise InputError(f"{name} must be a number {allowed}, not {value!r}")
    return number
