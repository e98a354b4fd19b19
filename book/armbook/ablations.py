"""Ablations of distributed targets: what each changes in scores and similarities, and what one batch tells of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor

from armbook.batch_example import embedded_triples
from armbook.claims.verdicts import MARGIN
from armbook.learning_curves import SECOND_LINE, SMOOTHED, draw_curve, smoothed_traces
from armbook.miniature import each
from armbook.results import Score, half_range, headed, seeds_of, telling_scores
from armbook.sentences import listed_in_words
from armbook.style import GREY, STYLE, colour, marker
from armbook.tables import value_text
from armlib.encoder.bi_encoder import BiEncoder
from armlib.errors import InputError
from armlib.evaluation.evaluate import RERANKING
from armlib.experiments.experiment import Experiment
from armlib.experiments.result import Result
from armlib.experiments.training_data import TrainingData
from armlib.losses import MarginLoss, mean_targets
from armlib.training.settings import MEASURE

SEED, AVERAGE = "seed", "mean"  # what marks of an ablation stand for, in their gid behind its name
REFERENCE = "distributed"  # what every ablation changes in one respect
MEAN, PENALTY, BOTH, STOPPED = "explicit mean", "penalty alone", "static 0.5 with penalty", "stopped gradient"
NAMES = {"mean": MEAN, "variance": PENALTY, "static(0.5, variance=1.0)": BOTH}
RATE = "learning rate ×"
FOLLOWED = (REFERENCE, MEAN, BOTH, STOPPED)  # whose similarities are drawn
Sources = Mapping[str, Sequence[Result]]
"""By the name of a source, such as `armbook.miniature.NAME`, its results, such as those of `armbook.chapters.ablations`."""


def answer(shown: Sources) -> str:
    """Whether the explicit mean fails where distributed targets do not, and which other changes cost more than 0.05 nDCG@10.

    Raises:
        InputError: as `by_ablation`.
    """
    return each(shown, lambda results: f"{_mean_said(results)} {_others_said(results)}")


def _mean_said(results: Sequence[Result]) -> str:
    found = by_ablation(results)
    changes = {score: gaps(found, score).loc[MEAN].mean() for score in _settings(results)}
    ahead = [-change for change in changes.values()]
    count, large, won, most = len(ahead), sum(gap > MARGIN for gap in ahead), sum(gap > 0 for gap in ahead), max(ahead)
    everywhere = {1: "the one setting", 2: "both settings"}.get(count, f"all {count} settings")
    if large == count:
        return (
            f"The explicit mean fails, as the paper says: distributed targets beat it by more than {MARGIN} {MEASURE} in "
            f"{everywhere} (by up to {most:.3f})."
        )
    if large:
        return (
            f"The explicit mean fails in {large} of {count} settings, where distributed targets beat it by more than {MARGIN} "
            f"{MEASURE} (by up to {most:.3f}); in the rest it does not."
        )
    if won == count:
        said = (
            f"Distributed targets beat the explicit mean in {everywhere}, but by less than {MARGIN} {MEASURE} (at most {most:.3f})"
        )
    elif won:
        said = f"Distributed targets beat the explicit mean in {won} of {count} settings, by at most {most:.3f} {MEASURE}"
    else:
        said = (
            f"The explicit mean is as good as distributed targets or better in {everywhere} (by up to {-min(ahead):.3f} {MEASURE})"
        )
    seeds = {score: half_range([result.value(*score) for result in found[REFERENCE]]) for score in changes}
    smaller = all(abs(change) <= seeds[score] for score, change in changes.items())  # NaN of one seed is not
    return f"{said}, so it does not fail here.{' Another seed makes more of a difference.' if smaller else ''}"


def _others_said(results: Sequence[Result]) -> str:
    average = _average_gaps(results).drop([REFERENCE, MEAN], errors="ignore")
    costly = average[average < -MARGIN].sort_values()
    rest = average.drop(costly.index)
    said = f"the other changes move it by {rest.min():+.3f} to {rest.max():+.3f}" if len(rest) else ""
    if not len(costly):
        return f"On average over these settings, {said}." if said else ""
    named = listed_in_words(f"{_with_article(name)} ({change:+.3f})" for name, change in costly.items())
    verb = "costs" if len(costly) == 1 else "cost"
    return f"On average over these settings, {named} {verb} more than {MARGIN} {MEASURE}{'; ' if said else ''}{said}."


def _with_article(name: str) -> str:
    return f"a {name}" if name in (STOPPED, "soft error") else f"an {name}" if name == "absolute error" else f"the {name}"


def _settings(results: Sequence[Result]) -> list[Score]:
    """Collections and modes whose nDCG@10 tells results apart."""
    return [score for score in telling_scores(results) if score[2] == MEASURE]


def _average_gaps(results: Sequence[Result]) -> pd.Series:
    """By ablation, the change in nDCG@10 against distributed targets, averaged over seeds, collections and modes."""
    found = by_ablation(results)
    return pd.concat([gaps(found, score).mean(axis="columns") for score in _settings(results)], axis="columns").mean(axis="columns")


def rates_said(shown: Sources) -> str:
    """What the learning rate changes, and which ablations change less."""

    def said(results: Sequence[Result]) -> str:
        average = _average_gaps(results)
        rates = average[average.index.str.startswith(RATE)]
        others = average.drop([REFERENCE, *rates.index])
        most = rates.abs().max()
        less = [name for name, change in others.items() if abs(change) < most]
        changes = " and ".join(
            f"{change:+.3f} at {name.removeprefix(RATE).strip()} times the rate" for name, change in rates.items()
        )
        return (
            f"{MEASURE} changes by {changes}. {len(less)} of {len(others)} ablations change it by less"
            f"{': ' if less else ''}{', '.join(less)}."
        )

    return each(shown, said)


def similarities_said(shown: Sources) -> str:
    """Where the mean similarity of positives to negatives ends."""

    def said(results: Sequence[Result]) -> str:
        found = by_ablation(results)
        ends = {name: settled(found[name]) for name in FOLLOWED if name in found}
        return "Mean similarity over the last 32 steps: " + ", ".join(f"{name} {end:.2f}" for name, end in ends.items()) + "."

    return each(shown, said)


def ablations_figure(shown: Sources) -> Figure:
    """What each ablation changes in nDCG@10 against distributed targets: a point for each seed and a bar at their mean.

    Returns:
        A figure with a row of axes for each collection of a source and a column for each mode. Points have the gid
        ``<ablation>:seed``, bars ``<ablation>:mean``; a band shows how far the seeds of distributed targets lie from their own
        mean.

    Raises:
        InputError: as `by_ablation`.
    """
    found = {source: by_ablation(results) for source, results in shown.items()}
    scores = {source: _settings(results) for source, results in shown.items()}
    rows = [(source, collection) for source, some in scores.items() for collection in dict.fromkeys(score[0] for score in some)]
    modes = list(dict.fromkeys(score[1] for some in scores.values() for score in some))
    names = [name for name in next(iter(found.values())) if name != REFERENCE]
    with plt.rc_context(STYLE):
        size = (7.6, 0.7 + len(rows) * (0.6 + 0.22 * len(names)))
        figure, panels = plt.subplots(
            len(rows), len(modes), figsize=size, layout="constrained", sharey=True, sharex="row", squeeze=False
        )
        for source, some in scores.items():
            for score in some:
                axes = panels[rows.index((source, score[0])), modes.index(score[1])]
                _draw_gaps(axes, found[source], score, names)
        panels[0, 0].invert_yaxis()  # all share it
        for axes in panels[-1]:
            axes.set_xlabel(f"difference in {MEASURE}")
        shape = marker(next(iter(shown.values()))[0].experiment.encoder)
        keys = [
            Line2D([], [], color=GREY, marker=shape, linestyle="none", markerfacecolor="none", label="a seed"),
            Line2D([], [], color=GREY, marker="|", linestyle="none", markersize=11, markeredgewidth=2.5, label="mean of seeds"),
            Patch(color=colour(REFERENCE), alpha=0.3, label=f"seeds of {REFERENCE}"),
        ]
        figure.legend(handles=keys, loc="outside lower center", ncols=3)
    return figure


def _draw_gaps(axes: plt.Axes, found: Mapping[str, Sequence[Result]], score: Score, names: Sequence[str]) -> None:
    own = pd.Series([result.value(*score) for result in found[REFERENCE]])
    axes.axvspan(own.min() - own.mean(), own.max() - own.mean(), color=colour(REFERENCE), alpha=0.15, linewidth=0)
    axes.axvline(0, color=colour(REFERENCE), linewidth=1)
    changes = gaps(found, score)
    for height, name in enumerate(names):
        if name in found:
            values, first = changes.loc[name], found[name][0].experiment
            shade, shape = colour(first.variant()), marker(first.encoder)
            axes.plot(values, [height] * len(values), shape, color=shade, markerfacecolor="none", gid=f"{name}:{SEED}")
            axes.plot(values.mean(), height, "|", color=shade, markersize=11, markeredgewidth=2.5, gid=f"{name}:{AVERAGE}")
    axes.set(yticks=range(len(names)), yticklabels=names)
    axes.set_title(f"{score[0]}\n{score[1]}", fontsize="small")
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(plt.MaxNLocator(4))


def similarities_figure(shown: Sources) -> Figure:
    """The similarities of positives to negatives during training, of the losses that the second identity compares.

    Args:
        shown: distributed targets, the explicit mean, a static target with the penalty and a stopped gradient are drawn.

    Returns:
        A figure with a row of axes for each source and in it the mean of D+ x D- and its maximum minus its minimum, each a rolling
        mean of 32 batches; a line for each loss, the mean over seeds, whose gid is its name.

    Raises:
        InputError: as `by_ablation`.
    """
    with plt.rc_context(STYLE):
        size = (7.6, 0.6 + 2.7 * len(shown))
        figure, panels = plt.subplots(len(shown), 2, figsize=size, layout="constrained", squeeze=False, sharex="row")
        for (source, results), (means, widths) in zip(shown.items(), panels, strict=True):
            found = by_ablation(results)
            means.axhline(0, color=GREY, linewidth=0.8, linestyle=(0, (1, 2)))
            for name in FOLLOWED:
                some = found.get(name, ())
                for axes, value in ((means, _mean), (widths, _width)) if some else ():
                    shape = {"color": colour(some[0].experiment.variant()), "gid": name, "label": name, **_LOOKS.get(name, {})}
                    draw_curve(axes, smoothed_traces(some, value), **shape)
            means.set_title(f"{source}\nmean", fontsize="small")
            widths.set_title("\nmaximum minus minimum", fontsize="small")
            means.set_ylabel("cosine of D+ x D-")
            means.xaxis.set_major_locator(plt.MaxNLocator(4))
        for axes in panels[-1]:
            axes.set_xlabel("triples seen")
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


# The explicit mean may run along distributed targets, whose line is broad so that both are seen.
_LOOKS = {REFERENCE: {"linewidth": 4, "alpha": 0.5}, MEAN: {"linewidth": 1.3}, STOPPED: SECOND_LINE}


def _mean(trace: pd.DataFrame) -> pd.Series:
    return trace.similarity_mean


def _width(trace: pd.DataFrame) -> pd.Series:
    return trace.similarity_maximum - trace.similarity_minimum


def by_ablation(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Results by what they change, in the order given, each in the order of its seeds.

    A learning rate is named as a multiple of the one that most of the results have.

    Raises:
        InputError: distributed targets are not among them, or an ablation has other seeds than they.
    """
    every, found = list(results), {}
    rates = Counter(result.experiment.learning_rate for result in every)
    usual = max(rates, key=rates.__getitem__, default=0.0)
    for result in every:
        factor = result.experiment.learning_rate / usual
        variant = result.experiment.variant()
        changed = NAMES.get(variant, variant.removeprefix(f"{REFERENCE}, "))
        found.setdefault(changed if abs(factor - 1) < 1e-9 else f"{RATE} {factor:g}", []).append(result)
    if REFERENCE not in found:
        raise InputError(f"ablations are compared with {REFERENCE} targets; the results have {', '.join(found)}")
    for name, some in found.items():
        some.sort(key=lambda result: result.experiment.seed)
        if seeds_of(some) != seeds_of(found[REFERENCE]):
            raise InputError(
                f"{name} has the seeds {seeds_of(some)} and {REFERENCE} {seeds_of(found[REFERENCE])}; expected the same"
            )
    return found


