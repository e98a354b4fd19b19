"""Shards of long work in this process; `armlib.experiments.scoring` has them made by many."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from armlib.progress import bar
from armlib.training.interrupts import Stopped, stop_event


def in_this_process(make: Callable[[int], None], numbers: Sequence[int], description: str) -> None:
    """Make the shards of these numbers, one after the other.

    Raises:
        Stopped: SIGTERM came; those that are made stay.
    """
    with stop_event() as stop, bar(len(numbers), description, "shards") as shown:
        for done, number in enumerate(numbers):
            if stop.is_set():
                raise Stopped(f"stopped by SIGTERM after {done} of {len(numbers)} shards; the same call goes on from there")
            make(number)
            shown.update()
