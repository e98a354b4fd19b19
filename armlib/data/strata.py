"""Training examples as clusters of queries of bins, in flat arrays, from which a draw costs the same however many there are."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer

from armlib.errors import InputError
from armlib.storage import kept, short_digest

RECIPE = "strata-1"


class Strata(NamedTuple):
    """T examples in strata, all of them sorted by number and none of them empty.

    Attributes:
        clusters: (C + 1,) where each cluster's queries start, and the last ones end.
        queries: (Q + 1,) where each query's bins start; a query is one of the Q that have examples.
        bins: (S + 1,) where each bin's examples start.
        examples: (T,) numbers of the examples.
    """

    clusters: Integer[np.ndarray, " C+1"]
    queries: Integer[np.ndarray, " Q+1"]
    bins: Integer[np.ndarray, " S+1"]
    examples: Integer[np.ndarray, " T"]


def strata(
    clusters: Integer[np.ndarray, " T"], queries: Integer[np.ndarray, " T"], margins: Float[np.ndarray, " T"] | None, bins: int
) -> Strata:
    """The strata of T examples, memory-mapped from the cache.

    Of 40 million examples of 400,000 queries they take 0.2 GB, which the processes of a machine share, and making them 1.7 GB.

    Args:
        clusters, queries: numbers of the cluster and the query of each example.
        margins: what `bin_numbers` puts in bins; None puts all examples of a query in one.
        bins: of equal width, for each query.

    Raises:
        InputError: a margin is not finite.
    """

    def make(draft: Path) -> None:
        numbers = 0 if margins is None else bin_numbers(queries, margins, bins)
        # One number that sorts by cluster, then query, then bin.
        key = (clusters.astype(np.int64) * (int(queries.max()) + 1) + queries) * bins + numbers
        order = np.argsort(key, kind="stable")
        key = key[order]
        starts = _starts(key)
        of_bins = key[starts[:-1]] // bins  # cluster and query of each bin
        of_queries = _starts(of_bins)
        of_clusters = _starts(of_bins[of_queries[:-1]] // (int(queries.max()) + 1))
        examples = order.astype(np.int32 if len(order) < 1 << 31 else np.int64)
        for name, values in zip(Strata._fields, (of_clusters, of_queries, starts, examples), strict=True):
            np.save(draft / f"{name}.npy", values)

    given = [clusters, queries, *([] if margins is None else [margins])]
    parts = [np.ascontiguousarray(each).tobytes() for each in given]
    folder = kept(f"strata/{short_digest(RECIPE, str(bins), *parts)}", "strata of the training examples", make)
    # Plain views of the mapped files: indexing a memmap object costs several times as much.
    return Strata(*(np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in Strata._fields))


def bin_numbers(queries: Integer[np.ndarray, " T"], margins: Float[np.ndarray, " T"], bins: int) -> Integer[np.ndarray, " T"]:
    """The bin of each example, from 0 to ``bins`` - 1, of equal width between the least and the largest margin of its query.

    A query whose margins are all equal has one bin.

    Raises:
        InputError: a margin is not finite.
    """
    missing = int(np.count_nonzero(~np.isfinite(margins)))
    if missing:
        raise InputError(f"{missing} of {len(margins)} triples have no finite margin, so they cannot be put in bins")
    low, high = np.full((2, int(queries.max()) + 1), np.inf)
    np.minimum.at(low, queries, margins)
    np.minimum.at(high, queries, -margins)
    width = (-high - low)[queries] / bins
    # Where all are equal there is nothing to divide; rounding can put the largest one in a bin beyond the last.
    found = np.divide(margins - low[queries], width, out=np.zeros(len(margins)), where=width > 0)
    return np.minimum(found.astype(np.int64), bins - 1)


def _starts(values: Integer[np.ndarray, " n"]) -> Integer[np.ndarray, " m"]:
    """Where runs of equal values start, and where the last one ends."""
    return np.concatenate([[0], np.flatnonzero(np.diff(values)) + 1, [len(values)]])
