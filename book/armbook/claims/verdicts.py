"""Claims of the paper, and what a judge can say about one."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources

from armlib.errors import unknown

MARGIN = 0.05  # the paper's own: differences below it count as none in its tests of equivalence (section 5.4)
HOLDS, DOES_NOT_HOLD, UNDECIDED = "holds", "does not hold", "cannot be decided here"
Outcome = tuple[bool | None, str]  # whether the claim holds, None where that cannot be decided, and the evidence in a sentence
Judges = dict[str, Callable[..., Outcome]]


@dataclass(frozen=True)
class Claim:
    """A statement of the paper's text that numbers can support or contradict.

    Attributes:
        id: a short name.
        section: of the paper.
        claim: the statement, in our words.
        evidence: where the paper says its evidence is.
    """

    id: str
    section: str
    claim: str
    evidence: str


@dataclass(frozen=True)
class Verdict:
    """What one kind of evidence says about a claim.

    Attributes:
        claim: the claim's id.
        verdict: ``holds``, ``does not hold`` or ``cannot be decided here``.
        evidence: the figures that decide it, in a sentence; where nothing decides it, what is missing.
        scope: where the verdict holds: the paper's tables, or a profile with its collection, training and seeds.
        keys: of the experiments that it rests on; none for published tables.
    """

    claim: str
    verdict: str
    evidence: str
    scope: str
    keys: tuple[str, ...] = ()


@cache
def claims() -> tuple[Claim, ...]:
    """The claims that the paper's tables are about, in the order of its sections, and then those that only training can judge."""
    folder = resources.files("armbook") / "claims"
    rows: list[Claim] = []
    for name in ("claims.csv", "further.csv"):
        with (folder / name).open(encoding="utf8", newline="") as source:
            rows += [Claim(**row) for row in csv.DictReader(source)]
    return tuple(rows)


def claim(name: str) -> Claim:
    """One claim by its id.

    Raises:
        InputError: there is none of that id.
    """
    found = {each.id: each for each in claims()}
    if name not in found:
        raise unknown("claim", name, found)
    return found[name]


def decided(outcome: bool | None) -> str:
    """The word for a judge's outcome: true, false or neither."""
    return UNDECIDED if outcome is None else HOLDS if outcome else DOES_NOT_HOLD


def judges(registry: Judges, name: str) -> Callable[[Callable[..., Outcome]], Callable[..., Outcome]]:
    """Enter the function that follows into a registry as the judge of a claim."""

    def enter(function: Callable[..., Outcome]) -> Callable[..., Outcome]:
        registry[claim(name).id] = function
        return function

    return enter
