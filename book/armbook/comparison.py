"""The variants of Table 3: what they achieve, and what their training costs, the search for a static target included.

Scores and costs stand in long tables of one form, by source: published, MS MARCO in miniature, this copy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from armbook import published
from armbook.learning_curves import learning_curve
from armbook.miniature import HERE
from armbook.results import (
    ADAPTIVE,
    DISTRIBUTED,
    HITS,
    RECALL,
    STATIC,
    VARIANTS,
    in_full,
    is_of_the_paper,
    is_static,
    named,
    of_sweep,
    over_seeds,
    trained_again,
    tuned_targets,
    variant_name,
)
from armbook.side_by_side import PUBLISHED, paper_collections
from armbook.style import short_name
from armbook.tables import BEST
from armlib.errors import InputError
from armlib.evaluation.equivalence import DAGGER, compare
from armlib.evaluation.evaluate import FULL_RANKING, RERANKING
from armlib.experiments.result import Result
from armlib.losses import Static, parse_target
from armlib.training.settings import MEASURE

Variant = tuple[str, str, bool]  # encoder, target (``static`` for the tuned one), in-batch
TIED = "="  # where several variants share the highest score, none is the best
RECALL_1000 = "R(rel=2)@1000"  # of the published Table 3 (section 4)
COMPARED = (
    ((STATIC, False), (DISTRIBUTED, False)),
    ((STATIC, True), (DISTRIBUTED, False)),
    ((STATIC, False), (ADAPTIVE, False)),
    ((STATIC, True), (ADAPTIVE, True)),
)


def comparable(shown: Mapping[str, Sequence[Result]]) -> dict[str, list[Result]]:
    """Of what came with the repository, the encoders that have all five variants; what was trained for this copy as it is.

    Args:
        shown: by source, as `armbook.miniature.sources` has it.
    """
    kept: dict[str, list[Result]] = {}
    for source, results in shown.items():
        kept[source] = list(results) if source == HERE else _with_all_variants(results)
    return {source: results for source, results in kept.items() if results}


def _with_all_variants(results: Iterable[Result]) -> list[Result]:
    whole, there = _once(results), dict[str, set[tuple[str, bool]]]()
    for result in in_full(whole):
        each = result.experiment
        there.setdefault(each.encoder, set()).add((STATIC if is_static(result) else each.target, each.in_batch))
    return [result for result in whole if there.get(result.experiment.encoder, set()).issuperset(VARIANTS)]


def variants(results: Iterable[Result]) -> dict[Variant, list[Result]]:
    """Results, one a seed, of the five variants of every encoder; of static targets the one with the best validation nDCG@10.

    Args:
        results: a sweep over static targets, adaptive and distributed targets, further seeds of the tuned ones; any order, the same
            result may stand in it twice.

    Raises:
        InputError: an encoder lacks a variant.
    """
    whole = _once(results)
    by_loss: dict[Variant, list[Result]] = {}
    for result in whole:
        each = result.experiment
        by_loss.setdefault((each.encoder, each.target, each.in_batch), []).append(result)
    targets, found = tuned_targets(whole), {}
    for encoder in dict.fromkeys(result.experiment.encoder for result in whole):
        for target, in_batch in VARIANTS:
            value = targets.get((encoder, in_batch))
            one = target if target != STATIC or value is None else str(Static(value))
            if (encoder, one, in_batch) not in by_loss:
                raise InputError(f"a comparison of variants lacks results of {named(encoder, target, in_batch)}")
            chosen = in_full(by_loss[encoder, one, in_batch])
            found[encoder, target, in_batch] = sorted(chosen, key=lambda each: each.experiment.seed)
    return found


def training_costs(results: Iterable[Result]) -> pd.DataFrame:
    """What the variants cost (the last columns of Table 3); all are means over seeds.

    The search for a static target is the sum of one training run for each target of the sweep, with the mean over the seeds that
    all targets have; where these were shorter, the one with the tuned target comes on top. The seconds are those of optimiser
    steps, without validation and evaluation.

    Returns:
        A row for each encoder and variant: ``encoder``, ``target`` (``static`` for the tuned one), ``in_batch``, ``seconds`` of one
        training, ``seconds_with_sweep`` (equal to ``seconds`` where nothing is searched for), ``triples`` seen by one training run,
        ``triples_with_sweep``, ``best_triples`` (seen at the best validation of the mean over seeds).
    """
    whole = _once(results)
    rows = []
    for (encoder, target, in_batch), chosen in variants(whole).items():
        searched = _swept(whole, encoder, in_batch, chosen) if target == STATIC else [chosen]
        rows.append(
            {
                "encoder": encoder,
                "target": target,
                "in_batch": in_batch,
                "seconds": _mean_seconds(chosen),
                "seconds_with_sweep": float(sum(map(_mean_seconds, searched))),
                "triples": _mean_triples(chosen),
                "triples_with_sweep": sum(map(_mean_triples, searched)),
                "best_triples": int(learning_curve(chosen).mean(axis="columns").idxmax()),
            }
        )
    return pd.DataFrame(rows)


def variant_scores(results: Iterable[Result], mode: str = FULL_RANKING) -> pd.DataFrame:
    """Effectiveness of the variants: nDCG@10, and Recall@1000 of full ranking or Hits@100 of re-ranking (Table 3).

    Within an encoder, a collection and a measure, every variant is tested for equivalence to the best one as in section 5.4: paired
    TOST within 0.05, p below 0.05 after Bonferroni correction for the tests of that group, on per-query means over seeds.

    Returns:
        A row for each variant, collection and measure: ``encoder``, ``target``, ``in_batch``, ``collection``, ``measure``, ``mean``
        and ``spread`` (half the range) over ``seeds``, ``corrected p`` (missing for the best), ``mark`` as `marks` gives it.
    """
    found = variants(results)
    rows = []
    for encoder in dict.fromkeys(encoder for encoder, _, _ in found):
        group = {variant: found[encoder, *variant] for variant in VARIANTS}
        for collection in evaluation_collections(group[STATIC, False]):
            evaluations = {variant_name(*variant): over_seeds(chosen, collection, mode) for variant, chosen in group.items()}
            for measure in paper_measures(next(iter(evaluations.values())).mean, mode):
                compared = compare(evaluations, measure)
                marked = marks(compared)
                for variant, chosen in group.items():
                    values = [result.value(collection, mode, measure) for result in chosen]
                    name = variant_name(*variant)
                    rows.append(
                        {
                            "encoder": encoder,
                            "target": variant[0],
                            "in_batch": variant[1],
                            "collection": collection,
                            "measure": measure,
                            "mean": float(np.mean(values)),
                            "spread": float(np.ptp(values)) / 2,
                            "seeds": len(values),
                            "corrected p": compared.loc[name, "corrected p"],
                            "mark": marked[name],
                        }
                    )
    return pd.DataFrame(rows)


def marks(compared: pd.DataFrame) -> pd.Series:
    """What Table 3 prints beside a score: ``best``, a dagger for equivalent to the best, or nothing.

    Args:
        compared: a group of variants as `armlib.evaluation.equivalence.compare` gives it.

    Returns:
        Text by variant. Variants that share the highest score are marked `TIED`: then none of them is the best.
    """
    return compared["mark"].where(~compared["best"], TIED if compared["best"].sum() > 1 else BEST)


def scores_by_source(shown: Mapping[str, Sequence[Result]], mode: str = FULL_RANKING) -> dict[str, pd.DataFrame]:
    """The `variant_scores` of every source, on the paper's collections where there are such, else on all.

    Args:
        shown: as `comparable` gives it.
        mode: of full ranking, the scores that the paper printed come first.
    """
    ours = {source: variant_scores(results, mode) for source, results in shown.items()}
    kept = {source: frame[frame.collection.isin(paper_collections(frame.collection))] for source, frame in ours.items()}
    return {PUBLISHED: published_scores(), **kept} if mode == FULL_RANKING else kept


def costs_by_source(shown: Mapping[str, Sequence[Result]]) -> dict[str, pd.DataFrame]:
    """The `training_costs` of every source, those that the paper printed first."""
    return {PUBLISHED: published_costs(), **{source: training_costs(results) for source, results in shown.items()}}


def published_scores() -> pd.DataFrame:
    """The paper's Table 3 in the form of `variant_scores`."""
    marked = {"best": BEST, "yes": DAGGER, "no": ""}
    rows = [
        {
            "encoder": row["model"],
            "target": row["target"],
            "in_batch": row["in_batch"],
            "collection": name,
            "measure": measure,
            "mean": row[f"{year}_{score}"],
            "spread": float("nan"),
            "seeds": 1,
            "corrected p": float("nan"),
            "mark": marked[row[f"{year}_{score}_equivalent"]],
        }
        for year, name in published.SETS.items()
        for score, measure in {"ndcg10": MEASURE, "r1000": RECALL_1000}.items()
        for row in published.table3().to_dict("records")
    ]
    return pd.DataFrame(rows)


