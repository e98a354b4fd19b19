"""Losses over batches of embeddings: margins with their targets, InfoNCE, and those that learn from a teacher; and their names."""

from armlib.losses.base import EmbeddedBatch, Loss, LossValue, TeacherScores
from armlib.losses.contrastive import InfoNCE
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
from armlib.losses.distillation import ListKL, MarginMSE
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
    "InfoNCE",
    "ListKL",
    "Loss",
    "LossValue",
    "MarginLoss",
    "MarginMSE",
    "Mean",
    "Static",
    "Target",
    "TeacherScores",
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
