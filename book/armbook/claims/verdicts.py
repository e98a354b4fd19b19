"""Claims of the paper, and what a judge can say about one."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import NamedTuple

from armlib.errors import unknown

MARGIN = 0.05  # the paper's own: differences below it count as none in its tests of equivalence (section 5.4)
HOLDS, DOES_NOT_HOLD, UNDECIDED = "holds", "does not hold", "undecided"
NOT_PRINTED, NOT_TRAINED, NOT_MEASURED = "in no table", "not trained", "not measured"
NO_PREMISE, TOO_CLOSE = "premise absent", "too close to call"
REASONS = (NOT_PRINTED, NOT_TRAINED, NOT_MEASURED, NO_PREMISE, TOO_CLOSE)
"""Why a claim can be undecided."""


class Outcome(NamedTuple):
    """What a judge found.

    Attributes:
        holds: whether the claim does; None where the results cannot tell.
        text: the figures that decide, in sentences.
        cases: what was compared one by one, each a line; perhaps none.
    """

    holds: bool | None
    text: str
    cases: tuple[str, ...] = ()


Judge = Callable[..., Outcome]
Judges = dict[str, Judge]
COMPARED: dict[str, str] = {}
"""What the judge of each claim compares, in words."""


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
        verdict: ``holds``, ``does not hold`` or ``undecided``.
        evidence: the figures that decide it, in sentences; where nothing decides it, what is missing.
        scope: where the verdict holds: the paper's tables, or a profile with its collection, training and seeds.
        keys: of the experiments that it rests on; none for published tables.
        cases: the comparisons one by one, each a line.
        reason: one of `REASONS` where the claim is undecided, else empty.
    """

    claim: str
    verdict: str
    evidence: str
    scope: str
    keys: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()
    reason: str = ""


@cache
def claims() -> tuple[Claim, ...]:
    """The claims that the paper's tables are about, in the order of its sections, and then those that we add."""
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


def judges(registry: Judges, name: str, compares: str) -> Callable[[Judge], Judge]:
    """Enter the function that follows into a registry as the judge of a claim.

    Args:
        registry: of judges that take the same results.
        name: the claim's id.
        compares: what the judge compares, to follow "This would compare".
    """

    def enter(function: Judge) -> Judge:
        registry[claim(name).id] = function
        COMPARED[name] = compares
        return function

    return enter