def gaps(results: Mapping[str, Sequence[Result]], score: Score) -> pd.DataFrame:
    """Differences to distributed targets at equal seeds, which also share the order of the triples.

    Args:
        results: as `by_ablation` gives them.
        score: collection, mode and measure.

    Returns:
        A row for each ablation, a column for each seed; the row of distributed targets is 0.
    """
    columns = seeds_of(results[REFERENCE])
    values = {name: [result.value(*score) for result in some] for name, some in results.items()}
    table = pd.DataFrame.from_dict(values, orient="index", columns=columns)
    return table - table.loc[REFERENCE]


def ablations_table(results: Sequence[Result]) -> pd.DataFrame:
    """Distributed targets and their ablations, as text.

    Args:
        results: such as those of `armbook.chapters.ablations`.

    Returns:
        A row for each collection and ablation: ``collection``, ``ablation``, ``D+ x D-`` (mean over the last 32 steps), and for
        each mode its measures (binary ones cut at the collection's own grade), as mean ``±`` half the range over seeds, such as
        ``nDCG@10, re-ranked``.

    Raises:
        InputError: as `by_ablation` and `armbook.results.telling_scores`.
    """
    found = by_ablation(results)
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for collection, mode, measure in telling_scores(results):
        head = headed(measure)
        for name, some in found.items():
            row = rows.setdefault(
                (collection, name), {"collection": collection, "ablation": name, "D+ x D-": f"{settled(some):.3f}"}
            )
            values = [result.value(collection, mode, measure) for result in some]
            row[f"{head}, {'re-ranked' if mode == RERANKING else 'full'}"] = value_text(values)
    return pd.DataFrame(rows.values())


