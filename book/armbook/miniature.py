"""What came with the repository at scale ``small``, MS MARCO in miniature, to stand beside what was trained on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from armbook.chapters import alone, every_round, first_round, wanted
from armbook.evidence import Evidence, of_profile
from armbook.sentences import capital
from armlib.experiments.experiment import Experiment
from armlib.experiments.profile import Profile, load_profile
from armlib.experiments.result import Result

NAME = "MS MARCO in miniature"
HERE = "this copy"
Shown = TypeVar("Shown")  # what a source has
ABOUT = (
    "MS MARCO in miniature: 33 thousand passages, the TREC-DL judgments among them, tiny encoders; measured beforehand "
    "and part of the repository."
)


def scale() -> Profile:
    """The profile whose results came with the repository."""
    return load_profile("small")


def is_of(profile: Profile) -> bool:
    """Whether a profile trains on the collection of the miniature, so that only its own results are shown."""
    return profile.experiment.collection == scale().experiment.collection


def results(*chapters: str, evidence: Evidence | None = None) -> list[Result]:
    """The results of chapters in miniature, of those encoders of which every training run of the chapter is there.

    Nothing is trained, and no collection is read. An encoder whose training runs are not all there is left out of the chapter, so
    that no mean is over fewer seeds than another, and no target is tuned on a part of the sweep.

    Args:
        chapters: names as in `armbook.chapters.CHAPTERS`.
        evidence: where they are; default: what came with the repository.

    Raises:
        InputError: there is no chapter of that name, or a shipped file is damaged.
    """
    profile = scale()
    evidence = evidence or of_profile(profile)
    found: dict[Experiment, Result] = {}
    for name in chapters:
        first_round(profile, [name])  # refuses a chapter that there is not
        for single in alone(profile, name):
            there = every_round(single, evidence.there, [name])[name]
            found |= there if there.keys() >= set(wanted(single, name, there)) else {}
    return list(found.values())


def sources(here: Iterable[Result], profile: Profile, *chapters: str) -> dict[str, list[Result]]:
    """What a chapter shows side by side, by its name: what came with the repository, then what was trained for this copy.

    Args:
        here: results of this copy.
        profile: their scale; where it trains on the collection of the miniature, only these are shown.
        chapters: as in `results`.

    Raises:
        InputError: as `results`.
    """
    shown = {HERE: list(here)}
    if is_of(profile):
        return shown
    shipped = results(*chapters)
    return {NAME: shipped, **shown} if shipped else shown


def each(shown: Mapping[str, Shown], make: Callable[[Shown], str]) -> str:
    """A text for every source, each after its name in bold."""
    return "\n\n".join(f"**{capital(name)}.** {make(found)}" for name, found in shown.items())
