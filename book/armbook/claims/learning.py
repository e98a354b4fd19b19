"""Judges of claims on how training goes and what it costs: validations, traces, time and triples, over comparable results."""

from __future__ import annotations

import numpy as np
import pandas as pd

from armbook.claims.evidence import Missing, gather
from armbook.claims.groups import Group, ndcg
from armbook.claims.rules import best_point, every, higher, mean, mean_curve, sooner
from armbook.claims.verdicts import MARGIN, Judges, Outcome, judges
from armbook.learning_curves import NEAR_ZERO, SMOOTHED, settled_from
from armbook.results import ADAPTIVE, DISTRIBUTED, SEEDS, STATIC, VARIANTS, trained_again, variant_name
from armlib.evaluation.evaluate import RERANKING
from armlib.experiments.result import Result

FEW_HUNDRED = 500  # batches that Figure 6 shows of the beginning
JUDGES: Judges = {}
BY_BATCH_SIZE: Judges = {}  # judged over groups in which batch sizes differ


@judges(JUDGES, "adaptive-peaks-early")
def _peaks_early(group: Group) -> Outcome:
    table = group.table((ADAPTIVE, False))
    outcomes, texts = [], []
    for (encoder, *_), results in table.items():
        line = mean_curve(results)
        triples, at_end = best_point(results)
        share = line.idxmax() / line.index[-1]
        epochs = line.index[-1] / results[0].about["available_triples"]
        unfinished = at_end and epochs < 1
        outcomes.append(None if unfinished else 0.25 <= share <= 0.75 and line.iloc[-1] < line.max())
        texts.append(
            f"{encoder} is best ({line.max():.3f}) after {triples:,} triples, {share:.0%} of its training ({epochs:.2g} epochs), "
            f"and ends "
            f"at {line.iloc[-1]:.3f}"
        )
    return every(outcomes), f"Validation nDCG@10, mean over seeds: {'; '.join(texts)}."


@judges(JUDGES, "adaptive-in-batch-lowers-ndcg")
def _in_batch_lowers(group: Group) -> Outcome:
    table = group.table((ADAPTIVE, False), (ADAPTIVE, True))
    cells = {
        f"{encoder}, {scorer}": (scorer(table[encoder, ADAPTIVE, False]), scorer(table[encoder, ADAPTIVE, True]))
        for encoder in group.encoders
        for scorer in ndcg(group, RERANKING)
    }
    lower, text = higher(cells)
    sentence = f"Without in-batch negatives adaptive targets have the higher nDCG@10 {text}"
    if lower is False:
        return False, f"{sentence}."
    later, when = _compare_peaks(table, (ADAPTIVE, False), (ADAPTIVE, True))
    return every([lower, later]), f"{sentence}; triples at the best validation, without and with: {when}."


@judges(JUDGES, "distributed-converges-faster")
def _converges_faster(group: Group) -> Outcome:
    table = group.table((DISTRIBUTED, False), (ADAPTIVE, False))
    outcome, when = _compare_peaks(table, (DISTRIBUTED, False), (ADAPTIVE, False))
    return outcome, f"Triples at the best validation, distributed and adaptive: {when}."


@judges(BY_BATCH_SIZE, "smaller-batches-data-efficient")
def _smaller_batches(group: Group) -> Outcome:
    outcomes, texts = [], []
    for encoder, sizes in _by_batch_size(group).items():
        peaks = {size: best_point(results) for size, results in sizes.items()}
        outcomes.append(sooner(peaks[min(peaks)], peaks[max(peaks)]))
        texts.append(f"{encoder} " + ", ".join(f"{_when(peaks[size])} with batches of {size}" for size in sorted(peaks)))
    return every(outcomes), f"Triples at the best validation of distributed targets: {'; '.join(texts)}."


@judges(BY_BATCH_SIZE, "batch-size-marginal")
def _batch_marginal(group: Group) -> Outcome:
    texts, ranges, larger = [], [], 0
    found = _by_batch_size(group)
    for encoder, sizes in found.items():
        best = {size: float(mean_curve(results).max()) for size, results in sizes.items()}
        ranges.append(max(best.values()) - min(best.values()))
        larger += best[max(best)] > best[min(best)]
        texts.append(f"{encoder} " + ", ".join(f"{best[size]:.3f} with batches of {size}" for size in sorted(best)))
    outcome = max(ranges) <= MARGIN and larger == 2 if len(found) == 3 else False if max(ranges) > MARGIN else None
    return outcome, (
        f"Best validation nDCG@10 of distributed targets: {'; '.join(texts)}; they differ by at most {max(ranges):.3f}, the "
        f"largest batch is "
        f"better than the smallest for {larger} of {len(found)} encoders (the claim: within {MARGIN}, and 2 of 3)."
    )


