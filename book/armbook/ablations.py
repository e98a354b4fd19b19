"""Ablations of distributed targets: what each changes in scores and similarities, and what one batch tells of it."""

from __future__ import annotations

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
from armbook.learning_curves import SECOND_LINE, SMOOTHED, draw_curve, smoothed_traces
from armbook.results import Score, seeds_of, spoken, telling_scores
from armbook.style import GREY, STYLE, colour, marker
from armbook.tables import value_text
from armlib.encoder.bi_encoder import BiEncoder
from armlib.errors import InputError
from armlib.experiments.experiment import Experiment
from armlib.experiments.profile import Profile
from armlib.experiments.result import Result
from armlib.experiments.training_data import TrainingData
from armlib.losses import MarginLoss, mean_targets
from armlib.training.settings import MEASURE

SEED, MEAN = "seed", "mean"  # what marks of an ablation stand for, in their gid behind its name
REFERENCE = "distributed"  # what every ablation changes in one respect
FOLLOWED = ("distributed", "mean", "static", "distributed, stopped gradient")  # whose similarities figure 2 of the page follows


def ablations_figure(results: Sequence[Result], profile: Profile) -> Figure:
    """What each ablation changes in nDCG@10 against distributed targets: a point for each seed and a bar at their mean.

    Args:
        results: such as those of `armbook.chapters.ablations`.
        profile: whose learning rate the others are named by.

    Returns:
        A figure with a row of axes for each collection and a column for each mode. Points have the gid ``<ablation>:seed``, bars
        ``<ablation>:mean``; a band shows how far the seeds of distributed targets lie from their own mean.

    Raises:
        InputError: as `by_ablation`.
    """
    found = by_ablation(results, profile)
    wanted = [score for score in telling_scores(results) if score[2] == MEASURE]
    collections, modes = (list(dict.fromkeys(score[level] for score in wanted)) for level in (0, 1))
    names = [name for name in found if name != REFERENCE]
    with plt.rc_context(STYLE):
        size = (9, 0.9 + len(collections) * (0.7 + 0.24 * len(names)))
        figure, panels = plt.subplots(
            len(collections), len(modes), figsize=size, layout="constrained", sharey=True, sharex="row", squeeze=False
        )
        for score in wanted:
            axes = panels[collections.index(score[0]), modes.index(score[1])]
            own = pd.Series([result.value(*score) for result in found[REFERENCE]])
            axes.axvspan(own.min() - own.mean(), own.max() - own.mean(), color=colour(REFERENCE), alpha=0.15, linewidth=0)
            axes.axvline(0, color=colour(REFERENCE), linewidth=1)
            for height, name in enumerate(names):
                values, shade = gaps(found, score).loc[name], colour(name)
                shape = marker(found[name][0].experiment.encoder)
                axes.plot(values, [height] * len(values), shape, color=shade, markerfacecolor="none", gid=f"{name}:{SEED}")
                axes.plot(values.mean(), height, "|", color=shade, markersize=13, markeredgewidth=2.5, gid=f"{name}:{MEAN}")
            axes.set(title=f"{score[0]}, {score[1]}", yticks=range(len(names)), yticklabels=names)
            axes.tick_params(axis="y", length=0)
        panels[0, 0].invert_yaxis()  # all share it
        for axes in panels[-1]:
            axes.set_xlabel(f"difference in {MEASURE} to {REFERENCE}")
        shape = marker(results[0].experiment.encoder)
        keys = [
            Line2D([], [], color=GREY, marker=shape, linestyle="none", markerfacecolor="none", label="a seed"),
            Line2D([], [], color=GREY, marker="|", linestyle="none", markersize=13, markeredgewidth=2.5, label="mean of seeds"),
            Patch(color=colour(REFERENCE), alpha=0.3, label=f"seeds of {REFERENCE} around their mean"),
        ]
        figure.legend(handles=keys, loc="outside lower center", ncols=3)
    return figure


def similarities_figure(results: Sequence[Result], profile: Profile) -> Figure:
    """The similarities of positives to negatives during training, of the losses that the second identity compares.

    Args:
        results: such as those of `armbook.chapters.ablations`; those of distributed targets, of the explicit mean, of a static
            target with the penalty and of a stopped gradient are drawn, as far as they are there.
        profile: whose learning rate the others are named by.

    Returns:
        A figure with two axes, the mean of D+ x D- and its maximum minus its minimum, each a rolling mean of 32 batches; a line for
        each loss, the mean over seeds, whose gid is its name.

    Raises:
        InputError: as `by_ablation`.
    """
    found = {
        name: some for name, some in by_ablation(results, profile).items() if name.split("(")[0] in FOLLOWED or name in FOLLOWED
    }
    with plt.rc_context(STYLE):
        figure, (means, widths) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
        means.axhline(0, color=GREY, linewidth=0.8, linestyle=(0, (1, 2)))
        for name, some in found.items():
            shape = {"color": colour(name), "gid": name, **(SECOND_LINE if some[0].experiment.stop_gradient else {})}
            if some[0].experiment.target == "mean":
                shape["linestyle"] = (0, (1, 1.2))  # it may run along distributed's
            draw_curve(means, smoothed_traces(some, lambda trace: trace.similarity_mean), label=name, **shape)
            draw_curve(widths, smoothed_traces(some, lambda trace: trace.similarity_maximum - trace.similarity_minimum), **shape)
        means.set(xlabel="triples seen", ylabel="cosine similarity", title="mean of D+ x D-")
        widths.set(xlabel="triples seen", title="maximum minus minimum of D+ x D-")
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def ablation_name(experiment: Experiment, profile: Profile) -> str:
    """What an ablation changes, in a few words: its variant, or a learning rate as a multiple of the profile's."""
    factor = experiment.learning_rate / profile.experiment.learning_rate
    return experiment.variant() if abs(factor - 1) < 1e-9 else f"{experiment.variant()}, learning rate × {factor:g}"


def by_ablation(results: Iterable[Result], profile: Profile) -> dict[str, list[Result]]:
    """Results by `ablation_name` in the order given, each in the order of its seeds.

    Raises:
        InputError: distributed targets are not among them, or an ablation has other seeds than they.
    """
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(ablation_name(result.experiment, profile), []).append(result)
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


def ablations_table(results: Sequence[Result], profile: Profile) -> pd.DataFrame:
    """Distributed targets and their ablations, as text.

    Args:
        results: such as those of `armbook.chapters.ablations`.
        profile: whose learning rate the others are named by.

    Returns:
        A row for each collection and ablation. Columns, on two levels: ``at the end`` with the mean of D+ x D- over the last 32
        steps; for each mode its measures (binary ones cut at the collection's own grade), as mean
        ``±`` half the range over seeds, with the mean difference to distributed targets behind it.

    Raises:
        InputError: as `by_ablation` and `armbook.results.telling_scores`.
    """
    found, wanted = by_ablation(results, profile), telling_scores(results)
    rows: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    for score in wanted:
        collection, mode, measure = score
        changes = gaps(found, score).mean(axis="columns")
        for name, some in found.items():
            row = rows.setdefault((collection, name), {("at the end", "mean D+ x D-"): f"{settled(some):.3f}"})
            row[mode, spoken(measure)] = value_text([result.value(*score) for result in some])
            row[mode, f"{spoken(measure)}, difference"] = "" if name == REFERENCE else f"{changes[name]:+.3f}"
    table = pd.DataFrame.from_dict(rows, orient="index").fillna("")
    table.index = pd.MultiIndex.from_tuples(rows, names=["collection", "ablation"])
    return table.set_axis(pd.MultiIndex.from_tuples(table.columns), axis="columns")


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