def published_costs() -> pd.DataFrame:
    """The time and triples of the paper's Table 3 in the form of `training_costs`, where they say how far training went.

    The paper prints no time of one training run with static targets, and no triples at the best validation.
    """
    table = published.table3()
    costs = table[["target", "in_batch"]].assign(encoder=table.model, seconds_with_sweep=table.hours * 3600)
    return costs.assign(triples=(table.triples_millions * 1e6).round().astype(int))


def selection(results: Iterable[Result]) -> str:
    """On which queries the static targets and the steps of these results were chosen; goes on with a sentence that has begun."""
    whole = _once(results)
    validated = ", ".join(sorted({result.about["validated_on"] for result in whole}))
    text = f"static targets are tuned by nDCG@10 on {validated}"
    if all(result.experiment.selection == "last" for result in whole):
        steps = ", ".join(f"{count:,}" for count in sorted({result.experiment.steps for result in in_full(whole)}))
        text += f"; every training run takes {steps} steps and keeps its last weights."
    else:
        text += ", which chooses the step whose weights are kept, too."
    if any(result.chosen_on_test_set for result in whole):
        text += " That is one of the test sets, as in the paper, so scores on it are optimistic."
    return text


def tuned_in_words(results: Iterable[Result]) -> str:
    """The tuned static targets by encoder, such as ``lsa/mpnet 0.3 (in-batch 0.5)``."""
    found = tuned_targets(_once(results))
    encoders = dict.fromkeys(encoder for encoder, _ in found)
    return "; ".join(f"{short_name(name)} {found[name, False]:g} (in-batch {found[name, True]:g})" for name in encoders)


