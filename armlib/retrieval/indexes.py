"""Indexes by name: exact search, the paper's index, and any other that FAISS can make, with every parameter set."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import faiss
import numpy as np
import torch
from jaxtyping import Float, Integer

from armlib.errors import InputError, unknown
from armlib.progress import bar
from armlib.retrieval.exact import ExactSearch, matrix_products
from armlib.retrieval.vectors import BLOCK, best_first, check_queries, check_vectors

PAPER_LISTS, PAPER_PASSAGES = 262_144, 8_841_823
"""The lists into which the released code's index cuts so many passages: about 34 in each."""


DEFAULTS: Mapping[str, float] = {"nprobe": 512, "efSearch": 1024, "efConstruction": 128, "k_factor": 4}
"""Set on every index that has them, unless the specification says otherwise; FAISS's own (1, 16, 40, 1) lose results.

``nprobe`` lists are looked at per query (all, where there are fewer): 512 of the paper's hold some 17,000 passages,
from which to take a top 1000. ``efSearch`` candidates are kept while a graph is walked; in the paper's index the walk
finds the lists, so it is not below ``nprobe``. ``efConstruction`` is the same while building. ``k_factor`` times k
candidates are re-ranked exactly.
"""


FAISS_NAMES = {"k_factor": "k_factor_rf"}
"""What FAISS calls a parameter, where that is another name."""

GRAPH_SEARCH = 2000
"""``efSearch`` by default where a graph leads to the vectors themselves. FAISS finds about so many of them and no more,
so it must not be below k; twice the usual k of 1000 misses next to nothing.
"""


_CODES = 256  # centroids of each part of an 8-bit product quantiser
_CODE_TRAINING = 64  # vectors per centroid that train one; its losses are made good by the exact re-ranking
_EXAMPLES = "'exact', 'paper', or a FAISS factory string such as 'IVF256,Flat' or 'HNSW32'"


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
    """

    faiss_index: faiss.Index
    name: str
    factory: str
    parameters: dict[str, int]
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
        self.parameters |= _set_parameters(self.faiss_index, parameters, self.parameters, self.factory)

    def search(self, queries: Float[np.ndarray, "Q D"], k: int) -> tuple[Float[np.ndarray, "Q k"], Integer[np.ndarray, "Q k"]]:
        """Up to ``k`` near vectors of each query, as `ExactSearch.search` gives them: row -1 where fewer were found."""
        queries = check_queries(queries, k, self.faiss_index.d)
        with matrix_products(len(queries)):
            scores, rows = self.faiss_index.search(queries, k)
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
            those that are left out are set to `DEFAULTS`, never left to FAISS. ``Refine(SQfp16)`` in place of
            ``RFlat`` halves the memory of re-ranking.
        device: where ``"exact"`` searches; FAISS indexes are built and searched on the CPU.
        seed: of the clusterings and of the draw of training vectors.
        threads: how many threads build. None: one where there is an HNSW graph, which depends on the order in which
            threads insert (more threads build one as good, but not the same one twice), otherwise FAISS's own number.
        training: at most so many vectors train the clusterings; None: 256 for each list, at least 65,536.

    Raises:
        InputError: the specification cannot be understood or does not fit the vectors (dimensions, how many there are).
    """
    check_vectors(vectors)
    count, dimension = vectors.shape
    configured = _configured(specification, count, dimension)
    if configured is None:
        return ExactSearch(vectors, device=device)
    name, factory, index, settings = configured
    with _faiss_errors(f"index {specification!r} cannot be built of {count:,} vectors of {dimension} dimensions"):
        graph = any(isinstance(part, faiss.IndexHNSW) for part in _parts(index))
        with _threads(1 if threads is None and graph else threads):
            borrowed = _prepare_training(index, seed)
            lists = max((part.nlist for part in _parts(index) if isinstance(part, faiss.IndexIVF)), default=0)
            index.train(_sample(vectors, training or max(BLOCK, 256 * lists), seed))
            for rotation, _ in borrowed:
                rotation.pq = None
            with bar(count, "indexing", "vectors") as shown:
                for start in range(0, count, BLOCK):
                    block = np.ascontiguousarray(vectors[start : start + BLOCK], dtype=np.float32)
                    index.add(block)
                    shown.update(len(block))
    return ApproximateIndex(index, name, factory, settings)


