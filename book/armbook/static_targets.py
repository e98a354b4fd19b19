"""Figure 3: what the value of a static target does, by encoder, without and with in-batch negatives; and the tables beside it."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from armbook import published
from armbook.learning_curves import as_list
from armbook.results import RECALL, SATURATED, hits_measure, in_full, is_static, measure_name, spoken, tuned_targets
from armbook.style import STYLE, colour, draw_mean, encoder_lines
from armlib.errors import InputError
from armlib.evaluation.evaluate import FULL_RANKING, RERANKING
from armlib.experiments.result import Result
from armlib.losses import Static, parse_target
from armlib.training.settings import MEASURE

DEFAULT = 1.0  # the static target of Hofstätter et al. 2021, which the paper compares tuned ones with
# Static targets in the configurations that the paper's authors released (commit 76fc0d9), without and with in-batch negatives.
RELEASED_TARGETS = {"distilBERT": (0.2, 0.2), "RoBERTa": (0.1, 0.1), "MPNet": (0.3, 0.6)}
NEGATIVES = {False: "own", True: "in-batch"}


def sweep_scores(results: Sequence[Result], collection: str) -> pd.DataFrame:
    """The scores that Figure 3 shows, seed by seed.

    Args:
        results: of static targets, as `armbook.chapters.static_sweep` lists them.
        collection: what they were measured on.

    Returns:
        One row for each result and measure; columns ``encoder``, ``in_batch``, ``mode``, ``measure`` (nDCG@10 of re-ranking, then
        hits, see `armbook.results.hits_measure`), ``target``, ``seed``, ``value``.

    Raises:
        InputError: a result has another target, or there are none.
    """
    if not results:
        raise InputError("a sweep over static targets needs results, and there are none")
    shown = {MEASURE: (RERANKING, MEASURE)}
    mode, hits = hits_measure(results, collection)
    shown[spoken(hits)] = (mode, hits)
    rows = []
    for result in results:
        each = result.experiment
        if not is_static(result):
            raise InputError(f"a sweep over static targets cannot show {each.variant()}")
        target = parse_target(each.target)
        for measure, (how, name) in shown.items():
            value = result.value(collection, how, name)
            rows.append((each.encoder, each.in_batch, how, measure, target.value, each.seed, value))
    return pd.DataFrame(rows, columns=["encoder", "in_batch", "mode", "measure", "target", "seed", "value"])


def static_sweep_figure(results: Sequence[Result], collection: str) -> Figure:
    """Figure 3: nDCG@10 of re-ranking (upper row) and hits (lower row) over the static target.

    Args:
        results, collection: as for `sweep_scores`.

    Returns:
        A column without and one with in-batch negatives, where there are results; in each panel a line an encoder through the
        means over seeds, with their range, and a dot at its maximum.
    """
    scores = sweep_scores(results, collection)
    columns, measures, encoders = (list(dict.fromkeys(scores[name])) for name in ("in_batch", "measure", "encoder"))
    with plt.rc_context(STYLE):
        shape = {"figsize": (4 * len(columns), 5.2), "layout": "constrained", "squeeze": False}
        figure, panels = plt.subplots(len(measures), len(columns), **shape, sharex=True, sharey="row")
        for (in_batch, encoder, measure), part in scores.groupby(["in_batch", "encoder", "measure"], sort=False):
            axes = panels[measures.index(measure), columns.index(in_batch)]
            shade = colour("static, in-batch" if in_batch else "static")
            draw_mean(axes, part.pivot(index="target", columns="seed", values="value"), encoder=encoder, shade=shade, dotted=True)
        modes = dict(zip(scores.measure, scores["mode"], strict=True))
        for measure, (first, *_) in zip(measures, panels, strict=True):
            first.set_ylabel(f"{measure}, {modes[measure]}")
        for column, in_batch in enumerate(columns):
            panels[0, column].set_title(f"{'with' if in_batch else 'without'} in-batch negatives")
            panels[-1, column].set_xlabel("static target")
        figure.legend(handles=encoder_lines(encoders), loc="outside lower center", ncols=min(3, len(encoders)))
    return figure


def sweep_table(results: Sequence[Result], collection: str) -> pd.DataFrame:
    """What Figure 3 is read for: the best static target of each encoder, kind of negatives and measure, and what it gains.

    Args:
        results, collection: as for `sweep_scores`.

    Returns:
        One row for each encoder, kind of ``negatives`` and ``measure`` in its ``mode``. Columns: ``seeds`` of each target;
        ``best target`` by this measure (the lowest of equals) and its score ``at best``; ``at 1``, the score of target 1, missing
        where that was not trained; ``gain``, their difference, which is never negative since the target was chosen by the same
        score; ``tuned target``, chosen by validation (`armbook.results.tuned_targets`), and ``tuned gain``, its score less that
        of target 1.
    """
    scores, chosen = sweep_scores(results, collection), tuned_targets(results)
    rows = []
    for (encoder, in_batch, mode, measure), part in scores.groupby(["encoder", "in_batch", "mode", "measure"], sort=False):
        by_target = part.groupby("target").value
        means, target = by_target.mean(), chosen[encoder, in_batch]
        best, default = means.idxmax(), means.get(DEFAULT, float("nan"))
        rows.append(
            {
                "encoder": encoder,
                "negatives": NEGATIVES[in_batch],
                "mode": mode,
                "measure": measure,
                "seeds": int(by_target.size().min()),
                "best target": best,
                "at best": means[best],
                "at 1": default,
                "gain": means[best] - default,
                "tuned target": target,
                "tuned gain": means[target] - default,
            }
        )
    return pd.DataFrame(rows)


def beside_published(results: Sequence[Result], collection: str) -> pd.DataFrame:
    """Tuned static targets in full ranking, measured here and published in Table 3 (TREC-DL 2019 over all of MS MARCO).

    Args:
        results: of the sweep and of the targets that it tunes, as `armbook.chapters.tuned_static` lists them.
        collection: what they were measured on.

    Returns:
        One row for each encoder and kind of negatives; columns in two levels: ``training`` (encoder, negatives), ``measured`` here
        (the target that validation chose, and means over seeds) and ``published`` (model, target of the released code, scores),
        which is missing for encoders of another architecture than the paper's.
    """
    recall = measure_name(in_full(results), collection, FULL_RANKING, RECALL)
    rows = []
    for (encoder, in_batch), target in tuned_targets(results).items():
        wanted = (encoder, in_batch, str(Static(target)))
        found = in_full(r for r in results if (r.experiment.encoder, r.experiment.in_batch, r.experiment.target) == wanted)
        row = {("training", "encoder"): encoder, ("training", "negatives"): NEGATIVES[in_batch], ("measured", "target"): target}
        for name in (MEASURE, recall):
            row["measured", spoken(name)] = sum(r.value(collection, FULL_RANKING, name) for r in found) / len(found)
        model = next((name for name in RELEASED_TARGETS if name.lower() in encoder.lower()), None)
        if model:
            printed = published.variant3(model, "static", in_batch)
            row |= {
                ("published", "model"): model,
                ("published", "target"): RELEASED_TARGETS[model][in_batch],
                ("published", "nDCG@10"): printed["dl19_ndcg10"],
                ("published", "Recall@1000"): printed["dl19_r1000"],
            }
        rows.append(row)
    table = pd.DataFrame(rows)
    return table.set_axis(pd.MultiIndex.from_tuples(table.columns), axis="columns")


def scores_in_words(results: Sequence[Result], collection: str) -> str:
    """Which scores Figure 3 shows, in one sentence; where recall takes the place of hits, with the reason."""
    mode, measure = hits_measure(results, collection)
    if mode == RERANKING:
        return f"The scores are nDCG@10 and {spoken(measure)} of re-ranking on {collection}."
    return (
        f"The scores are nDCG@10 of re-ranking on {collection} and, instead of Hits@100, {spoken(measure)} of full ranking: here "
        f"every result has at least {SATURATED:.0%} of the Hits@100 that the first stage allows, so they tell nothing apart."
    )


def sweep_in_words(table: pd.DataFrame) -> str:
    """The four observations of section 5.1, as far as a `sweep_table` has them, as a list in Markdown."""
    ndcg = table[table.measure == MEASURE]
    best = table.pivot(index=["encoder", "negatives"], columns="measure", values="best target")
    other = next(name for name in table.measure if name != MEASURE)
    lines = [f"Best targets by nDCG@10: {_listed(ndcg)}."]
    if ndcg.gain.notna().all():
        lines.insert(
            0,
            (
                f"Over target 1, the best target gains {ndcg.gain.min():.3f} to {ndcg.gain.max():.3f} nDCG@10, more than 0.1 in "
                f"{(ndcg.gain > 0.1).sum()} of {len(ndcg)} cases. Chosen by validation it gains {ndcg['tuned gain'].min():+.3f} to "
                f"{ndcg['tuned gain'].max():+.3f}, and is better than target 1 in {(ndcg['tuned gain'] > 0).sum()} of {len(ndcg)}."
            ),
        )
    differ = (best[MEASURE] != best[other]).sum()
    lines.append(f"The best target by nDCG@10 is another one than by {other} in {differ} of {len(best)} cases.")
    scores = table.pivot(index=["encoder", "measure"], columns="negatives", values="at best")
    if set(scores) == set(NEGATIVES.values()):
        gaps = scores["in-batch"] - scores["own"]
        lines.append(
            f"Each at its best target, with in-batch negatives the score is higher in {(gaps > 0).sum()} of {len(gaps)} cases "
            f"(encoder and measure); the differences go from {gaps.min():+.3f} to {gaps.max():+.3f}."
        )
    seeds = int(table.seeds.min())
    lines.append("One seed of each: no spread to compare with." if seeds == 1 else f"Means over {seeds} seeds of each target.")
    return as_list(lines)


def _listed(rows: pd.DataFrame) -> str:
    return "; ".join(
        f"{encoder} " + ", ".join(f"{row['best target']:g} ({row.negatives} negatives)" for _, row in part.iterrows())
        for encoder, part in rows.groupby("encoder", sort=False)
    )
