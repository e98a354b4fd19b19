"""Many training runs on many machines: Dask's scheduler hands experiments to workers, and all results go into one run store.

An experiment whose worker is lost is handed to another one, which goes on from the checkpoint in the store.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armlib.errors import InputError
from armlib.experiments.experiment import Experiment
from armlib.experiments.result import Result
from armlib.experiments.store import RunStore
from armlib.experiments.workers import environment, share_of_cores
from armlib.progress import bar
from armlib.storage import check_writable
from armlib.training.interrupts import Stopped, stop_training_runs

INSTALL = "install it with: pip install 'armlib[sweep]'"

try:
    import dask
    from dask.distributed import Client, Future, KilledWorker, LocalCluster, Reschedule, Security, WorkerPlugin, as_completed
    from distributed.comm import connect
except ModuleNotFoundError as missing:
    raise InputError(f"a sweep needs Dask; {INSTALL}") from missing


SECONDS_TO_CONNECT = 30
NO_PAGES: dict[str, list[str]] = {f"distributed.{role}.http.routes": [] for role in ("scheduler", "worker")}
_ALONE = threading.Lock()  # dropout draws from the process's one generator, so two training runs in it would not repeat


@dataclass(frozen=True)
class Outcome:
    """What became of an experiment.

    Attributes:
        experiment: what was run.
        key: its key.
        error: one sentence on why there is no result; empty where there is one.
        details: the worker's traceback, where the error is not one of input.
    """

    experiment: Experiment
    key: str
    error: str = ""
    details: str = ""


def fill(client: Client, store: RunStore, experiments: Sequence[Experiment], report: Callable[[str], None]) -> list[Outcome]:
    """Let the workers make the results that the store lacks.

    Args:
        client: connected to Dask's scheduler by `workers_here` or `workers_of`.
        store: where results go; a folder that all workers see.
        experiments: what to train.
        report: is given a line for each experiment that ended.

    Returns:
        The outcome of each experiment that was missing. One that fails does not keep the others from running.

    Raises:
        InputError: the data are not there, the store cannot be written, or a worker cannot be used.
    """
    missing = store.missing(experiments)
    check_writable(store.path)
    outcomes: list[Outcome] = []
    with (
        tempfile.NamedTemporaryFile(dir=store.path, prefix=".sweep-") as mark,
        bar(len(missing), "experiments", "experiments") as shown,
    ):
        check_workers(client, mark.name)
        client.register_plugin(CheckpointOnClosing())
        waiting = {client.submit(_make, store, each, mark.name, pure=False): each for each in missing}
        for future in as_completed(waiting):
            outcome = _outcome(future, waiting[future])
            outcomes.append(outcome)
            shown.update()
            report(f"{len(outcomes)} of {len(missing)}: {outcome.key} | {outcome.experiment}" + _ending(store, outcome))
    return outcomes


@contextmanager
def workers_here(count: int) -> Iterator[Client]:
    """Workers on this machine, each a process with its share of the cores.

    Whoever connects to Dask's scheduler or to a worker can have it run code. They listen on this machine alone, and only to who has
    the certificate that is made here and kept in memory: no other user of the machine.

    Raises:
        InputError: the count is below 1, or the package cryptography is not installed.
    """
    if count < 1:
        raise InputError(f"a sweep needs at least one worker, not {count}")
    try:
        security = Security.temporary()
    except ImportError as error:
        raise InputError(f"workers on this machine need the package cryptography; {INSTALL}") from error
    # Dask would fix the hash seed in the environment of this process, too.
    settings = {**share_of_cores(count), "PYTHONHASHSEED": os.environ.get("PYTHONHASHSEED", "random")}
    with (
        environment(**settings),
        # Not daemons: those could not start processes of their own, which the preparation of large collections does.
        dask.config.set({"distributed.nanny.pre-spawn-environ": settings, "distributed.worker.daemon": False, **NO_PAGES}),
        tempfile.TemporaryDirectory(prefix="armlib-dask-") as scratch,
        LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            security=security,
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            memory_limit=None,
            local_directory=scratch,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def workers_of(scheduler: str) -> Iterator[Client]:
    """The workers of a scheduler that runs already, started over SSH, by Slurm, by Kubernetes or by hand.

    Whoever reaches a ``tcp://`` address can run code there, so its network must be one that is trusted. The certificates for a
    ``tls://`` one are those of Dask's configuration (``distributed.comm.tls``).

    Raises:
        InputError: no scheduler answers at the address, or it asks for certificates that there are not.
    """
    try:
        asyncio.run(_reach(scheduler))
    except Exception as error:  # Dask makes errors of any kind of addresses and certificates
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"no Dask scheduler answers at {scheduler!r}, such as tcp://host:8786 ({reason})") from error
    with Client(scheduler, timeout=SECONDS_TO_CONNECT) as client:
        yield client


async def _reach(scheduler: str) -> None:
    """Connect once. A client that could not would be closed whenever Python collects it, and can then wait for itself."""
    arguments = Security().get_connection_args("client")
    connection = await connect(scheduler, timeout=SECONDS_TO_CONNECT, **arguments)
    await connection.close()


class CheckpointOnClosing(WorkerPlugin):
    """Lets the training run of a worker that is told to close, or is sent SIGTERM, write a checkpoint first."""

    name = "armlib-checkpoint-on-closing"

    def setup(self, worker: Any) -> None:
        """Take signals where nobody else does: in the process that Dask's nanny starts."""
        if threading.current_thread() is not threading.main_thread() or worker.nanny is None:
            return
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Control-C goes to the nanny, too, which closes this worker
        signal.signal(signal.SIGTERM, lambda *_: worker.loop.add_callback(worker.close_gracefully, reason="SIGTERM"))

    def teardown(self, worker: Any) -> None:
        """Dask waits for the training run's thread after this."""
        stop_training_runs()


