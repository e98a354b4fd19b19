"""The claims of sections 3 and 5.1 to 5.3 judged by the paper's own tables; most of their evidence is in figures alone."""

from __future__ import annotations

import numpy as np
import pandas as pd

from armbook.claims.verdicts import Judges, Outcome, judges
from armbook.published import MODELS, SCORES, SETS, TRIPLES, gains, table2, table3, variant3, variant4

STOPPED_AFTER = 16 * 500 * 128 / 1e6  # million triples between the best validation and early stopping (section 5.4)
JUDGES: Judges = {}


def _risen(cells: dict[str, float]) -> str:
    """The cells that are above 0, each with its figure."""
    return ", ".join(f"{cell} {gain:+.3f}" for cell, gain in cells.items() if gain > 0) or "none"


@judges(JUDGES, "tuning-helps")
def _tuning_helps() -> Outcome:
    tuned, default = variant4("static tuned", False), variant4("static eps=1", False, "Hofstatter et al. 2021")
    pairs = " and ".join(f"{tuned[f'{year}_ndcg10']:.2f} against {default[f'{year}_ndcg10']:.2f} on {SETS[year]}" for year in SETS)
    return None, (
        f"Only Figure 3 shows the sweep; the one pair in a table, distilBERT in Table 4, has nDCG@10 {pairs}, less than 0.1 "
        f"apart, but "
        f"its target 1 is another work's training on {default.triples_millions} instead of {tuned.triples_millions} million "
        f"triples."
    )


@judges(JUDGES, "optimum-depends-on-model")
def _optimum_model() -> Outcome:
    return None, "Only Figure 3 shows the sweep; no table prints the static targets that were chosen."


@judges(JUDGES, "optimum-depends-on-measure")
def _optimum_measure() -> Outcome:
    return None, "Only Figure 3 shows the sweep; no table prints the targets that were chosen, and none has Hits@100."


@judges(JUDGES, "static-in-batch-no-gain")
def _static_in_batch() -> Outcome:
    ndcg = gains("ndcg10", ("static", True), ("static", False))
    recall = gains("r1000", ("static", True), ("static", False))
    lower = sum(gain < 0 for gain in ndcg.values())
    return None, (
        f"Figure 3's re-ranking and Hits@100 are in no table; in Table 3 in-batch negatives lower nDCG@10 in {lower} of "
        f"{len(ndcg)} "
        f"cases, but raise Recall@1000 in {sum(gain > 0 for gain in recall.values())} of {len(recall)}: {_risen(recall)}."
    )


@judges(JUDGES, "adaptive-peaks-early")
def _peaks_early() -> Outcome:
    table = table3()
    seen = table[table.target == "adaptive"].triples_millions
    return None, (
        f"Only Figure 4 shows the course; the adaptive trainings of Table 3 were stopped early after {seen.min():.2f} to "
        f"{seen.max():.2f} "
        f"million triples, {seen.min() * 1e6 / TRIPLES:.0%} to {seen.max() * 1e6 / TRIPLES:.0%} of all, much before half of them."
    )


@judges(JUDGES, "adaptive-in-batch-lowers-ndcg")
def _adaptive_in_batch_ndcg() -> Outcome:
    rises = gains("ndcg10", ("adaptive", True), ("adaptive", False))
    seen = {model: [variant3(model, "adaptive", each)["triples_millions"] for each in (False, True)] for model in MODELS}
    sooner = ", ".join(f"{model} {a:.2f} to {b:.2f}" for model, (a, b) in seen.items() if b < a)
    higher = sum(gain > 0 for gain in rises.values())
    return higher == 0 and not sooner, (
        f"In Table 3's full ranking in-batch negatives raise the nDCG@10 of adaptive targets in {higher} of {len(rises)} cases "
        f"({_risen(rises)}), and early stopping came sooner with them for {sooner} million triples; Figure 4's re-ranking is in "
        f"no table."
    )


@judges(JUDGES, "adaptive-in-batch-hits")
def _adaptive_in_batch_hits() -> Outcome:
    rises = gains("r1000", ("adaptive", True), ("adaptive", False))
    of = {model: " and ".join(f"{rises[f'{model} on {year}']:+.3f}" for year in SETS.values()) for model in MODELS}
    listed = "; ".join(f"{model} {text}" for model, text in of.items())
    return None, f"No table has Hits@100; Recall@1000 in Table 3 (2019 and 2020) rises for every encoder: {listed}."


@judges(JUDGES, "adaptive-favours-recall")
def _adaptive_recall() -> Outcome:
    parts = []
    for in_batch in (False, True):
        ndcg, recall = (gains(score, ("adaptive", in_batch), ("static", in_batch)) for score in SCORES)
        lower, gained = sum(gain < 0 for gain in ndcg.values()), sum(gain > 0 for gain in recall.values())
        how = "with" if in_batch else "without"
        parts.append(f"{how} in-batch negatives nDCG@10 is lower in {lower} and Recall@1000 higher in {gained} of 6 cases")
    return None, f"No table has Hits@100; in Table 3, adaptive against static, {parts[0]}, {parts[1]}."


