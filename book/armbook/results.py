"""Finished results in the words of the book: variants, seeds, tuned targets, and the measures that are reported.

A variant is a pair (target, in-batch). Its target is ``static`` for static targets whatever their value, and then stands for the
tuned one; distributed targets, which use the batch by themselves, are not in-batch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from armlib.errors import InputError, unknown
from armlib.evaluation.evaluate import FULL_RANKING, RERANKING
from armlib.evaluation.measures import Evaluation, mean_evaluation
from armlib.experiments.experiment import Experiment
from armlib.experiments.result import Result
from armlib.losses import Static, parse_target
from armlib.training.settings import MEASURE

STATIC, ADAPTIVE, DISTRIBUTED, MEAN = "static", "adaptive", "distributed", "mean"
VARIANTS = ((STATIC, False), (STATIC, True), (ADAPTIVE, False), (ADAPTIVE, True), (DISTRIBUTED, False))
SEEDS = 2  # the fewest that a comparison may rest on
HITS = r"Success(\(rel=\d+\))?@100"
RECALL = r"R(\(rel=\d+\))?@1000"
REPORTED = {RERANKING: (MEASURE, HITS), FULL_RANKING: (MEASURE, RECALL)}  # what the paper reports in each mode (section 4)
SATURATED = 0.98  # of what the first stage allows: where no result has less, hits tell nothing apart
PREFERRED = "2019"  # Figures 3 to 5 of the paper are on TREC-DL 2019
KEY = re.compile(r"[0-9a-f]{12}")  # of an experiment, and the name of its folder
Score = tuple[str, str, str]  # collection, mode, measure


def variant_name(target: str, in_batch: bool) -> str:
    """A variant in words."""
    return f"{target}, in-batch" if in_batch else target


def named(encoder: str, target: str, in_batch: bool) -> str:
    """A variant and its encoder in words."""
    return f"{variant_name(target, in_batch)} with {encoder}"


def is_of_the_paper(result: Result) -> bool:
    """Whether a result is of a plain encoder and a margin loss that learned from random triples by itself, as the paper's are."""
    each = result.experiment
    return bool(each.target) and each.sampler == "random" and not (each.lists or each.teacher or each.context)


def is_static(result: Result) -> bool:
    """Whether a result's loss is the paper's with a static target, without a demand on the variance."""
    if not is_of_the_paper(result):
        return False
    target = parse_target(result.experiment.target)
    return isinstance(target, Static) and not target.variance


def of_sweep(results: Iterable[Result]) -> list[Result]:
    """Those of some results that a profile with a shorter sweep trained for it: with the fewest steps, measured the least."""
    return _of_extent(results, min)


def in_full(results: Iterable[Result]) -> list[Result]:
    """Those of some results that are compared with other losses: with the most steps, measured the most."""
    return _of_extent(results, max)


def _of_extent(results: Iterable[Result], choose: Callable) -> list[Result]:
    whole = list(results)
    extents = [(each.experiment.steps, each.experiment.full_ranking) for each in whole]
    wanted = choose(extents, default=None)
    return [each for each, extent in zip(whole, extents, strict=True) if extent == wanted]


def tuned_targets(results: Iterable[Result]) -> dict[tuple[str, bool], float]:
    """The best static target by (encoder, in-batch); results of other losses among them are left out."""
    sorted_out: dict[tuple[str, bool], dict[float, list[Result]]] = {}
    for each in of_sweep(each for each in results if is_static(each) and each.experiment.reading == "paper"):
        of_encoder = sorted_out.setdefault((each.experiment.encoder, each.experiment.in_batch), {})
        of_encoder.setdefault(parse_target(each.experiment.target).value, []).append(each)
    return {key: best_static(by_value) for key, by_value in sorted_out.items()}


def best_static(results: Mapping[float, Sequence[Result]]) -> float:
    """The static target with the best validation nDCG@10 of the kept weights, on the mean of the seeds that all targets have.

    Args:
        results: of one encoder and kind of negatives, by static target.

    Raises:
        InputError: no seed is common to all targets.
    """
    seeds = set.intersection(*({each.experiment.seed for each in some} for some in results.values())) if results else set()
    if not seeds:
        raise InputError("a static target is tuned on seeds that all targets of the sweep have, and there are none")

    def score(value: float) -> float:
        kept = [each.kept_validation for each in results[value] if each.experiment.seed in seeds]
        return sum(kept) / len(kept)

    return max(results, key=score)


def trained_again(chosen: Iterable[Result], swept: Iterable[Result]) -> bool:
    """Whether results of the tuned target cost time on top of the sweep's: none of them is one of the sweep."""
    return {each.key for each in chosen}.isdisjoint(each.key for each in swept)


def over_seeds(results: Iterable[Result], collection: str, mode: str) -> Evaluation:
    """The mean over seeds of every query's measures."""
    return mean_evaluation([result.per_query(collection, mode) for result in results])


