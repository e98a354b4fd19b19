"""Losses over batches of embeddings: margin losses with static, adaptive and distributed targets, and how they are named."""

from armlib.losses.base import EmbeddedBatch, Loss, LossValue
from armlib.losses.cosines import (
    READINGS,
    adaptive_targets,
    distributed_targets,
    in_batch_margins,
    mean_targets,
    relevance_margins,
    similarities,
    target_variance,
)
from armlib.losses.margins import ERRORS, MarginLoss
from armlib.losses.registry import LOSSES, parse_loss
from armlib.losses.targets import Adaptive, Distributed, Mean, Static, Target, Variance, parse_target

__all__ = [
    "ERRORS",
    "LOSSES",
    "READINGS",
    "Adaptive",
    "Distributed",
    "EmbeddedBatch",
    "Loss",
    "LossValue",
    "MarginLoss",
    "Mean",
    "Static",
    "Target",
    "Variance",
    "adaptive_targets",
    "distributed_targets",
    "in_batch_margins",
    "mean_targets",
    "parse_loss",
    "parse_target",
    "relevance_margins",
    "similarities",
    "target_variance",
]
