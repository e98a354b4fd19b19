"""Time by the clock of whatever computes: the host's on a CPU, events of the device on CUDA, which nobody has to wait for."""

from __future__ import annotations

import time

import torch

Moment = float | torch.cuda.Event


def moment(device: torch.device) -> Moment:
    """Now: on CUDA when the device has done all that it was given so far, which it says later, see `passed`."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(device))
    return event


def passed(of: Moment) -> bool:
    """Whether a moment is over, without waiting for it."""
    return isinstance(of, float) or of.query()


def wait_for(of: Moment) -> None:
    """Wait until a moment is over."""
    if not isinstance(of, float):
        of.synchronize()


def seconds_between(began: Moment, ended: Moment) -> float:
    """Seconds from one moment of a device to another one that has passed."""
    if isinstance(began, float) or isinstance(ended, float):
        assert isinstance(began, float) and isinstance(ended, float), "two clocks have no time in common"
        return ended - began
    return began.elapsed_time(ended) / 1000