def settled(results: Sequence[Result]) -> float:
    """The mean of D+ x D- over the last 32 steps, averaged over results."""
    return float(np.mean([result.trace.similarity_mean.tail(SMOOTHED).mean() for result in results]))


def training_batch(encoder: BiEncoder, experiment: Experiment, seed: int = 0) -> list[Tensor]:
    """Embeddings of random training triples: queries, positives and negatives, each (B, D) float32 on the CPU.

    Args:
        encoder: whose embeddings they are.
        experiment: whose collection, validation, lengths and batch size are taken.
        seed: of the choice of triples.
    """
    data = TrainingData(experiment, encoder)
    chosen = np.sort(np.random.default_rng(seed).choice(len(data.triples), experiment.batch_size, replace=False))
    return embedded_triples(data, data.triples[chosen])


def loss_parts(encoders: Mapping[str, BiEncoder], experiment: Experiment, seed: int = 0) -> pd.DataFrame:
    """The two parts of the loss with distributed targets, for some encoders on one batch of training triples.

    Args:
        encoders: by the name of a row.
        experiment, seed: as `training_batch` takes them.

    Returns:
        A row for each encoder; columns ``distributed`` (the loss), ``mean`` and ``variance`` (the losses that it is the sum of),
        ``share of variance``, ``mean target`` and ``spread of mean targets`` (their standard deviation over positives).
    """
    rows = {}
    for name, encoder in encoders.items():
        batch = training_batch(encoder, experiment, seed)
        losses = {target: float(MarginLoss(target)(*batch)) for target in ("distributed", "mean", "variance")}
        targets = mean_targets(*batch[1:])
        rows[name] = {
            **losses,
            "share of variance": losses["variance"] / losses["distributed"],
            "mean target": float(targets.mean()),
            "spread of mean targets": float(targets.std(correction=0)),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("encoder")


def reach(batch: Sequence[Tensor], losses: Mapping[str, MarginLoss]) -> pd.DataFrame:
    """How many negatives of a batch the loss of one triple pulls, and where the loss of the batch pulls.

    Args:
        batch: embeddings of queries, positives and negatives, each (B, D).
        losses: by the name of a row, the first of which the others are compared with; of squared errors.

    Returns:
        A row for each loss; columns ``negatives pulled`` (by the first triple, of B) and ``cosine`` (between the gradients of the
        whole losses by all embeddings, with the first loss's).
    """
    rows, first = {}, None
    for name, loss in losses.items():
        moved = [embeddings.detach().clone().double().requires_grad_() for embeddings in batch]
        margins, targets = loss.terms(*moved)
        (pulls,) = torch.autograd.grad((margins - targets)[0].square().mean(), moved[2], retain_graph=True)
        whole = torch.cat([part.flatten() for part in torch.autograd.grad(loss(*moved), moved)])
        first = whole if first is None else first
        cosine = torch.cosine_similarity(whole, first, dim=0)
        rows[name] = {"negatives pulled": int((pulls.norm(dim=1) > 1e-12).sum()), "cosine": float(cosine)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("loss")