def check_index(specification: str, count: int, dimension: int) -> None:
    """Refuse now what `build_index` would refuse after the vectors have been made.

    Args:
        specification: as `build_index` takes it.
        count, dimension: how many vectors there will be, and their dimensions.

    Raises:
        InputError: the specification cannot be understood or does not fit such vectors.
    """
    _configured(specification, count, dimension)


def _configured(specification: str, count: int, dimension: int) -> tuple[str, str, faiss.Index, dict[str, int]] | None:
    """Name, factory string, empty index with its parameters set, and these; None for exact search."""
    name, parameters = _parse(specification)
    if name == "exact":
        if parameters:
            raise InputError(f"index {specification!r}: exact search has no parameters, found {', '.join(parameters)}")
        return None
    factory = paper_factory(count, dimension) if name == "paper" else name
    with _faiss_errors(f"index {specification!r} cannot be built of {count:,} vectors of {dimension} dimensions"):
        index = _empty_index(factory, dimension)
        defaults = {name: value for name, value in DEFAULTS.items() if _set(index, name, value)}
        if "efSearch" in defaults and "nprobe" not in defaults:
            defaults["efSearch"] = GRAPH_SEARCH
        return name, factory, index, _set_parameters(index, defaults | parameters, defaults, factory)


def _parse(specification: str) -> tuple[str, dict[str, float]]:
    """Cut ``"name:parameter=value,..."`` into its name and parameters."""
    name, _, listed = specification.strip().partition(":")
    parameters: dict[str, float] = {}
    for part in filter(None, listed.split(",")):
        found = re.fullmatch(r"\s*(\w+)\s*=\s*(\d+(?:\.\d+)?)\s*", part)
        if not found or found[1] in parameters:
            raise InputError(f"index {specification!r}: expected each parameter once as name=number, found {part!r}")
        parameters[found[1]] = float(found[2])
    if not name:
        raise InputError(f"index {specification!r} has no name; expected {_EXAMPLES}")
    return name, parameters


def paper_factory(count: int, dimension: int) -> str:
    """The factory string of the paper's index for a collection of ``count`` vectors: as many vectors per list.

    Raises:
        InputError: the dimension cannot be cut into 32 parts, or there are fewer than 256 vectors.
    """
    if dimension % 32:
        raise InputError(f"the index 'paper' cuts vectors into 32 parts: expected dimensions in 32s, not {dimension}")
    if count < _CODES:
        raise InputError(f"the index 'paper' needs {_CODES} vectors or more to train codes, found {count}; use 'exact'")
    lists = max(1, round(count * PAPER_LISTS / PAPER_PASSAGES))
    return f"OPQ32,IVF{lists}_HNSW32,PQ32,RFlat"


def _empty_index(factory: str, dimension: int) -> faiss.Index:
    try:
        return faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        if "could not parse" not in str(error):
            raise
        raise InputError(f"FAISS does not know the index {factory!r}; expected {_EXAMPLES}") from error


def _parts(index: Any) -> Iterator[Any]:
    """The index, what it is made of, and the transforms before it, each as the class that it is."""
    index = faiss.downcast_index(index)
    yield index
    if isinstance(index, faiss.IndexPreTransform):
        chain: Any = index.chain
        for number in range(chain.size()):
            yield faiss.downcast_VectorTransform(chain.at(number))
    for inner in ("index", "base_index", "quantizer"):
        if getattr(index, inner, None) is not None:
            yield from _parts(getattr(index, inner))