def one_measure(evaluation: Evaluation, measure: str = MEASURE) -> Evaluation:
    """An evaluation without its other measures."""
    return Evaluation.from_per_query(evaluation.per_query[[measure]])


def encoder_name(experiment: Experiment) -> str:
    """The encoder that an experiment starts from; one that another experiment ended with is named by that one's key."""
    path = Path(experiment.encoder)
    return (
        f"the encoder of {path.parent.name}" if path.name == "encoder" and KEY.fullmatch(path.parent.name) else experiment.encoder
    )


def seeds_of(results: Iterable[Result]) -> list[int]:
    """The seeds of results, in their order."""
    return [result.experiment.seed for result in results]


def half_range(values: Sequence[float]) -> float:
    """Half the range of the values, NaN of one alone."""
    return float(np.ptp(values)) / 2 if len(values) > 1 else float("nan")


def reported_collection(results: Sequence[Result], name: str = "") -> str:
    """The evaluation collection that a figure shows.

    Args:
        results: finished experiments.
        name: of a collection that they were measured on; empty takes TREC-DL 2019 where it is there, as the paper does, else the
            first.

    Raises:
        InputError: no collection is common to all results, or the one that is named is not.
    """
    sets = [list(dict.fromkeys(result.measures.collection)) for result in results]
    common = [each for each in sets[0] if all(each in others for others in sets)] if sets else []
    if not common:
        raise InputError("a figure needs results that were measured on a common collection, and there are none")
    if name and name not in common:
        raise unknown("evaluation collection of these results", name, common)
    return name or next((each for each in common if PREFERRED in each), common[0])


def measure_name(results: Sequence[Result], collection: str, mode: str, pattern: str) -> str:
    """The whole name of a measure, which carries the lowest relevant grade, such as ``R(rel=2)@1000``.

    Raises:
        InputError: the first of the results has no such measure; lists those it has.
    """
    rows = results[0].measures
    there = list(rows[(rows.collection == collection) & (rows["mode"] == mode)].measure)
    found = [name for name in there if re.fullmatch(pattern, name)]
    if not found:
        raise unknown(f"measure of {mode} on {collection}", pattern.replace("\\", ""), there)
    return found[0]


def hits_measure(results: Sequence[Result], collection: str) -> tuple[str, str]:
    """Hits@100 of re-ranking, the paper's stand-in for recall (section 4), or Recall@1000 of full ranking in its place.

    Re-ranking cannot find what the first stage lacks. Where every result has at least `SATURATED` of the hits that the first
    stage allows, as when it has a hundred passages a query, the measure says nothing about the encoders. It stays where a result
    has no full ranking.

    Returns:
        The mode and the measure's name, to be passed to `armlib.experiments.result.Result.value`.
    """
    hits = measure_name(results, collection, RERANKING, HITS)
    # Re-ranking keeps up to 1000 passages, so a query has Recall@1000 above 0 where the first stage has anything relevant.
    found = results[0].per_query(collection, RERANKING).scores(measure_name(results, collection, RERANKING, RECALL))
    ceiling = float((found > 0).mean())
    saturated = min(result.value(collection, RERANKING, hits) for result in results) >= SATURATED * ceiling
    if saturated and all(FULL_RANKING in set(result.measures["mode"]) for result in results):
        return FULL_RANKING, measure_name(results, collection, FULL_RANKING, RECALL)
    return RERANKING, hits


def telling_scores(results: Sequence[Result]) -> list[Score]:
    """What the paper reports in each mode, as far as it tells these results apart: the same value everywhere says nothing.

    So the hits of a re-ranked first stage are left out where they are cut as deep as the first stage is.

    Raises:
        InputError: the results were not measured on the same collections.
    """
    values: dict[Score, list[float]] = {}
    for result in results:
        for row in result.measures.itertuples(index=False):
            if any(re.fullmatch(pattern, row.measure) for pattern in REPORTED[row.mode]):
                values.setdefault((row.collection, row.mode, row.measure), []).append(row.value)
    partial = [score for score, found in values.items() if len(found) < len(results)]
    if partial:
        raise InputError(f"not every result was measured by {', '.join(partial[0])}; compare results of one profile")
    return [score for score, found in values.items() if len(results) == 1 or np.ptp(found) > 1e-12]


def spoken(measure: str) -> str:
    """A measure in the paper's words: ``Success(rel=2)@100`` is Hits@100, ``R@1000`` is Recall@1000."""
    for written, said in (("Success", "Hits"), ("R", "Recall")):
        measure = re.sub(rf"^{written}(\(rel=\d+\))?@", f"{said}@", measure)
    return measure


def headed(measure: str) -> str:
    """A measure as the head of a column, such as ``R@1000`` for ``R(rel=2)@1000``; the caption says from which grade on."""
    return re.sub("^Recall@", "R@", spoken(measure))
