"""Progress of long work: a bar where somebody watches (a terminal, or JupyterLab), nothing where pages are built."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def watched() -> bool:
    """Whether to show progress: ``$ARMLIB_PROGRESS`` (0 or 1) decides where it is set, else whether stderr is a terminal."""
    configured = os.environ.get("ARMLIB_PROGRESS")
    return configured != "0" if configured is not None else sys.stderr.isatty() or _in_live_notebook()


def _in_live_notebook() -> bool:
    # Papermill and other batch runs execute the same kernel as JupyterLab; a batch run sets ARMLIB_PROGRESS=0.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


def bar(total: int | None, description: str, unit: str, initial: int = 0) -> tqdm:
    """A progress bar to be updated by hand; it draws nothing where nobody watches. Plain text, so no widget is left behind."""
    return tqdm(
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
