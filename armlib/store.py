"""The run store: each experiment is trained once, by whoever asks first, and read by everybody after."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
from accelerate.utils import broadcast_object_list
from filelock import FileLock

from armlib import files
from armlib.encoder import BiEncoder
from armlib.errors import InputError
from armlib.evaluation import Evaluation
from armlib.experiments import Experiment
from armlib.measuring import file_name
from armlib.progress import bar
from armlib.provenance import machine_line
from armlib.running import run_experiment
from armlib.runs import Run, read_run
from armlib.training import default_accelerator

FOLDER, UNFINISHED = "runs", ".unfinished"
SECONDS_TO_CHECKPOINT = 30
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Result:
    """A finished experiment in its folder.

    Attributes:
        key: the experiment's key, also the folder's name.
        folder: ``experiment.json``, ``result.json``, ``trace.csv``, ``validations.csv``, ``encoder/`` (a sentence-transformers
            model), and for each evaluation ``runs/*.run.gz`` and ``measures/*.csv`` (per query).
    """

    key: str
    folder: Path

    @cached_property
    def experiment(self) -> Experiment:
        """What was run."""
        return Experiment(**files.read_json(self.folder / "experiment.json"))

    @cached_property
    def about(self) -> dict:
        """Provenance, seconds, triples seen, the optimiser, how the step was chosen."""
        return files.read_json(self.folder / "result.json")

    @cached_property
    def trace(self) -> pd.DataFrame:
        """One row a step; see `armlib.trace.Trace`."""
        return pd.read_csv(self.folder / "trace.csv")

    @cached_property
    def validations(self) -> pd.DataFrame:
        """One row a validation."""
        return pd.read_csv(self.folder / "validations.csv")

    @cached_property
    def measures(self) -> pd.DataFrame:
        """One row for each evaluation collection, mode (``re-ranking``, ``full ranking``) and measure, with its mean value."""
        return pd.DataFrame(self.about["measures"], columns=["collection", "mode", "measure", "value"])

    def value(self, collection: str, mode: str, measure: str) -> float:
        """One mean value.

        Raises:
            InputError: it was not measured; what was is listed.
        """
        rows = self.measures
        found = rows[(rows.collection == collection) & (rows["mode"] == mode) & (rows.measure == measure)]
        if found.empty:
            there = sorted({f"{r.collection} {r['mode']} {r.measure}" for _, r in rows.iterrows()})
            raise InputError(f"result {self.key} has no {collection} {mode} {measure}; it has {', '.join(there)}")
        return float(found.value.iloc[0])

    def per_query(self, collection: str, mode: str) -> Evaluation:
        """The measures of every query, for tests of significance or equivalence."""
        frame = pd.read_csv(self.folder / "measures" / f"{file_name(collection, mode)}.csv", dtype={"query": str})
        return Evaluation.from_per_query(frame.set_index("query"))

    def run(self, collection: str, mode: str) -> Run:
        """The TREC run of an evaluation."""
        return read_run(self.folder / "runs" / f"{file_name(collection, mode)}.run.gz")

    def encoder(self) -> BiEncoder:
        """The trained encoder."""
        return BiEncoder.load(self.folder / "encoder")

    def provenance_line(self) -> str:
        """Experiment key, seed, machine and time in one line; and whether a set that is reported on chose the step."""
        made = self.about
        line = f"{self.key}, seed {self.experiment.seed}, {machine_line(made)}, {made['time']}, {made['seconds']['total']:.0f} s"
        return line + (f", step chosen on {made['validated_on']}, a test set" if self.chosen_on_test_set else "")

    @property
    def chosen_on_test_set(self) -> bool:
        """Whether the step was selected by a collection that the result reports on, as the paper did with TREC-DL 2019."""
        return self.experiment.selection == "best" and self.about["validated_on"] in set(self.measures.collection)


class RunStore:
    """Finished experiments below a folder, each under its key; shared by notebooks, the command line and other machines.

    Two processes that ask for the same result do not both train it: one waits for the other. A result appears when it is whole.
    A process that is killed leaves a checkpoint, from which the next one that asks goes on.

    Args:
        path: the folder; made if it is not there. Default: ``$ARMLIB_RUNS``, else ``runs`` in the working folder.
        device, precision: as `armlib.training.default_accelerator` takes them.
        checkpoint_seconds: time between two checkpoints of a training.
    """

    checkpoint_seconds = 120.0

    def __init__(
        self, path: str | Path | None = None, *, device: str = "auto", precision: str = "auto",
        checkpoint_seconds: float = checkpoint_seconds,
    ) -> None:  # fmt: skip
        self.path = Path(path or os.environ.get("ARMLIB_RUNS") or FOLDER).resolve()
        self.device, self.precision, self.checkpoint_seconds = device, precision, checkpoint_seconds

    def result(self, experiment: Experiment) -> Result:
        """The finished result, trained now if nobody has.

        Under ``torchrun`` or ``accelerate launch`` all processes call this and train together.

        Raises:
            InputError: whatever the data, the encoder or the values have wrong with them, before anything is trained.
        """
        key = experiment.key()
        folder = self.path / key
        accelerator = default_accelerator(self.device, self.precision)
        with self._alone(key, accelerator.is_main_process):
            finished = [accelerator.is_main_process and self._whole(folder)]
            if accelerator.num_processes > 1:
                broadcast_object_list(finished)
            if not finished[0]:
                if accelerator.is_main_process:
                    for left in self.path.glob(f".{key}.*"):  # what a process that was killed was writing
                        shutil.rmtree(left)
                work = self.path / UNFINISHED / key
                run_experiment(experiment, folder, work, accelerator, self.checkpoint_seconds)
                if accelerator.is_main_process:
                    shutil.rmtree(work, ignore_errors=True)
        accelerator.wait_for_everyone()
        return Result(key, folder)

    def results(self, experiments: Sequence[Experiment], jobs: int = 1) -> list[Result]:
        """The results of several experiments, those that are missing trained by ``jobs`` processes.

        With more than one job each process computes with its share of the cores, since processes that each use all cores slow
        each other down.
        """
        missing = self.missing(experiments)
        if jobs == 1 or len(missing) < 2:
            return [self.result(experiment) for experiment in experiments]
        context = multiprocessing.get_context("spawn")
        with (
            environment(**share_of_cores(jobs), ARMLIB_PROGRESS="0"),
            ProcessPoolExecutor(min(jobs, len(missing)), context, _end_with_parent) as pool,
            bar(len(missing), "experiments", "experiments") as shown,
        ):
            try:
                for future in [pool.submit(self.result, experiment) for experiment in missing]:
                    future.result()
                    shown.update()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)  # else the others would be trained before anybody hears
                raise
        return [Result(e.key(), self.path / e.key()) for e in experiments]

    def missing(self, experiments: Sequence[Experiment]) -> list[Experiment]:
        """Those of the experiments, each once, that have no whole result; a damaged one is deleted with a warning."""
        return [each for each in dict.fromkeys(experiments) if not self._whole(self.path / each.key())]

    def state(self, experiment: Experiment) -> str:
        """``finished``, ``damaged``, ``unfinished`` (begun, and stopped or running now) or ``missing``; nothing is changed."""
        key = experiment.key()
        if (self.path / key).exists():
            return "damaged" if files.damage(self.path / key, contents=False) else "finished"
        return "unfinished" if (self.path / UNFINISHED / key).exists() else "missing"

    def finished(self) -> list[Result]:
        """All finished results, the newest last."""
        folders = [file.parent for file in self.path.glob("[!.]*/result.json")]  # a dot: still being written, or never finished
        return sorted((Result(f.name, f) for f in folders), key=lambda result: result.about["time"])

    def _whole(self, folder: Path) -> bool:
        if not folder.exists():
            return False
        harm = files.damage(folder)
        if harm:
            warnings.warn(f"the result {folder.name} is damaged ({harm}); it is made again", stacklevel=3)
            shutil.rmtree(folder)
        return not harm

    @contextmanager
    def _alone(self, key: str, needed: bool):
        if not needed:
            yield
            return
        (self.path / ".locks").mkdir(parents=True, exist_ok=True)
        with FileLock(self.path / ".locks" / f"{key}.lock"):
            yield


def _end_with_parent() -> None:
    """Let this process end when the one that started it does, with a checkpoint if it is training."""

    def watch() -> None:
        multiprocessing.parent_process().join()
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
def environment(**values: str):
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

