"""The claims of sections 5.4 and 5.5 and of the abstract judged by the paper's own Tables 3 and 4."""

from __future__ import annotations

import pandas as pd

from armbook.claims.verdicts import MARGIN, Judges, Outcome, judges
from armbook.published import MODELS, SCORES, SETS, VARIANTS, gains, table4, variant3, variant4

JUDGES: Judges = {}


@judges(JUDGES, "static-best-ndcg")
def _static_best() -> Outcome:
    leads = {}
    for target, in_batch in VARIANTS[1:]:
        name = f"{target}{', in-batch' if in_batch and target != 'distributed' else ''}"
        leads |= {f"{cell} over {name}": gain for cell, gain in gains("ndcg10", ("static", False), (target, in_batch)).items()}
    nearest = min(leads, key=leads.__getitem__)
    return min(leads.values()) > 0, (
        f"Table 3: higher in {sum(lead > 0 for lead in leads.values())} of {len(leads)} comparisons; the smallest lead is "
        f"{leads[nearest]:.3f} nDCG@10 ({nearest})."
    )


@judges(JUDGES, "distributed-equivalent-ndcg")
def _distributed_equivalent() -> Outcome:
    rows = {model: variant3(model, "distributed", True) for model in MODELS}
    marks = {f"{model} on {SETS[year]}": rows[model][f"{year}_ndcg10_equivalent"] for model in MODELS for year in SETS}
    without = [cell for cell, mark in marks.items() if mark == "no"]
    gaps = gains("ndcg10", ("distributed", True), ("static", False))
    return without == [f"RoBERTa on {SETS['dl20']}"], (
        f"Table 3 marks {len(marks) - len(without)} of {len(marks)} cases as equivalent, not {' or '.join(without)}; distributed "
        f"targets are "
        f"{-max(gaps.values()):.3f} to {-min(gaps.values()):.3f} nDCG@10 below the best."
    )


@judges(JUDGES, "adaptive-in-batch-best-recall")
def _best_recall() -> Outcome:
    beaten, tied = {}, []
    for model in MODELS:
        for year in SETS:
            values = {variant: variant3(model, *variant)[f"{year}_r1000"] for variant in VARIANTS}
            ours = values.pop(("adaptive", True))
            if max(values.values()) > ours:
                beaten[f"{model} on {SETS[year]}"] = f"{max(values.values()):.3f} against {ours:.3f}"
            elif max(values.values()) == ours:
                tied.append(f"{model} on {SETS[year]} at {ours:.3f}")
    listed = "; ".join(f"{cell} {figures}" for cell, figures in beaten.items())
    return set(beaten) == {f"distilBERT on {SETS['dl19']}"}, (
        f"In Table 3 another variant has the higher Recall@1000 in {len(beaten)} of {len(MODELS) * len(SETS)} cases, where the "
        f"text names one: "
        f"{listed}; equal to another's to three digits for {', '.join(tied) or 'none'}."
    )


def _hour_ratios(target: str, pairs: list[tuple[bool, bool]]) -> dict[str, float]:
    """Hours of static targets over those of another, by model and by (in-batch of static, in-batch of the other)."""
    return {
        f"{model}, {'with' if ours else 'without'} in-batch": _ratio(model, ours, target, theirs)
        for model in MODELS
        for ours, theirs in pairs
    }


def _ratio(model: str, static_in_batch: bool, target: str, in_batch: bool) -> float:
    return variant3(model, "static", static_in_batch)["hours"] / variant3(model, target, in_batch)["hours"]


def _ratio_list(ratios: dict[str, float]) -> str:
    return "; ".join(f"{name} {ratio:.1f}" for name, ratio in ratios.items())


@judges(JUDGES, "static-cost-over-distributed")
def _cost_distributed() -> Outcome:
    ratios = _hour_ratios("distributed", [(False, True), (True, True)])
    return round(min(ratios.values())) == 3 and round(max(ratios.values())) == 6, (
        f"Ratios of the hours in Table 3 go from {min(ratios.values()):.1f} to {max(ratios.values()):.1f}: {_ratio_list(ratios)}."
    )


