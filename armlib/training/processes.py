"""Devices and processes: Accelerate's choice of them, and what the losses need of several.

Every process calls the loss on the joined batch, in which only its own embeddings carry a gradient. The gradient of the
joined loss is the sum over the embeddings, so the sum of the processes' gradients is the gradient that one process with
the joined batch would have. On one process `gather_with_local_gradient` and `sum_gradients` are the identity.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
import torch.distributed as processes
from accelerate import Accelerator
from accelerate.tracking import GeneralTracker
from torch import Tensor, nn

from armlib.errors import InputError, unknown
from armlib.training.tracking import check_trackers

DEVICES = ("auto", "cpu", "cuda")


def default_accelerator(
    device: str = "auto", precision: str = "auto", trackers: Sequence[str | GeneralTracker] = (), logs: Path | None = None
) -> Accelerator:
    """Accelerate's device, precision and processes.

    Args:
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``.
        precision: ``"no"`` (float32), ``"bf16"`` or ``"auto"``: bf16 on CUDA, float32 elsewhere.
        trackers: by Accelerate's names, such as ``"tensorboard"``; started by `armlib.training.tracking.tracking`.
        logs: a folder for those that write files.

    Raises:
        InputError: CUDA was asked for and is not there, this process has used another device or precision already, or a tracker is
            unknown or not installed.
    """
    check_trackers(trackers)
    if device not in DEVICES:
        raise unknown("device", device, DEVICES)
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda' was asked for, but torch finds no CUDA GPU here; use 'cpu' or 'auto'")
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if precision == "auto":
        precision = "bf16" if on_gpu else "no"
    if precision == "bf16" and not on_gpu:
        warnings.warn("bf16 on a CPU is slower than float32 (three times, where it was measured)", stacklevel=2)
    try:
        return Accelerator(
            mixed_precision=precision, cpu=not on_gpu, log_with=list(trackers) or None, project_dir=logs if trackers else None
        )
    except ValueError as error:
        said = "Accelerate keeps the first device and precision of a process; start another one to change them"
        raise InputError(said) from error


def world_size() -> int:
    """How many processes train together; 1 where ``torch.distributed`` was not started."""
    return processes.get_world_size() if processes.is_available() and processes.is_initialized() else 1


def gather_with_local_gradient(local: Tensor) -> Tensor:
    """The rows of all processes joined in the order of their ranks; only this process's rows carry a gradient.

    Args:
        local: (B, ...) rows of this process; the same shape on every process.

    Returns:
        (world size * B, ...); ``local`` itself on one process.
    """
    if world_size() == 1:
        return local
    rows = local.detach().contiguous()
    gathered = [torch.empty_like(rows) for _ in range(world_size())]
    processes.all_gather(gathered, rows)
    gathered[processes.get_rank()] = local
    return torch.cat(gathered)


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Add the gradients of all processes, in place, so that every process holds the sum.

    Args:
        parameters: the same parameters, in the same order, on every process. Those without a gradient are passed over;
            they have none on any process, since all compute the same loss.
    """
    if world_size() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    for kind in dict.fromkeys((gradient.dtype, gradient.device) for gradient in gradients):
        same = [gradient for gradient in gradients if (gradient.dtype, gradient.device) == kind]
        # One message for all of them: a message per parameter costs more than the copy.
        joined = torch.cat([gradient.reshape(-1) for gradient in same])
        processes.all_reduce(joined)
        for gradient, summed in zip(same, joined.split([gradient.numel() for gradient in same]), strict=True):
            gradient.copy_(summed.view_as(gradient))
