"""Which optimiser runs where, and what bitsandbytes is told; its package needs no GPU for that."""

from __future__ import annotations

import gc
import sys
import types
import weakref

import pytest
import torch
from torch import nn

from armlib.training import optimizer
from armlib.training.optimizer import make_optimizer


def test_auto_is_fused_adam(tiny_encoder) -> None:
    made, name = make_optimizer(tiny_encoder, "auto", 1e-3, 0.5)
    assert type(made) is torch.optim.Adam and made.defaults["fused"] and name.endswith("Adam (fused)")
    assert not made.defaults["decoupled_weight_decay"]


class Manager:
    """bitsandbytes' `GlobalOptimManager`, of which it keeps one for the whole process."""

    _instance = None

    def __init__(self) -> None:
        raise RuntimeError("Call get_instance() instead")

    def initialize(self) -> None:
        self.module_weight_config_triple: list = []

    @classmethod
    def get_instance(cls) -> Manager:
        if cls._instance is None:
            cls._instance = cls.__new__(cls)
            cls._instance.initialize()
        return cls._instance

    def register_module_override(self, module: nn.Module, name: str, config: dict) -> None:
        self.module_weight_config_triple.append((module, name, config))


class Adam8bit(torch.optim.SGD):
    """As much of bitsandbytes' as is made before the first step."""

    def __init__(self, groups: list[dict], lr: float) -> None:
        super().__init__(groups, lr=lr)
        self.mng = Manager.get_instance()


@pytest.fixture(params=["stand-in", "installed"])
def bitsandbytes(request, monkeypatch):
    if request.param == "installed":
        return pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed: its manager is stood in for")
    module = types.ModuleType("bitsandbytes")
    module.__version__ = "0"
    module.optim = types.SimpleNamespace(GlobalOptimManager=Manager, Adam8bit=Adam8bit)
    monkeypatch.setattr(Manager, "_instance", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes", module)
    return module


def test_embeddings_keep_32_bits_and_no_encoder_is_kept_alive(bitsandbytes) -> None:
    kept = []
    for width in (8, 16):
        model = nn.Sequential(nn.Embedding(50, width), nn.Linear(width, width))
        made, name = optimizer._eight_bit(model, optimizer._groups(model, 0.1), 1e-3)
        told = made.mng.module_weight_config_triple
        assert [(module, *rest) for module, *rest in told] == [(model[0], "weight", {"optim_bits": 32})]
        assert "Adam8bit" in name and made.param_groups[0]["weight_decay"] == 0.1
        kept.append(weakref.ref(model))
        del model, made, told
    gc.collect()
    assert [reference() for reference in kept] == [None, None]
    assert bitsandbytes.optim.GlobalOptimManager.get_instance().module_weight_config_triple == []


def test_weight_decay_of_8_bits_is_decoupled() -> None:
    installed = pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed: what it computes cannot be tried")
    weight = nn.Parameter(torch.ones(64, 128))
    made = installed.optim.Adam8bit([weight], lr=0.1, weight_decay=0.5)
    weight.grad = torch.zeros_like(weight)
    made.step()
    torch.testing.assert_close(weight.detach(), torch.full((64, 128), 1 - 0.1 * 0.5))
