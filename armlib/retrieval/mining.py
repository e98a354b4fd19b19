"""What an encoder says of the data before training: topics, neighbours, near passages, candidates; all of it kept in the cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int32, Integer

from armlib.data.pair_clusters import RECIPE as PAIR_RECIPE
from armlib.data.pair_clusters import pair_clusters
from armlib.data.query_clusters import RECIPE, query_clusters
from armlib.data.tokens import TokenStore
from armlib.encoder.bi_encoder import BiEncoder
from armlib.retrieval.embeddings import cached_embeddings
from armlib.retrieval.encoding import encode_rows
from armlib.retrieval.exact import ExactSearch
from armlib.storage import kept, short_digest

BLOCK = 65_536
"""How many pairs or queries are worked on at a time."""


def kept_clusters(
    encoder: BiEncoder, queries: TokenStore, rows: Integer[np.ndarray, " Q"], max_length: int, k: int, device: torch.device
) -> Int32[np.ndarray, " Q"]:
    """The cluster of each query, see `armlib.data.query_clusters.query_clusters`.

    Args:
        encoder: whose embeddings are clustered; it is moved to ``device``.
        queries, rows: the token store and the queries' rows in it.
        max_length: tokens at which queries are cut.
        k: how many clusters.

    Raises:
        InputError: there are fewer queries than clusters.
    """

    def make() -> np.ndarray:
        return query_clusters(encode_rows(encoder, queries, rows, max_length, device=device, description="queries"), k)

    key = short_digest(RECIPE, encoder.fingerprint(), queries.key, str(max_length), str(k), rows.tobytes())
    return kept_array(f"query-clusters/{key}", "clusters of queries", make)


def kept_pair_clusters(
    encoder: BiEncoder,
    queries: TokenStore,
    passages: TokenStore,
    pairs: Integer[np.ndarray, "T 2"],
    max_lengths: tuple[int, int],
    size: int,
    tour: bool,
    device: torch.device,
) -> Int32[np.ndarray, " T"]:
    """The cluster of each example's query and positive, see `armlib.data.pair_clusters.pair_clusters`; examples repeat them.

    Only the texts of the pairs are encoded, in one go. Of 40 million examples the first call also sorts the pairs, which takes 20 s
    and 2 GB, and the cache keeps 160 MB; a later call takes as long as reading them.

    Args:
        pairs: rows of query and positive in the token stores.
        max_lengths: tokens at which queries and passages are cut.
        size, tour: as `pair_clusters` takes them.
    """
    pairs = np.ascontiguousarray(pairs)

    def make() -> np.ndarray:
        numbers = pairs[:, 0].astype(np.int64) * len(passages) + pairs[:, 1]
        unique, example = np.unique(numbers, return_inverse=True)
        columns = np.divmod(unique, len(passages))
        rows, places = zip(*(np.unique(column, return_inverse=True) for column in columns), strict=True)
        texts = zip((queries, passages), rows, max_lengths, ("queries", "passages"), strict=True)
        vectors = [
            encode_rows(encoder, store, some, length, device=device, description=what) for store, some, length, what in texts
        ]
        clusters = pair_clusters(vectors[0], vectors[1], np.stack(places, axis=1).astype(np.int32), size, tour)
        return clusters[example]

    settings = f"{max_lengths} {size} {tour}"
    key = short_digest(PAIR_RECIPE, encoder.fingerprint(), queries.key, passages.key, settings, pairs.tobytes())
    return kept_array(f"pair-clusters/{key}", "clusters of queries and passages", make)


def kept_similarities(
    encoder: BiEncoder, passages: TokenStore, pairs: Integer[np.ndarray, "T 2"], max_length: int, device: torch.device
) -> Float[np.ndarray, " T"]:
    """The cosine similarities of pairs of passages, given by their rows in the token store; see `kept_clusters`."""

    def make() -> np.ndarray:
        vectors = cached_embeddings(encoder, passages, max_length, device)
        found = np.empty(len(pairs), np.float32)
        for start in range(0, len(pairs), BLOCK):
            firsts, seconds = pairs[start : start + BLOCK].T
            found[start : start + BLOCK] = np.einsum("td,td->t", vectors[firsts], vectors[seconds])
        return found

    key = short_digest(encoder.fingerprint(), passages.key, str(max_length), np.ascontiguousarray(pairs).tobytes())
    return kept_array(f"similarities/{key}", "similarities of passages", make)


def kept_candidates(
    encoder: BiEncoder,
    queries: TokenStore,
    rows: Integer[np.ndarray, " Q"],
    passages: TokenStore,
    max_lengths: tuple[int, int],
    depth: int,
    device: torch.device,
) -> Int32[np.ndarray, "Q depth"]:
    """The rows of the ``depth`` passages that the encoder ranks highest among all, best first; see `kept_clusters`.

    Args:
        max_lengths: tokens at which queries and passages are cut.
    """
    query_length, passage_length = max_lengths
    depth = min(depth, len(passages))

    def make() -> np.ndarray:
        vectors = encode_rows(encoder, queries, rows, query_length, device=device, description="queries")
        index = ExactSearch(
            cached_embeddings(encoder, passages, passage_length, device), device=device if device.type == "cuda" else None
        )
        found = [index.search(vectors[start : start + BLOCK], depth)[1] for start in range(0, len(rows), BLOCK)]
        return np.concatenate(found).astype(np.int32)

    lengths = f"{query_length} {passage_length} {depth}"
    key = short_digest(encoder.fingerprint(), queries.key, passages.key, lengths, rows.tobytes())
    return kept_array(f"candidates/{key}", "candidates of the training queries", make)


def kept_array(name: str, what: str, make: Callable[[], np.ndarray]) -> np.ndarray:
    """An array that is computed once and memory-mapped from the cache."""

    def write(draft: Path) -> None:
        np.save(draft / "values.npy", make())

    return np.load(kept(name, what, write) / "values.npy", mmap_mode="r")
