"""Judges of claims that need more than a run store: a batch seen by a fine-tuned encoder, or retrievers that others distilled."""

from __future__ import annotations

import re

import numpy as np
from scipy.stats import spearmanr

from armbook.claims.evidence import Missing, Teacher
from armbook.claims.groups import Group
from armbook.claims.rules import every, mean
from armbook.claims.verdicts import MARGIN, Judges, Outcome, judges
from armbook.results import ADAPTIVE, DISTRIBUTED, RECALL, over_seeds
from armlib.evaluation.equivalence import equivalence
from armlib.evaluation.evaluate import FULL_RANKING
from armlib.evaluation.measures import Evaluation
from armlib.experiments.result import Result
from armlib.training.settings import MEASURE

FOLLOWS = 0.5  # a mean rank correlation from which on one order is said to follow another
JUDGES: Judges = {}


@judges(JUDGES, "relevance-follows-target")
def _relevance(group: Group) -> Outcome:
    return _follows(group, "relevance")


@judges(JUDGES, "loss-follows-target")
def _loss(group: Group) -> Outcome:
    return _follows(group, "losses")


@judges(JUDGES, "distributed-gap-to-teacher")
def _gap(group: Group) -> Outcome:
    return _behind(group, (DISTRIBUTED, False), MEASURE, 0.07, "nDCG@10")


@judges(JUDGES, "recall-gap-to-teacher")
def _recall_gap(group: Group) -> Outcome:
    return _behind(group, (ADAPTIVE, True), RECALL, 0.06, "Recall@1000")


@judges(JUDGES, "distributed-equivalent-to-reproduced-tasb")
def _equivalent(group: Group) -> Outcome:
    outcomes, texts = [], []
    for encoder, collection, ours, teacher in _beside(group, (DISTRIBUTED, False)):
        measure = MEASURE
        theirs = teacher.evaluations[collection]
        test = equivalence(ours.scores(measure), theirs.scores(measure), MARGIN)
        near = test.difference >= -0.04
        outcomes.append(False if not near else True if test.equivalent else None)
        texts.append(f"{encoder} on {collection} {test.difference:+.3f} from {teacher.name}, p {test.p:.2g}")
    tests = len(outcomes)
    return every(outcomes), f"nDCG@10, paired TOST within {MARGIN}, {tests} tests, not corrected: {'; '.join(texts)}."


@judges(JUDGES, "data-efficiency-over-teacher")
def _data(group: Group) -> Outcome:
    teachers = _teachers(group)
    table = group.table((DISTRIBUTED, False), (ADAPTIVE, True))
    ratios = {}
    for target, in_batch in ((DISTRIBUTED, False), (ADAPTIVE, True)):
        seen = [mean(r.about["triples"] for r in table[encoder, target, in_batch]) for encoder in group.encoders]
        every_ratio = [teacher.triples / one for teacher in teachers for one in seen]
        ratios[target] = (min(every_ratio), max(every_ratio))
    (low, high), (least, most) = ratios[DISTRIBUTED], ratios[ADAPTIVE]
    return round(low) >= 2 and round(high) <= 3 and round(least) >= 7 and round(most) <= 11, (
        f"Triples of {', '.join(teacher.name for teacher in teachers)} over those of distributed targets {low:.1f} to "
        f"{high:.1f}, over those of "
        f"adaptive targets in batch {least:.1f} to {most:.1f}."
    )


@judges(JUDGES, "thirteen-percent-of-data")
def _thirteen(group: Group) -> Outcome:
    outcomes, texts = [], []
    for variant in ((DISTRIBUTED, False), (ADAPTIVE, True)):
        table = group.table(variant)
        matches, shares = [], []
        for encoder, collection, ours, teacher in _beside(group, variant):
            test = equivalence(ours.scores(MEASURE), teacher.evaluations[collection].scores(MEASURE), MARGIN)
            matches.append(test.equivalent or test.difference >= 0)
            shares.append(mean(r.about["triples"] for r in table[encoder, *variant]) / teacher.triples)
        outcomes.append(all(matches) and max(shares) <= 0.1355)
        texts.append(
            f"{variant[0]} matches in {sum(matches)} of {len(matches)} cases with at most {max(shares):.1%} of the triples"
        )
    return any(outcomes), f"nDCG@10 by paired TOST within {MARGIN}: {'; '.join(texts)}."


def _follows(group: Group, quantity: str) -> Outcome:
    """Whether a quantity of the negatives is ordered as their targets are, by Spearman's correlation within each query."""
    if not group.examples:
        raise Missing("a batch as a fine-tuned encoder sees it, as in Table 2")
    correlations, queries = [], 0
    for example in group.examples:
        group.used[example.key] = None
        pairs = zip(example.targets, getattr(example, quantity), strict=True)
        found = [spearmanr(targets, values).statistic for targets, values in pairs if np.ptp(targets) > 0 and np.ptp(values) > 0]
        correlations.append(float(np.mean(found)))
        queries += len(found)
    low, high = min(correlations), max(correlations)
    outcome = True if low >= FOLLOWS else False if high < FOLLOWS else None
    return outcome, (
        f"Spearman's correlation of {quantity} with targets over a query's negatives is {low:.2f} to {high:.2f} in "
        f"{len(correlations)} "
        f"batches ({queries} queries); from {FOLLOWS} on it is said to follow."
    )


def _teachers(group: Group) -> list[Teacher]:
    if not group.teachers:
        raise Missing("run files of retrievers trained by teacher distillation (MarginMSE, TAS-B)")
    return group.teachers


def _beside(group: Group, variant: tuple[str, bool]) -> list[tuple[str, str, Evaluation, Teacher]]:
    """(encoder, collection, our evaluation over seeds, the teacher with the best nDCG@10) wherever a teacher was measured."""
    teachers, table, found = _teachers(group), group.table(variant), []
    for encoder in group.encoders:
        for collection in group.collections():
            measured = [teacher for teacher in teachers if collection in teacher.evaluations]
            if measured:
                best = max(measured, key=lambda teacher: teacher.evaluations[collection].mean[MEASURE])
                results: list[Result] = table[encoder, *variant]
                found.append((encoder, collection, over_seeds(results, collection, FULL_RANKING), best))
    if not found:
        raise Missing(f"runs of a distilled retriever on {', '.join(group.collections())}")
    return found


def _behind(group: Group, variant: tuple[str, bool], pattern: str, limit: float, called: str) -> Outcome:
    """Whether a variant is at most so far below the best teacher, by the measure that a regular expression names."""
    outcomes, texts = [], []
    for encoder, collection, ours, _ in _beside(group, variant):
        (measure,) = [each for each in ours.mean if re.fullmatch(pattern, each)]
        scores = {
            teacher.name: teacher.evaluations[collection].mean[measure]
            for teacher in group.teachers
            if collection in teacher.evaluations and measure in teacher.evaluations[collection].mean
        }
        if not scores:
            raise Missing(f"{measure} of a distilled retriever on {collection}")
        best = max(scores, key=scores.__getitem__)
        gap = scores[best] - ours.mean[measure]
        outcomes.append(round(gap, 3) <= limit)
        texts.append(f"{encoder} on {collection} {gap:.3f} ({best} {scores[best]:.3f})")
    return every(outcomes), f"{called} of full ranking below the best distilled retriever: {'; '.join(texts)}."
