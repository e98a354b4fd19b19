"""Judges of claims on how training goes and what it costs: validations, traces, time and triples, over comparable results."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from armbook.claims.evidence import Missing, gather
from armbook.claims.groups import Group, ndcg, pairs
from armbook.claims.rules import Case, Peaks, every, leads, lines, mean, peaks, seed_curves, sooner, tally
from armbook.claims.verdicts import MARGIN, NO_PREMISE, Judges, Outcome, judges
from armbook.claims.wording import SIGNS, counted, said, sentences
from armbook.learning_curves import NEAR_ZERO, SMOOTHED, settled_from
from armbook.results import ADAPTIVE, DISTRIBUTED, SEEDS, STATIC, VARIANTS, trained_again
from armlib.evaluation.evaluate import RERANKING
from armlib.experiments.result import Result

FEW_HUNDRED = 500  # batches that Figure 6 shows of the beginning
HALF = (0.25, 0.75)  # shares of an epoch that count as about half of the data
USUALLY = 0.95  # of batches
JUDGES: Judges = {}
BY_BATCH_SIZE: Judges = {}  # judged over groups in which batch sizes differ
Variant = tuple[str, bool]


@judges(JUDGES, "adaptive-peaks-early", "the best validation of adaptive targets with the middle of an epoch")
def _peaks_early(group: Group) -> Outcome:
    table = group.table((ADAPTIVE, False))
    epochs = gather(_epochs, table.values())
    if min(epochs) < 1:
        reached = ", ".join(sorted({f"{share:.2g} of an epoch" for share in epochs}))
        raise Missing(f"training over the whole of the data; these training runs see {reached}", reason=NO_PREMISE)
    outcomes, texts = [], []
    for (encoder, *_), results in table.items():
        curve, found = seed_curves(results), peaks(results)
        shares = [triples / results[0].about["available_triples"] for triples in found.at]
        near = [HALF[0] <= share <= HALF[1] for share in shares]
        falls = [bool(curve[seed].iloc[-1] < curve[seed].max()) for seed in curve]
        holds = [one and other for one, other in zip(near, falls, strict=True)]
        outcomes.append(True if all(holds) else None if any(holds) else False)
        best, end = curve.max().mean(), curve.iloc[-1].mean()
        when = f"after {found} triples, {max(shares):.0%} of an epoch or less"
        texts.append(f"{SIGNS[outcomes[-1]]} {encoder}: best ({best:.3f}) {when}; {end:.3f} at the end")
    text = tally(outcomes, "all seeds", "are best near half of the data and fall afterwards", "none does", "encoder")
    return Outcome(every(outcomes), sentences(text), tuple(texts))


@judges(
    JUDGES, "adaptive-in-batch-lowers-ndcg", "adaptive targets with and without in-batch negatives, by nDCG@10 and time of the best"
)
def _in_batch_lowers(group: Group) -> Outcome:
    table = group.table((ADAPTIVE, False), (ADAPTIVE, True))
    cases = pairs(group, table, (ADAPTIVE, False), (ADAPTIVE, True), ndcg(group, RERANKING))
    lower = leads(cases, "adaptive targets without in-batch negatives", "have the higher nDCG@10", "the lower")
    if lower.holds is False:
        return lower
    later = _compare_peaks(table, (ADAPTIVE, False), (ADAPTIVE, True))
    return Outcome(every([lower.holds, later.holds]), f"{lower.text} {later.text}", lower.cases + later.cases)


@judges(JUDGES, "distributed-converges-faster", "when distributed and adaptive targets are best in validation")
def _converges_faster(group: Group) -> Outcome:
    return _compare_peaks(group.table((DISTRIBUTED, False), (ADAPTIVE, False)), (DISTRIBUTED, False), (ADAPTIVE, False))


@judges(BY_BATCH_SIZE, "smaller-batches-data-efficient", "when distributed targets are best in validation, by batch size")
def _smaller_batches(group: Group) -> Outcome:
    outcomes, texts = [], []
    for encoder, sizes in _by_batch_size(group).items():
        found = {size: peaks(results) for size, results in sizes.items()}
        outcomes.append(sooner(found[min(found)], found[max(found)]))
        by_size = ", ".join(f"{found[size]} (batches of {size})" for size in sorted(found))
        texts.append(f"{SIGNS[outcomes[-1]]} {encoder}, triples at the best validation: {by_size}")
    text = tally(outcomes, "the smallest batch", "is best after fewer triples than the largest", "after more", "encoder")
    return Outcome(every(outcomes), sentences(text), tuple(texts))


@judges(BY_BATCH_SIZE, "batch-size-marginal", "the best validation of distributed targets by batch size")
def _batch_marginal(group: Group) -> Outcome:
    found = _by_batch_size(group)
    if len(found) < 3:
        raise Missing("batch sizes with three encoders, as the claim is about two of three")
    cases = []
    for encoder, sizes in found.items():
        best = {size: list(seed_curves(results).max()) for size, results in sizes.items()}
        sides = max(best), min(best)
        cases.append(Case(encoder, tuple(f"batches of {size}" for size in sides), *(best[size] for size in sides)))
    larger = [case.above() for case in cases]
    marginal = [_within(case) for case in cases]
    two: bool | None = None
    if larger.count(True) == 3 or larger.count(False) > 1:
        two = False
    elif larger.count(True) == 2 and None not in larger:
        two = True
    text = tally(larger, "the largest batch", "has the higher best score", "the lower", "encoder")
    widest = max(abs(case.difference) for case in cases)
    return Outcome(every([two, *marginal]), sentences(text, f"the scores differ by {widest:.3f} at most"), lines(cases, larger))


@judges(JUDGES, "targets-settle-at-half", "the mean similarity of positives and negatives in a batch with 0, over training")
def _settle(group: Group) -> Outcome:
    outcomes, texts = [], []
    for encoder, traces in _traces(group).items():
        settled = [settled_from(trace.similarity_mean) for trace in traces]
        last = mean(trace.similarity_mean.tail(SMOOTHED).mean() for trace in traces)
        inside = [one is not None and one <= FEW_HUNDRED for one in settled]
        short = min(map(len, traces)) < FEW_HUNDRED
        outcomes.append(True if all(inside) else None if any(inside) or short else False)
        when = "not near 0" if not any(settled) else f"near 0 from batch {max(one for one in settled if one)} on"
        some = "" if all(inside) or not any(inside) else " in some seeds"
        texts.append(f"{SIGNS[outcomes[-1]]} {encoder}: {when}{some}, {last:+.3f} at the end of {len(traces[0]):,} batches")
    text = f"near 0 means that the smoothed mean similarity stays within {NEAR_ZERO} of it"
    subject = "the mean similarity"
    told = tally(outcomes, subject, f"settles near 0 within {FEW_HUNDRED} batches", "does not", "encoder")
    return Outcome(every(outcomes), sentences(told, text), tuple(texts))


@judges(JUDGES, "targets-skew-positive", "how far the highest and the lowest similarity of a batch lie from the mean")
def _skew(group: Group) -> Outcome:
    outcomes, texts = [], []
    for encoder, traces in _traces(group).items():
        late = [trace.iloc[-max(1, len(trace) // 4) :] for trace in traces]
        above = [each.similarity_maximum - each.similarity_mean for each in late]
        below = [each.similarity_mean - each.similarity_minimum for each in late]
        shares = [float((one > other).mean()) for one, other in zip(above, below, strict=True)]
        skewed = min(shares) >= USUALLY
        outcomes.append(True if skewed else False if max(shares) < 0.5 else None)
        at_least = " or more" if min(shares) < max(shares) else ""
        distances = f"{mean(map(np.mean, above)):.2f} above the mean, {mean(map(np.mean, below)):.2f} below it"
        further = f"the maximum is further from it in {min(shares):.0%} of batches{at_least}"
        texts.append(f"{SIGNS[outcomes[-1]]} {encoder}: {distances}; {further}")
    told = tally(outcomes, "over the last quarter of training the maximum", "lies further from the mean", "nearer", "encoder")
    return Outcome(every(outcomes), sentences(told), tuple(texts))


@judges(
    JUDGES,
    "targets-converge-across-encoders",
    "the similarities of positives and negatives between encoders, before and after training",
)
def _converge(group: Group) -> Outcome:
    if len(group.encoders) < 2:
        raise Missing("a second encoder")
    traces, columns = _traces(group, SEEDS), ["similarity_mean", "similarity_minimum", "similarity_maximum"]
    if min(len(trace) for some in traces.values() for trace in some) < 2 * SMOOTHED:
        raise Missing(f"traces of at least {2 * SMOOTHED} batches")
    before = _apart({encoder: [trace[columns].iloc[0] for trace in some] for encoder, some in traces.items()})
    if before.low <= NEAR_ZERO:
        raise Missing(
            f"encoders that differ before training; these start within {before.high:.2f} of each other"
            + (", from the same word vectors" if group.shares_word_vectors else ""),
            reason=NO_PREMISE,
        )
    after = _apart({encoder: [trace[columns].iloc[-SMOOTHED:].mean() for trace in some] for encoder, some in traces.items()})
    outcome = True if after.high <= NEAR_ZERO else False if after.low > NEAR_ZERO else None
    return Outcome(
        outcome,
        f"Mean, lowest or highest similarity of a batch differ between encoders by {before} before training and by {after} over "
        f"its last {SMOOTHED} batches; up to {NEAR_ZERO} counts as alike.",
    )


@judges(
    JUDGES,
    "static-cost-over-distributed",
    "the time of a sweep over static targets with that of one training run of distributed ones",
)
def _cost_distributed(group: Group) -> Outcome:
    return _cost(group, [((STATIC, False), (DISTRIBUTED, False)), ((STATIC, True), (DISTRIBUTED, False))], 3, 6)


@judges(
    JUDGES, "static-cost-over-adaptive", "the time of a sweep over static targets with that of one training run of adaptive ones"
)
def _cost_adaptive(group: Group) -> Outcome:
    return _cost(group, [((STATIC, False), (ADAPTIVE, False)), ((STATIC, True), (ADAPTIVE, True))], 7, 15)


@judges(JUDGES, "in-batch-data-efficient", "the triples until early stopping with and without in-batch negatives")
def _in_batch_data(group: Group) -> Outcome:
    table = group.table((STATIC, False), (STATIC, True), (ADAPTIVE, False), (ADAPTIVE, True))
    return _fewer(table, [((target, True), (target, False)) for target in (STATIC, ADAPTIVE)], "in-batch negatives")


@judges(JUDGES, "self-distillation-data-efficient", "the triples until early stopping of self-distilled and static targets")
def _self_data(group: Group) -> Outcome:
    table = group.table(*VARIANTS)
    others = {each: results for each, results in table.items() if "distilbert" not in each[0].lower()}
    if not others:
        raise Missing("an encoder other than the exception of the claim, distilBERT")
    compared = [((ADAPTIVE, False), (STATIC, False)), ((ADAPTIVE, True), (STATIC, True)), ((DISTRIBUTED, False), (STATIC, False))]
    return _fewer(others, compared, "self-distillation")


class _Range(tuple[float, float]):
    """The lowest and the highest of some values, written as one where they look alike."""

    @property
    def low(self) -> float:
        return self[0]

    @property
    def high(self) -> float:
        return self[1]

    def __str__(self) -> str:
        low, high = f"{self.low:.2f}", f"{self.high:.2f}"
        return low if low == high else f"{low} to {high}"


def _apart(values: dict[str, list[pd.Series]]) -> _Range:
    """How far encoders are apart in the quantity in which they differ most, over the seeds that all of them have."""
    seeds = range(min(map(len, values.values())))
    found = [float(np.ptp(pd.DataFrame({name: some[seed] for name, some in values.items()}), axis=1).max()) for seed in seeds]
    return _Range((min(found), max(found)))


def _epochs(results: Sequence[Result]) -> float:
    """How often training runs saw every triple; of several the fewest."""
    return min(float(seed_curves([each]).index[-1]) / each.about["available_triples"] for each in results)


def _within(case: Case) -> bool | None:
    """Whether two scores are within the margin in all pairs of seeds; false where in none."""
    apart = [abs(a - b) > MARGIN for a in case.first for b in case.second]
    return False if all(apart) else None if any(apart) else True


def _cost(group: Group, compared: list[tuple[Variant, Variant]], low: int, high: int) -> Outcome:
    """Seconds of a whole sweep over those of one training run, each seed's sweep and training averaged over seeds."""
    table = group.table(*{variant: None for pair in compared for variant in pair})
    if not all(_stopped(results) for results in table.values()):
        raise Missing("training that stops early; here all runs take equally many steps, so a ratio counts runs", "", NO_PREMISE)
    wanted = [(encoder, *pair) for encoder in group.encoders for pair in compared]
    sweeps = gather(lambda each: group.sweep(each[0], each[1][1]), wanted)
    ratios = {}
    for (encoder, static, other), sweep in zip(wanted, sweeps, strict=True):
        chosen = table[encoder, *static]
        again = trained_again(chosen, [result for results in sweep.values() for result in results])
        seconds = sum(_seconds(results) for results in sweep.values()) + again * _seconds(chosen)
        ratios[f"{encoder}, {said(*static)} ({len(sweep)} targets) over {said(*other)}"] = seconds / _seconds(
            table[encoder, *other]
        )
    # The claim is in whole numbers.
    cases = tuple(f"{SIGNS[low <= round(ratio) <= high]} {name}: {ratio:.1f} times" for name, ratio in ratios.items())
    holds = all(low <= round(ratio) <= high for ratio in ratios.values())
    text = f"the sweep takes {min(ratios.values()):.1f} to {max(ratios.values()):.1f} times as long as one training run"
    return Outcome(holds, sentences(text), cases)


