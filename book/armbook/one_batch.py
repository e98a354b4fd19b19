"""What one batch tells of distributed targets: the parts of their loss, and how far its gradient reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from armbook.batch_example import embedded_triples
from armlib.encoder.bi_encoder import BiEncoder
from armlib.experiments.experiment import Experiment
from armlib.experiments.training_data import TrainingData
from armlib.losses import MarginLoss, mean_targets


def training_batch(encoder: BiEncoder, experiment: Experiment, seed: int = 0) -> list[Tensor]:
    """Embeddings of random training triples: queries, positives and negatives, each (B, D) float32 on the CPU.

    Args:
        encoder: whose embeddings they are.
        experiment: whose collection, validation, lengths and batch size are taken.
        seed: of the choice of triples.
    """
    data = TrainingData(experiment, encoder)
    chosen = np.sort(np.random.default_rng(seed).choice(len(data.triples), experiment.batch_size, replace=False))
    return embedded_triples(data, data.triples[chosen])


def loss_parts(encoders: Mapping[str, BiEncoder], experiment: Experiment, seed: int = 0) -> pd.DataFrame:
    """The two parts of the loss with distributed targets, for some encoders on one batch of training triples.

    Args:
        encoders: by the name of a row.
        experiment, seed: as `training_batch` takes them.

    Returns:
        A row for each encoder; columns ``distributed`` (the loss), ``mean`` and ``variance`` (the losses that it is the sum of),
        ``share of variance``, ``mean target`` and ``spread of mean targets`` (their standard deviation over positives).
    """
    rows = {}
    for name, encoder in encoders.items():
        batch = training_batch(encoder, experiment, seed)
        losses = {target: float(MarginLoss(target)(*batch)) for target in ("distributed", "mean", "variance")}
        targets = mean_targets(*batch[1:])
        rows[name] = {
            **losses,
            "share of variance": losses["variance"] / losses["distributed"],
            "mean target": float(targets.mean()),
            "spread of mean targets": float(targets.std(correction=0)),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("encoder")


def reach(batch: Sequence[Tensor], losses: Mapping[str, MarginLoss]) -> pd.DataFrame:
    """How many negatives of a batch the loss of one triple pulls, and where the loss of the batch pulls.

    Args:
        batch: embeddings of queries, positives and negatives, each (B, D).
        losses: by the name of a row, the first of which the others are compared with; of squared errors.

    Returns:
        A row for each loss; columns ``negatives pulled`` (by the first triple, of B) and ``cosine`` (between the gradients of the
        whole losses by all embeddings, with the first loss's).
    """
    rows, first = {}, None
    for name, loss in losses.items():
        moved = [embeddings.detach().clone().double().requires_grad_() for embeddings in batch]
        margins, targets = loss.terms(*moved)
        (pulls,) = torch.autograd.grad((margins - targets)[0].square().mean(), moved[2], retain_graph=True)
        whole = torch.cat([part.flatten() for part in torch.autograd.grad(loss(*moved), moved)])
        first = whole if first is None else first
        cosine = torch.cosine_similarity(whole, first, dim=0)
        rows[name] = {"negatives pulled": int((pulls.norm(dim=1) > 1e-12).sum()), "cosine": float(cosine)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("loss")
