"""Static, adaptive and distributed targets trained side by side: how the runs went, and what came out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from armbook import miniature, published
from armbook.counts import short_count
from armbook.evidence import of_profile
from armbook.learning_curves import learning_curve, smoothed_traces
from armbook.miniature import HERE, NAME
from armbook.results import ADAPTIVE, DISTRIBUTED, RECALL, STATIC, measure_name
from armbook.sentences import capital
from armbook.style import STYLE, colour
from armbook.tables import DASH, value_text
from armlib.evaluation.evaluate import FULL_RANKING, RERANKING
from armlib.experiments.experiment import Experiment
from armlib.experiments.profile import Profile
from armlib.experiments.result import Result
from armlib.training.settings import MEASURE

Sources = Mapping[str, Sequence[Result]]
LEVEL = 0.005  # of validation nDCG@10: a smaller fall is none
WIDTH = 6.4  # inches: text stays readable on a narrow screen
UNDER = {"linewidth": 5.0, "alpha": 0.45}  # of distributed targets, which another line may cover
DASHED = {"linestyle": (0, (4, 2)), "zorder": 3}  # of adaptive targets, which may run along distributed ones
PRINTED = {"static, tuned": STATIC, ADAPTIVE: ADAPTIVE, DISTRIBUTED: DISTRIBUTED}


def sources(own: Sequence[Result], profile: Profile, targets: Sequence[str]) -> dict[str, list[Result]]:
    """What came with the repository, where it has two of the targets or more, and what was trained for this copy.

    Args:
        own: results of this copy.
        profile: their scale.
        targets: what is compared.
    """
    small = miniature.scale()
    if miniature.is_of(profile):
        return {HERE: list(own)}
    there = compared(of_profile(small).there(_asked(small, targets)).values(), small, targets)
    return {**({NAME: there} if there else {}), HERE: list(own)}


def compared(found: Iterable[Result], profile: Profile, targets: Sequence[str]) -> list[Result]:
    """Results of a profile's first encoder that differ in target and seed alone, with the seeds that all targets have.

    Returns:
        In the order of the targets, then of the seeds; none where fewer than two targets are there.
    """
    named = {result.experiment: result for result in found}
    by_target: dict[str, dict[int, Result]] = {}
    for asked in _asked(profile, targets):
        if asked in named:
            by_target.setdefault(asked.target, {})[asked.seed] = named[asked]
    seeds = set.intersection(*map(set, by_target.values())) if len(by_target) > 1 else set()
    return [by_target[target][seed] for target in by_target for seed in sorted(seeds)]


def _asked(profile: Profile, targets: Sequence[str]) -> list[Experiment]:
    return [profile.vary(encoder=profile.encoders[0], target=target, seed=seed) for target in targets for seed in profile.seeds]


def by_variant(found: Iterable[Result]) -> dict[str, list[Result]]:
    """Results by variant, in their order."""
    grouped: dict[str, list[Result]] = {}
    for result in found:
        grouped.setdefault(result.experiment.variant(), []).append(result)
    return grouped


def answer(shown: Sources) -> str:
    """Where validation ends for each target, and which of them fall, in Markdown: a paragraph for each source."""
    return miniature.each(shown, _told)


def _told(found: Sequence[Result]) -> str:
    curves = {name: learning_curve(some).mean(axis="columns") for name, some in by_variant(found).items()}
    ends = {name: curve.iloc[-1] for name, curve in curves.items()}
    order = sorted(ends, key=ends.__getitem__, reverse=True)
    seen = max(curve.index[-1] for curve in curves.values())
    ranked = ", ".join(f"{name} {ends[name]:.3f}" for name in order)
    courses = [f"{_targets(name)} {course}" for name, curve in curves.items() if (course := _course(name, curve))]
    end = f"After {short_count(seen)} triples, validation {MEASURE} is, from best to worst: {ranked}."
    return " ".join([end, *(f"{text}." for text in courses)])


def _targets(name: str) -> str:
    return f"{capital(name)} targets" if "(" not in name else f"With {name}, validation"


def _course(name: str, curve: pd.Series) -> str:
    """How validation goes: always told of adaptive targets, of others where the first validation is the best."""
    best = int(curve.to_numpy().argmax())
    verb = "" if "(" not in name else "s"
    if best == 0 and len(curve) > 1:
        return f"fall{verb} from the first validation on ({curve.iloc[0]:.3f} → {curve.iloc[-1]:.3f})"
    if name != ADAPTIVE:
        return ""
    if best == len(curve) - 1:
        return "are still rising at the end"
    if curve.iloc[best] - curve.iloc[-1] < LEVEL:
        return "level off"
    return f"peak after {short_count(curve.index[best])} triples and end {curve.iloc[best] - curve.iloc[-1]:.3f} lower"


def learning(shown: Sources) -> Figure:
    """How training runs went: validation nDCG@10 (top) and the mean of D+ x D- (bottom), a column for each source.

    Lines are means over seeds; those of distributed targets are broad, and those of adaptive ones dashed, so that neither hides
    the other.
    """
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(2, len(shown), figsize=(WIDTH, 5.4), layout="constrained", squeeze=False)
        for (scores, similarities), (name, found) in zip(grid.T, shown.items(), strict=True):
            for variant, some in by_variant(found).items():
                look = UNDER if variant == DISTRIBUTED else DASHED if variant == ADAPTIVE else {}
                _draw(scores, learning_curve(some), variant, marker="o", markersize=3, **look)
                _draw(similarities, smoothed_traces(some, lambda trace: trace.similarity_mean), variant, **look)
            scores.set_title(name, loc="left")
            similarities.set_xlabel("triples seen")
            for axes in (scores, similarities):
                axes.xaxis.set_major_locator(plt.MaxNLocator(4))
                axes.xaxis.set_major_formatter(lambda count, _: short_count(count))
        grid[0, 0].set_ylabel(f"validation {MEASURE}")
        grid[1, 0].set_ylabel("cosine of $d^+$ and $d^-$")
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _draw(axes: Axes, seeds: pd.DataFrame, variant: str, **look: object) -> None:
    means = seeds.mean(axis="columns")
    axes.plot(means.index, means, color=colour(variant), label=variant, **look)


def outcome(shown: Sources) -> pd.DataFrame:
    """What came out, published and measured, as text.

    Returns:
        A row for each source, collection and target; columns ``source``, ``collection``, ``target``, ``re-ranking nDCG@10``,
        ``nDCG@10`` and ``R@1000`` of full ranking: means over seeds, with half the range where there are several.
    """
    rows = []
    for year, collection in published.SETS.items():
        for name, target in PRINTED.items():
            printed = published.variant3("distilBERT", target, False)
            scores = [DASH, *(f"{printed[f'{year}_{score}']:.3f}" for score in published.SCORES)]
            rows.append(("published", collection, name, *scores))
    for source, found in shown.items():
        names = dict.fromkeys(found[0].measures.collection)
        for collection in names:
            for variant, some in by_variant(found).items():
                asked = ((RERANKING, MEASURE), (FULL_RANKING, MEASURE), (FULL_RANKING, RECALL))
                scores = [_score(some, collection, mode, pattern) for mode, pattern in asked]
                rows.append((source, collection, variant, *scores))
    columns = ["source", "collection", "target", f"re-ranking {MEASURE}", MEASURE, "R@1000"]
    return pd.DataFrame(rows, columns=columns)


def _score(some: Sequence[Result], collection: str, mode: str, pattern: str) -> str:
    """A measure as text; a dash where the mode was not measured."""
    if not all(mode in set(one.measures["mode"]) for one in some):
        return DASH
    name = measure_name(some, collection, mode, pattern)
    return value_text([one.value(collection, mode, name) for one in some])
