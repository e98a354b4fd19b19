"""Signs that training made an encoder worse, and what to try."""

from __future__ import annotations

import numpy as np
import torch

from armlib.data.collection import Collection
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.token_stores import passage_tokens
from armlib.experiments.defaults import LEARNING_RATE, encoder_kind
from armlib.experiments.experiment import Experiment
from armlib.experiments.result import Result
from armlib.experiments.training_data import TrainingData
from armlib.retrieval.encoding import encode_rows
from armlib.training.settings import MEASURE

SAMPLE = 1000  # passages whose cosines are looked at
NEARLY_EQUAL = 0.99
"""Mean cosine of passages above which their embeddings have become one."""


def mean_cosine(encoder: BiEncoder, collection: Collection, passage_length: int) -> float:
    """The mean cosine of two passages, of 1,000 that are drawn from a collection with seed 0."""
    passages = passage_tokens(collection, encoder, passage_length)
    encoder.bind(encoder.context_of(passages, passage_length))
    rows = np.sort(np.random.default_rng(0).permutation(len(passages))[:SAMPLE])
    vectors = encode_rows(encoder, passages, rows, passage_length, description="passages").astype(np.float64)
    count = len(vectors)
    return float((np.square(vectors.sum(0)).sum() - count) / (count * (count - 1))) if count > 1 else 0.0


def troubles(result: Result) -> list[str]:
    """Signs that training made an encoder worse, each a sentence with what to try; none where there are none."""
    asked, found = result.experiment, []
    fresh = TrainingData(asked, TrainingData(asked).untrained_encoder())
    if str(result.about["device"]).startswith("cuda") and torch.cuda.is_available():
        fresh.encoder.to("cuda")
    if len(result.validations):
        before, after = fresh.validator()(fresh.encoder)[MEASURE], result.kept_validation
        if after < before:
            found.append(
                f"on validation queries nDCG@10 was {before:.3f} before training and is {after:.3f} now: training made the encoder "
                f"worse; {_advice(asked)}"
            )
    cosine = mean_cosine(result.encoder(), fresh.collection, asked.passage_length)
    if cosine > NEARLY_EQUAL:
        found.append(f"two passages have a mean cosine of {cosine:.3f}: the embeddings have become nearly one; {_advice(asked)}")
    return found


def _advice(asked: Experiment) -> str:
    usual = LEARNING_RATE[encoder_kind(asked.encoder)]
    tries = []
    if asked.learning_rate > usual:
        tries.append(f"--learning-rate {usual:g} in place of {asked.learning_rate:g}")
    else:
        tries.append(f"--learning-rate {asked.learning_rate / 4:.2g} in place of {asked.learning_rate:g}")
    if asked.selection != "best":
        tries.append("--selection best, which keeps the weights of the best validation")
    tries.append("another loss, such as --target distributed or --loss 'infonce(20)'")
    return f"try {', or '.join(tries)}"
