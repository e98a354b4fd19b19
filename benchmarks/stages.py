"""Stages of one long call: each has a deadline, none can end the call, and what was measured is kept after every one."""

from __future__ import annotations

import gc
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from armlib.errors import one_line

Figures = dict
DONE = "done"


class OutOfTime(BaseException):
    """A stage ran past its deadline. No `Exception`: what a stage catches must not catch this."""


class Stages:
    """Runs stages in turn.

    Args:
        seconds: of all stages together.
        keep: called with the figures of all stages so far, after every stage.

    Attributes:
        found: by stage: ``outcome`` (`DONE`, or what went wrong), ``seconds``, ``figures`` (as far as it came), and ``where`` it
            failed.
    """

    def __init__(self, seconds: float, keep: Callable[[dict[str, Figures]], object]) -> None:
        self.ends, self.keep = time.monotonic() + seconds, keep
        self.found: dict[str, Figures] = {}

    def run(self, name: str, seconds: float, stage: Callable[[Figures], None], least: float = 2.0) -> None:
        """Run a stage, or note that there was no time for it.

        Args:
            name: of the stage.
            seconds: after so many it is interrupted.
            stage: puts what it measures into the figures that it is given, as it goes.
            least: with less time left it is not begun.
        """
        started, figures = time.monotonic(), Figures()
        left = min(seconds, self.ends - started)
        noted: Figures = {"outcome": DONE, "seconds": 0.0, "figures": figures}
        self.found[name] = noted
        try:
            if left < least:
                noted["outcome"] = f"not begun, with {max(left, 0):.0f} s left"
            else:
                print(f"{name} ...", flush=True)
                with deadline(left):
                    stage(figures)
        except OutOfTime:
            noted["outcome"] = f"interrupted after {left:.0f} s"
        except Exception as error:
            # Whatever it is, the next stage can still measure something.
            noted["outcome"] = one_line(f"{type(error).__name__}: {error}")
            frames = traceback.extract_tb(sys.exc_info()[2])[-6:]
            noted["where"] = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
        noted["seconds"] = round(time.monotonic() - started, 2)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        print(f"{name}: {noted['outcome']}, {noted['seconds']:.1f} s", flush=True)
        self.keep(self.found)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise `OutOfTime` in the main thread after some seconds, as soon as Python is at work again."""

    def ring(*_: object) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
