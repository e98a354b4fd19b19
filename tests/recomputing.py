"""Layers that are computed again in the backward pass, in whatever release of transformers is installed."""

from __future__ import annotations

from transformers import PreTrainedModel


def recompute(model: PreTrainedModel) -> None:
    """Switch on activation checkpointing, which transformers before 5.23 calls gradient checkpointing."""
    switch = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    switch()