def _seconds(results: Sequence[Result]) -> float:
    return mean(result.about["seconds"]["training"] for result in results)


def _fewer(table: dict[tuple[str, str, bool], list[Result]], compared: list[tuple[Variant, Variant]], subject: str) -> Outcome:
    """Whether the first variant of each pair saw fewer triples until early stopping than the second."""
    encoders = list(dict.fromkeys(encoder for encoder, *_ in table))
    if not all(_stopped(table[encoder, *variant]) for encoder in encoders for pair in compared for variant in pair):
        raise Missing(
            "training that stops early; here all runs have a fixed number of steps and see equally many triples", "", NO_PREMISE
        )
    cases = [
        Case(
            f"{encoder}, triples",
            (said(*theirs), said(*ours)),
            *([float(result.about["triples"]) for result in table[encoder, *variant]] for variant in (theirs, ours)),
            form=",.0f",
        )
        for encoder in encoders
        for ours, theirs in compared
    ]
    return leads(cases, subject, "saw fewer triples", "more")


def _compare_peaks(table: dict[tuple[str, str, bool], list[Result]], first: Variant, second: Variant) -> Outcome:
    """Whether the first is best in validation before the second, for every encoder."""
    encoders = list(dict.fromkeys(encoder for encoder, *_ in table))
    found: list[tuple[Peaks, Peaks]] = gather(lambda one: (peaks(table[one, *first]), peaks(table[one, *second])), encoders)
    outcomes = [sooner(*each) for each in found]
    texts = tuple(
        f"{SIGNS[outcome]} {encoder}, triples at the best validation: {ours} ({said(*first)}), {theirs} ({said(*second)})"
        for encoder, outcome, (ours, theirs) in zip(encoders, outcomes, found, strict=True)
    )
    text = tally(outcomes, f"{said(*first)} targets", f"are best before {said(*second)} ones", "after them", "encoder")
    return Outcome(every(outcomes), sentences(text), texts)


