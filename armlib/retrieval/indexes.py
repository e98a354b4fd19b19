"""Indexes by name: exact search, the paper's index, and any other that FAISS can make, with every parameter set."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Integer

from armlib.errors import InputError
from armlib.packages import faiss
from armlib.progress import bar
from armlib.retrieval.exact import ExactSearch, matrix_products
from armlib.retrieval.factories import CODES, EXAMPLES, empty_index, faiss_errors, parts, set_parameters, train_index, trouble
from armlib.retrieval.trial import check_factory
from armlib.retrieval.vectors import BLOCK, best_first, check_queries, check_vectors

PAPER_LISTS, PAPER_PASSAGES = 262_144, 8_841_823
"""The lists into which the released code's index cuts so many passages: about 34 in each."""

GPU_MOST = 2048
"""The most results, and the most lists looked at, that FAISS takes on a GPU."""


@runtime_checkable
class Index(Protocol):
    """Answers queries from N vectors; ``specification`` names it and its parameters, ``exact`` says if it finds all."""

    exact: bool

    @property
    def specification(self) -> str: ...

    def __len__(self) -> int: ...

    def search(self, queries: Float[np.ndarray, "Q D"], k: int) -> tuple[Float[np.ndarray, "Q k"], Integer[np.ndarray, "Q k"]]: ...


@dataclass
class ApproximateIndex:
    """A FAISS index with the parameters that were set on it. Made by `build_index`.

    Attributes:
        faiss_index: the index itself.
        name: what was asked for, without parameters: ``"paper"`` or a factory string.
        factory: the factory string.
        parameters: every search and construction parameter that the index has, with its value.
        gpu_index: a copy of it on GPUs, which is searched in its place as far as FAISS can there; None without.
    """

    faiss_index: Any
    name: str
    factory: str
    parameters: dict[str, int]
    gpu_index: Any = None
    exact = False

    @property
    def specification(self) -> str:
        """The name with all parameters, as `build_index` takes it."""
        listed = ",".join(f"{name}={value:g}" for name, value in self.parameters.items())
        return f"{self.name}:{listed}" if listed else self.name

    def __len__(self) -> int:
        return self.faiss_index.ntotal

    def configure(self, **parameters: float) -> None:
        """Change search parameters without building again, such as ``configure(nprobe=16)``.

        Raises:
            InputError: the index has no such parameter, its value is impossible, or it is decided by then.
        """
        if "efConstruction" in parameters:
            raise InputError(f"index {self.specification}: efConstruction is decided when it is built; build it again")
        found = set_parameters(self.faiss_index, parameters, self.parameters, self.factory)
        self.parameters |= found
        if self.gpu_index is not None and "nprobe" in found and found["nprobe"] <= GPU_MOST:
            faiss().GpuParameterSpace().set_index_parameter(self.gpu_index, "nprobe", found["nprobe"])

    def search(self, queries: Float[np.ndarray, "Q D"], k: int) -> tuple[Float[np.ndarray, "Q k"], Integer[np.ndarray, "Q k"]]:
        """Up to ``k`` near vectors of each query, as `ExactSearch.search` gives them: row -1 where fewer were found."""
        queries = check_queries(queries, k, self.faiss_index.d)
        fits = max(k, self.parameters.get("nprobe", 0)) <= GPU_MOST
        index = self.gpu_index if self.gpu_index is not None and fits else self.faiss_index
        with matrix_products(len(queries)), faiss_errors(f"index {self.specification} cannot be searched for {k} results"):
            scores, rows = index.search(queries, k)
        return best_first(scores, rows, k)


def build_index(
    vectors: Float[np.ndarray, "N D"],
    specification: str = "exact",
    *,
    device: str | torch.device | None = None,
    seed: int = 0,
    threads: int | None = None,
    training: int | None = None,
) -> ExactSearch | ApproximateIndex:
    """Make an index of vectors, by inner product.

    Args:
        vectors: (N, D) float16 or float32, each of length 1.
        specification: ``"exact"``; ``"paper"``, which is ``OPQ32,IVF{n}_HNSW32,PQ32,RFlat`` (32 bytes per vector, and
            exact re-ranking from the vectors themselves, kept in memory as float32) with n so that as many vectors
            share a list as in the paper's index; or any FAISS factory string. Parameters may follow a colon:
            ``"paper:nprobe=64,k_factor=8,efSearch=128"``, ``"IVF256,Flat:nprobe=16"``, ``"HNSW32:efSearch=128"``;
            those that are left out are set to `armlib.retrieval.factories.DEFAULTS`, never left to FAISS.
            ``Refine(SQfp16)`` in place of ``RFlat`` halves the memory of re-ranking.
        device: where ``"exact"`` searches. FAISS indexes are built on the CPU; with a CUDA device and a FAISS that has GPUs
            (faiss-gpu), flat ones and those of inverted lists are copied to all of them and searched there, by the same scores up
            to rounding. Others, such as graphs, are searched on the CPU.
        seed: of the clusterings and of the draw of training vectors.
        threads: how many threads build. None: one where there is an HNSW graph, which depends on the order in which
            threads insert (more threads build one as good, but not the same one twice), otherwise FAISS's own number.
        training: at most so many vectors train the clusterings; None: 256 for each list, at least 65,536.

    Raises:
        InputError: the specification cannot be understood or does not fit the vectors (dimensions, how many there are).
    """
    check_vectors(vectors)
    count, dimension = vectors.shape
    check_index(specification, dimension, count)
    name, factory, parameters = _resolved(specification, dimension, count)
    if name == "exact":
        return ExactSearch(vectors, device=device)
    with faiss_errors(trouble(specification, dimension, count)):
        index, settings = empty_index(factory, dimension, parameters)
        graph = any(isinstance(part, faiss().IndexHNSW) for part in parts(index))
        with _threads(1 if threads is None and graph else threads):
            lists = max((part.nlist for part in parts(index) if isinstance(part, faiss().IndexIVF)), default=0)
            train_index(index, _sample(vectors, training or max(BLOCK, 256 * lists), seed), seed)
            with bar(count, "indexing", "vectors") as shown:
                for start in range(0, count, BLOCK):
                    block = np.ascontiguousarray(vectors[start : start + BLOCK], dtype=np.float32)
                    index.add(block)
                    shown.update(len(block))
    on_gpus = device is not None and torch.device(device).type == "cuda" and faiss().get_num_gpus() > 0
    return ApproximateIndex(index, name, factory, settings, _on_gpus(index, specification) if on_gpus else None)


