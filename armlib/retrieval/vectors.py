"""Vectors of a collection: what every index takes and gives.

Vectors have length 1 throughout, so that inner products are the cosine similarities by which the paper ranks
(section 4).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Integer

from armlib.errors import InputError

BLOCK = 65_536
"""How many vectors are worked on at a time: 200 MB of float32 at 768 dimensions."""


def check_vectors(vectors: np.ndarray) -> None:
    """Check the form of all vectors, and the length of at most 1,000 of them spread over all.

    Raises:
        InputError: they are not an (N, D) matrix of float16 or float32, there are none, or one's length is not 1
            (a length of 0 is allowed: a text without content, which is near to nothing).
    """
    if len(getattr(vectors, "shape", ())) != 2 or np.dtype(vectors.dtype) not in (np.float16, np.float32):
        found = f"{getattr(vectors, 'dtype', type(vectors).__name__)} of shape {getattr(vectors, 'shape', None)}"
        raise InputError(f"expected vectors as a matrix (N, D) of float16 or float32, found {found}")
    if 0 in vectors.shape:
        raise InputError(f"there is nothing to search: the vectors have the shape {tuple(vectors.shape)}")
    rows = np.unique(np.linspace(0, vectors.shape[0] - 1, 1000).astype(np.int64))
    check_lengths(np.asarray(vectors[rows]), rows)


def check_lengths(vectors: Float[np.ndarray, "n D"], rows: Integer[np.ndarray, " n"]) -> None:
    """Raise an `InputError` unless every vector has length 1, as near as float16 gives it, or 0."""
    lengths = np.linalg.norm(vectors.astype(np.float32), axis=1)
    wrong = ~((np.abs(lengths - 1) < 0.01) | (lengths == 0))
    if wrong.any():
        found = f"length {lengths[wrong][0]:.4g} in row {rows[wrong][0]}"
        raise InputError(f"expected vectors of length 1 (divide each by its norm), found {found}")


def unit_vectors(vectors: Float[np.ndarray, "*n D"]) -> Float[np.ndarray, "*n D"]:
    """The vectors as float32, each divided by its length; vectors of length 0 stay."""
    vectors = np.asarray(vectors, dtype=np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), np.finfo(np.float32).tiny)


def check_queries(queries: np.ndarray, k: int, dimension: int) -> Float[np.ndarray, "Q D"]:
    """The queries as a contiguous float32 matrix, checked.

    Raises:
        InputError: they are not (Q, dimension), their lengths are not 1, or ``k`` is below 1.
    """
    if k < 1:
        raise InputError(f"expected to search for at least 1 result per query, found k={k}")
    if queries.ndim != 2 or queries.shape[1] != dimension:
        raise InputError(f"expected queries of shape (Q, {dimension}), as the vectors have, found {queries.shape}")
    check_lengths(queries, np.arange(len(queries)))
    return np.ascontiguousarray(queries, dtype=np.float32)


def best_first(
    scores: Float[np.ndarray, "Q n"], rows: Integer[np.ndarray, "Q n"], k: int
) -> tuple[Float[np.ndarray, "Q k"], Integer[np.ndarray, "Q k"]]:
    """The ``k`` highest scores of each line with their rows, (Q, k), equal scores in ascending order of rows.

    Where there are fewer than ``k``, and where a row is -1 (FAISS's "nothing found"), the end of the line holds row -1
    and score -inf.
    """
    missing = max(k - scores.shape[1], 0)
    scores = np.pad(np.where(rows < 0, -np.inf, scores), ((0, 0), (0, missing)), constant_values=-np.inf)
    rows = np.pad(rows, ((0, 0), (0, missing)), constant_values=-1)
    order = np.lexsort((rows, -scores))[:, :k]
    scores, rows = np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)
    return scores.astype(np.float32, copy=False), rows.astype(np.int64, copy=False)
