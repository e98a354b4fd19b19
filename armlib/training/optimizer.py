"""Which optimiser runs, and what it decays."""

from __future__ import annotations

import importlib.util

import torch
from torch import nn

from armlib.errors import InputError, unknown
from armlib.training.settings import OPTIMIZERS


def make_optimizer(model: nn.Module, name: str, learning_rate: float, weight_decay: float) -> tuple[torch.optim.Optimizer, str]:
    """Adam with the given weight decay on matrices and none on biases and normalisation weights, and the name of what it is.

    Args:
        model: its parameters, on their device.
        name: ``"adam"`` or ``"auto"``: torch's fused Adam on every device, with 32-bit states; ``"adam8bit"``: bitsandbytes' 8-bit
            Adam, as in paper section 4 (CUDA only; embeddings keep 32-bit states, which 8-bit states are known to harm). The
            latter waits for the device after every parameter, so that it saves memory and costs time.
        learning_rate: of every parameter.
        weight_decay: an L2 penalty in the gradient, as Adam has it, for torch's; for bitsandbytes' decoupled from the gradient, as
            AdamW has it, since its kernels know no other.

    Raises:
        InputError: there is no such optimiser, or ``"adam8bit"`` without CUDA or without bitsandbytes.
    """
    if name not in OPTIMIZERS:
        raise unknown("optimizer", name, OPTIMIZERS)
    groups = _groups(model, weight_decay)
    if name != "adam8bit":
        return torch.optim.Adam(groups, lr=learning_rate, fused=True), f"torch {torch.__version__} Adam (fused)"
    if not next(model.parameters()).is_cuda:
        raise InputError("optimizer 'adam8bit' needs a CUDA GPU; use 'adam' here")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise InputError("optimizer 'adam8bit' needs the package bitsandbytes (pip install 'armlib[gpu]'); use 'adam' without it")
    return _eight_bit(model, groups, learning_rate)


def _eight_bit(model: nn.Module, groups: list[dict], learning_rate: float) -> tuple[torch.optim.Optimizer, str]:
    import bitsandbytes  # optional, CUDA only

    optimizer = bitsandbytes.optim.Adam8bit(groups, lr=learning_rate)
    # Which parameters keep 32-bit states is said to a manager. The library's own one lives as long as the process, keeps every
    # encoder that it was told of, and tells parameters apart by their places in the groups, in which another encoder has others.
    kind = bitsandbytes.optim.GlobalOptimManager
    manager = kind.__new__(kind)
    manager.initialize()
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            manager.register_module_override(module, "weight", {"optim_bits": 32})
    optimizer.mng = manager
    return optimizer, f"bitsandbytes {bitsandbytes.__version__} Adam8bit"


def _groups(model: nn.Module, weight_decay: float) -> list[dict]:
    trained = [p for p in model.parameters() if p.requires_grad]
    # A bias or a normalisation weight is a vector; what decays is every matrix.
    return [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
