"""Figure 3: what the value of a static target does, by encoder, without and with in-batch negatives; and the tables beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from armbook import published
from armbook.miniature import HERE
from armbook.results import (
    RECALL,
    headed,
    hits_measure,
    in_full,
    is_static,
    measure_name,
    of_sweep,
    reported_collection,
    tuned_targets,
)
from armbook.side_by_side import PUBLISHED, model_names
from armbook.style import STYLE, dashes, draw_mean, marker, short_name
from armlib.errors import InputError
from armlib.evaluation.evaluate import FULL_RANKING, RERANKING
from armlib.experiments.result import Result
from armlib.losses import Static, parse_target
from armlib.training.settings import MEASURE

DEFAULT = 1.0  # the static target of Hofstätter et al. 2021, which the paper compares tuned ones with
# Static targets in the configurations that the paper's authors released (commit 76fc0d9), without and with in-batch negatives.
RELEASED_TARGETS = {"distilBERT": (0.2, 0.2), "RoBERTa": (0.1, 0.1), "MPNet": (0.3, 0.6)}
PUBLISHED_TARGETS = tuple(round(0.1 * step, 1) for step in range(11))  # of Figure 3 (section 5.1)
NEGATIVES = {False: "own", True: "in-batch"}
WITH = {False: "without", True: "with"}
# Of encoders where these are what is compared: none is the colour of a variant, and all are readable on white and in the dark.
ENCODER_COLOURS = {"distilbert": "#2478c8", "roberta": "#c05a12", "mpnet": "#2e8b57"}
OTHER_COLOURS = ("#a0529c", "#7d7430", "#1f8a99")


def swept(results: Sequence[Result]) -> list[Result]:
    """Those of some results that Figure 3 shows: of the sweep, with the seeds that all static targets of an encoder have.

    Args:
        results: of static targets; further seeds of the tuned ones among them are left out.

    Raises:
        InputError: a result has another target, or there are none.
    """
    if not results:
        raise InputError("a sweep over static targets needs results, and there are none")
    groups: dict[tuple[str, bool], dict[float, list[Result]]] = {}
    for result in results:
        if not is_static(result):
            raise InputError(f"a sweep over static targets cannot show {result.experiment.variant()}")
    for result in of_sweep(results):
        group = groups.setdefault((result.experiment.encoder, result.experiment.in_batch), {})
        group.setdefault(parse_target(result.experiment.target).value, []).append(result)
    kept = []
    for by_value in groups.values():
        seeds = set.intersection(*({each.experiment.seed for each in some} for some in by_value.values()))
        kept += [each for some in by_value.values() for each in some if each.experiment.seed in seeds]
    return kept


def sweep_scores(results: Sequence[Result], collection: str) -> pd.DataFrame:
    """The scores that Figure 3 shows, seed by seed.

    Args:
        results: as `swept` takes them.
        collection: what they were measured on.

    Returns:
        One row for each result and measure; columns ``encoder``, ``in_batch``, ``mode``, ``measure`` (nDCG@10 of re-ranking, then
        hits, see `armbook.results.hits_measure`), ``target``, ``seed``, ``value``.

    Raises:
        InputError: as `swept`.
    """
    shown, rows = swept(results), []
    mode, hits = hits_measure(shown, collection)
    for result in shown:
        each = result.experiment
        target = parse_target(each.target).value
        for measure, how, name in ((MEASURE, RERANKING, MEASURE), (headed(hits), mode, hits)):
            rows.append((each.encoder, each.in_batch, how, measure, target, each.seed, result.value(collection, how, name)))
    return pd.DataFrame(rows, columns=["encoder", "in_batch", "mode", "measure", "target", "seed", "value"])


def static_sweep_figure(shown: Mapping[str, Sequence[Result]], collections: Mapping[str, str]) -> Figure:
    """Figure 3: for each source nDCG@10 of re-ranking (upper row) and hits (lower row) over the static target.

    Args:
        shown: results by source, as `swept` takes them.
        collections: by source, what is shown of it.

    Returns:
        A column without and one with in-batch negatives, where there are results; in each panel a line an encoder, in a colour of
        its own, through the means over seeds, with their range, and a larger dot at its maximum.
    """
    scores = {source: sweep_scores(results, collections[source]) for source, results in shown.items()}
    columns, encoders = (list(dict.fromkeys(x for each in scores.values() for x in each[name])) for name in ("in_batch", "encoder"))
    rows = [(source, measure) for source, each in scores.items() for measure in dict.fromkeys(each.measure)]
    shades = encoder_colours(encoders)
    with plt.rc_context(STYLE):
        shape = {"figsize": (3.1 * len(columns), 0.6 + 2.3 * len(rows)), "layout": "constrained", "squeeze": False}
        figure, grid = plt.subplots(len(rows), len(columns), **shape, sharex=True, sharey="row")
        for panels, (source, measure) in zip(grid, rows, strict=True):
            own = scores[source][scores[source].measure == measure]
            for (in_batch, encoder), part in own.groupby(["in_batch", "encoder"], sort=False):
                table = part.pivot(index="target", columns="seed", values="value")
                look = {"encoder": encoder, "shade": shades[encoder], "dotted": True}
                draw_mean(panels[columns.index(in_batch)], table, **look)
            panels[0].set_ylabel(f"{measure}, {own['mode'].iloc[0]}")
            for axes, in_batch in zip(panels, columns, strict=True):
                axes.set_title(f"{source},\n{WITH[in_batch]} in-batch negatives" if measure == MEASURE else "")
        for axes in grid[-1]:
            axes.set_xlabel("static target")
        looks = [{"color": shades[name], "linestyle": dashes(name), "marker": marker(name)} for name in encoders]
        handles = [Line2D([], [], label=short_name(name), **look) for name, look in zip(encoders, looks, strict=True)]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(columns) + 1, len(encoders)))
    return figure


def encoder_colours(encoders: Sequence[str]) -> dict[str, tuple[float, float, float]]:
    """A colour for each encoder, that of its architecture if it is one of the paper's."""
    others = iter(OTHER_COLOURS * len(encoders))
    known = {name: [shade for each, shade in ENCODER_COLOURS.items() if each in name.lower()] for name in encoders}
    return {name: to_rgb(found[0] if found else next(others)) for name, found in known.items()}


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


