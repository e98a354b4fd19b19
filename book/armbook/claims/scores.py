"""Judges of claims that the scores of finished training runs decide, over a group of comparable results."""

from __future__ import annotations

from collections.abc import Iterable

from armbook.claims.evidence import Missing, gather
from armbook.claims.groups import Group, Scorer, hits, ndcg, pairs, recall
from armbook.claims.rules import ALPHA, Case, every, leads, lines, mean, tally
from armbook.claims.verdicts import MARGIN, NO_PREMISE, Judges, Outcome, judges
from armbook.claims.wording import SIGNS, counted, place, said, sentences
from armbook.results import ADAPTIVE, DISTRIBUTED, MEAN, SEEDS, STATIC, VARIANTS, best_static
from armbook.sentences import listed_in_words
from armlib.evaluation.equivalence import compare, equivalence
from armlib.evaluation.evaluate import FULL_RANKING, RERANKING
from armlib.experiments.result import Result
from armlib.losses import Static
from armlib.training.settings import MEASURE

LARGE = 0.1  # nDCG@10 that tuning gains "in almost all" configurations
RECALL_1000 = "Recall@1000"
JUDGES: Judges = {}


@judges(JUDGES, "tuning-helps", "the target that validation chose with target 1, for every encoder")
def _tuning_helps(group: Group) -> Outcome:
    cases, chosen = [], []
    for encoder, in_batch, sweep in _sweeps(group):
        best = best_static(sweep)
        others = {value: mean(each.kept_validation for each in results) for value, results in sweep.items() if value != 1}
        # Where validation chose target 1 itself, the best of the others shows whether that is clear.
        other = best if best != 1 else max(others, key=others.__getitem__)
        chosen.append(best)
        for scorer in ndcg(group, RERANKING):
            name = f"{encoder}{', in-batch' if in_batch else ''}"
            cases.append(scorer.case(name, (f"target {other:g}", "target 1"), sweep[other], sweep[1.0]))
    better = [case.above(tests=len(cases)) for case in cases]
    large = [case.above(LARGE, len(cases)) for case in cases]
    # The paper's figure has six configurations, of which "almost all" leaves out one; so does each collection here.
    exceptions = len(group.collections())
    almost = False if large.count(False) > exceptions else True if large.count(True) >= len(cases) - exceptions else None
    text = tally(better, "a tuned target", "has the higher nDCG@10", "target 1")
    apart = f"the lead is above {LARGE} in {large.count(True)} and below it in {large.count(False)}"
    itself = f"validation chose target 1 itself {counted(chosen.count(1.0), 'time')}" if 1.0 in chosen else ""
    return Outcome(every([*better, almost]), sentences(f"{text}; {apart}", itself), lines(cases, better))


@judges(JUDGES, "optimum-depends-on-model", "the best static targets of several encoders")
def _optimum_model(group: Group) -> Outcome:
    if len(group.encoders) < 2:
        raise Missing("a second encoder")
    sweeps, outcomes, texts = _sweeps(group), [], []
    for in_batch in (False, True):
        for scorer in ndcg(group, RERANKING):
            found = {encoder: _best(sweep, scorer) for encoder, each, sweep in sweeps if each == in_batch}
            outcomes.append(_differ(found.values()))
            best = ", ".join(f"{encoder} {top:g}" for encoder, (top, _) in found.items())
            name = f"{scorer}{', in-batch' if in_batch else ''}"
            texts.append(f"{SIGNS[outcomes[-1]]} {name}: {best}{_shared(found.values())}")
    if every(outcomes) is False and group.shares_word_vectors:
        raise Missing(
            "encoders with word vectors of their own; these share theirs, so one optimum for all proves little", "", NO_PREMISE
        )
    text = tally(outcomes, "the best static target", "differs between encoders", "is the same for all")
    return Outcome(every(outcomes), sentences(text), tuple(texts))


@judges(JUDGES, "optimum-depends-on-measure", "the best static target by nDCG@10 with the best by hits")
def _optimum_measure(group: Group) -> Outcome:
    outcomes, texts = [], []
    sweeps, scorers = _sweeps(group), list(zip(ndcg(group, RERANKING), hits(group), strict=True))
    for encoder, in_batch, sweep in sweeps:
        for first, second in scorers:
            found = [_best(sweep, scorer) for scorer in (first, second)]
            outcomes.append(_differ(found))
            name = f"{encoder}{', in-batch' if in_batch else ''}"
            values = f"{found[0][0]:g} by {first}, {found[1][0]:g} by {second}"
            texts.append(f"{SIGNS[outcomes[-1]]} {name}: {values}{_shared(found)}")
    text = tally(outcomes, "the best static target", "differs between the two measures", "is the same by both")
    return Outcome(every(outcomes), sentences(text), tuple(texts))


