"""What the variants of Table 3 achieve against what their training costs, the search for a static target included."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter

from armbook import published
from armbook.learning_curves import learning_curve
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
from armbook.style import GREY, STYLE, colour, marker, short_name
from armbook.tables import BEST, cell, two_levels, yes_or_no
from armlib.errors import InputError
from armlib.evaluation.equivalence import DAGGER, compare
from armlib.evaluation.evaluate import FULL_RANKING, RERANKING
from armlib.experiments.result import Result
from armlib.losses import Static, parse_target
from armlib.training.settings import MEASURE

Variant = tuple[str, str, bool]  # encoder, target (``static`` for the tuned one), in-batch
COMPARED = (
    ((STATIC, False), (DISTRIBUTED, False)),
    ((STATIC, True), (DISTRIBUTED, False)),
    ((STATIC, False), (ADAPTIVE, False)),
    ((STATIC, True), (ADAPTIVE, True)),
)


def effectiveness_and_cost(results: Iterable[Result], mode: str = FULL_RANKING) -> Figure:
    """nDCG@10 over training seconds, a panel for each evaluation collection.

    Args:
        results: as `variants` takes them.
        mode: ``full ranking`` or ``re-ranking``.

    Returns:
        A figure in which every encoder and variant is one marker, with half the range of its seeds up and down, at the seconds of
        its training; for static targets at those of the whole sweep, with a thin line that leads back to those of one training run.
    """
    results = list(results)
    cost = training_costs(results).set_index(["encoder", "target", "in_batch"])
    measured = variant_scores(results, mode)
    measured = measured[measured.measure == MEASURE]
    panels = list(measured.collection.unique())
    with plt.rc_context(STYLE):
        width = min(10.5, max(7.5, 3.8 * len(panels)))
        figure, grid = plt.subplots(1, len(panels), figsize=(width, 3.8), layout="constrained", squeeze=False)
        for axes, collection in zip(grid[0], panels, strict=True):
            for _, row in measured[measured.collection == collection].iterrows():
                spent = cost.loc[row.encoder, row.target, row.in_batch]
                shade = colour(variant_name(row.target, row.in_batch))
                if row.target == STATIC:
                    axes.plot([spent.seconds, spent.seconds_with_sweep], [row["mean"]] * 2, color=shade, linewidth=0.8, zorder=1)
                label = f"{row.encoder}, {variant_name(row.target, row.in_batch)}"
                style = {"color": shade, "marker": marker(row.encoder), "linestyle": "none", "elinewidth": 0.8}
                axes.errorbar(spent.seconds_with_sweep, row["mean"], yerr=row.spread, label=label, **style)
            axes.set(xscale="log", xlabel="training seconds, search included", title=collection)
            for set_formatter in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
                set_formatter(LogFormatter(minor_thresholds=(1, 0.5)))
        grid[0, 0].set_ylabel(f"{MEASURE} ({mode})")
        names = [variant_name(*variant) for variant in VARIANTS]
        keys = [Line2D([], [], color=colour(name), linewidth=4, label=name) for name in names]
        for encoder in measured.encoder.unique():
            keys.append(Line2D([], [], color=GREY, marker=marker(encoder), linestyle="none", label=short_name(encoder)))
        figure.legend(handles=keys, loc="outside lower center", ncols=4)
    return figure


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
        ``best_triples`` (seen at the best validation of the mean over seeds).
    """
    whole = _once(results)
    rows = []
    for (encoder, target, in_batch), chosen in variants(whole).items():
        seconds = float(np.mean([result.about["seconds"]["training"] for result in chosen]))
        rows.append(
            {
                "encoder": encoder,
                "target": target,
                "in_batch": in_batch,
                "seconds": seconds,
                "seconds_with_sweep": _sweep_seconds(whole, encoder, in_batch, chosen) if target == STATIC else seconds,
                "triples": round(np.mean([result.about["triples"] for result in chosen])),
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
        and ``spread`` (half the range) over ``seeds``, ``corrected p`` (missing for the best), ``mark`` (``best``, a dagger for
        equivalent to the best, or nothing).
    """
    found = variants(results)
    rows = []
    for encoder in dict.fromkeys(encoder for encoder, _, _ in found):
        group = {variant: found[encoder, *variant] for variant in VARIANTS}
        for collection in evaluation_collections(group[STATIC, False]):
            evaluations = {variant_name(*variant): over_seeds(chosen, collection, mode) for variant, chosen in group.items()}
            for measure in paper_measures(next(iter(evaluations.values())).mean, mode):
                compared = compare(evaluations, measure)
                for variant, chosen in group.items():
                    values = [result.value(collection, mode, measure) for result in chosen]
                    row = compared.loc[variant_name(*variant)]
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
                            "corrected p": row["corrected p"],
                            "mark": BEST if row.best else row["mark"],
                        }
                    )
    return pd.DataFrame(rows)


def table3(results: Iterable[Result], mode: str = FULL_RANKING) -> pd.DataFrame:
    """Table 3 as text, of what was measured here; for re-ranking without the columns on training.

    Returns:
        A row for each encoder and variant; columns of two levels: ``model`` with encoder, target (the tuned one of static targets)
        and in-batch; each collection with its measures, as `cell` writes them; ``training`` with seconds and triples.
    """
    whole = _once(results)
    found, measured = variants(whole), variant_scores(whole, mode)
    cost = training_costs(whole).set_index(["encoder", "target", "in_batch"])
    rows = []
    for (encoder, target, in_batch), chosen in found.items():
        row = {
            ("model", "encoder"): encoder,
            ("model", "target"): chosen[0].experiment.target,
            ("model", "in-batch"): yes_or_no(in_batch or target == DISTRIBUTED),
        }
        own = measured[(measured.encoder == encoder) & (measured.target == target) & (measured.in_batch == in_batch)]
        for _, each in own.iterrows():
            spread = each.spread if each.seeds > 1 else None
            row[f"{each.collection} (measured here)", each.measure] = cell(each["mean"], spread, each["mark"])
        if mode == FULL_RANKING:
            spent = cost.loc[encoder, target, in_batch]
            row["training", "seconds"] = f"{spent.seconds:,.1f}"
            row["training", "with the sweep"] = f"{spent.seconds_with_sweep:,.1f}"
            row["training", "triples seen"] = f"{spent.triples:,.0f}"
            row["training", "triples at best validation"] = f"{spent.best_triples:,.0f}"
        rows.append(row)
    return two_levels(rows)


def published3() -> pd.DataFrame:
    """The paper's own Table 3 in the form of `table3`."""
    rows = []
    for row in published.table3().to_dict("records"):
        made = {("model", "encoder"): row["model"], ("model", "target"): row["target"]}
        made["model", "in-batch"] = yes_or_no(row["uses_batch"])
        for year, name in published.SETS.items():
            for score, measure in published.SCORES.items():
                mark = {"best": BEST, "yes": DAGGER, "no": ""}[row[f"{year}_{score}_equivalent"]]
                made[f"{name} (published)", measure] = cell(row[f"{year}_{score}"], None, mark)
        made["training (published)", "hours"] = f"{row['hours']:.2f}" + (", with the sweep" if row["includes_sweep"] else "")
        made["training (published)", "triples seen"] = f"{row['triples_millions']:.2f} million"
        rows.append(made)
    return two_levels(rows)


def cost_ratios(results: Iterable[Result]) -> pd.DataFrame:
    """How many times as long static targets take, search included, as targets that need none; published ratios beside ours.

    Returns:
        A row for each encoder and pair of variants that the paper compares: ``encoder``, ``compared``, ``measured here`` and
        ``published`` (of the paper's model of the same architecture; missing where there is none).
    """
    cost = training_costs(results).set_index(["encoder", "target", "in_batch"]).seconds_with_sweep
    rows = []
    for encoder in cost.index.unique("encoder"):
        for first, second in COMPARED:
            measured = cost[(encoder, *first)] / cost[(encoder, *second)]
            names = f"{variant_name(*first)} over {variant_name(*second)}"
            rows.append((encoder, names, measured, _published_ratio(encoder, first, second)))
    return pd.DataFrame(rows, columns=["encoder", "compared", "measured here", "published"])


def selection(results: Iterable[Result]) -> str:
    """One or two sentences on what decided the static targets and the steps of these results."""
    whole = _once(results)
    validated = ", ".join(sorted({result.about["validated_on"] for result in whole}))
    text = f"Static targets were tuned by nDCG@10 on {validated}. "
    if all(result.experiment.selection == "last" for result in whole):
        steps = ", ".join(f"{count:,}" for count in sorted({result.experiment.steps for result in whole}))
        text += f"Every training run took {steps} steps and kept its last weights, so a ratio of times counts training runs."
    else:
        text += f"The step whose weights are kept is the best on {validated}, too."
    if any(result.chosen_on_test_set for result in whole):
        text += " The tables report on that set as well, as the paper does with TREC-DL 2019: its scores there are optimistic."
    return text


def evaluation_collections(results: Sequence[Result]) -> list[str]:
    """Names of the collections that results were measured on, in order."""
    return list(dict.fromkeys(name for result in results for name in result.measures.collection))


def paper_measures(measured: Iterable[str], mode: str) -> list[str]:
    """Those of the measured that the paper reports: nDCG@10, and Recall@1000 of full ranking or Hits@100 of re-ranking."""
    second = {FULL_RANKING: RECALL, RERANKING: HITS}[mode]
    return [name for pattern in (re.escape(MEASURE), second) for name in measured if re.fullmatch(pattern, name)]


def _sweep_seconds(results: Sequence[Result], encoder: str, in_batch: bool, chosen: Sequence[Result]) -> float:
    by_value: dict[float, dict[int, float]] = {}
    swept = of_sweep(filter(is_static, results))
    swept = [each for each in swept if (each.experiment.encoder, each.experiment.in_batch) == (encoder, in_batch)]
    for result in swept:
        value = parse_target(result.experiment.target).value
        by_value.setdefault(value, {})[result.experiment.seed] = result.about["seconds"]["training"]
    seeds = set.intersection(*(set(seconds) for seconds in by_value.values()))
    seconds = float(sum(np.mean([seconds[seed] for seed in seeds]) for seconds in by_value.values()))
    return seconds + trained_again(chosen, swept) * float(np.mean([each.about["seconds"]["training"] for each in chosen]))


def _published_ratio(encoder: str, first: tuple[str, bool], second: tuple[str, bool]) -> float:
    model = next((name for name in published.MODELS if name.lower() in encoder.lower()), None)
    if model is None:
        return float("nan")
    hours = [published.variant3(model, *variant)["hours"] for variant in (first, second)]
    return hours[0] / hours[1]


def _once(results: Iterable[Result]) -> list[Result]:
    return list({result.key: result for result in results if is_of_the_paper(result)}.values())
