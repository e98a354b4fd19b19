"""Exact search: every vector is compared with every query, in blocks of bounded memory, on the CPU or on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float, Integer

from armlib.errors import InputError
from armlib.packages import faiss
from armlib.retrieval.vectors import BLOCK, best_first, check_queries, check_vectors

_QUERIES = 1024  # compared at a time on a device: with a block of vectors, 268 MB of scores


class ExactSearch:
    """Exact search by inner product: by FAISS on the CPU, by torch on a device, where FAISS may lack a GPU build.

    Memory beyond the vectors is bounded by one block and the results; by torch, these are merged on the device and leave it once.
    With a CUDA device the vectors are kept on it in their own type if they fit into 70 percent of its free memory (8.8 million
    of 768 dimensions in float16 take 13.6 GB), and otherwise pass through it block by block; scores are computed in float32
    either way.

    Args:
        vectors: (N, D) float16 or float32, each of length 1 (or 0, for a text without content).
        device: a torch device such as ``"cuda"``; None searches by FAISS on the CPU.
        block: how many vectors are compared at a time.

    Raises:
        InputError: the vectors are no such matrix, their lengths are not 1, or there is no such device.
    """

    exact = True
    specification = "exact"

    def __init__(self, vectors: Float[np.ndarray, "N D"], *, device: str | torch.device | None = None, block: int = BLOCK) -> None:
        check_vectors(vectors)
        self.vectors, self.block = vectors, block
        self.device = None if device is None else torch.device(device)
        if self.device is not None and self.device.type == "cuda" and not torch.cuda.is_available():
            raise InputError(f"exact search was asked to run on {device!r}, but torch finds no CUDA device here")
        self._resident: torch.Tensor | None = None

    def __len__(self) -> int:
        return self.vectors.shape[0]

    def search(self, queries: Float[np.ndarray, "Q D"], k: int) -> tuple[Float[np.ndarray, "Q k"], Integer[np.ndarray, "Q k"]]:
        """The ``k`` nearest vectors of each query.

        Args:
            queries: (Q, D), each of length 1.
            k: how many, at least 1.

        Returns:
            scores: (Q, k) float32, best first; -inf where there are fewer than k vectors.
            rows: (Q, k) int64, equal scores in ascending order of rows; -1 where there are fewer than k vectors. Where
                more vectors than fit share the k-th score (duplicates in the collection), any of them may be in.

        Raises:
            InputError: the queries have other dimensions than the vectors or lengths other than 1, or k is below 1.
        """
        queries = check_queries(queries, k, self.vectors.shape[1])
        return self._by_faiss(queries, k) if self.device is None else self._by_torch(queries, k)

    def _by_faiss(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        scores, rows = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        for start in range(0, len(self), self.block):
            block = np.ascontiguousarray(self.vectors[start : start + self.block], dtype=np.float32)
            with matrix_products(len(queries)):
                found_scores, found_rows = faiss().knn(queries, block, min(k, len(block)), metric=faiss().METRIC_INNER_PRODUCT)
            joined = np.concatenate([scores, found_scores], axis=1), np.concatenate([rows, found_rows + start], axis=1)
            scores, rows = best_first(*joined, min(k, joined[0].shape[1]))
        return best_first(scores, rows, k)

    def _by_torch(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The results of blocks are merged on the device, and copied off it once."""
        with torch.inference_mode(), _full_precision():
            chunks = torch.from_numpy(queries).to(self.device).split(_QUERIES)
            best = [(chunk.new_empty((len(chunk), 0)), chunk.new_empty((len(chunk), 0), dtype=torch.int64)) for chunk in chunks]
            for start in range(0, len(self), self.block):
                block = self._on_device(start).float().T
                for number, chunk in enumerate(chunks):
                    found = torch.topk(chunk @ block, min(k, block.shape[1]), dim=1)
                    best[number] = _merged(*best[number], found.values, found.indices + start, k)
            scores, rows = (torch.cat(parts).cpu().numpy() for parts in zip(*best, strict=True))
        return best_first(scores, rows, k)

    def _on_device(self, start: int) -> torch.Tensor:
        stop, device = min(start + self.block, len(self)), torch.device(self.device or "cpu")
        if self._resident is None and device.type == "cuda":
            size = len(self) * self.vectors.shape[1] * np.dtype(self.vectors.dtype).itemsize
            if size <= 0.7 * torch.cuda.mem_get_info(device)[0]:
                blocks = range(0, len(self), self.block)
                # Filled block by block, so that the vectors are never twice on the device.
                self._resident = torch.empty(self.vectors.shape, dtype=self._tensor(0, 1).dtype, device=device)
                for first in blocks:
                    self._resident[first : first + self.block] = self._tensor(first, min(first + self.block, len(self)))
        if self._resident is not None:
            return self._resident[start:stop]
        return self._tensor(start, stop).to(device)

    def _tensor(self, start: int, stop: int) -> torch.Tensor:
        # A copy: torch warns of arrays that cannot be written to, as memory maps opened for reading are.
        return torch.from_numpy(np.array(self.vectors[start:stop]))


def _merged(
    scores: torch.Tensor, rows: torch.Tensor, found_scores: torch.Tensor, found_rows: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The ``k`` best of results so far, (Q, n), and those of a block of higher rows, (Q, m), in the order of `best_first`."""
    found_rows, order = found_rows.sort(dim=1)
    # Rows ascend among equal scores: in the results so far, in those of the block by now, and from the ones to the others.
    joined = torch.cat([scores, found_scores.gather(1, order)], dim=1)
    best, order = joined.sort(dim=1, descending=True, stable=True)
    return best[:, :k], torch.cat([rows, found_rows], dim=1).gather(1, order)[:, :k]


@contextmanager
def matrix_products(queries: int) -> Iterator[None]:
    """Let FAISS compare several queries by one matrix product.

    By itself it goes vector by vector until queries times dimensions reach its own threshold, which is high: a hundred queries then
    take many times as long. For very few that is the faster way.
    """
    before = faiss().cvar.distance_compute_blas_threshold
    if queries >= 4:
        faiss().cvar.distance_compute_blas_threshold = 1
    try:
        yield
    finally:
        faiss().cvar.distance_compute_blas_threshold = before


@contextmanager
def _full_precision() -> Iterator[None]:
    """Multiply float32 as float32, whatever the program has set: TF32 would change the order of near results."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