def _make(store: RunStore, experiment: Experiment, mark: str) -> str:
    """On a worker: make the result; gives what is wrong with the input, or nothing."""
    if not Path(mark).exists():
        return unseen_by_worker(mark)
    os.environ["ARMLIB_PROGRESS"] = "0"
    with _ALONE:
        try:
            store.result(experiment)
        except InputError as error:
            return str(error)
        except Stopped:
            raise Reschedule from None
    return ""


def check_workers(client: Client, mark: str, what: str = "run store") -> None:
    """Refuse workers that would spoil the work; those that come later are refused their part of it.

    Args:
        client: connected to the scheduler.
        mark: a file in the folder that all workers must see.
        what: the folder is, for messages.

    Raises:
        InputError: a worker cannot be used.
    """
    several = [address for address, threads in client.nthreads().items() if threads > 1]
    if several:
        raise InputError(f"the worker {several[0]} trains several encoders in one process; start workers with --nthreads 1")
    try:
        sentences = {address: sentence for address, sentence in client.run(unseen_by_worker, mark, what).items() if sentence}
    except ModuleNotFoundError as error:
        raise InputError(f"the workers need armlib and what it depends on, but there is {str(error).lower()}") from error
    if sentences:
        raise InputError(next(iter(sentences.values())))


def unseen_by_worker(mark: str, what: str = "run store") -> str:
    """On a worker: what is wrong with its view of a folder, or nothing; see `check_workers`."""
    if Path(mark).exists():
        return ""
    return f"the worker on {socket.gethostname()} does not see the {what} {Path(mark).parent}; all workers need its file system"


def _outcome(future: Future, experiment: Experiment) -> Outcome:
    key = experiment.key()
    if future.status == "finished":
        return Outcome(experiment, key, future.result())
    if future.status != "error":
        return Outcome(experiment, key, "the scheduler was lost; the same command goes on from the checkpoint")
    error = future.exception()
    if isinstance(error, KilledWorker):
        return Outcome(experiment, key, "its worker was lost again and again, perhaps for want of memory")
    details = "".join(traceback.format_exception(error)).rstrip()
    return Outcome(experiment, key, f"{type(error).__name__}: {error}", details)


def _ending(store: RunStore, outcome: Outcome) -> str:
    if outcome.error:
        return f" | failed: {outcome.error}" + (f"\n{outcome.details}" if outcome.details else "")
    return f" | {Result(outcome.key, store.path / outcome.key).about['seconds']['total']:.0f} s"
