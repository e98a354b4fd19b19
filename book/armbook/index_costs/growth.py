"""How an index grows: times on synthetic vectors of chosen sizes; the paper's size and what a list can hold, computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from armbook.index_costs.measurements import (
    FLAT,
    HNSW,
    IVF,
    KINDS,
    PAPER,
    RELEASED_PARAMETERS,
    IndexMeasurements,
    Searched,
    build,
    lists,
    specification,
    times,
)
from armlib.errors import InputError
from armlib.evaluation.evaluate import DEPTH
from armlib.names import load_collection
from armlib.retrieval.exact import ExactSearch
from armlib.retrieval.factories import DEFAULTS
from armlib.retrieval.indexes import PAPER_PASSAGES, check_index
from armlib.retrieval.vectors import BLOCK, unit_vectors

GROWN = {FLAT: {}, IVF: {"nprobe": 64}, HNSW: {"efSearch": DEPTH}, PAPER: {"nprobe": 64, "efSearch": 128, "k_factor": 4}}
PAPER_DIMENSION = 768
CODE, NUMBER, LINKS = 32, 8, 272
"""Bytes a vector: its code and its row number in the lists of the paper's index; the links of HNSW32, 256 in the lowest layer."""


_SOURCES = 1000  # vectors whose nearest neighbours say how near synthetic vectors lie to their sources
_TRAINING = 1024  # how long a search takes does not hang on how well the codes were trained


def grow(
    searched: Searched,
    sizes: Sequence[int],
    kinds: Sequence[str] = KINDS,
    *,
    flat_sizes: Sequence[int] = (),
    rounds: int = 5,
    batch: int = 32,
    seed: int = 0,
) -> pd.DataFrame:
    """How long a search takes by the number of vectors, with the settings of `GROWN` and with those of the released code.

    The vectors are synthetic (`synthetic`), so that sizes can go beyond the collection's: times are measured, recall is not. All
    settings and sizes have their turn in each round, on one thread.

    Args:
        searched: vectors to sample around, and queries.
        sizes: numbers of vectors.
        kinds, rounds, batch: as `armbook.index_costs.measurements.measure_indexes` takes them.
        flat_sizes: further ones for exact search alone, which needs no building.
        seed: of the vectors.

    Returns:
        Columns ``size``, ``kind``, ``index``, ``released``, ``ms``, ``ms low``, ``ms high`` (a query), ``build seconds``.

    Raises:
        InputError: there are no sizes, one cannot be built, or rounds or batch are below 1.
    """
    wanted = dict.fromkeys(flat_sizes, [FLAT]) | dict.fromkeys(sizes, list(dict.fromkeys([FLAT, *kinds])))
    if not wanted or min(wanted) < 1 or min(rounds, batch) < 1:
        raise InputError(f"expected sizes, rounds and a batch of at least 1, found {list(wanted)}, {rounds} and {batch}")
    for size, some in wanted.items():
        for kind in some:
            check_index(specification(kind, size), searched.vectors.shape[1], size)
    rows, configured = [], []
    for size, some in sorted(wanted.items()):
        built = build(synthetic(searched.vectors, size, seed), some, _TRAINING)
        for kind, (index, seconds) in built.items():
            for parameters in (GROWN[kind], RELEASED_PARAMETERS) if kind == PAPER else (GROWN[kind],):
                index.configure(**parameters)
                row = {"size": size, "kind": kind, "index": index.specification, "released": parameters is RELEASED_PARAMETERS}
                rows.append(row | {"build seconds": seconds})
                configured.append((index, parameters))
    with threadpool_limits(1):
        return pd.DataFrame(rows).join(times(configured, searched.queries, rounds, batch))


def synthetic(vectors: np.ndarray, size: int, seed: int = 0) -> np.ndarray:
    """Vectors that are clustered as given ones are: each near a given one, in a random direction from it.

    The cosine to its source is drawn from the cosines of real vectors to their nearest neighbours. In the random direction they
    fill dimensions that real ones may not, so they are good for times and sizes, not for recall.

    Returns:
        (size, D) float32, each of length 1; more of them begin with the same ones.
    """
    rng, count = np.random.default_rng(seed), vectors.shape[0]
    some = np.unique(np.linspace(0, count - 1, _SOURCES).astype(np.int64))
    known = unit_vectors(vectors[some])
    scores, rows = ExactSearch(vectors).search(known[np.linalg.norm(known, axis=1) > 0], 2)
    nearest = np.clip(scores[rows[:, 1] >= 0, 1], -1, 1)
    if not len(nearest):
        raise InputError("synthetic vectors are made around neighbours, and of these vectors none has one")
    made = np.empty((size, vectors.shape[1]), np.float32)
    for start in range(0, size, BLOCK):
        # Whole blocks are drawn, so that a larger size begins as a smaller one does.
        chosen, cosines = rng.integers(count, size=BLOCK), rng.choice(nearest, BLOCK)[:, None]
        aside = rng.standard_normal((BLOCK, vectors.shape[1]), np.float32)
        source = unit_vectors(vectors[chosen])
        aside = unit_vectors(aside - (aside * source).sum(axis=1, keepdims=True) * source)
        made[start : start + BLOCK] = unit_vectors(cosines * source + np.sqrt(1 - cosines**2) * aside)[: size - start]
    return made