@judges(JUDGES, "targets-settle-at-half")
def _settle(group: Group) -> Outcome:
    outcomes, texts = [], []
    for encoder, trace in _traces(group).items():
        last = trace.similarity_mean.tail(SMOOTHED).mean()
        settled = settled_from(trace.similarity_mean)
        if settled is None:
            outcomes.append(None if len(trace) < FEW_HUNDRED else False)
            texts.append(f"{encoder} not within {len(trace)} batches (last mean {last:+.3f})")
        else:
            outcomes.append(settled <= FEW_HUNDRED)
            texts.append(f"{encoder} from batch {settled} on (last mean {last:+.3f})")
    return every(outcomes), f"The smoothed mean of D+ x D- stays within {NEAR_ZERO} of 0: {'; '.join(texts)}."


@judges(JUDGES, "targets-skew-positive")
def _skew(group: Group) -> Outcome:
    outcomes, texts = [], []
    for encoder, trace in _traces(group).items():
        late = trace.iloc[-max(1, len(trace) // 4) :]
        above, below = late.similarity_maximum - late.similarity_mean, late.similarity_mean - late.similarity_minimum
        outcomes.append(bool((above > below).mean() >= 0.95))
        texts.append(f"{encoder} {above.mean():.2f} above and {below.mean():.2f} below, in {(above > below).mean():.0%} of batches")
    return every(outcomes), f"Distance of the extremes of D+ x D- from their mean in the last quarter: {'; '.join(texts)}."


@judges(JUDGES, "targets-converge-across-encoders")
def _converge(group: Group) -> Outcome:
    if len(group.encoders) < 2:
        raise Missing("a second encoder in the profile")
    traces, columns = _traces(group, SEEDS), ["similarity_mean", "similarity_minimum", "similarity_maximum"]
    if min(map(len, traces.values())) < 2 * SMOOTHED:
        raise Missing(f"traces of at least {2 * SMOOTHED} batches")
    first = pd.DataFrame({encoder: trace[columns].iloc[:1].mean() for encoder, trace in traces.items()})
    last = pd.DataFrame({encoder: trace[columns].iloc[-SMOOTHED:].mean() for encoder, trace in traces.items()})
    before, after = (float(np.ptp(frame.to_numpy(), axis=1).max()) for frame in (first, last))
    return before > NEAR_ZERO and after <= NEAR_ZERO and after < before, (
        f"Mean, minimum or maximum of D+ x D- differ between encoders by at most {before:.2f} in the first batch and by at most "
        f"{after:.2f} "
        f"over the last {SMOOTHED} (the claim: by more than {NEAR_ZERO}, then by less)."
    )


@judges(JUDGES, "static-cost-over-distributed")
def _cost_distributed(group: Group) -> Outcome:
    return _cost(group, [((STATIC, False), (DISTRIBUTED, False)), ((STATIC, True), (DISTRIBUTED, False))], 3, 6)


@judges(JUDGES, "static-cost-over-adaptive")
def _cost_adaptive(group: Group) -> Outcome:
    return _cost(group, [((STATIC, False), (ADAPTIVE, False)), ((STATIC, True), (ADAPTIVE, True))], 7, 15)


@judges(JUDGES, "in-batch-data-efficient")
def _in_batch_data(group: Group) -> Outcome:
    table = group.table((STATIC, False), (STATIC, True), (ADAPTIVE, False), (ADAPTIVE, True))
    return _fewer(table, [((target, True), (target, False)) for target in (STATIC, ADAPTIVE)])


@judges(JUDGES, "self-distillation-data-efficient")
def _self_data(group: Group) -> Outcome:
    table = group.table(*VARIANTS)
    exempt = {each: results for each, results in table.items() if "distilbert" not in each[0].lower()}
    if not exempt:
        raise Missing("an encoder other than distilBERT, the claim's own exception")
    pairs = [((ADAPTIVE, False), (STATIC, False)), ((ADAPTIVE, True), (STATIC, True)), ((DISTRIBUTED, False), (STATIC, False))]
    return _fewer(exempt, pairs)


def _cost(group: Group, pairs: list, low: int, high: int) -> Outcome:
    """Seconds of a whole sweep over those of one training run, each seed's sweep and training averaged over seeds."""
    table = group.table(*{variant: None for pair in pairs for variant in pair})
    ratios, early = {}, True
    for encoder in group.encoders:
        for static, other in pairs:
            sweep, chosen = group.sweep(encoder, static[1]), table[encoder, *static]
            swept = [result for results in sweep.values() for result in results]
            shorter = trained_again(chosen, swept)
            seconds = sum(_seconds(results) for results in sweep.values()) + shorter * _seconds(chosen)
            theirs = table[encoder, *other]
            name = f"{encoder}, {len(sweep)} targets of {variant_name(*static)} over {variant_name(*other)}"
            ratios[name] = seconds / _seconds(theirs)
            early &= _stopped([*(chosen if shorter else swept), *theirs])
    listed = "; ".join(f"{name} {ratio:.1f}" for name, ratio in ratios.items())
    text = f"Training time of the sweep over that of one training run: {listed}"
    if not early:
        return None, f"{text}; steps were fixed, so this counts training runs only: early stopping of all of them is missing."
    return round(min(ratios.values())) >= low and round(max(ratios.values())) <= high, f"{text}."


def _seconds(results: list[Result]) -> float:
    return mean(result.about["seconds"]["training"] for result in results)


def _fewer(table: dict[tuple, list[Result]], pairs: list) -> Outcome:
    """Whether the first variant of each pair saw fewer triples until early stopping than the second."""
    encoders = list(dict.fromkeys(encoder for encoder, *_ in table))
    seen = {
        f"{encoder}, {variant_name(*ours)} and {variant_name(*theirs)}": tuple(
            [float(result.about["triples"]) for result in table[encoder, *variant]] for variant in (theirs, ours)
        )
        for encoder in encoders
        for ours, theirs in pairs
    }
    if not all(_stopped(table[encoder, *variant]) for encoder in encoders for pair in pairs for variant in pair):
        raise Missing(
            "early stopping of all training runs compared (their number of steps was fixed, so they saw equally many triples)"
        )
    outcome, _ = higher(seen)
    fewer = sum(mean(ours) < mean(theirs) for theirs, ours in seen.values())
    listed = "; ".join(f"{name} {mean(ours):,.0f} and {mean(theirs):,.0f}" for name, (theirs, ours) in seen.items())
    return outcome, f"Fewer triples until early stopping in {fewer} of {len(seen)} cases: {listed}."


def _compare_peaks(table: dict[tuple, list[Result]], first: tuple[str, bool], second: tuple[str, bool]) -> Outcome:
    encoders = list(dict.fromkeys(encoder for encoder, *_ in table))
    found = gather(lambda encoder: (best_point(table[encoder, *first]), best_point(table[encoder, *second])), encoders)
    outcome = every([sooner(*each) for each in found])
    return outcome, "; ".join(f"{encoder} {_when(a)} and {_when(b)}" for encoder, (a, b) in zip(encoders, found, strict=True))


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
            raise Missing(f"{SEEDS} seeds of distributed with {encoder} at two batch sizes ({len(chosen)} there)")
        group.used |= {result.key: None for results in chosen.values() for result in results}
        return chosen

    return dict(zip(group.encoders, gather(sizes, group.encoders), strict=True))


def _traces(group: Group, seeds: int = 1) -> dict[str, pd.DataFrame]:
    """The trace of distributed targets by encoder, averaged over seeds; one is enough where nothing is compared."""

    def trace(encoder: str) -> pd.DataFrame:
        results = group.seeds(encoder, DISTRIBUTED)
        if len(results) < seeds:
            raise Missing(f"{'a seed' if seeds == 1 else f'{seeds} seeds'} of distributed with {encoder} ({len(results)} there)")
        return pd.concat([result.trace for result in results]).groupby("step", as_index=False).mean(numeric_only=True)

    return dict(zip(group.encoders, gather(trace, group.encoders), strict=True))


def _stopped(results: list[Result]) -> bool:
    return all(result.about["stopped_early"] for result in results)


def _when(peak_: tuple[int, bool]) -> str:
    return f"{peak_[0]:,}{' (still rising)' if peak_[1] else ''}"
