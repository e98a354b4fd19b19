"""The rules by which measured values are compared: scores over seeds, and courses of training."""

from __future__ import annotations

from collections.abc import Iterable

from armbook.claims.verdicts import Outcome


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


def sooner(first: tuple[int, bool], second: tuple[int, bool]) -> bool | None:
    """Whether the first peak comes before the second; neither where both trainings were still rising, or it hides the answer."""
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
