"""Judges of claims that need more than equal settings: a batch seen by a fine-tuned encoder, or the retrievers of Table 4."""

from __future__ import annotations

import re

import numpy as np
from scipy.stats import spearmanr

from armbook.claims.evidence import Missing, Retriever
from armbook.claims.groups import Group
from armbook.claims.rules import every, mean
from armbook.claims.verdicts import MARGIN, Judges, Outcome, judges
from armbook.results import ADAPTIVE, DISTRIBUTED, RECALL, over_seeds, variant_name
from armlib.evaluation.equivalence import equivalence
from armlib.evaluation.evaluate import FULL_RANKING
from armlib.evaluation.measures import Evaluation
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
    teachers = _stopped(_distilled(group))
    ratios = {}
    for variant in ((DISTRIBUTED, False), (ADAPTIVE, True)):
        every_ratio = [teacher.triples / one for teacher in teachers for one in _triples(group, variant)]
        ratios[variant[0]] = (min(every_ratio), max(every_ratio))
    (low, high), (least, most) = ratios[DISTRIBUTED], ratios[ADAPTIVE]
    return round(low) >= 2 and round(high) <= 3 and round(least) >= 7 and round(most) <= 11, (
        f"Triples of {', '.join(teacher.name for teacher in teachers)} over those of distributed targets {low:.1f} to "
        f"{high:.1f}, over those of "
        f"adaptive targets in batch {least:.1f} to {most:.1f}."
    )


@judges(JUDGES, "thirteen-percent-of-data")
def _thirteen(group: Group) -> Outcome:
    _stopped(_distilled(group))
    outcomes, texts = [], []
    for variant in ((DISTRIBUTED, False), (ADAPTIVE, True)):
        matches, shares = [], []
        for _, collection, ours, teacher in _beside(group, variant):
            test = equivalence(ours.scores(MEASURE), teacher.evaluations[collection].scores(MEASURE), MARGIN)
            matches.append(test.equivalent or test.difference >= 0)
            shares += [seen / teacher.triples for seen in _triples(group, variant)]
        outcomes.append(all(matches) and max(shares) <= 0.1355)
        texts.append(
            f"{variant[0]} matches in {sum(matches)} of {len(matches)} cases with at most {max(shares):.1%} of the triples"
        )
    return any(outcomes), f"nDCG@10 by paired TOST within {MARGIN}: {'; '.join(texts)}."


@judges(JUDGES, "teacher-adds-cost")
def _cost(group: Group) -> Outcome:
    taught = [each.seconds for each in _distilled(group) if each.seconds is not None]
    if not taught:
        raise Missing("distilled retrievers that were trained here, with the seconds of their teachers")
    names = (DISTRIBUTED, ADAPTIVE, variant_name(ADAPTIVE, True))
    slowest = max(seconds for name in names if (seconds := _tuned(group, name).seconds) is not None)
    ratios = [seconds / slowest for seconds in taught]
    return min(ratios) > 1, (
        f"With the teacher's training and scoring, distillation takes {min(ratios):.1f} to {max(ratios):.1f} times the "
        f"{slowest:.0f} s of the slowest self-distilled training run."
    )


@judges(JUDGES, "implicit-mining")
def _mining(group: Group) -> Outcome:
    return _at_least(group, _tuned(group, DISTRIBUTED), _tuned(group, "static, tuned, balanced"))


@judges(JUDGES, "default-loss")
def _default(group: Group) -> Outcome:
    names = (DISTRIBUTED, ADAPTIVE, variant_name(ADAPTIVE, True))
    one = _tuned(group, "InfoNCE")
    found = [_at_least(group, _tuned(group, name), one) for name in names]
    outcomes = [outcome for outcome, _ in found]
    outcome = True if True in outcomes else None if None in outcomes else False
    return outcome, " ".join(text for _, text in found)


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


def _distilled(group: Group) -> list[Retriever]:
    found = [each for each in group.retrievers if each.distilled]
    if not found:
        raise Missing("retrievers trained by teacher distillation (MarginMSE, TAS-B), or their run files")
    return found