def sweep_columns(table: pd.DataFrame) -> pd.DataFrame:
    """A `sweep_table` as a page shows it, in columns of two levels."""
    signed, value = "{:+.3f}".format, "{:g}".format
    columns = {
        ("training", "encoder"): table.encoder,
        ("training", "negatives"): table.negatives,
        ("", "measure"): table.measure,
        ("target 1", "score"): table["at 1"],
        ("best by this score", "target"): table["best target"].map(value),
        ("best by this score", "score"): table["at best"],
        ("best by this score", "gain"): table.gain.map(signed, na_action="ignore"),
        ("chosen by validation", "target"): table["tuned target"].map(value),
        ("chosen by validation", "gain"): table["tuned gain"].map(signed, na_action="ignore"),
    }
    return pd.DataFrame(columns)


def shown_collections(shown: Mapping[str, Sequence[Result]], evaluation: str = "") -> dict[str, str]:
    """The evaluation collection that a page shows of each source.

    Args:
        shown: as `armbook.miniature.sources` has it.
        evaluation: asked for; of what came with the repository, only if that was measured on it. Empty takes TREC-DL 2019 where
            it is there, else the first.

    Raises:
        InputError: this copy was not measured on what is asked for.
    """
    found = {}
    for source, results in shown.items():
        measured = {name for result in results for name in result.measures.collection}
        found[source] = reported_collection(results, evaluation if source == HERE or evaluation in measured else "")
    return found


def beside_published(shown: Mapping[str, Sequence[Result]], collections: Mapping[str, str]) -> pd.DataFrame:
    """Tuned static targets in full ranking: published in Table 3, on TREC-DL 2019 over all of MS MARCO, and ours.

    Args:
        shown: by source, results of the sweep and of the targets that it tunes, as `armbook.chapters.tuned_static` lists them.
        collections: by source, what is shown of it.

    Returns:
        One row for each encoder and kind of negatives, encoders of one architecture in one row; columns in two levels: ``training``
        (encoder, negatives), then for each source the target (of the released code; that which validation chose) and the scores,
        means over seeds.
    """
    rows: dict[tuple[str, bool], dict[tuple[str, str], object]] = {}
    for model, targets in RELEASED_TARGETS.items():
        for in_batch, target in zip(NEGATIVES, targets, strict=True):
            printed = published.variant3(model, "static", in_batch)
            scores = {"target": f"{target:g}", MEASURE: printed["dl19_ndcg10"], "R@1000": printed["dl19_r1000"]}
            rows[model, in_batch] = {(PUBLISHED, name): value for name, value in scores.items()}
    for source, results in shown.items():
        recall = measure_name(in_full(results), collections[source], FULL_RANKING, RECALL)
        names = model_names(each.experiment.encoder for each in results)
        for (encoder, in_batch), target in tuned_targets(results).items():
            wanted = (encoder, in_batch, str(Static(target)))
            found = [r for r in results if (r.experiment.encoder, r.experiment.in_batch, r.experiment.target) == wanted]
            row = rows.setdefault((names[encoder], in_batch), {})
            row[source, "target"] = f"{target:g}"
            for name in (MEASURE, recall):
                values = [each.value(collections[source], FULL_RANKING, name) for each in in_full(found)]
                row[source, headed(name)] = sum(values) / len(values)
    made = [
        {("training", "encoder"): encoder, ("training", "negatives"): NEGATIVES[in_batch], **row}
        for (encoder, in_batch), row in rows.items()
    ]
    table = pd.DataFrame(made)
    order = ["training", PUBLISHED, *shown]
    columns = sorted(table.columns, key=lambda column: order.index(column[0]))
    return table[columns].set_axis(pd.MultiIndex.from_tuples(columns), axis="columns")