def _by_batch_size(group: Group) -> dict[str, dict[int, list[Result]]]:
    """Distributed results with enough seeds by encoder and batch size; of several settings, that with most validations."""

    def sizes(encoder: str) -> dict[int, list[Result]]:
        found: dict[int, dict[tuple[int, int], list[Result]]] = {}
        for result in sorted(group.results, key=lambda result: result.experiment.seed):
            each = result.experiment
            if (each.encoder, each.target) == (encoder, DISTRIBUTED):
                found.setdefault(each.batch_size, {}).setdefault((each.steps, each.validate_every), []).append(result)
        enough = {size: [rs for rs in by.values() if len(rs) >= SEEDS] for size, by in found.items()}
        chosen = {size: max(lists, key=lambda rs: len(rs[0].validations)) for size, lists in enough.items() if lists}
        if len(chosen) < 2:
            raise Missing(f"{SEEDS} seeds of distributed targets in batches of two sizes", encoder)
        group.used |= {result.key: None for results in chosen.values() for result in results}
        return chosen

    return dict(zip(group.encoders, gather(sizes, group.encoders), strict=True))


def _traces(group: Group, seeds: int = 1) -> dict[str, list[pd.DataFrame]]:
    """The traces of distributed targets by encoder, one a seed; one is enough where nothing is compared."""

    def traces(encoder: str) -> list[pd.DataFrame]:
        results = group.seeds(encoder, DISTRIBUTED)
        if len(results) < seeds:
            raise Missing(f"{counted(seeds, 'seed')} of distributed targets", encoder)
        return [result.trace for result in results]

    return dict(zip(group.encoders, gather(traces, group.encoders), strict=True))


def _stopped(results: Sequence[Result]) -> bool:
    return all(result.about["stopped_early"] for result in results)