def evaluation_collections(results: Sequence[Result]) -> list[str]:
    """Names of the collections that results were measured on, in order."""
    return list(dict.fromkeys(name for result in results for name in result.measures.collection))


def paper_measures(measured: Iterable[str], mode: str) -> list[str]:
    """Those of the measured that the paper reports: nDCG@10, and Recall@1000 of full ranking or Hits@100 of re-ranking."""
    second = {FULL_RANKING: RECALL, RERANKING: HITS}[mode]
    return [name for pattern in (re.escape(MEASURE), second) for name in measured if re.fullmatch(pattern, name)]


def _swept(results: Sequence[Result], encoder: str, in_batch: bool, chosen: Sequence[Result]) -> list[list[Result]]:
    """What a search trains: each target with the seeds that all have; the tuned one, too, if those were trained for less."""
    by_value: dict[float, dict[int, Result]] = {}
    swept = of_sweep(filter(is_static, results))
    swept = [each for each in swept if (each.experiment.encoder, each.experiment.in_batch) == (encoder, in_batch)]
    for result in swept:
        by_value.setdefault(parse_target(result.experiment.target).value, {})[result.experiment.seed] = result
    seeds = set.intersection(*map(set, by_value.values()))
    found = [[some[seed] for seed in sorted(seeds)] for some in by_value.values()]
    return [*found, list(chosen)] if trained_again(chosen, swept) else found


def _mean_seconds(results: Sequence[Result]) -> float:
    return float(np.mean([result.about["seconds"]["training"] for result in results]))


def _mean_triples(results: Sequence[Result]) -> int:
    return round(np.mean([result.about["triples"] for result in results]))


def _once(results: Iterable[Result]) -> list[Result]:
    return list({result.key: result for result in results if is_of_the_paper(result)}.values())
