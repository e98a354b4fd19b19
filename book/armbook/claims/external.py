"""Judges of claims that need more than equal settings: a batch seen by a fine-tuned encoder, or the retrievers of Table 4."""

from __future__ import annotations

import re

import numpy as np
from scipy.stats import spearmanr

from armbook.claims.evidence import Missing, Retriever
from armbook.claims.groups import Group
from armbook.claims.rules import Case, beyond, every, lines, mean, mean_interval, tally
from armbook.claims.verdicts import MARGIN, NO_PREMISE, NOT_MEASURED, Judges, Outcome, judges
from armbook.claims.wording import SIGNS, counted, place, said, sentences, with_trec
from armbook.results import ADAPTIVE, DISTRIBUTED, RECALL, variant_name
from armbook.sentences import listed_in_words
from armlib.evaluation.evaluate import FULL_RANKING
from armlib.evaluation.measures import Evaluation
from armlib.training.settings import MEASURE

FOLLOWS = 0.5  # a mean rank correlation from which on one order is said to follow another
CLOCK = 0.1  # shares of a time within which two are not told apart
OURS = {"relevance": "relevance", "losses": "loss"}  # what is said for a quantity of a batch
JUDGES: Judges = {}


@judges(JUDGES, "relevance-follows-target", "the order of a query's negatives by relevance with that by target")
def _relevance(group: Group) -> Outcome:
    return _follows(group, "relevance")


@judges(JUDGES, "loss-follows-target", "the order of a query's negatives by loss with that by target")
def _loss(group: Group) -> Outcome:
    return _follows(group, "losses")


@judges(JUDGES, "distributed-gap-to-teacher", "distributed targets with the best teacher distillation, by nDCG@10")
def _gap(group: Group) -> Outcome:
    return _behind(group, (DISTRIBUTED, False), MEASURE, 0.07)


@judges(JUDGES, "recall-gap-to-teacher", "adaptive in-batch targets with the best teacher distillation, by Recall@1000")
def _recall_gap(group: Group) -> Outcome:
    return _behind(group, (ADAPTIVE, True), RECALL, 0.06)


@judges(JUDGES, "distributed-equivalent-to-reproduced-tasb", "distributed targets with the best teacher distillation, by a test")
def _equivalent(group: Group) -> Outcome:
    cases = _beside(group, (DISTRIBUTED, False), MEASURE)
    outcomes = []
    for case in cases:
        near = case.above(-0.04, len(cases))
        shown = case.alike() and case.difference >= -0.04
        outcomes.append(True if shown else False if near is False else None)
    text = tally(outcomes, "distributed targets", "are equivalent and at most 0.04 nDCG@10 behind", "further behind")
    return Outcome(every(outcomes), sentences(f"{text} (paired TOST, not corrected)"), lines(cases, outcomes))


@judges(JUDGES, "data-efficiency-over-teacher", "the triples that teacher distillation and self-distillation need")
def _data(group: Group) -> Outcome:
    teachers = _stopped(_distilled(group))
    ratios, texts = {}, []
    for variant, low, high in (((DISTRIBUTED, False), 2, 3), ((ADAPTIVE, True), 7, 11)):
        found = [teacher.triples / one for teacher in teachers for one in _triples(group, variant)]
        ratios[variant] = round(min(found)) >= low and round(max(found)) <= high
        texts.append(f"{SIGNS[ratios[variant]]} {min(found):.1f} to {max(found):.1f} times those of {said(*variant)} targets")
    names = listed_in_words(teacher.name for teacher in teachers)
    return Outcome(all(ratios.values()), sentences(f"the triples of {names}, divided by ours"), tuple(texts))


@judges(JUDGES, "thirteen-percent-of-data", "the triples and the nDCG@10 of self-distillation and of teacher distillation")
def _thirteen(group: Group) -> Outcome:
    teachers = _stopped(_distilled(group))
    outcomes, texts = [], []
    for variant in ((DISTRIBUTED, False), (ADAPTIVE, True)):
        cases = _beside(group, variant, MEASURE)
        matches = [_no_worse(case, len(cases)) for case in cases]
        shares = [seen / teacher.triples for teacher in teachers for seen in _triples(group, variant)]
        outcomes.append(False if max(shares) > 0.1355 else every(matches))
        match = f"matches teacher distillation in {matches.count(True)} of {counted(len(cases), 'comparison')}"
        texts.append(f"{SIGNS[outcomes[-1]]} {said(*variant)}: {match} with at most {max(shares):.1%} of its triples")
    outcome = True if True in outcomes else None if None in outcomes else False
    return Outcome(outcome, sentences(f"a match is a higher nDCG@10, or one that is equivalent within {MARGIN}"), tuple(texts))


