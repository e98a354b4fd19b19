"""Judges of claims that the scores of finished training runs decide, over a group of comparable results."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from armbook.claims.evidence import Missing, gather
from armbook.claims.groups import Group, Scorer, hits, ndcg, recall
from armbook.claims.rules import every, higher, mean
from armbook.claims.verdicts import MARGIN, Judges, Outcome, judges
from armbook.results import ADAPTIVE, DISTRIBUTED, MEAN, SEEDS, STATIC, VARIANTS, best_static, over_seeds, variant_name
from armlib.evaluation.equivalence import compare
from armlib.evaluation.evaluate import FULL_RANKING, RERANKING
from armlib.experiments.result import Result
from armlib.losses import Static
from armlib.training.settings import MEASURE

JUDGES: Judges = {}


@judges(JUDGES, "tuning-helps")
def _tuning_helps(group: Group) -> Outcome:
    cells = {}
    for encoder, _, sweep in _sweeps(group):
        tuned, one = sweep[best_static(sweep)], sweep[1.0]
        for scorer in ndcg(group, RERANKING):
            cells[f"{tuned[0].experiment.variant()} with {encoder}, {scorer}"] = (scorer(tuned), scorer(one))
    outcome, text = higher(cells)
    large = sum(mean(tuned) - mean(one) > 0.1 for tuned, one in cells.values())
    if any(tuned == one for tuned, one in cells.values()):  # validation chose target 1 itself
        outcome = False
    if outcome and large < len(cells) - len(group.collections()):  # one exception of the paper's six configurations a collection
        outcome = False
    return outcome, f"By nDCG@10 the target chosen on validation is better than target 1 {text}; by more than 0.1 in {large}."


@judges(JUDGES, "optimum-depends-on-model")
def _optimum_model(group: Group) -> Outcome:
    if len(group.encoders) < 2:
        raise Missing("a second encoder in the profile")
    sweeps = _sweeps(group)
    outcomes, texts = [], []
    for in_batch in (False, True):
        for scorer in ndcg(group, RERANKING):
            curves = {encoder: _best(sweep, scorer) for encoder, each, sweep in sweeps if each == in_batch}
            outcomes.append(_differ(list(curves.values())))
            best = ", ".join(f"{encoder} {top:g}" for encoder, (top, _) in curves.items())
            texts.append(f"{scorer}{', in-batch' if in_batch else ''}: {best}{_shared(list(curves.values()))}")
    return every(outcomes), f"Best static targets by {'; '.join(texts)}."


@judges(JUDGES, "optimum-depends-on-measure")
def _optimum_measure(group: Group) -> Outcome:
    outcomes, texts = [], []
    for encoder, in_batch, sweep in _sweeps(group):
        for first, second in zip(ndcg(group, RERANKING), hits(group), strict=True):
            curves = [_best(sweep, scorer) for scorer in (first, second)]
            outcomes.append(_differ(curves))
            values = f"{curves[0][0]:g} for {first.measure} and {curves[1][0]:g} for {second.measure}"
            texts.append(f"{encoder}{', in-batch' if in_batch else ''} on {first.collection} {values}{_shared(curves)}")
    return every(outcomes), f"Best static targets: {'; '.join(texts)}."


@judges(JUDGES, "static-in-batch-no-gain")
def _static_in_batch(group: Group) -> Outcome:
    table = group.table((STATIC, False), (STATIC, True))
    cells = _pairs(group, table, (STATIC, True), (STATIC, False), [*ndcg(group, RERANKING), *hits(group)])
    gained = {name: (mean(a), mean(b)) for name, (a, b) in cells.items() if min(a) > max(b)}
    listed = "; ".join(f"{name} {a:.3f} against {b:.3f}" for name, (a, b) in gained.items())
    return not gained, (
        f"In-batch negatives raise the tuned static variant in every seed over every seed without them in {len(gained)} of "
        f"{len(cells)} "
        f"cases{': ' if gained else ''}{listed}."
    )


@judges(JUDGES, "adaptive-in-batch-hits")
def _adaptive_in_batch_hits(group: Group) -> Outcome:
    roberta = [encoder for encoder in group.encoders if "roberta" in encoder.lower()]
    if not roberta or len(group.encoders) < 2:
        raise Missing("a RoBERTa and another encoder in the profile")
    table = group.table((ADAPTIVE, False), (ADAPTIVE, True))
    cells = _pairs(group, table, (ADAPTIVE, True), (ADAPTIVE, False), hits(group))
    theirs = {name: cell for name, cell in cells.items() if any(encoder in name for encoder in roberta)}
    others, text = higher({name: cell for name, cell in cells.items() if name not in theirs})
    gained = any(min(a) > max(b) for a, b in theirs.values())
    listed = ", ".join(f"{name} {mean(a):.3f} against {mean(b):.3f}" for name, (a, b) in theirs.items())
    outcome = False if gained or others is False else others
    return outcome, f"Encoders other than RoBERTa gain from in-batch negatives {text}; RoBERTa: {listed}."


@judges(JUDGES, "adaptive-favours-recall")
def _adaptive_recall(group: Group) -> Outcome:
    table = group.table((STATIC, False), (ADAPTIVE, False))
    lower, first = higher(_pairs(group, table, (STATIC, False), (ADAPTIVE, False), ndcg(group, RERANKING)))
    more, second = higher(_pairs(group, table, (ADAPTIVE, False), (STATIC, False), hits(group)))
    return every(
        [lower, more]
    ), f"Static targets have the higher nDCG@10 {first}; adaptive targets have the higher recall {second}."


@judges(JUDGES, "distributed-best-in-batch")
def _best_in_batch(group: Group) -> Outcome:
    table = group.table((DISTRIBUTED, False), (STATIC, True), (ADAPTIVE, True))
    cells: dict[str, tuple[list[float], list[float]]] = {}
    for other in ((STATIC, True), (ADAPTIVE, True)):
        cells |= _pairs(group, table, (DISTRIBUTED, False), other, [*ndcg(group, RERANKING), *ndcg(group, FULL_RANKING)])
    outcome, text = higher(cells)
    return outcome, f"Distributed targets have the higher nDCG@10 {text}."


@judges(JUDGES, "explicit-mean-fails")
def _explicit_mean(group: Group) -> Outcome:
    encoders = [each for each in group.encoders if all(len(group.seeds(each, target)) >= SEEDS for target in (DISTRIBUTED, MEAN))]
    if not encoders:
        raise Missing(f"{SEEDS} seeds of {MEAN} and of {DISTRIBUTED} with any of {', '.join(group.encoders)}")
    table = {(encoder, target, False): group.seeds(encoder, target) for encoder in encoders for target in (DISTRIBUTED, MEAN)}
    cells = _pairs(group, table, (DISTRIBUTED, False), (MEAN, False), [*ndcg(group, RERANKING), *ndcg(group, FULL_RANKING)])
    outcome, text = higher(cells)
    large = sum(mean(a) - mean(b) > MARGIN for a, b in cells.values())
    if outcome and not large:
        outcome = False
    return outcome, f"Distributed targets have a higher nDCG@10 than the explicit mean {text}; by more than {MARGIN} in {large}."


@judges(JUDGES, "static-best-ndcg")
def _static_best(group: Group) -> Outcome:
    table = group.table(*VARIANTS)
    cells: dict[str, tuple[list[float], list[float]]] = {}
    for other in VARIANTS[1:]:
        cells |= _pairs(group, table, (STATIC, False), other, ndcg(group, FULL_RANKING))
    outcome, text = higher(cells)
    return outcome, f"Tuned static targets without in-batch negatives have the higher nDCG@10 {text}."


@judges(JUDGES, "distributed-equivalent-ndcg")
def _distributed_equivalent(group: Group) -> Outcome:
    table = group.table(*VARIANTS)
    outcomes, texts = [], []
    for encoder in group.encoders:
        for collection in group.collections():
            evaluations = {
                variant_name(*variant): over_seeds(table[encoder, *variant], collection, FULL_RANKING) for variant in VARIANTS
            }
            row = compare(evaluations, MEASURE).loc[DISTRIBUTED]
            alike = bool(row.best or row.equivalent)
            exempt = "roberta" in encoder.lower() and "trec-dl-2020" in collection
            if not exempt:
                outcomes.append(True if alike else False if row.difference <= -MARGIN else None)
            how = "best" if row.best else f"{row.difference:+.3f} from the best, corrected p {row['corrected p']:.2g}"
            texts.append(f"{encoder} on {collection} {'equivalent' if alike else 'not shown equivalent'} ({how})")
    return every(outcomes), f"Paired TOST within {MARGIN}, Bonferroni, per-query means over seeds: {'; '.join(texts)}."


@judges(JUDGES, "adaptive-in-batch-best-recall")
def _best_recall(group: Group) -> Outcome:
    table = group.table(*VARIANTS)
    cells: dict[str, tuple[list[float], list[float]]] = {}
    for other in [each for each in VARIANTS if each != (ADAPTIVE, True)]:
        cells |= _pairs(group, table, (ADAPTIVE, True), other, recall(group))
    kept = {name: cell for name, cell in cells.items() if not ("distilbert" in name.lower() and "trec-dl-2019" in name)}
    if not kept:
        raise Missing("a case other than the claim's own exception, distilBERT on TREC-DL 2019")
    outcome, text = higher(kept)
    return outcome, f"Adaptive targets with in-batch negatives have the higher Recall@1000 {text}."


@judges(JUDGES, "encoder-does-not-matter")
def _encoder(group: Group) -> Outcome:
    if len(group.encoders) < 2:
        raise Missing("a second encoder in the profile")
    table = group.table(*VARIANTS)
    ranges = {}
    for variant in VARIANTS:
        for scorer in [*ndcg(group, FULL_RANKING), *recall(group)]:
            values = [mean(scorer(table[encoder, *variant])) for encoder in group.encoders]
            ranges[f"{variant_name(*variant)}, {scorer}"] = max(values) - min(values)
    widest = max(ranges, key=ranges.__getitem__)
    wide = sum(size > MARGIN for size in ranges.values())
    return (
        not wide,
        f"Encoders differ by more than {MARGIN} in {wide} of {len(ranges)} cases; most, {ranges[widest]:.3f}, in {widest}.",
    )


@judges(JUDGES, "tuning-helps-recall-most")
def _tuning_recall(group: Group) -> Outcome:
    cells = {}
    for encoder in group.encoders:
        tuned, one = group.tuned(encoder, False), group.variant(encoder, str(Static(1.0)))
        for first, second in zip(ndcg(group, FULL_RANKING), recall(group), strict=True):
            pairs = [[a - b for a, b in zip(scorer(tuned), scorer(one), strict=False)] for scorer in (second, first)]
            cells[f"{encoder} on {first.collection}"] = (pairs[0], pairs[1])
    outcome, text = higher(cells)
    gains = [mean(more) for more, _ in cells.values()]
    if min(gains) <= 0:
        outcome = False
    return outcome, (
        f"Tuning gains more Recall@1000 ({min(gains):+.3f} to {max(gains):+.3f}) than nDCG@10, as differences to target 1, {text}."
    )


def _sweeps(group: Group) -> list[tuple[str, bool, dict[float, list[Result]]]]:
    """(encoder, in-batch, results by static target) for every encoder, with and without in-batch negatives."""
    wanted = [(encoder, in_batch) for encoder in group.encoders for in_batch in (False, True)]
    found = gather(lambda each: group.sweep(*each), wanted)
    return [(*each, sweep) for each, sweep in zip(wanted, found, strict=True)]


def _best(sweep: dict[float, list[Result]], scorer: Callable[[list[Result]], list[float]]) -> tuple[float, set[float]]:
    """The target with the highest mean over seeds, and all whose mean is within the spread of seeds (half their range) of it."""
    values = {target: scorer(results) for target, results in sweep.items()}
    means = {target: mean(each) for target, each in values.items()}
    top = max(means, key=means.__getitem__)
    spread = max(float(np.ptp(each)) / 2 for each in values.values())
    return top, {target for target, value in means.items() if value >= means[top] - spread}


def _differ(curves: list[tuple[float, set[float]]]) -> bool | None:
    """True where no target is as good as the best everywhere, false where one is the best everywhere, else neither."""
    if len({top for top, _ in curves}) == 1:
        return False
    return None if set.intersection(*(good for _, good in curves)) else True


def _shared(curves: list[tuple[float, set[float]]]) -> str:
    common = sorted(set.intersection(*(good for _, good in curves)))
    if not common or len({top for top, _ in curves}) == 1:
        return ""
    return f" (within the spread of seeds {' and '.join(f'{target:g}' for target in common)} would do for all)"


def _pairs(
    group: Group, table: dict, first: tuple[str, bool], second: tuple[str, bool], scorers: list[Scorer]
) -> dict[str, tuple[list[float], list[float]]]:
    """Values of two variants for every encoder of a table and every scorer."""
    encoders = dict.fromkeys(encoder for encoder, _, _ in table)
    return {
        f"{encoder}, {variant_name(*first)} and {variant_name(*second)}, {scorer}": (
            scorer(table[encoder, *first]),
            scorer(table[encoder, *second]),
        )
        for encoder in encoders
        for scorer in scorers
    }
