"""What the ablations of distributed targets say, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from armbook.ablations import FOLLOWED, MEAN, RATE, REFERENCE, STOPPED, Sources, average_gaps, by_ablation, gaps, settings, settled
from armbook.claims.verdicts import MARGIN
from armbook.miniature import each
from armbook.results import half_range
from armbook.sentences import listed_in_words
from armlib.experiments.result import Result
from armlib.training.settings import MEASURE


def answer(shown: Sources) -> str:
    """Whether the explicit mean fails where distributed targets do not, and which other changes cost more than 0.05 nDCG@10.

    Raises:
        InputError: as `by_ablation`.
    """
    return each(shown, lambda results: f"{_mean_said(results)} {_others_said(results)}")


def _mean_said(results: Sequence[Result]) -> str:
    found = by_ablation(results)
    changes = {score: gaps(found, score).loc[MEAN].mean() for score in settings(results)}
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
    return f"{said}, so it does not fail here.{' A different seed makes more difference.' if smaller else ''}"


def _others_said(results: Sequence[Result]) -> str:
    average = average_gaps(results).drop([REFERENCE, MEAN], errors="ignore")
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


def rates_said(shown: Sources) -> str:
    """What the learning rate changes, and which ablations change less."""

    def said(results: Sequence[Result]) -> str:
        average = average_gaps(results)
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