@judges(JUDGES, "teacher-adds-cost", "the time of distillation, teacher included, with that of self-distillation")
def _cost(group: Group) -> Outcome:
    taught = [each for each in _distilled(group) if each.seconds is not None]
    if not taught:
        raise Missing("teacher distillation that was trained here, with the time of its teacher")
    names = (DISTRIBUTED, ADAPTIVE, variant_name(ADAPTIVE, True))
    own = [_tuned(group, name) for name in names]
    slowest = max(each.seconds for each in own if each.seconds is not None)
    ratios = {each.name: each.seconds / slowest for each in taught if each.seconds is not None}
    outcomes = [True if ratio > 1 + CLOCK else False if ratio < 1 - CLOCK else None for ratio in ratios.values()]
    texts = tuple(f"{SIGNS[one]} {name}: {ratio:.1f} times" for one, (name, ratio) in zip(outcomes, ratios.items(), strict=True))
    text = (
        f"distillation with its teacher's training and scoring, beside the slowest self-distilled training run of {slowest:.0f} s"
    )
    return Outcome(every(outcomes), sentences(text), texts)


@judges(JUDGES, "implicit-mining", "distributed targets with static targets in balanced batches, by nDCG@10")
def _mining(group: Group) -> Outcome:
    outcomes, cases = _no_worse_than(group, (DISTRIBUTED,), "static, tuned, balanced")
    text = tally(outcomes, "distributed targets", "are equivalent or better", "worse")
    return Outcome(every(outcomes), sentences(text), lines(cases, outcomes))


@judges(JUDGES, "default-loss", "self-distillation with InfoNCE, by nDCG@10")
def _default(group: Group) -> Outcome:
    found = [_no_worse_than(group, (name,), "InfoNCE") for name in (DISTRIBUTED, ADAPTIVE, variant_name(ADAPTIVE, True))]
    losses = [every(outcomes) for outcomes, _ in found]
    outcome = True if True in losses else None if None in losses else False
    told = tally(losses, "a loss of the paper", "is equivalent to InfoNCE or better everywhere", "worse", "loss")
    return Outcome(outcome, sentences(told), tuple(line for outcomes, cases in found for line in lines(cases, outcomes)))


def _follows(group: Group, quantity: str) -> Outcome:
    """Whether a quantity of the negatives is ordered as their targets are, by Spearman's correlation within each query."""
    if not group.examples:
        raise Missing("a batch as a trained encoder sees it, for which results without weights are not enough", "", NOT_MEASURED)
    outcomes, texts = [], []
    for number, example in enumerate(group.examples, 1):
        group.used[example.key] = None
        rows = zip(example.targets, getattr(example, quantity), strict=True)
        found = [spearmanr(targets, values).statistic for targets, values in rows if np.ptp(targets) > 0 and np.ptp(values) > 0]
        low, high = mean_interval(np.array(found))
        outcomes.append(beyond(low, high, FOLLOWS))
        told = f"{mean(found):.2f} ({low:.2f} to {high:.2f}, {len(found)} queries)"
        texts.append(f"{SIGNS[outcomes[-1]]} {getattr(example, 'encoder', f'batch {number}')}: {told}")
    # The paper shows a batch of one encoder: where encoders differ, nothing is decided.
    outcome = outcomes[0] if len(set(outcomes)) == 1 else None
    return Outcome(
        outcome,
        f"Spearman's correlation of {OURS[quantity]} and target over the negatives of a query: its mean and the 95 % bootstrap "
        f"interval over queries; {FOLLOWS} and more counts as following.",
        tuple(texts),
    )


def _distilled(group: Group) -> list[Retriever]:
    found = [each for each in group.retrievers if each.distilled]
    if not found:
        raise Missing("teacher distillation (MarginMSE, TAS-Balanced), or run files of it")
    return found


