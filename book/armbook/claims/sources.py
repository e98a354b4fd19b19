"""What claims are judged by: the results that came with the repository, and those of this copy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from armbook import baselines, chapters, miniature
from armbook.claims.evidence import Example, Retriever
from armbook.evidence import Evidence
from armbook.tuned_losses import Found, Tuning
from armlib.experiments.profile import Profile, load_profile
from armlib.experiments.result import Result

TABLE_4 = ("baselines", "teachers")  # the chapters whose training runs are the rows of Table 4


@dataclass(frozen=True)
class Source:
    """Results of one scale.

    Attributes:
        profile: the scale.
        results: its training runs, perhaps none.
        examples: batches seen by trained encoders, for the claims of Table 2.
        retrievers: rows of Table 4, for the claims about teacher distillation.
    """

    profile: Profile
    results: Sequence[Result]
    examples: Sequence[Example] = ()
    retrievers: Sequence[Retriever] = ()


def in_miniature(evidence: Evidence | None = None) -> Source:
    """MS MARCO in miniature, as far as it came with the repository; it has no weights, and so no examples.

    Args:
        evidence: where it is; default: as `armbook.miniature.results` has it.

    Raises:
        InputError: a shipped file is damaged.
    """
    profile = load_profile("small")
    found = {name: miniature.results(name, evidence=evidence) for name in chapters.CHAPTERS}
    whole = list({each.key: each for some in found.values() for each in some}.values())
    rows: list[Retriever] = []
    if all(found[name] for name in TABLE_4):
        rows = rows_of_table4(profile, [each for name in TABLE_4 for each in found[name]])
    return Source(profile, whole, retrievers=rows)


def rows_of_table4(profile: Profile, results: Iterable[Result]) -> list[Retriever]:
    """The retrievers that Table 4 compares, of the results of `TABLE_4`.

    Raises:
        InputError: a training run is missing.
    """
    found: Found = {each.experiment: each for each in results}
    return baselines.retrievers(baselines.trained(Tuning(profile, found)))
