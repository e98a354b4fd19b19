"""Stopping a training from outside: SIGTERM or a scheduler asks, all its processes agree on a step, and a checkpoint is written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from armlib.distributed import any_process, world_size

STEPS_BETWEEN_AGREEMENTS = 50  # of processes on GPUs: asking at each step would make the program wait for the device
_TRAINING: set[threading.Event] = set()  # one for each training that runs in this process


class Stopped(SystemExit):
    """SIGTERM came: a checkpoint was written, and the same call goes on from it."""


def stop_trainings() -> None:
    """Ask the trainings of this process to stop after their step, as SIGTERM does; for those that run in threads."""
    for event in list(_TRAINING):
        event.set()


class StopRequest:
    """Whether somebody asked a training to stop, with one answer for all its processes.

    Args:
        device: where the training computes; on GPUs several processes agree every 50 steps, otherwise at every step.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.event = device, threading.Event()
        self.every = STEPS_BETWEEN_AGREEMENTS if device.type == "cuda" and world_size() > 1 else 1

    def agreed(self, step: int) -> bool:
        """Whether to stop after this step: what this process was asked, or, of several, what any of them was.

        Every process calls it after every step. A notice comes to the processes at different moments; those that go on without
        the others would wait for them for ever.
        """
        return step % self.every == 0 and any_process(self.event.is_set(), self.device)


@contextmanager
def stop_request(device: torch.device) -> Iterator[StopRequest]:
    """Take SIGTERM as a request to stop, in the main thread; in another one signals stay as they are."""
    request = StopRequest(device)
    _TRAINING.add(request.event)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread:
        before = signal.signal(signal.SIGTERM, lambda *_: request.event.set())
    try:
        yield request
    finally:
        _TRAINING.discard(request.event)
        if in_main_thread:
            signal.signal(signal.SIGTERM, before)
