"""What a training needs of several processes: embeddings gathered, gradients added up, decisions made in common.

Every process calls the loss on the joined batch, in which only its own embeddings carry a gradient. The gradient of the
joined loss is the sum over the embeddings, so the sum of the processes' gradients is the gradient that one process with
the joined batch would have. On one process everything here is the identity.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import torch
import torch.distributed as processes
from torch import Tensor, nn

Value = TypeVar("Value")


def world_size() -> int:
    """How many processes train together; 1 where ``torch.distributed`` was not started."""
    return processes.get_world_size() if processes.is_available() and processes.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return processes.get_rank() if world_size() > 1 else 0


def gather_with_local_gradient(local: Tensor) -> Tensor:
    """The rows of all processes joined in the order of their ranks; only this process's rows carry a gradient.

    Args:
        local: (B, D) rows of this process. B and D must be the same on every process.

    Returns:
        (world size * B, D); ``local`` itself on one process.
    """
    if world_size() == 1:
        return local
    rows = local.detach().contiguous()
    gathered = [torch.empty_like(rows) for _ in range(world_size())]
    processes.all_gather(gathered, rows)
    gathered[rank()] = local
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


def any_process(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set on any process; all must ask. On a GPU the program waits for the device.

    Args:
        flag: this process's.
        device: where messages between the processes are held, the training's device.
    """
    if world_size() == 1:
        return flag
    flags = torch.tensor(int(flag), device=device)
    processes.all_reduce(flags, processes.ReduceOp.MAX)
    return bool(flags)


def from_first(value: Value) -> Value:
    """The value that process 0 gives, on every process; it is pickled."""
    if world_size() == 1:
        return value
    holder = [value]
    processes.broadcast_object_list(holder)
    return holder[0]
