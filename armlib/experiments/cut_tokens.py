"""How much of a collection's texts the maximum lengths cut off."""

from __future__ import annotations

import numpy as np

from armlib.experiments.training_data import TrainingData

MUCH = 0.05  # of a collection's tokens


def cut_share(data: TrainingData) -> dict[str, float]:
    """The share of the tokens of ``queries`` and ``passages`` that is cut off, of each text's first 512."""
    asked = data.experiment
    found = {}
    for name, store, length in (("queries", data.queries, asked.query_length), ("passages", data.passages, asked.passage_length)):
        tokens = store.lengths - store.specials
        found[name] = float(np.maximum(store.lengths - length, 0).sum() / max(1, tokens.sum()))
    return found


def length_for(data: TrainingData, share: float) -> int:
    """The passage length, a multiple of ten, that cuts at most a share of the tokens off; not more than the encoder takes."""
    lengths = data.passages.lengths
    total = max(1, (lengths - data.passages.specials).sum())
    longest = min(int(lengths.max()), data.encoder.max_length or 1 << 62)
    fitting = (length for length in range(10, longest, 10) if np.maximum(lengths - length, 0).sum() <= share * total)
    return next(fitting, longest)
