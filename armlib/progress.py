"""Progress of long work: a bar where somebody watches (a terminal, or JupyterLab), lines where stderr goes to a file, nothing in
notebooks that papermill runs.

``$ARMLIB_PROGRESS`` decides where it is set: ``0`` for nothing, ``1`` or ``bar``, ``lines``.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Self, TypeVar

from tqdm import tqdm

from armlib.errors import one_line

Item = TypeVar("Item")
SECONDS_BETWEEN_LINES = 30.0
FRONT_ENDS = ("JPY_SESSION_NAME", "VSCODE_PID", "COLAB_RELEASE_TAG")
"""What Jupyter's server, VS Code and Colab tell the kernels of notebooks that somebody has open, and papermill does not."""


def form() -> str:
    """How progress is shown: ``"bar"``, ``"lines"`` or ``"nothing"``.

    Of several processes that train together, the first one shows it.
    """
    configured = os.environ.get("ARMLIB_PROGRESS")
    if configured == "0" or not is_main_process():
        return "nothing"
    if configured is not None:
        return "lines" if configured == "lines" else "bar"
    if sys.stderr.isatty():
        return "bar"
    if _in_kernel():  # whatever is printed stays in the notebook's file: a bar clears itself where somebody watches
        return "bar" if any(name in os.environ for name in FRONT_ENDS) else "nothing"
    return "lines"


def watched() -> bool:
    """Whether there is somebody to show a bar to."""
    return form() == "bar"


def is_main_process() -> bool:
    """Whether this process is alone or the first of those that ``torchrun`` or ``accelerate launch`` started."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def silence() -> Iterator[None]:
    """No progress in this block, nor of the processes that are started in it."""
    before = os.environ.get("ARMLIB_PROGRESS")
    os.environ["ARMLIB_PROGRESS"] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ["ARMLIB_PROGRESS"]
        else:
            os.environ["ARMLIB_PROGRESS"] = before


def _in_kernel() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


class Bar(tqdm):
    """A bar of tqdm, which can tell more than a count."""

    def tell(self, values: Mapping[str, str]) -> None:
        """Show some values beside the bar."""
        self.set_postfix(values)


class Lines:
    """What a bar shows, as a line now and then; work that is done sooner than the first one is not spoken of.

    Args:
        total: how much there is to do, where that is known.
        description: of the work.
        unit: of what is counted.
        initial: how much was done before.
    """

    def __init__(self, total: int | None, description: str, unit: str, initial: int) -> None:
        self.total, self.description, self.unit, self.count = total, description, unit, initial
        self._initial = initial
        self._began = self._told = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, count: int = 1) -> None:
        """Count what is done; says so if nothing was said for `SECONDS_BETWEEN_LINES`."""
        self.count += count
        if time.monotonic() - self._told >= SECONDS_BETWEEN_LINES:
            self.tell({})

    def tell(self, values: Mapping[str, str]) -> None:
        """Print a line now: how much is done, some values, and the time that is left at this pace."""
        self._told = time.monotonic()
        seconds, done = self._told - self._began, self.count - self._initial
        parts = [f"{self.count:,} of {self.total:,} {self.unit}" if self.total else f"{self.count:,} {self.unit}"]
        parts += [f"{name} {value}" for name, value in values.items()]
        if self.total and done:
            parts.append(f"{tqdm.format_interval(seconds * (self.total - self.count) / done)} left")
        print(one_line(f"armlib: {self.description}: {', '.join(parts)}"), file=sys.stderr, flush=True)


def bar(total: int | None, description: str, unit: str, initial: int = 0) -> Bar | Lines:
    """Progress to be updated by hand; it shows nothing where nobody watches. Plain text, so no widget is left behind."""
    if form() == "lines":
        return Lines(total, description, unit, initial)
    return Bar(
        total=total,
        desc=description,
        unit=f" {unit}",
        initial=initial,
        disable=not watched(),
        file=sys.stderr,
        dynamic_ncols=True,
        leave=False,
        mininterval=0.5,
    )


def progress(items: Iterable[Item], total: int | None, description: str, unit: str) -> Iterator[Item]:
    """Pass the items through and show how many have passed."""
    with bar(total, description, unit) as shown:
        for item in items:
            yield item
            shown.update()
