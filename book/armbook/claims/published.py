"""Every claim judged by the paper's own Tables 2, 3 and 4.

A claim whose evidence is a figure is decided only where a table compares the same things by the same measure: there an exception
contradicts "every", while agreement in full ranking proves nothing about a figure's re-ranking.
Numbers are compared as they are printed; a ratio that the text gives in whole numbers is compared in whole numbers.
"""

from __future__ import annotations

from armbook.claims import published_ablations, published_comparisons
from armbook.claims.verdicts import Verdict, claim, claims, decided

JUDGES = published_ablations.JUDGES | published_comparisons.JUDGES
SCOPE = "the paper's tables"


def judge_published(name: str) -> Verdict:
    """The verdict of the paper's tables on one claim.

    Raises:
        InputError: there is no claim of that id.
    """
    outcome, evidence = JUDGES[claim(name).id]()
    return Verdict(name, decided(outcome), evidence, SCOPE)


def published_verdicts() -> list[Verdict]:
    """The verdicts of the paper's tables on all claims, in their order."""
    return [judge_published(each.id) for each in claims()]