@judges(JUDGES, "static-cost-over-adaptive")
def _cost_adaptive() -> Outcome:
    ratios = _hour_ratios("adaptive", [(False, False), (True, True)])
    everything = [_ratio(model, a, "adaptive", b) for model in MODELS for a in (False, True) for b in (False, True)]
    return round(min(ratios.values())) >= 7 and round(max(ratios.values())) <= 15, (
        f"Ratios of the hours in Table 3, like with like, go from {min(ratios.values()):.1f} to {max(ratios.values()):.1f}: "
        f"{_ratio_list(ratios)}; "
        f"over all pairs from {min(everything):.1f} to {max(everything):.1f}."
    )


@judges(JUDGES, "in-batch-data-efficient")
def _in_batch_data() -> Outcome:
    seen = {
        f"{model} {target}": [variant3(model, target, each)["triples_millions"] for each in (False, True)]
        for model in MODELS
        for target in ("static", "adaptive")
    }
    others = "; ".join(f"{name} {a:.2f} to {b:.2f}" for name, (a, b) in seen.items() if b >= a)
    return not others, (
        f"In Table 3 in-batch negatives lower the triples seen in {sum(b < a for a, b in seen.values())} of {len(seen)} cases, "
        f"not for "
        f"{others} million."
    )


@judges(JUDGES, "self-distillation-data-efficient")
def _self_data() -> Outcome:
    pairs = {"adaptive": (("static", False), ("adaptive", False)), "adaptive, in-batch": (("static", True), ("adaptive", True)),
             "distributed": (("static", False), ("distributed", True))}  # fmt: skip
    seen = {
        (model, name): (variant3(model, *theirs)["triples_millions"], variant3(model, *ours)["triples_millions"])
        for model in MODELS
        for name, (theirs, ours) in pairs.items()
    }
    more = {key: figures for key, figures in seen.items() if figures[1] >= figures[0]}
    listed = "; ".join(f"{model} {name} {b:.2f} against {a:.2f}" for (model, name), (a, b) in more.items())
    return {model for model, _ in more} == {"distilBERT"}, (
        f"In Table 3 self-distillation saw fewer triples than static targets in {len(seen) - len(more)} of {len(seen)} cases, "
        f"not for "
        f"{listed} million; only distributed targets, against static ones without in-batch "
        "negatives, behave as claimed."
    )


@judges(JUDGES, "encoder-does-not-matter")
def _encoder() -> Outcome:
    ranges = {}
    for target, in_batch in VARIANTS:
        for year in SETS:
            for score, measure in SCORES.items():
                values = [variant3(model, target, in_batch)[f"{year}_{score}"] for model in MODELS]
                name = f"{target}{', in-batch' if in_batch and target != 'distributed' else ''}, {measure} on {SETS[year]}"
                ranges[name] = round(max(values) - min(values), 3)
    wide = {name: size for name, size in ranges.items() if size > MARGIN}
    listed = "; ".join(f"{name} {size:.3f}" for name, size in sorted(wide.items(), key=lambda item: -item[1]))
    return not wide, (
        f"In Table 3 the encoders differ by more than {MARGIN}, the paper's own margin of equivalence, in {len(wide)} of "
        f"{len(ranges)} "
        f"cases: {listed}."
    )


def _teachers(source: str | None = None) -> pd.DataFrame:
    table = table4()
    found = table[table.group == "teacher distillation"]
    return found if source is None else found[found.source == source]


def _behind(ours: pd.Series, theirs: pd.Series | pd.DataFrame, score: str) -> dict[str, float]:
    best = theirs.max(numeric_only=True) if isinstance(theirs, pd.DataFrame) else theirs
    return {year: round(float(best[f"{year}_{score}"] - ours[f"{year}_{score}"]), 3) for year in SETS}


@judges(JUDGES, "distributed-gap-to-teacher")
def _gap_teacher() -> Outcome:
    ours, best = variant4("distributed", True), _teachers()
    gaps = _behind(ours, best, "ndcg10")
    finer = _behind(variant3("distilBERT", "distributed", True), best, "ndcg10")
    listed = " and ".join(f"{best[f'{year}_ndcg10'].max():.2f} - {ours[f'{year}_ndcg10']:.2f} = {gaps[year]:.2f}" for year in SETS)
    return max(gaps.values()) <= 0.07, (
        f"Table 4: {listed} on TREC-DL 2019 and 2020; with Table 3's third digit {finer['dl19']:.3f} and {finer['dl20']:.3f}."
    )


