"""The run store: each experiment is trained once, by whoever asks first, and read by everybody after."""

from __future__ import annotations

import os
import re
import shutil
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

from accelerate import Accelerator
from accelerate.tracking import GeneralTracker
from accelerate.utils import broadcast_object_list

from armlib import storage
from armlib.errors import InputError, unknown
from armlib.experiments.experiment import Experiment
from armlib.experiments.result import Result
from armlib.experiments.run import run_experiment
from armlib.experiments.training_data import TrainingData
from armlib.experiments.workers import TrainingProcesses
from armlib.progress import bar
from armlib.training.processes import default_accelerator
from armlib.training.tracking import check_trackers

FOLDER, UNFINISHED, TRACKERS = "runs", ".unfinished", "trackers"
KEY = re.compile(r"([0-9a-f]{12})|\.([0-9a-f]{12})\.[^.]+\.(part|old)")  # also as a part of the name of a draft


class RunStore:
    """Finished experiments below a folder, each under its key; shared by notebooks, the command line and other machines.

    Two processes that ask for the same result do not both train it: one waits for the other. A result appears when it is whole.
    A process that is killed leaves a checkpoint, from which the next one that asks goes on. What is finished is read without
    a lock, also from a store that may not be written.

    Args:
        path: the folder; made when something is trained. Default: ``$ARMLIB_RUNS``, else ``runs`` in the working folder.
        device, precision: as `armlib.training.processes.default_accelerator` takes them.
        checkpoint_seconds: time between two checkpoints of a training run.
        trackers: as `armlib.training.processes.default_accelerator` takes them; their files are in ``trackers`` below the folder.

    Examples:
        >>> from armlib import Experiment, RunStore
        >>> settings = {"steps": 2, "batch_size": 1, "validation_queries": 1}
        >>> settings["evaluation"] = ("none",)
        >>> experiment = Experiment(collection="my/folder", encoder="my/encoder", **settings)
        >>> store = RunStore("my/runs")
        >>> store.state(experiment)
        'missing'
        >>> result = store.result(experiment)  # trains; the next call finds what was trained
        >>> store.state(experiment), len(result.trace), (result.folder / "encoder").is_dir()
        ('finished', 2, True)

    Raises:
        InputError: a tracker is unknown or not installed.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        device: str = "auto",
        precision: str = "auto",
        checkpoint_seconds: float = 120.0,
        trackers: Sequence[str | GeneralTracker] = (),
    ) -> None:
        self.path = storage.canonical(path) if path else storage.configured_folder("ARMLIB_RUNS", FOLDER)
        self.device, self.precision, self.checkpoint_seconds = device, precision, checkpoint_seconds
        check_trackers(trackers)
        self.trackers = tuple(trackers)

    def result(self, experiment: Experiment) -> Result:
        """The finished result, trained now if nobody has.

        Under ``torchrun`` or ``accelerate launch`` all processes call this and train together.

        Raises:
            InputError: whatever the data, the encoder, the values or the folder have wrong with them, before anything is trained.
        """
        data = TrainingData(experiment)
        folder, work = self.path / data.key, self.path / UNFINISHED / data.key
        accelerator = default_accelerator(self.device, self.precision, self.trackers, self.path / TRACKERS / data.key)
        main = accelerator.is_main_process
        if _agreed(accelerator, lambda: self._is_whole(folder)):
            if main:
                storage.sweep_unless_held(folder, self._lock(data.key))
                if work.exists() and not self.is_running(data.key):  # of a process that was killed when all was done
                    shutil.rmtree(work, ignore_errors=True)
        else:
            if main:
                storage.check_writable(self.path, "ARMLIB_RUNS")
            with self._locked(data.key) if main else nullcontext():
                if not _agreed(accelerator, lambda: self._whole_or_cleared(folder)):
                    run_experiment(data, folder, work, accelerator, self.checkpoint_seconds)
                if main:
                    shutil.rmtree(work, ignore_errors=True)
        accelerator.wait_for_everyone()
        return self._result(experiment, data.key)

    def results(self, experiments: Sequence[Experiment], jobs: int = 1, processes: TrainingProcesses | None = None) -> list[Result]:
        """The results of several experiments, those that are missing trained by ``jobs`` processes.

        With more than one job each process computes with its share of the cores, since processes that each use all cores slow
        each other down.

        Args:
            experiments: whose results.
            jobs: how many are trained at the same time.
            processes: so many that live longer than this call; None starts some for this call, where there is something to train.

        Raises:
            InputError: as `result`, for the first experiment that fails; or a process was killed.
        """
        keys = {each: each.key() for each in dict.fromkeys(experiments)}
        missing = [each for each, key in keys.items() if not self._is_whole(self.path / key)]
        if jobs == 1 or len(missing) < 2:
            for experiment in missing:
                self.result(experiment)
        else:
            with nullcontext(processes) if processes else TrainingProcesses(jobs) as training:
                self._train_in_processes(missing, training)
        return [self._result(each, keys[each]) for each in experiments]

    def _train_in_processes(self, experiments: Sequence[Experiment], processes: TrainingProcesses) -> None:
        with bar(len(experiments), "experiments", "experiments") as shown:
            waiting = dict(zip(experiments, processes.submit(self.result, experiments), strict=True))
            try:
                for each, future in waiting.items():
                    try:
                        future.result()
                    except BrokenProcessPool as error:
                        processes.end()
                        said = f"a process was killed before {each} was finished ({each.key()}), perhaps for want of memory"
                        raise InputError(f"{said}; the same call goes on from the checkpoints") from error
                    shown.update()
            except BaseException:
                for future in waiting.values():  # else the others would be trained before anybody hears
                    future.cancel()
                raise

    def missing(self, experiments: Sequence[Experiment]) -> list[Experiment]:
        """Those of the experiments, each once, that have no whole result; nothing is changed."""
        return [each for each in dict.fromkeys(experiments) if not self._is_whole(self.path / each.key())]

    def known(self, experiment: Experiment, key: str) -> Result | None:
        """The whole result of an experiment whose key is known, for which none of its data are read; None where there is none."""
        return self._result(experiment, key) if self._is_whole(self.path / key) else None

    def state(self, experiment: Experiment) -> str:
        """``finished``, ``damaged``, ``unfinished`` (begun, and stopped or running now) or ``missing``; nothing is changed."""
        return self.state_of(experiment.key())

    def state_of(self, key: str) -> str:
        """As `state`, of the experiment of a key."""
        reason = self._trouble(self.path / key)
        if reason != "":
            return "damaged" if reason else "finished"
        return "unfinished" if os.path.lexists(self.path / UNFINISHED / key) else "missing"

    def finished(self) -> list[Result]:
        """All finished results, the newest last; folders that hold none are passed over, and a warning tells of damaged ones."""
        found, damaged = [], []
        for file in sorted(self.path.glob("[!.]*/result.json")):  # a dot: still being written, or never finished
            result = Result(file.parent.name, file.parent)
            try:
                if reason := self._trouble(result.folder):
                    raise InputError(reason)
                found.append((result.about["time"], result.experiment, result))
            except InputError as error:
                damaged.append(f"{result.key}: {error}")
        if damaged:
            which = f"{len(damaged)} folders of {self.path} hold" if len(damaged) > 1 else f"a folder of {self.path} holds"
            warnings.warn(f"{which} no whole result and is passed over, {damaged[0]}", stacklevel=2)
        return [result for _, _, result in sorted(found, key=lambda each: each[0])]

    def find(self, start: str) -> Result:
        """The finished result whose key begins so.

        Raises:
            InputError: there is none, there are several, or it is not finished or damaged.
        """
        keys = self.keys()
        found = [key for key in keys if start and key.startswith(start)]
        if not found:
            raise unknown(f"key in {self.path}", start, keys)
        if len(found) > 1:
            raise InputError(f"{len(found)} keys begin with {start!r}: {', '.join(found[:10])}; expected more digits of one")
        (key,) = found
        if (state := self.state_of(key)) != "finished":
            raise InputError(f"{key} is {'unfinished' if state == 'missing' else state}; expected a finished result")
        return Result(key, self.path / key)

    def keys(self) -> list[str]:
        """The keys of all that is finished, damaged or unfinished; nothing else that is in the folder counts."""
        with storage.disk_errors(self.path, "read"):
            names = [each.name for folder in (self.path, self.path / UNFINISHED) if folder.is_dir() for each in folder.iterdir()]
        return sorted({found[1] or found[2] for found in map(KEY.fullmatch, names) if found})

    def files(self, key: str) -> dict[Path, os.stat_result]:
        """All files that are stored of a key, with their sizes and times."""
        found = {}
        for file in sorted(file for part in self._parts(key) for file in (part, *part.rglob("*"))):
            with suppress(OSError):  # a process is writing it, or may not let it be seen
                if file.is_file():
                    found[file] = file.stat()
        return found

    def delete(self, key: str, state: str) -> None:
        """Delete all that is stored of a key.

        Args:
            key: of an experiment.
            state: as `state_of` gave it; what has changed meanwhile is left.

        Raises:
            InputError: it has changed, is being trained, or may not be deleted.
        """
        with self._locked(key, "deleting", wait=False):
            if self.state_of(key) != state:
                raise InputError(f"{key} is not {state} any more, but {self.state_of(key)}: it is left as it is")
            for part in self._parts(key):
                storage.remove(part)

    def _parts(self, key: str) -> list[Path]:
        """What there is of a key: the result, checkpoints, and what was being written by a process that was killed."""
        found = [self.path / key, self.path / UNFINISHED / key, *sorted(self.path.glob(f".{key}.*"))]
        return [part for part in found if os.path.lexists(part)]

    def _locked(self, key: str, doing: str = "training", wait: bool = True) -> AbstractContextManager[None]:
        """Alone among all processes with what is stored of a key."""
        return storage.locked(self._lock(key), f"{doing} {key}", wait)

    def is_running(self, key: str) -> bool:
        """Whether a process is training the experiment of a key now."""
        return storage.is_held(self._lock(key))

    def _lock(self, key: str) -> Path:
        return self.path / ".locks" / f"{key}.lock"

    def _result(self, experiment: Experiment, key: str) -> Result:
        """The result of an experiment: as it was asked for, though it may have been made from other paths with equal contents."""
        result = Result(key, self.path / key)
        vars(result)["experiment"] = experiment
        return result

    @staticmethod
    def _trouble(folder: Path) -> str | None:
        """What is wrong with a result: the empty text where there is none, None where it is whole."""
        # By sizes: whoever reads a file has its contents checked, and hashing all results would read tens of GB.
        with storage.disk_errors(folder, "read"):
            return storage.damage(folder, contents=False) if os.path.lexists(folder) else ""

    def _is_whole(self, folder: Path) -> bool:
        return self._trouble(folder) is None

    def _whole_or_cleared(self, folder: Path) -> bool:
        """Whether a result is whole; a damaged one is deleted with a warning. For whoever has its lock."""
        storage.sweep(folder)
        reason = self._trouble(folder)
        if reason:
            warnings.warn(f"the result {folder.name} is damaged ({reason}); it is made again", stacklevel=3)
            storage.remove(folder)
        return reason is None


def _agreed(accelerator: Accelerator, look: Callable[[], bool]) -> bool:
    """What the first of several processes saw."""
    seen = [accelerator.is_main_process and look()]
    if accelerator.num_processes > 1:
        broadcast_object_list(seen)
    return seen[0]
