"""The rows of Table 4 by where they come from: MS MARCO in miniature, measured beforehand, and this copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from armbook import baselines, collection_record, miniature
from armbook.baselines import Baseline
from armbook.claims.evidence import Retriever
from armbook.evidence import of_profile
from armbook.tuned_losses import Tuning
from armlib.errors import unknown
from armlib.evaluation.equivalence import Equivalence, equivalence
from armlib.experiments.profile import Profile
from armlib.training.settings import MEASURE


@dataclass(frozen=True)
class Source:
    """Table 4 as it was measured once.

    Attributes:
        tuning: the training runs, by what they chose.
        rows: trained and other rows, in the order of their groups.
        collections: names of the evaluation collections, in order.
    """

    tuning: Tuning
    rows: list[Baseline]
    collections: list[str]

    @property
    def trained(self) -> list[Baseline]:
        """The rows that were trained; an encoder before training is none of them."""
        return [row for row in self.rows if row.cost is not None]

    @property
    def largest(self) -> str:
        """The collection with the most judged queries, where differences are told best."""
        return max(self.collections, key=lambda name: len(self.trained[0].mean(name).per_query))

    def row(self, loss: str) -> Baseline:
        """The row of a name.

        Raises:
            InputError: there is none.
        """
        named = {row.loss: row for row in self.rows}
        if loss not in named:
            raise unknown("row of Table 4", loss, named)
        return named[loss]

    def best(self, rows: Sequence[Baseline], collection: str = "") -> Baseline:
        """The one of some rows with the highest nDCG@10 on a collection, by default the largest."""
        return max(rows, key=lambda row: row.mean(collection or self.largest).mean[MEASURE])


def paired(one: Baseline, other: Baseline, collection: str, measure: str = MEASURE) -> Equivalence:
    """The test of one row less another on a collection's queries, not corrected."""
    return equivalence(one.mean(collection).scores(measure), other.mean(collection).scores(measure))


def here(tuning: Tuning, elsewhere: Sequence[Retriever] = ()) -> Source:
    """What was trained for this copy, with BM25 and the teacher.

    Args:
        tuning: with the results of all rounds of the chapters on baselines and teachers.
        elsewhere: distilled retrievers that were measured from run files.

    Raises:
        InputError: a training run is missing, or the evaluation collections are not at hand.
    """
    names = list(tuning.profile.experiment.evaluation_names())
    rows = baselines.trained(tuning) + baselines.the_teacher(tuning, names) + baselines.bm25(names)
    return _source(tuning, rows + baselines.distilled_elsewhere(elsewhere), names)


def in_miniature() -> Source | None:
    """What came with the repository; None where not all of it is there."""
    profile = miniature.scale()
    one = replace(profile, encoders=profile.encoders[:1])
    evidence, record = of_profile(one), collection_record.shipped(profile)
    parts = [miniature.results(name, evidence=evidence) for name in ("baselines", "teachers")]
    if record is None or not all(parts):
        return None
    tuning = Tuning(one, {result.experiment: result for part in parts for result in part})
    return _source(tuning, baselines.trained(tuning) + record.rankings, list(profile.experiment.evaluation_names()))


def sources(own: Source, profile: Profile) -> dict[str, Source]:
    """By its name, what came with the repository, then this copy's; the latter alone where it is of the same collection."""
    there = None if miniature.is_of(profile) else in_miniature()
    return {**({miniature.NAME: there} if there else {}), miniature.HERE: own}


def _source(tuning: Tuning, rows: Sequence[Baseline], collections: list[str]) -> Source:
    return Source(tuning, sorted(rows, key=lambda row: baselines.GROUPS.index(row.group)), collections)
