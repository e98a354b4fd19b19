"""Results that may be compared, and how: what the judges of measured claims are built from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields, replace

import pandas as pd

from armbook.claims.evidence import Example, Missing, Retriever, gather
from armbook.claims.rules import Case
from armbook.claims.verdicts import NOT_MEASURED
from armbook.claims.wording import measure_in_words, said, targets, with_trec
from armbook.results import RECALL, SEEDS, STATIC, best_static, hits_measure, in_full, is_static, of_sweep, over_seeds
from armlib.evaluation.evaluate import FULL_RANKING
from armlib.evaluation.measures import Evaluation
from armlib.experiments.experiment import Experiment
from armlib.experiments.profile import Profile
from armlib.experiments.result import Result
from armlib.losses import Static, parse_target
from armlib.training.settings import MEASURE

SWEEP = 3  # the fewest static targets, 1 among them, that may be called a sweep
_VARIED = ("encoder", "target", "in_batch", "seed")
_ANY_BATCH_SIZE = (*_VARIED, "batch_size", "steps", "validate_every")
# In these a group may differ from the profile, as long as its results are equal in them: they change what is seen, not the loss.
_FREE = (
    "steps",
    "validation",
    "validation_queries",
    "validation_depth",
    "validate_every",
    "patience",
    "selection",
    "evaluation",
    "full_ranking",
    "index",
    "optimizer",
    "chunk_size",
    "chunk_tokens",
)


class Group:
    """Results that differ in encoder, target, in-batch negatives and seed alone, and so may be compared.

    Args:
        results: trained on one collection with equal settings.
        profile: whose encoders a claim about "every encoder" is judged on.
        examples, retrievers: what is not in a run store, for the claims that need it.

    Attributes:
        used: keys of the results that were looked at, in order.
    """

    def __init__(
        self, results: Sequence[Result], profile: Profile, examples: Sequence[Example] = (), retrievers: Sequence[Retriever] = ()
    ) -> None:
        self.results, self.encoders = list(results), profile.encoders
        self.examples, self.retrievers = list(examples), list(retrievers)
        self.used: dict[str, None] = {}
        self._collections: list[str] = []
        self._evaluations: dict[tuple[str, ...], Evaluation] = {}

    @property
    def shares_word_vectors(self) -> bool:
        """Whether all encoders start from the same word vectors, so that they are no choice of pre-trained encoders."""
        return all(encoder.startswith("lsa/") for encoder in self.encoders)

    def over_seeds(self, results: Sequence[Result], collection: str, mode: str) -> Evaluation:
        """As `armbook.results.over_seeds`, computed once."""
        asked = (collection, mode, *(result.key for result in results))
        if asked not in self._evaluations:
            self._evaluations[asked] = over_seeds(results, collection, mode)
        return self._evaluations[asked]

    def seeds(self, encoder: str, target: str, in_batch: bool = False) -> list[Result]:
        """Results of one loss by seed, perhaps none."""
        return self._by_seed(in_full(self._of_loss(self.results, encoder, target, in_batch)))

    def _of_loss(self, results: Sequence[Result], encoder: str, target: str, in_batch: bool) -> list[Result]:
        wanted = (encoder, target, in_batch)
        return [r for r in results if (r.experiment.encoder, r.experiment.target, r.experiment.in_batch) == wanted]

    def _by_seed(self, results: Sequence[Result]) -> list[Result]:
        found = {result.experiment.seed: result for result in results}
        self.used |= {found[seed].key: None for seed in sorted(found)}
        return [found[seed] for seed in sorted(found)]

    def sweep(self, encoder: str, in_batch: bool, seeds: int = SEEDS) -> dict[float, list[Result]]:
        """Results by static target, of those targets that have ``seeds`` seeds at least.

        Raises:
            Missing: there are too few targets for a sweep, or target 1 is not among them.
        """
        swept = [result for result in of_sweep(filter(is_static, self.results)) if result.experiment.encoder == encoder]
        values = sorted({parse_target(result.experiment.target).value for result in swept})
        found = {value: self._by_seed(self._of_loss(swept, encoder, str(Static(value)), in_batch)) for value in values}
        found = {value: results for value, results in found.items() if len(results) >= seeds}
        if len(found) < SWEEP or 1.0 not in found:
            each = "a seed" if seeds == 1 else f"{seeds} seeds"
            raise Missing(f"{each} of every target in the sweep of {targets(STATIC, in_batch)}", encoder)
        return found

    def tuned(self, encoder: str, in_batch: bool) -> list[Result]:
        """Results of the static target that is best by `armbook.results.best_static`; the others of the sweep may have one seed.

        Raises:
            Missing: as `sweep`, or the best target has fewer seeds than a comparison needs.
        """
        return self.variant(encoder, str(Static(best_static(self.sweep(encoder, in_batch, seeds=1)))), in_batch)

    def variant(self, encoder: str, target: str, in_batch: bool = False) -> list[Result]:
        """Results of a variant, of the tuned static target for ``static``.

        Raises:
            Missing: there are fewer seeds than a comparison needs.
        """
        if target == STATIC:
            return self.tuned(encoder, in_batch)
        results = self.seeds(encoder, target, in_batch)
        if len(results) < SEEDS:
            raise Missing(f"{SEEDS} seeds of {targets(target, in_batch)}", encoder)
        return results

    def table(self, *variants: tuple[str, bool]) -> dict[tuple[str, str, bool], list[Result]]:
        """Results of variants by (encoder, target, in-batch), for every encoder of the profile.

        Raises:
            Missing: names all that is not there.
        """
        wanted = [(encoder, *variant) for encoder in self.encoders for variant in variants]
        return dict(zip(wanted, gather(lambda each: self.variant(*each), wanted), strict=True))

    def collections(self) -> list[str]:
        """Names of the collections that every result was measured on, in order; of several those of `with_trec`.

        Raises:
            Missing: there are no results, or no collection is common to all.
        """
        if self._collections:
            return self._collections
        sets = [list(dict.fromkeys(result.measures.collection)) for result in self.results]
        common = [name for name in sets[0] if all(name in each for each in sets)] if sets else []
        if not common:
            raise Missing("training runs that were measured on a common collection")
        self._collections = with_trec(common)
        return self._collections


class Scorer:
    """Reads one measure of one collection and mode.

    Args:
        group: whose results it reads.
        collection, mode: as `armlib.evaluation.evaluate` writes them.
        pattern: a regular expression for the measure's whole name, since recall's carries a grade.

    Raises:
        Missing: no result has the measure.
    """

    def __init__(self, group: Group, collection: str, mode: str, pattern: str) -> None:
        names = (name for result in group.results for name in _measures(result, collection, mode) if re.fullmatch(pattern, name))
        found = next(names, None)
        if found is None:
            wanted = pattern.replace("\\", "").replace("((rel=d+))?", "")
            raise Missing(measure_in_words(collection, mode, wanted), reason=NOT_MEASURED)
        self.group, self.collection, self.mode, self.measure = group, collection, mode, found

    def __call__(self, results: Sequence[Result]) -> list[float]:
        """The values of results, seed by seed.

        Raises:
            Missing: one of them was not measured so, as training runs of a sweep may not be.
        """
        for result in results:
            if self.measure not in _measures(result, self.collection, self.mode):
                each = result.experiment
                raise Missing(f"{self} of {targets(each.target, each.in_batch)}", each.encoder, NOT_MEASURED)
        return [result.value(self.collection, self.mode, self.measure) for result in results]

    def queries(self, results: Sequence[Result]) -> pd.Series:
        """The values of every query, as means over seeds."""
        return self.group.over_seeds(results, self.collection, self.mode).scores(self.measure)

    def case(self, name: str, sides: tuple[str, str], first: Sequence[Result], second: Sequence[Result]) -> Case:
        """Two lists of results, one a seed, side by side.

        Args:
            name: of what is equal in both; the measure is added.
            sides: what the two are called.
            first, second: the results.

        Raises:
            Missing: one of them was not measured so.
        """
        values = self(first), self(second)
        queries = self.queries(first) - self.queries(second)
        return Case(f"{name}, {self}", sides, *values, queries.to_numpy())

    def __str__(self) -> str:
        return measure_in_words(self.collection, self.mode, self.measure)


def ndcg(group: Group, mode: str) -> list[Scorer]:
    """nDCG@10 on every collection of a group."""
    return [Scorer(group, name, mode, re.escape(MEASURE)) for name in group.collections()]


def recall(group: Group) -> list[Scorer]:
    """Recall@1000 of full ranking on every collection of a group."""
    return [Scorer(group, name, FULL_RANKING, RECALL) for name in group.collections()]


def hits(group: Group) -> list[Scorer]:
    """Hits@100 of re-ranking on every collection, or what takes its place by `armbook.results.hits_measure`."""
    found = [(name, *hits_measure(group.results, name)) for name in group.collections()]
    return [Scorer(group, *one[:2], re.escape(one[2])) for one in found]


def groups(
    results: Sequence[Result],
    profile: Profile,
    examples: Sequence[Example] = (),
    retrievers: Sequence[Retriever] = (),
    *,
    any_batch_size: bool = False,
) -> list[Group]:
    """Comparable results of a profile: first those with the profile's own settings, then larger groups first.

    Results of other collections, losses, learning rates, lengths or of fewer triples than the profile's are left out; number of
    steps, validation and evaluation may differ from the profile's, but not within a group, bar those of the profile's sweep.

    Args:
        results: of a run store, all kinds together.
        profile: whose settings are preferred.
        examples, retrievers: as `Group` takes them.
        any_batch_size: batch size and number of steps and of validations may differ within a group, for claims on batch size.
    """
    base = profile.experiment
    varied = _ANY_BATCH_SIZE if any_batch_size else _VARIED
    equal = [field.name for field in fields(Experiment) if field.name not in varied]
    fixed = [name for name in equal if name not in _FREE]
    grouped: dict[tuple, list[Result]] = {}
    for result in results:
        each = result.experiment
        if is_static(result) and all(getattr(each, name) == value for name, value in profile.sweep.items()):
            each = replace(each, **{name: getattr(base, name) for name in profile.sweep})
        whole = each.steps * each.batch_size >= base.steps * base.batch_size
        if whole and all(getattr(each, name) == getattr(base, name) for name in fixed):
            grouped.setdefault(tuple(getattr(each, name) for name in equal), []).append(result)
    own = tuple(getattr(base, name) for name in equal)
    order = sorted(grouped, key=lambda setting: (setting != own, -len(grouped[setting])))
    return [Group(grouped.get(setting, []), profile, examples, retrievers) for setting in order or [own]]


def _measures(result: Result, collection: str, mode: str) -> list[str]:
    rows = result.measures
    return list(rows[(rows.collection == collection) & (rows["mode"] == mode)].measure)


def pairs(group: Group, table: dict, first: tuple[str, bool], second: tuple[str, bool], scorers: Sequence[Scorer]) -> list[Case]:
    """Two variants side by side, for every encoder of a table and every scorer.

    Raises:
        Missing: a result was not measured so.
    """
    encoders = dict.fromkeys(encoder for encoder, _, _ in table)
    sides = said(*first), said(*second)
    return [
        scorer.case(encoder, sides, table[encoder, *first], table[encoder, *second]) for encoder in encoders for scorer in scorers
    ]
