"""The rules by which measured values are compared: scores over seeds, and learning curves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from armbook.claims.evidence import Missing
from armbook.claims.verdicts import Outcome
from armbook.learning_curves import learning_curve
from armbook.results import named
from armlib.experiments.result import Result

ENOUGH = 8  # the fewest validations that show when training was best


def higher(cells: dict[str, tuple[list[float], list[float]]]) -> Outcome:
    """Whether the first values of every cell are higher than the second, by the rule that all comparisons follow.

    It holds where the mean over seeds is higher in every cell. It does not hold where in some cell every seed of the second is
    above every seed of the first. Where a cell contradicts it, but within the spread of seeds, nothing is decided.

    Returns:
        The outcome, and a sentence with the counts and the cell that is least in favour.
    """
    gaps = {name: mean(first) - mean(second) for name, (first, second) in cells.items()}
    against = [name for name, gap in gaps.items() if gap <= 0]
    clearly = [name for name in against if max(cells[name][0]) < min(cells[name][1])]
    least = min(gaps, key=gaps.__getitem__)
    first, second = (mean(values) for values in cells[least])
    text = f"so in {len(cells) - len(against)} of {len(cells)} cases; least in favour: {least}, {first:.3f} against {second:.3f}"
    if against and not clearly:
        text += ", within the spread of seeds"
    return (not against) or (False if clearly else None), text


def mean_curve(results: Sequence[Result]) -> pd.Series:
    """Validation nDCG@10 by triples seen, averaged over seeds at the validations that all have.

    Raises:
        Missing: there are too few validations to see how training goes.
    """
    means = learning_curve(results).mean(axis="columns")
    if len(means) < ENOUGH:
        one = results[0].experiment
        which = named(one.encoder, one.target, one.in_batch)
        raise Missing(f"{ENOUGH} validations of {which} with batches of {one.batch_size} ({len(means)} there)")
    return means


def best_point(results: Sequence[Result]) -> tuple[int, bool]:
    """Triples seen at the best validation of the mean over seeds, and whether that is the last: the true best may come later."""
    means = mean_curve(results)
    best = means.idxmax()
    return int(best), bool(best == means.index[-1])


def sooner(first: tuple[int, bool], second: tuple[int, bool]) -> bool | None:
    """Whether the first peak comes before the second; neither where both were still rising, or it hides the answer."""
    if first[1] and second[1]:
        return None
    if first[1]:
        return False if first[0] >= second[0] else None
    if second[1]:
        return True if first[0] < second[0] else None
    return first[0] < second[0]


def every(outcomes: Iterable[bool | None]) -> bool | None:
    """False if one of the outcomes is, else neither if one of them is, else true."""
    listed = list(outcomes)
    return False if False in listed else None if None in listed else True


def mean(values: Iterable[float]) -> float:
    """The arithmetic mean."""
    listed = list(values)
    return sum(listed) / len(listed)