def _on_gpus(index: Any, specification: str) -> Any:
    """A copy of an index on all GPUs; None where FAISS has no such index for them.

    Warns:
        UserWarning: FAISS has such an index, but not of this shape, or it does not fit into the GPUs' memory.
    """
    made: Any = faiss().downcast_index(index)
    lists = isinstance(made, faiss().IndexIVFFlat | faiss().IndexIVFScalarQuantizer | faiss().IndexIVFPQ)
    # Lists that a graph leads to are not found on a GPU.
    if not isinstance(faiss().downcast_index(made.quantizer) if lists else made, faiss().IndexFlat):
        return None
    try:
        with faiss_errors(f"index {specification!r} is searched on the CPU, since it cannot be put on GPUs"):
            return faiss().index_cpu_to_all_gpus(made)
    except InputError as error:
        warnings.warn(str(error), stacklevel=3)
        return None


def check_index(specification: str, dimension: int, count: int | None = None) -> None:
    """Refuse now what `build_index` would refuse, or not survive, after the vectors have been made.

    Args:
        specification: as `build_index` takes it.
        dimension: of the vectors that there will be.
        count: how many there will be, where that is known.

    Raises:
        InputError: the specification cannot be understood or does not fit such vectors, or FAISS is not installed.
    """
    faiss()  # whether it is there
    name, factory, parameters = _resolved(specification, dimension, count)
    if name == "paper":
        empty_index(factory, dimension, parameters)
    elif factory:
        check_factory(specification, factory, parameters, dimension, count)


def _resolved(specification: str, dimension: int, count: int | None) -> tuple[str, str, dict[str, float]]:
    """Name, FAISS's factory string (empty for exact search) and parameters of a specification."""
    name, parameters = _parse(specification)
    if name == "exact":
        if parameters:
            raise InputError(f"index {specification!r}: exact search has no parameters, found {', '.join(parameters)}")
        return name, "", parameters
    factory = paper_factory(PAPER_PASSAGES if count is None else count, dimension) if name == "paper" else name
    return name, factory, parameters


def _parse(specification: str) -> tuple[str, dict[str, float]]:
    """Cut ``"name:parameter=value,..."`` into its name and parameters."""
    name, _, listed = specification.strip().partition(":")
    parameters: dict[str, float] = {}
    for part in filter(None, listed.split(",")):
        found = re.fullmatch(r"\s*(\w+)\s*=\s*([0-9]+(?:\.[0-9]+)?)\s*", part)
        if not found or found[1] in parameters:
            raise InputError(f"index {specification!r}: expected each parameter once as name=number, found {part!r}")
        parameters[found[1]] = float(found[2])
    if not name:
        raise InputError(f"index {specification!r} has no name; expected {EXAMPLES}")
    return name, parameters


def paper_factory(count: int, dimension: int) -> str:
    """The factory string of the paper's index for a collection of ``count`` vectors: as many vectors per list.

    Raises:
        InputError: the dimension cannot be cut into 32 parts, or there are fewer than 256 vectors.
    """
    if dimension % 32:
        raise InputError(f"the index 'paper' cuts vectors into 32 parts: expected dimensions in 32s, not {dimension}")
    if count < CODES:
        raise InputError(f"the index 'paper' needs {CODES} vectors or more to train codes, found {count}; use 'exact'")
    lists = max(1, round(count * PAPER_LISTS / PAPER_PASSAGES))
    return f"OPQ32,IVF{lists}_HNSW32,PQ32,RFlat"


def _sample(vectors: np.ndarray, count: int, seed: int) -> np.ndarray:
    """At most ``count`` vectors drawn without replacement, in their order, as float32."""
    size = vectors.shape[0]
    rows = np.arange(size)
    if size > count:
        rows = np.sort(np.random.default_rng(seed).choice(size, count, replace=False))
    return np.ascontiguousarray(vectors[rows], dtype=np.float32)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = faiss().omp_get_max_threads()
    try:
        if count is not None:
            faiss().omp_set_num_threads(count)
        yield
    finally:
        faiss().omp_set_num_threads(before)
