"""Stopping a training run from outside: SIGTERM or a scheduler asks, all its processes agree on a step and write a checkpoint."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from accelerate import Accelerator

STEPS_BETWEEN_AGREEMENTS = 50  # of processes on GPUs: asking at each step would make the program wait for the device
_RUNNING: set[threading.Event] = set()  # one for each training run of this process


class Stopped(SystemExit):
    """SIGTERM came: a checkpoint was written, and the same call goes on from it."""


def stop_training_runs() -> None:
    """Ask the training runs of this process to stop after their step, as SIGTERM does; for those that run in threads."""
    for event in list(_RUNNING):
        event.set()


class StopRequest:
    """Whether somebody asked a training run to stop, with one answer for all its processes.

    Args:
        accelerator: the training run's; on GPUs several processes agree every 50 steps, otherwise at every step.
        event: set when this process is asked.
    """

    def __init__(self, accelerator: Accelerator, event: threading.Event) -> None:
        self.accelerator, self.event = accelerator, event
        self.every = STEPS_BETWEEN_AGREEMENTS if accelerator.device.type == "cuda" else 1

    def agreed(self, step: int) -> bool:
        """Whether to stop after this step: what this process was asked, or, of several, what any of them was.

        Every process calls it after every step. A notice comes to the processes at different moments; those that go on without
        the others would wait for them for ever.
        """
        if self.accelerator.num_processes == 1:
            return self.event.is_set()
        if step % self.every:
            return False
        if self.event.is_set():
            self.accelerator.set_trigger()
        return self.accelerator.check_trigger()


@contextmanager
def stop_event() -> Iterator[threading.Event]:
    """An event that SIGTERM sets, in the main thread, and `stop_training_runs`; in another thread signals stay as they are."""
    event = threading.Event()
    _RUNNING.add(event)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread:
        before = signal.signal(signal.SIGTERM, lambda *_: event.set())
    try:
        yield event
    finally:
        _RUNNING.discard(event)
        if in_main_thread:
            signal.signal(signal.SIGTERM, before)


@contextmanager
def stop_request(accelerator: Accelerator) -> Iterator[StopRequest]:
    """Take SIGTERM as a request to stop a training run."""
    with stop_event() as event:
        yield StopRequest(accelerator, event)
