"""Which of torch's attention kernels run on CUDA."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def without_cudnn() -> Iterator[None]:
    """Keep attention from cuDNN for a while; nothing changes on a CPU.

    On Hopper GPUs torch prefers cuDNN's attention, from torch 2.11 and cuDNN 9.15 on. cuDNN plans for each shape anew, which takes
    tens of milliseconds where others measured it, as long as a step of training; chunks sorted by length have a hundred shapes in a
    few hundred steps. The other kernels (flash, memory-efficient) take every shape at once.
    """
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)