@judges(JUDGES, "distributed-equivalent-to-reproduced-tasb")
def _equivalent_tasb() -> Outcome:
    ours, theirs = variant4("distributed", True), variant4("margin-mse", False, "Wang and Zuccon 2023", "tas-b")
    gaps = {}
    for score, measure in SCORES.items():
        gaps |= {f"{measure} {SETS[year]}": gap for year, gap in _behind(ours, theirs, score).items()}
    best = _behind(ours, _teachers("Wang and Zuccon 2023"), "ndcg10")
    marks = ours.equivalent_to_best_reproduced_tasb
    return max(gaps.values()) <= 0.04 and marks == "all", (
        f"Table 4: behind by {', '.join(f'{gap:.2f} ({cell})' for cell, gap in gaps.items())}, daggers on {marks} scores; behind "
        f"the best "
        f"nDCG@10 of any reproduced run by {best['dl19']:.2f} and {best['dl20']:.2f}."
    )


@judges(JUDGES, "recall-gap-to-teacher")
def _recall_gap() -> Outcome:
    ours, best = variant4("adaptive", True), _teachers()
    gaps = _behind(ours, best, "r1000")
    listed = " and ".join(f"{best[f'{year}_r1000'].max():.2f} - {ours[f'{year}_r1000']:.2f} = {gaps[year]:.2f}" for year in SETS)
    return max(gaps.values()) <= 0.06, f"Table 4: {listed} on TREC-DL 2019 and 2020."


@judges(JUDGES, "tuning-helps-recall-most")
def _tuning_recall() -> Outcome:
    tuned, default = variant4("static tuned", False), variant4("static eps=1", False, "Hofstatter et al. 2021")
    rises = {score: {year: -gap for year, gap in _behind(tuned, default, score).items()} for score in SCORES}
    more = all(rises["r1000"][year] > rises["ndcg10"][year] > 0 for year in SETS)
    listed = " and ".join(
        f"{rises['r1000'][year]:+.2f} Recall@1000 against {rises['ndcg10'][year]:+.2f} nDCG@10 on {SETS[year]}" for year in SETS
    )
    return more, (
        f"Table 4: {listed}; the two rows also differ in authors and in data, {tuned.triples_millions} and "
        f"{default.triples_millions} "
        "million triples."
    )


@judges(JUDGES, "data-efficiency-over-teacher")
def _data_teacher() -> Outcome:
    sizes = sorted(_teachers().triples_millions.unique())
    ratios = {
        name: [size / variant4(name.split(",")[0], "in-batch" in name or name == "distributed").triples_millions for size in sizes]
        for name in ("distributed", "adaptive, in-batch", "adaptive")
    }
    listed = "; ".join(f"{name} {low:.1f} and {high:.1f}" for name, (low, high) in ratios.items())
    rounded = [round(ratio) for name in ("distributed", "adaptive, in-batch") for ratio in ratios[name]]
    return rounded == [2, 3, 7, 11], (
        f"Table 4: {sizes[0]} and {sizes[1]} million triples over ours are {listed}; the larger figures need in-batch negatives."
    )


@judges(JUDGES, "thirteen-percent-of-data")
def _thirteen() -> Outcome:
    teacher = variant4("margin-mse", False, "Wang and Zuccon 2023", "tas-b")
    least, matching = variant4("adaptive", True), variant4("distributed", True)
    ndcg = " and ".join(f"{least[f'{year}_ndcg10']:.2f} against {teacher[f'{year}_ndcg10']:.2f}" for year in SETS)
    marked = least.equivalent_to_best_reproduced_tasb
    words = marked.replace("dl19_r1000 dl20_r1000", "Recall@1000 of both years")
    share, larger = (row.triples_millions / teacher.triples_millions for row in (least, matching))
    return marked == "all", (
        f"Table 4: {least.triples_millions} of {teacher.triples_millions} million triples, {share:.1%}, belong to adaptive "
        f"targets in "
        f"batch, equivalent only in {words}, with nDCG@10 {ndcg}; distributed targets match in "
        f"{matching.equivalent_to_best_reproduced_tasb} scores with {larger:.0%} of the data."
    )
