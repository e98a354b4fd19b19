"""What the paper's own Tables 2, 3 and 4 say about every claim, as published.toml has it with the arithmetic that shows it."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources

from armbook.claims.verdicts import NOT_PRINTED, UNDECIDED, Verdict, claim, claims

SCOPE = "the paper's tables"


@cache
def entries() -> dict[str, dict]:
    """What published.toml has for each claim, by its id; the file says what its keys mean."""
    with (resources.files("armbook") / "claims" / "published.toml").open("rb") as source:
        return tomllib.load(source)


def judge_published(name: str) -> Verdict:
    """The verdict of the paper's tables on one claim.

    Raises:
        InputError: there is no claim of that id.
    """
    entry = entries()[claim(name).id]
    reason = NOT_PRINTED if entry["verdict"] == UNDECIDED else ""
    return Verdict(name, entry["verdict"], entry["evidence"], SCOPE, reason=reason)


def published_verdicts() -> list[Verdict]:
    """The verdicts of the paper's tables on all claims, in their order."""
    return [judge_published(each.id) for each in claims()]
