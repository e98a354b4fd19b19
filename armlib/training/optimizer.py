"""Which optimiser runs, and what it decays."""

from __future__ import annotations

import importlib.util
import warnings

import torch
from torch import nn

from armlib.errors import InputError, unknown
from armlib.training.settings import OPTIMIZERS


def make_optimizer(model: nn.Module, name: str, learning_rate: float, weight_decay: float) -> tuple[torch.optim.Optimizer, str]:
    """Adam with the given weight decay on matrices and none on biases and normalisation weights, and the name of what it is.

    Args:
        model: its parameters, on their device.
        name: ``"adam"`` (torch's), ``"adam8bit"`` (bitsandbytes, CUDA only; embeddings keep 32-bit states, which 8-bit states are
            known to harm) or ``"auto"``: 8-bit on CUDA, torch's elsewhere, as in paper section 4.
        learning_rate, weight_decay: as Adam takes them (L2, not decoupled).

    Raises:
        InputError: ``"adam8bit"`` without CUDA or without bitsandbytes.
    """
    if name not in OPTIMIZERS:
        raise unknown("optimizer", name, OPTIMIZERS)
    groups = _groups(model, weight_decay)
    on_gpu = next(model.parameters()).is_cuda
    installed = importlib.util.find_spec("bitsandbytes") is not None
    if name == "adam8bit" and not on_gpu:
        raise InputError("optimizer 'adam8bit' needs a CUDA GPU; use 'adam' here")
    if name == "adam8bit" and not installed:
        raise InputError("optimizer 'adam8bit' needs the package bitsandbytes (pip install 'armlib[gpu]'); use 'adam' without it")
    if name == "auto" and on_gpu and not installed:
        warnings.warn("bitsandbytes is not installed: torch's 32-bit Adam runs instead of the paper's 8-bit Adam", stacklevel=2)
    if name != "adam" and on_gpu and installed:
        import bitsandbytes  # optional, CUDA only

        for module in model.modules():
            if isinstance(module, nn.Embedding):
                bitsandbytes.optim.GlobalOptimManager.get_instance().register_module_override(module, "weight", {"optim_bits": 32})
        optimizer = bitsandbytes.optim.Adam8bit(groups, lr=learning_rate)
        return optimizer, f"bitsandbytes {bitsandbytes.__version__} Adam8bit"
    return torch.optim.Adam(groups, lr=learning_rate, fused=True), f"torch {torch.__version__} Adam (fused)"


def _groups(model: nn.Module, weight_decay: float) -> list[dict]:
    trained = [p for p in model.parameters() if p.requires_grad]
    # A bias or a normalisation weight is a vector; what decays is every matrix.
    return [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
