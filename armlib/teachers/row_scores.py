"""A teacher's scores as a training batch asks for them: by the rows of query and passages in the token stores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Integer

from armlib.losses.base import TeacherScores


class RowScores(ABC):
    """Scores of queries and passages by row. Called with lists, (B, 2 + N), it gives what `armlib.data.batches` asks a teacher for.

    Attributes:
        cost: ``pairs``, ``seconds`` and ``device`` of the scoring, and ``operations`` where they are known.
    """

    cost: dict[str, Any]

    @abstractmethod
    def of_pairs(self, queries: Integer[np.ndarray, "*n"], passages: Integer[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        """Scores of pairs of rows, of any shape, float32; NaN where there is none."""

    def complete(self, lists: Integer[np.ndarray, "T columns"]) -> Integer[np.ndarray, "kept columns"]:
        """Those of the lists for which these scores were made that have a score for each passage."""
        return lists

    def __call__(self, lists: Integer[np.ndarray, "B columns"]) -> TeacherScores:
        """The scores of a batch, pointwise (B, 1 + N)."""
        queries = np.broadcast_to(lists[:, :1], lists[:, 1:].shape)
        return TeacherScores(torch.from_numpy(self.of_pairs(queries, lists[:, 1:])))
