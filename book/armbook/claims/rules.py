"""The rules by which measured values are compared. Each has a margin of doubt, and within it nothing is decided.

A difference of two variants counts where all seeds agree on its direction and its confidence interval over queries leaves out
zero, or another cut that a claim names. A claim about every case needs that in every case, at 95 %; a single case contradicts
it at 95 % after Bonferroni correction for the number of cases.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from armbook.claims.evidence import Missing
from armbook.claims.verdicts import MARGIN, Outcome
from armbook.claims.wording import SIGNS, counted, row_of, sentences, targets
from armbook.learning_curves import learning_curve
from armlib.evaluation.equivalence import equivalence
from armlib.experiments.result import Result

ENOUGH = 8  # the fewest validations that show when training was best
ALPHA = 0.05  # of confidence intervals, two-sided
RESAMPLES = 2000


@dataclass(frozen=True)
class Case:
    """Two variants by one measure.

    Attributes:
        name: what is compared.
        sides: what the two are called.
        first, second: their values, one a seed.
        queries: of each query the first less the second, as means over seeds; none of what no query has, such as triples.
        form: how a value is written.
    """

    name: str
    sides: tuple[str, str]
    first: Sequence[float]
    second: Sequence[float]
    queries: np.ndarray = field(default_factory=lambda: np.empty(0))
    form: str = ".3f"

    @property
    def difference(self) -> float:
        """The mean of the first less that of the second."""
        return mean(self.first) - mean(self.second)

    def bounds(self, alpha: float = ALPHA) -> tuple[float, float]:
        """The confidence interval of the difference over queries; the difference alone where it has none."""
        if len(self.queries) < 2:
            return self.difference, self.difference
        test = equivalence(self.queries, np.zeros(len(self.queries)), MARGIN, alpha / 2)
        return test.low, test.high

    def above(self, cut: float = 0.0, tests: int = 1) -> bool | None:
        """Whether the first is higher than the second by more than a cut; None within the margin of doubt.

        Args:
            cut: in units of the measure; below 0 it asks whether the first is at most so far behind.
            tests: how many cases could contradict the claim; that this one does is corrected for them.
        """
        if min(self.first) - max(self.second) > cut and self.bounds()[0] > cut:
            return True
        if max(self.first) - min(self.second) < cut and self.bounds(ALPHA / tests)[1] < cut:
            return False
        return None

    def alike(self) -> bool:
        """Whether the two are equivalent within the paper's margin, by its paired test."""
        return bool(equivalence(self.queries, np.zeros(len(self.queries)), MARGIN).equivalent)

    def line(self, outcome: bool | None) -> str:
        """The case with its values and the 95 % interval of their difference, after a sign for what it says about the claim."""
        values = (format(mean(side), self.form) for side in (self.first, self.second))
        low, high = self.bounds()
        interval = f"; difference {low:+.3f} to {high:+.3f}" if len(self.queries) else ""
        return f"{SIGNS[outcome]} {self.name}: {row_of(self.sides, values)}{interval}"


def leads(cases: Sequence[Case], subject: str, more: str, less: str, cut: float = 0.0) -> Outcome:
    """Whether the first of every case is higher than the second by more than a cut.

    Args:
        cases: at least one.
        subject, more, less: a sentence about them, such as "Static targets", "have the higher nDCG@10" and "the lower one".
        cut: as for `Case.above`.
    """
    outcomes = [case.above(cut, len(cases)) for case in cases]
    text = tally(outcomes, subject, more, less)
    return Outcome(every(outcomes), sentences(text), lines(cases, outcomes))


def lines(cases: Iterable[Case], outcomes: Iterable[bool | None]) -> tuple[str, ...]:
    """Cases with their values and what each says about the claim."""
    return tuple(case.line(outcome) for case, outcome in zip(cases, outcomes, strict=True))


def tally(outcomes: Sequence[bool | None], subject: str, more: str, less: str, of: str = "comparison") -> str:
    """A sentence on how many of some things, by default comparisons, say what."""
    good, bad = outcomes.count(True), outcomes.count(False)
    close = len(outcomes) - good - bad
    text = f"{subject} {more} in {good} of {counted(len(outcomes), of)}"
    text += f" and {less} in {bad}" if bad else ""
    return text + (f"; {close} {'is' if close == 1 else 'are'} too close to call" if close else "")


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """A 95 % interval of the mean by bootstrap: percentiles of the means of resampled values.

    The same values give the same interval.
    """
    drawn = np.random.default_rng(0).choice(values, (RESAMPLES, len(values)))
    low, high = np.quantile(drawn.mean(axis=1), [ALPHA / 2, 1 - ALPHA / 2])
    return float(low), float(high)


def beyond(low: float, high: float, cut: float) -> bool | None:
    """Whether a quantity reaches a cut: true or false where the whole interval does or does not, else neither."""
    return True if low >= cut else False if high < cut else None


def seed_curves(results: Sequence[Result]) -> pd.DataFrame:
    """Validation nDCG@10 by triples seen, a column a seed, at the validations that all have.

    Raises:
        Missing: there are too few validations to see how training goes.
    """
    curve = learning_curve(results)
    if len(curve) < ENOUGH:
        one = results[0].experiment
        which = f"{targets(one.target, one.in_batch)} in batches of {one.batch_size}"
        raise Missing(f"{ENOUGH} validations of {which} ({len(curve)} there)", one.encoder)
    return curve


@dataclass(frozen=True)
class Peaks:
    """When validation was best.

    Attributes:
        at: triples seen then, one a seed.
        last: triples at the last validation; the true best of a seed that was best there may come later.
    """

    at: tuple[int, ...]
    last: int

    @property
    def rising(self) -> bool:
        """Whether a seed was best at the last validation."""
        return self.last in self.at

    def __str__(self) -> str:
        low, high = min(self.at), max(self.at)
        return f"{low:,}" + (f" to {high:,}" if high > low else "") + (" (still rising)" if self.rising else "")


def peaks(results: Sequence[Result]) -> Peaks:
    """When validation was best; errors as of `seed_curves`."""
    curve = seed_curves(results)
    return Peaks(tuple(int(curve[seed].idxmax()) for seed in curve), int(curve.index[-1]))


def sooner(first: Peaks, second: Peaks) -> bool | None:
    """Whether every seed of the first is best before every seed of the second; None where seeds disagree or were still rising."""
    if not first.rising and max(first.at) < min(second.at):
        return True
    if not second.rising and max(second.at) < min(first.at):
        return False
    return None


def every(outcomes: Iterable[bool | None]) -> bool | None:
    """False if one of the outcomes is, else neither if one of them is, else true."""
    given = list(outcomes)
    return False if False in given else None if None in given else True


def mean(values: Iterable[float]) -> float:
    """The arithmetic mean."""
    given = list(values)
    return sum(given) / len(given)
