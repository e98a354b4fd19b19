"""Processes that train at the same time on one machine: their share of the cores, and their end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import TypeVar

SECONDS_TO_CHECKPOINT = 30
Item = TypeVar("Item")
Value = TypeVar("Value")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class TrainingProcesses:
    """Processes of this machine that train, each with its share of the cores; they live until the block ends that this opens.

    One is started where there is work and none is idle, and keeps for its next training run what it has imported and read. When
    the block is interrupted, or the process that opened it ends, those that train write a checkpoint first.

    Args:
        jobs: how many there are at most.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._pool: ProcessPoolExecutor | None = None
        self._held: Connection | None = None

    def __enter__(self) -> TrainingProcesses:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.end(interrupted=kind is not None and not issubclass(kind, Exception))

    def submit(self, work: Callable[[Item], Value], items: Sequence[Item]) -> list[Future[Value]]:
        """Have the processes do some work, in order, as far as they are free; all of it is pickled."""
        try:
            return self._submitted(work, items)
        except BrokenProcessPool:  # one that was idle was killed meanwhile
            self.end()
            return self._submitted(work, items)

    def _submitted(self, work: Callable[[Item], Value], items: Sequence[Item]) -> list[Future[Value]]:
        if self._pool is None:
            other_end, self._held = multiprocessing.Pipe(duplex=False)
            self._pool = ProcessPoolExecutor(self.jobs, multiprocessing.get_context("spawn"), end_with, (other_end,))
        with environment(**share_of_cores(self.jobs), ARMLIB_PROGRESS="0"):
            futures = [self._pool.submit(work, each) for each in items]
            # This has the pool watch all its processes: it misses the end of those that it started since it looked.
            self._pool.submit(int)
        return futures

    def end(self, interrupted: bool = False) -> None:
        """End the processes; further work starts others.

        Args:
            interrupted: whether training runs stop at a checkpoint; else they are waited for. None is started any more.
        """
        pool, held, self._pool, self._held = self._pool, self._held, None, None
        if pool and held:
            if interrupted:
                held.close()
            pool.shutdown(cancel_futures=True)
            held.close()


def end_with(held: Connection) -> None:
    """Let this process end, with a checkpoint if it is training, as soon as nobody holds the other end of a pipe."""

    def watch() -> None:
        held.poll(None)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(SECONDS_TO_CHECKPOINT)
        os._exit(1)

    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Control-C goes to whoever started this process, too, which then lets go of the pipe
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