def _stopped(retrievers: list[Retriever]) -> list[Retriever]:
    """Those whose triples say how many they needed."""
    found = [each for each in retrievers if each.stopped]
    if not found:
        raise Missing("training that validation stops; here teacher and self-distillation see equally many triples", "", NO_PREMISE)
    return found


def _tuned(group: Group, name: str) -> Retriever:
    """A retriever of Table 4 that was trained here, by its name."""
    found = next((each for each in group.retrievers if each.name == name and each.keys), None)
    if found is None:
        raise Missing(f"{name} with a tuned learning rate")
    group.used |= dict.fromkeys(found.keys)
    return found


def _triples(group: Group, variant: tuple[str, bool]) -> list[float]:
    """Triples that a variant's training runs saw, for each encoder, as means over seeds."""
    table = group.table(variant)
    return [mean(result.about["triples"] for result in table[encoder, *variant]) for encoder in group.encoders]


def _no_worse(case: Case, tests: int) -> bool | None:
    """Whether the first is higher or equivalent; false where it is shown to be further behind than counts as a difference."""
    if case.alike() or case.above():
        return True
    return False if case.above(-MARGIN, tests) is False else None


def _no_worse_than(group: Group, names: tuple[str, ...], other: str) -> tuple[list[bool | None], list[Case]]:
    """Retrievers of Table 4 beside another, by nDCG@10 on every collection."""
    cases, second = [], _tuned(group, other)
    for name in names:
        first = _tuned(group, name)
        both = with_trec(each for each in first.evaluations if each in second.evaluations)
        cases += [_case(place(each), (name, other), first.evaluations[each], second.evaluations[each], MEASURE) for each in both]
    return [_no_worse(case, len(cases)) for case in cases], cases


def _case(name: str, sides: tuple[str, str], first: Evaluation, second: Evaluation, measure: str) -> Case:
    queries = (first.scores(measure) - second.scores(measure)).to_numpy()
    said_ = tuple(each.replace(",", "") for each in sides)
    return Case(name, (said_[0], said_[1]), [first.mean[measure]], [second.mean[measure]], queries)


def _beside(group: Group, variant: tuple[str, bool], pattern: str) -> list[Case]:
    """A variant beside the best distilled retriever by a measure, wherever one was measured.

    Where the variant was tuned as the distilled retrievers were, this is what is compared; else every encoder of the group is.

    Args:
        group, variant: what is compared.
        pattern: a regular expression for the measure, whose name carries a grade.
    """
    teachers, name = _distilled(group), variant_name(*variant)
    if any(each.name == name and each.keys for each in group.retrievers):
        tuned = _tuned(group, name).evaluations
        ours = {("", collection): tuned[collection] for collection in with_trec(tuned)}
    else:
        table = group.table(variant)
        ours = {
            (encoder, collection): group.over_seeds(table[encoder, *variant], collection, FULL_RANKING)
            for encoder in group.encoders
            for collection in group.collections()
        }
    found = []
    for (encoder, collection), evaluation in ours.items():
        (measure,) = [each for each in evaluation.mean if re.fullmatch(pattern, each)]
        measured = [each for each in teachers if measure in getattr(each.evaluations.get(collection), "mean", ())]
        if measured:
            best = max(measured, key=lambda teacher: teacher.evaluations[collection].mean[measure])
            group.used |= dict.fromkeys(best.keys)
            where = f"{encoder}, {place(collection)}" if encoder else place(collection)
            found.append(_case(where, (name, best.name), evaluation, best.evaluations[collection], measure))
    if not found:
        places = listed_in_words(dict.fromkeys(place(collection) for _, collection in ours))
        raise Missing(f"teacher distillation measured on {places}", reason=NOT_MEASURED)
    return found


def _behind(group: Group, variant: tuple[str, bool], pattern: str, limit: float) -> Outcome:
    """Whether a variant is at most so far below the best teacher, by the measure that a regular expression names."""
    cases = _beside(group, variant, pattern)
    outcomes = [case.above(-limit, len(cases)) for case in cases]
    text = tally(outcomes, f"{said(*variant)} targets", f"are at most {limit} behind", "further behind")
    return Outcome(every(outcomes), sentences(text), lines(cases, outcomes))
