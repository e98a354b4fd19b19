"""Which of torch's attention kernels run on CUDA."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# The switch is the process's, and threads of a Dask worker encode side by side: the first to come turns it off, the last to go
# sets it back. Each on its own would set back what another one had turned off, and cuDNN would stay off for good.
_LOCK = threading.Lock()
_inside, _before = 0, True


@contextmanager
def without_cudnn() -> Iterator[None]:
    """Keep attention from cuDNN for a while; nothing changes on a CPU.

    On Hopper GPUs torch prefers cuDNN's attention, from torch 2.11 and cuDNN 9.15 on. cuDNN plans for each shape anew, which takes
    tens of milliseconds where others measured it, as long as a step of training; chunks sorted by length have a hundred shapes in a
    few hundred steps. The other kernels (flash, memory-efficient) take every shape at once.
    """
    global _inside, _before
    with _LOCK:
        if not _inside:
            _before = torch.backends.cuda.cudnn_sdp_enabled()
            torch.backends.cuda.enable_cudnn_sdp(False)
        _inside += 1
    try:
        yield
    finally:
        with _LOCK:
            _inside -= 1
            if not _inside:
                torch.backends.cuda.enable_cudnn_sdp(_before)
