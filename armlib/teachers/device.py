"""Where teachers compute."""

from __future__ import annotations

import torch
from accelerate import PartialState


def teacher_device() -> torch.device:
    """The device that this process trains on, where that is decided; else CUDA, where it is there, or the CPU."""
    if PartialState._shared_state:  # asking Accelerate first would decide it
        return PartialState().device
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