@judges(JUDGES, "static-in-batch-no-gain", "tuned static targets with and without in-batch negatives")
def _static_in_batch(group: Group) -> Outcome:
    table = group.table((STATIC, False), (STATIC, True))
    cases = pairs(group, table, (STATIC, True), (STATIC, False), [*ndcg(group, RERANKING), *hits(group)])
    gains = [case.above(tests=len(cases)) for case in cases]
    # Without a gain for sure: clearly lower with them, or equivalent.
    outcomes = [False if gain else True if gain is False or case.alike() else None for gain, case in zip(gains, cases, strict=True)]
    text = tally(outcomes, "in-batch negatives", "bring no gain", "raise the score")
    return Outcome(every(outcomes), sentences(text), lines(cases, outcomes))


@judges(JUDGES, "adaptive-in-batch-hits", "adaptive targets with and without in-batch negatives, RoBERTa with other encoders")
def _adaptive_in_batch_hits(group: Group) -> Outcome:
    roberta = [encoder for encoder in group.encoders if "roberta" in encoder.lower()]
    if not roberta or len(group.encoders) < 2:
        raise Missing("a RoBERTa and another encoder")
    if group.shares_word_vectors:
        raise Missing("a pre-trained RoBERTa; all encoders here start from the same word vectors", reason=NO_PREMISE)
    table = group.table((ADAPTIVE, False), (ADAPTIVE, True))
    cases = pairs(group, table, (ADAPTIVE, True), (ADAPTIVE, False), hits(group))
    gains = [case.above(tests=len(cases)) for case in cases]
    outcomes = []
    for case, gain in zip(cases, gains, strict=True):
        exempt = any(case.name.startswith(f"{encoder},") for encoder in roberta)
        none = False if gain else True if gain is False or case.alike() else None
        outcomes.append(none if exempt else gain)
    text = f"hits rise clearly in {gains.count(True)} of {len(cases)} comparisons"
    return Outcome(every(outcomes), sentences(text), lines(cases, outcomes))


@judges(JUDGES, "adaptive-favours-recall", "adaptive with tuned static targets, by nDCG@10 and by hits")
def _adaptive_recall(group: Group) -> Outcome:
    table = group.table((STATIC, False), (ADAPTIVE, False))
    order = pairs(group, table, (STATIC, False), (ADAPTIVE, False), ndcg(group, RERANKING))
    found = pairs(group, table, (ADAPTIVE, False), (STATIC, False), hits(group))
    lower = leads(order, "static targets", "have the higher nDCG@10", "the lower")
    more = leads(found, "adaptive targets", "find more", "less")
    return Outcome(every([lower.holds, more.holds]), f"{lower.text} {more.text}", lower.cases + more.cases)


@judges(JUDGES, "distributed-best-in-batch", "distributed targets with static and adaptive in-batch ones")
def _best_in_batch(group: Group) -> Outcome:
    table = group.table((DISTRIBUTED, False), (STATIC, True), (ADAPTIVE, True))
    scorers = [*ndcg(group, RERANKING), *ndcg(group, FULL_RANKING)]
    cases = [
        case for other in ((STATIC, True), (ADAPTIVE, True)) for case in pairs(group, table, (DISTRIBUTED, False), other, scorers)
    ]
    return leads(cases, "distributed targets", "have the higher nDCG@10", "the lower")


@judges(JUDGES, "explicit-mean-fails", "distributed targets with the explicit mean of the batch")
def _explicit_mean(group: Group) -> Outcome:
    encoders = [each for each in group.encoders if all(len(group.seeds(each, target)) >= SEEDS for target in (DISTRIBUTED, MEAN))]
    if not encoders:
        raise Missing(f"{SEEDS} seeds of the explicit mean and of distributed targets with one of the encoders")
    table = {(encoder, target, False): group.seeds(encoder, target) for encoder in encoders for target in (DISTRIBUTED, MEAN)}
    scorers = [*ndcg(group, RERANKING), *ndcg(group, FULL_RANKING)]
    cases = pairs(group, table, (DISTRIBUTED, False), (MEAN, False), scorers)
    # It fails where it is further behind than counts as a difference, and does not where it is equivalent or ahead.
    outcomes = [False if case.alike() or case.above(tests=len(cases)) is False else case.above(MARGIN) for case in cases]
    behind, level = outcomes.count(True), outcomes.count(False)
    text = f"the explicit mean is more than {MARGIN} nDCG@10 behind in {behind} of {counted(len(cases), 'comparison')}"
    return Outcome(every(outcomes), sentences(f"{text}, and equivalent or ahead in {level}"), lines(cases, outcomes))