def _stopped(retrievers: list[Retriever]) -> list[Retriever]:
    """Those whose triples say how many they needed."""
    found = [each for each in retrievers if each.stopped]
    if not found:
        raise Missing("distilled retrievers whose training was stopped by validation; here all see equally many triples")
    return found


def _tuned(group: Group, name: str) -> Retriever:
    """A retriever of Table 4 that was trained here, by its name."""
    found = next((each for each in group.retrievers if each.name == name and each.keys), None)
    if found is None:
        raise Missing(f"{name} with tuned settings")
    group.used |= dict.fromkeys(found.keys)
    return found


def _triples(group: Group, variant: tuple[str, bool]) -> list[float]:
    """Triples that a variant's training runs saw, for each encoder, as means over seeds."""
    table = group.table(variant)
    return [mean(result.about["triples"] for result in table[encoder, *variant]) for encoder in group.encoders]


def _at_least(group: Group, one: Retriever, other: Retriever) -> Outcome:
    """Whether a retriever is better than another, or equivalent to it, in nDCG@10 on every collection."""
    outcomes, texts = [], []
    for collection in one.evaluations.keys() & other.evaluations.keys():
        test = equivalence(one.evaluations[collection].scores(MEASURE), other.evaluations[collection].scores(MEASURE), MARGIN)
        # Worse for certain where the whole confidence interval lies below 0, and not equivalent.
        outcomes.append(True if test.equivalent or test.low > 0 else False if test.high < 0 else None)
        texts.append(f"{collection} {test.difference:+.3f} ({test.low:+.3f} to {test.high:+.3f})")
    return every(outcomes), f"{MEASURE} of {one.name} less that of {other.name}: {'; '.join(sorted(texts))}."


def _beside(group: Group, variant: tuple[str, bool]) -> list[tuple[str, str, Evaluation, Retriever]]:
    """(encoder, collection, our evaluation over seeds, the best distilled retriever) wherever one was measured.

    Where the variant was tuned as the distilled retrievers were, this is what is compared; else every encoder of the group is.
    """
    teachers, name = _distilled(group), variant_name(*variant)
    if any(each.name == name and each.keys for each in group.retrievers):
        one = _tuned(group, name)
        ours = {(name, collection): evaluation for collection, evaluation in one.evaluations.items()}
    else:
        table = group.table(variant)
        ours = {
            (encoder, collection): over_seeds(table[encoder, *variant], collection, FULL_RANKING)
            for encoder in group.encoders
            for collection in group.collections()
        }
    found = []
    for (encoder, collection), evaluation in ours.items():
        measured = [teacher for teacher in teachers if collection in teacher.evaluations]
        if measured:
            best = max(measured, key=lambda teacher: teacher.evaluations[collection].mean[MEASURE])
            group.used |= dict.fromkeys(best.keys)
            found.append((encoder, collection, evaluation, best))
    if not found:
        raise Missing(f"runs of a distilled retriever on {', '.join(dict.fromkeys(collection for _, collection in ours))}")
    return found


def _behind(group: Group, variant: tuple[str, bool], pattern: str, limit: float, called: str) -> Outcome:
    """Whether a variant is at most so far below the best teacher, by the measure that a regular expression names."""
    outcomes, texts = [], []
    for encoder, collection, ours, _ in _beside(group, variant):
        (measure,) = [each for each in ours.mean if re.fullmatch(pattern, each)]
        scores = {
            teacher.name: teacher.evaluations[collection].mean[measure]
            for teacher in _distilled(group)
            if collection in teacher.evaluations and measure in teacher.evaluations[collection].mean
        }
        if not scores:
            raise Missing(f"{measure} of a distilled retriever on {collection}")
        best = max(scores, key=scores.__getitem__)
        gap = scores[best] - ours.mean[measure]
        outcomes.append(round(gap, 3) <= limit)
        texts.append(f"{encoder} on {collection} {gap:.3f} ({best} {scores[best]:.3f})")
    return every(outcomes), f"{called} of full ranking below the best distilled retriever: {'; '.join(texts)}."
