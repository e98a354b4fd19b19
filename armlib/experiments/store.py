"""The run store: each experiment is trained once, by whoever asks first, and read by everybody after."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from accelerate.utils import broadcast_object_list
from filelock import FileLock

from armlib import storage
from armlib.experiments.experiment import Experiment
from armlib.experiments.result import Result
from armlib.experiments.run import run_experiment
from armlib.experiments.training_data import TrainingData
from armlib.experiments.workers import end_with_parent, environment, share_of_cores
from armlib.progress import bar
from armlib.training.processes import default_accelerator

FOLDER, UNFINISHED = "runs", ".unfinished"


class RunStore:
    """Finished experiments below a folder, each under its key; shared by notebooks, the command line and other machines.

    Two processes that ask for the same result do not both train it: one waits for the other. A result appears when it is whole.
    A process that is killed leaves a checkpoint, from which the next one that asks goes on.

    Args:
        path: the folder; made if it is not there. Default: ``$ARMLIB_RUNS``, else ``runs`` in the working folder.
        device, precision: as `armlib.training.processes.default_accelerator` takes them.
        checkpoint_seconds: time between two checkpoints of a training run.
    """

    def __init__(
        self, path: str | Path | None = None, *, device: str = "auto", precision: str = "auto", checkpoint_seconds: float = 120.0
    ) -> None:
        self.path = Path(path or os.environ.get("ARMLIB_RUNS") or FOLDER).resolve()
        self.device, self.precision, self.checkpoint_seconds = device, precision, checkpoint_seconds

    def result(self, experiment: Experiment) -> Result:
        """The finished result, trained now if nobody has.

        Under ``torchrun`` or ``accelerate launch`` all processes call this and train together.

        Raises:
            InputError: whatever the data, the encoder or the values have wrong with them, before anything is trained.
        """
        data = TrainingData(experiment)
        folder = self.path / data.key
        accelerator = default_accelerator(self.device, self.precision)
        with self._alone(data.key, accelerator.is_main_process):
            finished = [accelerator.is_main_process and self._whole_or_deleted(folder)]
            if accelerator.num_processes > 1:
                broadcast_object_list(finished)
            if not finished[0]:
                if accelerator.is_main_process:
                    for left in self.path.glob(f".{data.key}.*"):  # what a process that was killed was writing
                        shutil.rmtree(left)
                work = self.path / UNFINISHED / data.key
                run_experiment(data, folder, work, accelerator, self.checkpoint_seconds)
                if accelerator.is_main_process:
                    shutil.rmtree(work, ignore_errors=True)
        accelerator.wait_for_everyone()
        return Result(data.key, folder)

    def results(self, experiments: Sequence[Experiment], jobs: int = 1) -> list[Result]:
        """The results of several experiments, those that are missing trained by ``jobs`` processes.

        With more than one job each process computes with its share of the cores, since processes that each use all cores slow
        each other down.
        """
        keys = {each: each.key() for each in dict.fromkeys(experiments)}
        missing = [each for each, key in keys.items() if not self._is_whole(self.path / key)]
        if jobs == 1 or len(missing) < 2:
            for experiment in missing:
                self.result(experiment)
        else:
            self._train_in_processes(missing, jobs)
        return [Result(keys[each], self.path / keys[each]) for each in experiments]

    def _train_in_processes(self, experiments: Sequence[Experiment], jobs: int) -> None:
        context = multiprocessing.get_context("spawn")
        with (
            environment(**share_of_cores(jobs), ARMLIB_PROGRESS="0"),
            ProcessPoolExecutor(min(jobs, len(experiments)), context, end_with_parent) as pool,
            bar(len(experiments), "experiments", "experiments") as shown,
        ):
            try:
                for future in [pool.submit(self.result, experiment) for experiment in experiments]:
                    future.result()
                    shown.update()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)  # else the others would be trained before anybody hears
                raise

    def missing(self, experiments: Sequence[Experiment]) -> list[Experiment]:
        """Those of the experiments, each once, that have no whole result; nothing is changed."""
        return [each for each in dict.fromkeys(experiments) if not self._is_whole(self.path / each.key())]

    def state(self, experiment: Experiment) -> str:
        """``finished``, ``damaged``, ``unfinished`` (begun, and stopped or running now) or ``missing``; nothing is changed."""
        key = experiment.key()
        if (self.path / key).exists():
            return "damaged" if storage.damage(self.path / key, contents=False) else "finished"
        return "unfinished" if (self.path / UNFINISHED / key).exists() else "missing"

    def finished(self) -> list[Result]:
        """All finished results, the newest last."""
        folders = [file.parent for file in self.path.glob("[!.]*/result.json")]  # a dot: still being written, or never finished
        return sorted((Result(f.name, f) for f in folders), key=lambda result: result.about["time"])

    @staticmethod
    def _is_whole(folder: Path) -> bool:
        # By sizes: whoever loads weights has their contents checked, and hashing all results would read tens of GB.
        return folder.exists() and storage.damage(folder, contents=False) is None

    def _whole_or_deleted(self, folder: Path) -> bool:
        """Whether a result is whole; a damaged one is deleted with a warning. For whoever has it alone."""
        if not folder.exists():
            return False
        reason = storage.damage(folder, contents=False)
        if reason:
            warnings.warn(f"the result {folder.name} is damaged ({reason}); it is made again", stacklevel=3)
            shutil.rmtree(folder)
        return reason is None

    @contextmanager
    def _alone(self, key: str, needed: bool) -> Iterator[None]:
        if not needed:
            yield
            return
        (self.path / ".locks").mkdir(parents=True, exist_ok=True)
        with FileLock(self.path / ".locks" / f"{key}.lock"):
            yield