def exponents(growth: pd.DataFrame) -> pd.DataFrame:
    """The power of the size by which times grow between the two largest sizes: 1 is linear, 0 constant.

    Returns:
        Columns ``kind``, ``released`` (whether searched as that), ``from`` and ``to`` (the sizes) and ``exponent``; no row for
        what was measured at a single size.
    """
    rows = []
    for (kind, released), some in growth.groupby(["kind", "released"], sort=False):
        if len(some) > 1:
            first, last = some.nlargest(2, "size").sort_values("size").to_dict("records")
            slope = np.log(last["ms"] / first["ms"]) / np.log(last["size"] / first["size"])
            rows.append((kind, released, first["size"], last["size"], float(slope)))
    return pd.DataFrame(rows, columns=["kind", "released", "from", "to", "exponent"])


def index_bytes(kind: str, count: int, dimension: int, width: int = 4) -> float:
    """Bytes that an index of ``count`` vectors takes, computed; without the rotation and tables of codes, under a megabyte.

    Args:
        kind: one of `armbook.index_costs.measurements.KINDS`.
        count, dimension: of the vectors.
        width: bytes of a component of the vectors that are kept: 4 for float32, 2 for float16.
    """
    specification(kind, count)  # refuses an unknown kind
    whole, centroid = count * dimension * width, lists(count) * dimension * 4
    return {
        FLAT: whole,
        IVF: whole + count * NUMBER + centroid,
        HNSW: whole + count * LINKS,
        PAPER: whole + count * (CODE + NUMBER) + centroid + lists(count) * LINKS,
    }[kind]


def projection(count: int = PAPER_PASSAGES, dimension: int = PAPER_DIMENSION) -> pd.DataFrame:
    """Memory, and bytes read to answer one query alone, at a size that was not measured: arithmetic, no times.

    Lists are taken to be equally long. Of the walk through a graph nothing is counted, since its length is not known before.

    Returns:
        Columns ``index``, ``memory, GB``, ``passages compared`` (by their codes, in the paper's index), ``GB read a query``.
    """
    a_list = count / lists(count)
    rows = []
    for name, width in (("flat, float16", 2), ("flat, float32", 4)):
        size = index_bytes(FLAT, count, dimension, width)
        rows.append((name, size, count, size))
    here = {name: int(DEFAULTS[name]) for name in ("nprobe", "k_factor")}
    for name, parameters in (("paper's factory, as in this book", here), ("paper's factory, as released", RELEASED_PARAMETERS)):
        compared = min(count, parameters["nprobe"] * a_list)
        ranked = min(compared, parameters["k_factor"] * DEPTH)
        read = compared * (CODE + NUMBER) + ranked * dimension * 4
        rows.append((name, index_bytes(PAPER, count, dimension), compared, read))
    table = pd.DataFrame(rows, columns=["index", "memory, GB", "passages compared", "GB read a query"])
    return table.assign(**{column: table[column] / 1e9 for column in ("memory, GB", "GB read a query")})


def one_list(costs: IndexMeasurements) -> pd.DataFrame:
    """What a query that looks at one list can find: the bound of recall against exact search.

    Returns:
        One column ``value``, rows ``passages``, ``lists``, ``expected size`` (passages over lists), ``expected size, weighted`` (of
        the list of a passage drawn at random: long lists hold more of them), ``largest list``, ``found`` (measured with the
        released code's parameters, results a query) and ``bound`` of recall at the depth of the searches: found over depth.

    Raises:
        InputError: the paper's index was not measured.
    """
    sizes, found = costs.list_sizes, costs.released.found
    return pd.DataFrame(
        {
            "value": {
                "passages": sizes.sum(),
                "lists": len(sizes),
                "expected size": sizes.mean(),
                "expected size, weighted": np.square(sizes).sum() / sizes.sum(),
                "largest list": sizes.max(),
                "found": found,
                "bound": found / costs.depth,
            }
        }
    ).astype(float)


def best_recall(searched: Searched, found: float) -> pd.DataFrame:
    """The highest R@1000 by judgments that rankings of ``found`` passages for each query can have.

    Returns:
        A row for each collection: ``collection``, ``relevant`` (passages a query, of those that have any) and ``bound``.
    """
    rows = []
    for name in searched.collections:
        collection = load_collection(name)
        grades = (list(judged.values()) for judged in collection.qrels().values())
        relevant = np.array([sum(grade >= collection.relevant_from for grade in some) for some in grades])
        relevant = relevant[relevant > 0]
        rows.append((name, relevant.mean(), np.minimum(1, found / relevant).mean()))
    return pd.DataFrame(rows, columns=["collection", "relevant", "bound"])