@judges(JUDGES, "static-best-ndcg", "tuned static targets without in-batch negatives with all other variants")
def _static_best(group: Group) -> Outcome:
    table = group.table(*VARIANTS)
    scorers = ndcg(group, FULL_RANKING)
    cases = [case for other in VARIANTS[1:] for case in pairs(group, table, (STATIC, False), other, scorers)]
    return leads(cases, "tuned static targets without in-batch negatives", "have the higher nDCG@10", "the lower")


@judges(JUDGES, "distributed-equivalent-ndcg", "distributed targets with the best variant, by nDCG@10")
def _distributed_equivalent(group: Group) -> Outcome:
    table, outcomes, texts = group.table(*VARIANTS), [], []
    for encoder in group.encoders:
        for collection in group.collections():
            outcome, text = _equivalent(group, table, encoder, collection, (DISTRIBUTED, False), MEASURE)
            exempt = "roberta" in encoder.lower() and "trec-dl-2020" in collection
            outcomes += [] if exempt else [outcome]
            texts.append(
                f"{SIGNS[outcome]} {encoder} on {place(collection)}: {text}{' (the exception of the claim)' if exempt else ''}"
            )
    if not outcomes:
        raise Missing("a case other than the exception of the claim, RoBERTa on TREC-DL 2020")
    text = tally(outcomes, "distributed targets", "are equivalent to the best variant", f"more than {MARGIN} behind")
    return Outcome(every(outcomes), sentences(f"{text} (paired TOST, Bonferroni)"), tuple(texts))


@judges(JUDGES, "adaptive-in-batch-best-recall", "adaptive in-batch targets with all other variants, by Recall@1000")
def _best_recall(group: Group) -> Outcome:
    table = group.table(*VARIANTS)
    others = [each for each in VARIANTS if each != (ADAPTIVE, True)]
    cases = [
        case
        for scorer in recall(group)
        for other in others
        for case in pairs(group, table, (ADAPTIVE, True), other, [scorer])
        if not ("distilbert" in case.name.lower() and "trec-dl-2019" in scorer.collection)
    ]
    if not cases:
        raise Missing("a case other than the exception of the claim, distilBERT on TREC-DL 2019")
    return leads(cases, "adaptive in-batch targets", "have the higher Recall@1000", "the lower")


@judges(JUDGES, "encoder-does-not-matter", "every variant between encoders")
def _encoder(group: Group) -> Outcome:
    if len(group.encoders) < 2:
        raise Missing("a second encoder")
    table, cases = group.table(*VARIANTS), []
    for variant in VARIANTS:
        for scorer in [*ndcg(group, FULL_RANKING), *recall(group)]:
            found = {encoder: mean(scorer(table[encoder, *variant])) for encoder in group.encoders}
            high, low = max(found, key=found.__getitem__), min(found, key=found.__getitem__)
            cases.append(scorer.case(f"{said(*variant)}", (high, low), table[high, *variant], table[low, *variant]))
    far = [case.above(MARGIN, len(cases)) for case in cases]
    outcomes = [False if apart else True if case.alike() else None for apart, case in zip(far, cases, strict=True)]
    wide = outcomes.count(False)
    if not wide and group.shares_word_vectors:
        raise Missing("pre-trained encoders that differ; all encoders here start from the same word vectors", reason=NO_PREMISE)
    text = tally(outcomes, "best and worst encoder", f"are equivalent within {MARGIN}", "further apart")
    return Outcome(every(outcomes), sentences(text), lines(cases, outcomes))


@judges(JUDGES, "tuning-helps-recall-most", "what tuning the static target gains in Recall@1000 and in nDCG@10")
def _tuning_recall(group: Group) -> Outcome:
    cases = []
    table = gather(lambda e: (e, group.tuned(e, False), group.variant(e, str(Static(1.0)))), group.encoders)
    for encoder, tuned, one in table:
        for first, second in zip(ndcg(group, FULL_RANKING), recall(group), strict=True):
            gains = [[a - b for a, b in zip(scorer(tuned), scorer(one), strict=False)] for scorer in (second, first)]
            queries = [(scorer.queries(tuned) - scorer.queries(one)).to_numpy() for scorer in (second, first)]
            name = f"{encoder} on {place(first.collection)}"
            cases.append(Case(name, (RECALL_1000, MEASURE), gains[0], gains[1], queries[0] - queries[1], "+.3f"))
    found = leads(cases, "tuning", "gains more Recall@1000 than nDCG@10", "less")
    lost = [case for case in cases if max(case.first) < 0]
    return found._replace(holds=False) if lost else found


