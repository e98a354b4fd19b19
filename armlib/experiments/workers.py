"""Processes that train at the same time on one machine: their share of the cores, and their end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS_TO_CHECKPOINT = 30
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def end_with_parent() -> None:
    """Let this process end when the one that started it does, with a checkpoint if it is training."""

    parent = multiprocessing.parent_process()
    assert parent is not None, "only a process that multiprocessing has started has a parent"

    def watch() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(SECONDS_TO_CHECKPOINT)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def share_of_cores(processes: int) -> dict[str, str]:
    """The environment of each of several processes that compute at the same time.

    It has every library's own setting: one that is left higher makes processes wait for each other's threads, six times slower.
    """
    share = max(1, len(os.sched_getaffinity(0)) // processes)
    return dict.fromkeys((*THREADS, "RAYON_NUM_THREADS"), str(share))


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Environment variables for the length of a block; processes that are started in it keep them."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value
