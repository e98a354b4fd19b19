"""Experiment trackers such as TensorBoard, through Accelerate: what they are given, and when."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker, get_available_trackers

from armlib.errors import InputError, unknown
from armlib.training.settings import Settings
from armlib.training.trace import Trace

PROJECT = "armlib"
INSTALL = {"comet_ml": "comet-ml"}  # packages that are not named as their trackers
VALIDATION = "validation/"


def check_trackers(names: Sequence[str | GeneralTracker]) -> None:
    """Refuse trackers that there are not; one that is made already is taken as it is.

    Raises:
        InputError: Accelerate does not know one, or its package is not installed.
    """
    there = {str(each) for each in get_available_trackers()}
    for name in names:
        if isinstance(name, GeneralTracker):
            continue
        if name not in LOGGER_TYPE_TO_CLASS:
            raise unknown("tracker", name, LOGGER_TYPE_TO_CLASS)
        if name not in there:
            raise InputError(f"the tracker {name!r} is not installed; install it with: pip install {INSTALL.get(name, name)}")


@contextmanager
def tracking(accelerator: Accelerator, name: str, config: Mapping[str, Any]) -> Iterator[None]:
    """Start the accelerator's trackers, where it was made with some (``log_with``), and end them.

    `Accelerator.end_training` would also end the group of processes, which go on to measure.

    Args:
        accelerator: of the training run.
        name: of the training run.
        config: plain values, which trackers show beside it.
    """
    if accelerator.log_with:
        shown = {
            each: value if isinstance(value, int | float | str) else ", ".join(map(str, value)) for each, value in config.items()
        }
        accelerator.init_trackers(PROJECT, shown, {"wandb": {"name": name}, "mlflow": {"run_name": name}})
    try:
        yield
    finally:
        for tracker in accelerator.trackers:
            tracker.finish()
        accelerator.trackers.clear()


class Tracked:
    """What the trackers of an accelerator are given of a training run; nothing is done where it has none.

    Steps are told when their losses have come off the device anyway: nobody waits for one.

    Args:
        accelerator: its trackers have been started, see `tracking`.
        settings: of the training run.
        trace: of the training run; steps that are in it already have been told by the process that was stopped.
    """

    def __init__(self, accelerator: Accelerator, settings: Settings, trace: Trace) -> None:
        self._accelerator, self._settings, self._trace = accelerator, settings, trace
        self._told = len(trace.losses())

    def steps(self) -> None:
        """The mean ``loss`` of the steps that the trace has taken in since the last time, and the ``learning_rate`` of the last."""
        if not self._accelerator.trackers:
            return
        losses = self._trace.losses()
        new, self._told = losses[self._told :], len(losses)
        if len(new):
            values = {"loss": float(new.mean()), "learning_rate": self._settings.rate(len(losses) - 1)}
            self._accelerator.log(values, step=len(losses))

    def validation(self, row: Mapping[str, Any]) -> None:
        """The measures of a validation, as ``validation/nDCG_10``: some trackers take no other signs."""
        if self._accelerator.trackers:
            values = {VALIDATION + re.sub(r"\W+", "_", name).strip("_"): value for name, value in row.items() if name != "step"}
            self._accelerator.log(values, step=row["step"])
