"""Adaptive relevance margins in sentence-transformers' own trainer: losses, arguments, an evaluator, batch samplers.

The trainer needs the package `datasets`. Losses work from sentence-transformers 5.4 on, with gradient caching from 5.7; a length of
queries that is not that of passages, as armlib saves it in a model, needs 6.
"""

from armlib.integrations.sentence_transformers.arguments import column_arguments
from armlib.integrations.sentence_transformers.batch_samplers import batch_sampler
from armlib.integrations.sentence_transformers.evaluator import RetrievalEvaluator
from armlib.integrations.sentence_transformers.losses import AdaptiveMarginLoss, CachedAdaptiveMarginLoss

__all__ = ["AdaptiveMarginLoss", "CachedAdaptiveMarginLoss", "RetrievalEvaluator", "batch_sampler", "column_arguments"]