@judges(JUDGES, "distributed-converges-faster")
def _converges_faster() -> Outcome:
    compared = (("distributed", True), ("adaptive", False), ("adaptive", True))
    seen = {model: [variant3(model, *each)["triples_millions"] for each in compared] for model in MODELS}
    later = [model for model, (ours, *theirs) in seen.items() if ours >= min(theirs)]
    listed = "; ".join(f"{model} {ours:.2f} against {plain:.2f} and {batch:.2f}" for model, (ours, plain, batch) in seen.items())
    return not later, (
        f"Early stopping ends a training a fixed {STOPPED_AFTER:.2f} million triples after its best validation; Table 3 has, in "
        f"millions, "
        f"distributed against adaptive without and with in-batch negatives, {listed}: later for {' and '.join(later) or 'none'}."
    )


@judges(JUDGES, "smaller-batches-data-efficient")
def _smaller_batches() -> Outcome:
    return None, "Only Figure 5 compares batch sizes; every row of Table 3 was trained with 128."


@judges(JUDGES, "distributed-best-in-batch")
def _best_in_batch() -> Outcome:
    leads = {
        f"{cell} over {target}": gain
        for target in ("static", "adaptive")
        for cell, gain in gains("ndcg10", ("distributed", True), (target, True)).items()
    }
    nearest = min(leads, key=leads.__getitem__)
    return min(leads.values()) > 0, (
        f"In Table 3 distributed targets have the higher nDCG@10 in {sum(gain > 0 for gain in leads.values())} of {len(leads)} "
        f"comparisons "
        f"with static and adaptive targets in batch; the smallest lead is {leads[nearest]:.3f} ({nearest})."
    )


@judges(JUDGES, "batch-size-marginal")
def _batch_marginal() -> Outcome:
    return None, "Only Figure 5 compares batch sizes; every row of Table 3 was trained with 128."


def _instance() -> pd.DataFrame:
    return table2().set_index("role").loc[["d-max", "d-mid", "d-min"]]


@judges(JUDGES, "targets-settle-at-half")
def _settle() -> Outcome:
    middle = _instance().target["d-mid"]
    return None, f"Only Figure 6 shows the course; in Table 2's one instance the target nearest to the mean is {middle:.2f}."


@judges(JUDGES, "targets-skew-positive")
def _skew() -> Outcome:
    high, middle, low = _instance().target
    return None, (
        f"Only Figure 6 shows the distribution; in Table 2's one instance the highest target is {high - middle:.2f} above the "
        f"one nearest "
        f"to the mean and the lowest {middle - low:.2f} below it ({high:.2f}, {middle:.2f}, {low:.2f}), as claimed."
    )


@judges(JUDGES, "targets-converge-across-encoders")
def _converge() -> Outcome:
    return None, "Only Figure 6 shows the distributions; Table 2 has one instance of one encoder after fine-tuning."


@judges(JUDGES, "relevance-follows-target")
def _relevance() -> Outcome:
    rows = _instance()
    listed = ", ".join(f"{row.relevance:.2f} at target {row.target:.2f}" for row in rows.itertuples())
    return bool(rows.relevance.is_monotonic_decreasing), (
        f"Table 2's negatives have relevance {listed}: the one with the lowest target is more relevant than the middle one."
    )


def _single_margins(rows: pd.DataFrame) -> list[float]:
    """Margins, to three digits, whose squared errors against every target would print as the losses of Table 2."""
    half = 0.005  # what rounding to two digits hides, of targets and of losses
    margins = np.arange(-2000, 2001)[:, None] / 1000
    errors, losses = np.abs(margins - rows.target.to_numpy()), rows.instance_loss.to_numpy()
    possible = (np.maximum(0, errors - half) ** 2 <= losses + half) & ((errors + half) ** 2 >= losses - half)
    return margins[possible.all(axis=1), 0].tolist()


@judges(JUDGES, "loss-follows-target")
def _loss() -> Outcome:
    rows = _instance()
    positive = table2().set_index("role").relevance["d+"]
    in_batch = (positive - rows.relevance - rows.target) ** 2
    listed = ", ".join(f"{row.instance_loss:.2f} at target {row.target:.2f}" for row in rows.itertuples())
    single = "fit no single margin" if not _single_margins(rows) else "also fit a single margin"
    return bool(rows.instance_loss.is_monotonic_decreasing and rows.instance_loss.is_unique), (
        f"Table 2's losses fall with the target: {listed}; they equal {', '.join(f'{value:.3f}' for value in in_batch)}, the "
        f"squared error "
        f"of adaptive targets in batch (margin to each negative), and {single}, which distributed targets (equation 3) have."
    )


@judges(JUDGES, "explicit-mean-fails")
def _explicit_mean() -> Outcome:
    return None, "The paper only says so; no table or figure has an explicit mean target."
