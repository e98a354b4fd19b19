"""FAISS indexes from factory strings: made, with every parameter set, and prepared for training."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from jaxtyping import Float

from armlib.errors import InputError, unknown
from armlib.packages import faiss

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

EXAMPLES = "'exact', 'paper', or a FAISS factory string such as 'IVF256,Flat' or 'HNSW32'"
CODES = 256
"""Centroids of each part of an 8-bit product quantiser."""

_CODE_TRAINING = 64  # vectors per centroid that train one; its losses are made good by the exact re-ranking
_MOST = 2**31 - 1  # FAISS keeps parameters in 32 bits


def empty_index(factory: str, dimension: int, parameters: Mapping[str, float]) -> tuple[Any, dict[str, int]]:
    """An index without vectors, by inner product, and every parameter that it has with the value that was set.

    Args:
        factory: as FAISS's ``index_factory`` takes it.
        dimension: of the vectors.
        parameters: those that differ from `DEFAULTS`.

    Raises:
        InputError: FAISS does not know the factory string, or the index has no such parameter.
        RuntimeError: FAISS cannot make it; see `faiss_errors`.
    """
    index = _made(factory, dimension)
    defaults = {name: value for name, value in DEFAULTS.items() if _set(index, name, value)}
    if "efSearch" in defaults and "nprobe" not in defaults:
        defaults["efSearch"] = GRAPH_SEARCH
    return index, set_parameters(index, defaults | dict(parameters), defaults, factory)


def _made(factory: str, dimension: int) -> Any:
    try:
        return faiss().index_factory(dimension, factory, faiss().METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        if "could not parse" not in str(error):
            raise
        raise InputError(f"FAISS does not know the index {factory!r}; expected {EXAMPLES}") from error


def parts(index: Any) -> Iterator[Any]:
    """The index, what it is made of, and the transforms before it, each as the class that it is."""
    index = faiss().downcast_index(index)
    yield index
    if isinstance(index, faiss().IndexPreTransform):
        chain: Any = index.chain
        for number in range(chain.size()):
            yield faiss().downcast_VectorTransform(chain.at(number))
    for inner in ("index", "base_index", "quantizer"):
        if getattr(index, inner, None) is not None:
            yield from parts(getattr(index, inner))


def _set(index: Any, name: str, value: float) -> bool:
    """Set a parameter through FAISS's own interface, which finds the part of the index that has it; False where none has."""
    try:
        faiss().ParameterSpace().set_index_parameter(index, FAISS_NAMES.get(name, name), value)
    except RuntimeError as error:
        if "could not set parameter" not in str(error):
            raise
        return False
    return True


def set_parameters(index: Any, wanted: Mapping[str, float], known: Collection[str], factory: str) -> dict[str, int]:
    """Set some of the known parameters, no higher than they can be, and return the values that are now in force."""
    settings = {}
    lists = max((part.nlist for part in parts(index) if isinstance(part, faiss().IndexIVF)), default=0)
    for name, value in wanted.items():
        if name not in known:
            raise unknown(f"parameter of the index {factory}", name, known)
        if not 1 <= value <= _MOST or value != int(value):
            raise InputError(f"index {factory}: expected {name} as a whole number from 1 to {_MOST:,}, found {value:g}")
        settings[name] = int(min(value, lists) if name == "nprobe" else value)
    for name, value in settings.items():
        _set(index, name, value)
    return {name: settings[name] for name in DEFAULTS if name in settings}


def train_index(index: Any, vectors: Float[np.ndarray, "n D"], seed: int) -> None:
    """Train what an index has to train: clusterings, codes, rotations; an index without any stays as it is."""
    borrowed = _prepare_training(index, seed)
    index.train(vectors)
    for rotation, _ in borrowed:
        rotation.pq = None


def _prepare_training(index: Any, seed: int) -> list[tuple[Any, Any]]:
    """Seed every clustering, and keep product quantisers from training longer than their gain is worth.

    FAISS's own 240 rounds of clustering for an OPQ rotation take minutes on a small collection, where 26 do as well.
    Returns the rotations with the quantisers that they train by: FAISS borrows these, so they must live meanwhile.
    """
    borrowed = []
    for part in parts(index):
        if isinstance(part, faiss().OPQMatrix):
            part.niter, part.niter_pq, part.niter_pq_0, part.max_train_points = 8, 2, 10, CODES * _CODE_TRAINING
            quantiser = faiss().ProductQuantizer(part.d_out, part.M, 8)
            _settle(quantiser.cp, seed, 10)
            part.pq = quantiser
            borrowed.append((part, quantiser))
        if isinstance(part, faiss().IndexIVF):
            _settle(part.cp, seed, part.cp.niter)
        if hasattr(part, "pq") and not isinstance(part, faiss().OPQMatrix):
            _settle(part.pq.cp, seed, 10)
            part.pq.cp.max_points_per_centroid = _CODE_TRAINING
        if hasattr(part, "do_polysemous_training"):
            # A minute of ordering codes for a filter by Hamming distance that is off; results are the same without.
            part.do_polysemous_training = False
    return borrowed


def _settle(clustering: Any, seed: int, rounds: int) -> None:
    clustering.seed, clustering.niter = 1234 + seed, rounds
    clustering.min_points_per_centroid = 1  # below it FAISS prints a line; what few points cost shows in recall


def trouble(specification: str, dimension: int, count: int | None = None) -> str:
    """The beginning of an error about an index, as `faiss_errors` takes it."""
    return f"index {specification!r} cannot be built of {'' if count is None else f'{count:,} '}vectors of {dimension} dimensions"


@contextmanager
def faiss_errors(beginning: str) -> Iterator[None]:
    """Turn what FAISS throws into one sentence: of its message the part after the place in FAISS's sources."""
    try:
        yield
    except RuntimeError as error:
        reason = re.split(r"Error: '.*' failed: |Error: |\.cpp:\d+: ", str(error), flags=re.DOTALL)[-1].strip()
        raise InputError(f"{beginning}: {reason}") from error
    except MemoryError as error:
        raise InputError(f"{beginning}: there is not enough memory for it") from error