@judges(JUDGES, "roberta-adaptive-recall-mark", "RoBERTa's adaptive and distributed targets with its best variant on TREC-DL 2019")
def _roberta_mark(group: Group) -> Outcome:
    roberta = [encoder for encoder in group.encoders if "roberta" in encoder.lower()]
    places = [name for name in group.collections() if "trec-dl-2019" in name]
    if not roberta or not places:
        raise Missing("a RoBERTa measured on TREC-DL 2019", reason=NO_PREMISE)
    if group.shares_word_vectors:
        raise Missing("a pre-trained RoBERTa; the one here starts from word vectors of the collection", reason=NO_PREMISE)
    wanted = [(encoder, *variant) for encoder in roberta for variant in VARIANTS]
    table = dict(zip(wanted, gather(lambda each: group.variant(*each), wanted), strict=True))
    outcomes, texts = [], []
    for encoder in roberta:
        (scorer,) = [each for each in recall(group) if each.collection == places[0]]
        for variant, wished in (((ADAPTIVE, False), False), ((DISTRIBUTED, False), True)):
            outcome, text = _equivalent(group, table, encoder, places[0], variant, scorer.measure)
            outcomes.append(None if outcome is None else outcome == wished)
            texts.append(f"{SIGNS[outcomes[-1]]} {encoder}, {said(*variant)}: {text}")
    text = "adaptive and distributed targets beside the variant with the best Recall@1000 on TREC-DL 2019"
    return Outcome(every(outcomes), sentences(text), tuple(texts))


def _equivalent(
    group: Group, table: dict, encoder: str, collection: str, variant: tuple[str, bool], measure: str
) -> tuple[bool | None, str]:
    """Whether a variant is equivalent to the best one of an encoder; false where it is shown to be further behind, else neither."""
    evaluations = {said(*each): group.over_seeds(table[encoder, *each], collection, FULL_RANKING) for each in VARIANTS}
    compared = compare(evaluations, measure)
    row = compared.loc[said(*variant)]
    if row.best:
        return True, "the best"
    if row.equivalent:
        return True, f"{row.difference:+.3f}, equivalent"
    scores = [evaluations[name].scores(measure) for name in (said(*variant), str(compared["mean"].idxmax()))]
    apart = equivalence(*scores, MARGIN, ALPHA / 2 / (len(VARIANTS) - 1)).high < -MARGIN
    return (False if apart else None), (
        f"{row.difference:+.3f}, {f'more than {MARGIN} behind' if apart else 'not shown equivalent, nor shown different'}"
    )


def _sweeps(group: Group) -> list[tuple[str, bool, dict[float, list[Result]]]]:
    """(encoder, in-batch, results by static target) for every encoder, with and without in-batch negatives."""
    wanted = [(encoder, in_batch) for encoder in group.encoders for in_batch in (False, True)]
    found = gather(lambda each: group.sweep(*each), wanted)
    return [(*each, sweep) for each, sweep in zip(wanted, found, strict=True)]


def _best(sweep: dict[float, list[Result]], scorer: Scorer) -> tuple[float, set[float]]:
    """The target with the highest mean over seeds, and all that are not clearly below it."""
    means = {target: mean(scorer(results)) for target, results in sweep.items()}
    top = max(means, key=means.__getitem__)
    behind = {target: scorer.case("", ("", ""), sweep[top], sweep[target]).above() for target in sweep if target != top}
    return top, {top, *(target for target, clear in behind.items() if not clear)}


def _differ(found: Iterable[tuple[float, set[float]]]) -> bool | None:
    """True where no target is as good as the best everywhere; false where the same one is clearly the best everywhere."""
    good = [each for _, each in found]
    common = set.intersection(*good)
    if not common:
        return True
    return False if all(len(each) == 1 for each in good) else None


def _shared(found: Iterable[tuple[float, set[float]]]) -> str:
    listed_ = list(found)
    common = sorted(set.intersection(*(good for _, good in listed_)))
    if not common or len({top for top, _ in listed_}) == 1:
        return ""
    return f" ({listed_in_words(f'{target:g}' for target in common)} would do for all)"
