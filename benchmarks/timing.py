"""Clocks, and the most that a machine computes."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from armlib.training.clock import moment, seconds_between, wait_for


def now(device: str) -> tuple[float, float]:
    """Wall and processor seconds, once the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


def since(started: tuple[float, float], ended: tuple[float, float]) -> dict[str, float]:
    return {"seconds": ended[0] - started[0], "cpu_seconds": ended[1] - started[1]}


def matrix_product(device: str, width: int) -> float:
    """Floating-point operations a second of one large matrix product, the most that these layers could reach."""
    kind = torch.bfloat16 if device == "cuda" else torch.float32
    rows = 32_768 if device == "cuda" else 2_048
    left, right = (torch.rand(shape, device=device, dtype=kind) for shape in ((rows, width), (width, 4 * width)))
    best = float("inf")
    for _ in range(10):
        started = now(device)
        left @ right
        best = min(best, now(device)[0] - started[0])
    return 2 * rows * width * 4 * width / best


def device_seconds(device: str, work: Callable[[], object], rounds: int) -> list[float]:
    """Seconds of each of some rounds of the same work by the device's own clock, after one round that is not counted."""
    where, found = torch.device(device), []
    work()
    for _ in range(rounds):
        began = moment(where)
        work()
        ended = moment(where)
        wait_for(ended)
        found.append(seconds_between(began, ended))
    return found