def _set(index: faiss.Index, name: str, value: float) -> bool:
    """Set a parameter through FAISS's own interface, which finds the part of the index that has it; False where none has."""
    try:
        faiss.ParameterSpace().set_index_parameter(index, FAISS_NAMES.get(name, name), value)
    except RuntimeError as error:
        if "could not set parameter" not in str(error):
            raise
        return False
    return True


def _set_parameters(index: faiss.Index, wanted: Mapping[str, float], known: Collection[str], factory: str) -> dict[str, int]:
    """Set some of the known parameters, no higher than they can be, and return the values that are now in force."""
    settings = {}
    lists = max((part.nlist for part in _parts(index) if isinstance(part, faiss.IndexIVF)), default=0)
    for name, value in wanted.items():
        if name not in known:
            raise unknown(f"parameter of the index {factory}", name, known)
        if value < 1 or value != int(value):
            raise InputError(f"index {factory}: expected {name} as a whole number of at least 1, found {value:g}")
        settings[name] = int(min(value, lists) if name == "nprobe" else value)
    for name, value in settings.items():
        _set(index, name, value)
    return {name: settings[name] for name in DEFAULTS if name in settings}


def _prepare_training(index: faiss.Index, seed: int) -> list[tuple[faiss.OPQMatrix, faiss.ProductQuantizer]]:
    """Seed every clustering, and keep product quantisers from training longer than their gain is worth.

    FAISS's own 240 rounds of clustering for an OPQ rotation take minutes on a small collection, where 26 do as well.
    Returns the rotations with the quantisers that they train by: FAISS borrows these, so they must live meanwhile.
    """
    borrowed = []
    for part in _parts(index):
        if isinstance(part, faiss.OPQMatrix):
            part.niter, part.niter_pq, part.niter_pq_0, part.max_train_points = 8, 2, 10, _CODES * _CODE_TRAINING
            quantiser = faiss.ProductQuantizer(part.d_out, part.M, 8)
            _settle(quantiser.cp, seed, 10)
            part.pq = quantiser
            borrowed.append((part, quantiser))
        if isinstance(part, faiss.IndexIVF):
            _settle(part.cp, seed, part.cp.niter)
        if hasattr(part, "pq") and not isinstance(part, faiss.OPQMatrix):
            _settle(part.pq.cp, seed, 10)
            part.pq.cp.max_points_per_centroid = _CODE_TRAINING
        if hasattr(part, "do_polysemous_training"):
            # A minute of ordering codes for a filter by Hamming distance that is off; results are the same without.
            part.do_polysemous_training = False
    return borrowed


def _settle(clustering: faiss.ClusteringParameters, seed: int, rounds: int) -> None:
    clustering.seed, clustering.niter = 1234 + seed, rounds
    clustering.min_points_per_centroid = 1  # below it FAISS prints a line; what few points cost shows in recall


def _sample(vectors: np.ndarray, count: int, seed: int) -> np.ndarray:
    """At most ``count`` vectors drawn without replacement, in their order, as float32."""
    size = vectors.shape[0]
    rows = np.arange(size)
    if size > count:
        rows = np.sort(np.random.default_rng(seed).choice(size, count, replace=False))
    return np.ascontiguousarray(vectors[rows], dtype=np.float32)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = faiss.omp_get_max_threads()
    try:
        if count is not None:
            faiss.omp_set_num_threads(count)
        yield
    finally:
        faiss.omp_set_num_threads(before)


@contextmanager
def _faiss_errors(trouble: str) -> Iterator[None]:
    """Turn what FAISS throws into one sentence: of its message the part after the place in FAISS's sources."""
    try:
        yield
    except RuntimeError as error:
        reason = re.split(r"Error: '.*' failed: |Error: |\.cpp:\d+: ", str(error), flags=re.DOTALL)[-1].strip()
        raise InputError(f"{trouble}: {reason}") from error
