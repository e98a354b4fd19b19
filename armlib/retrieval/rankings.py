"""Rankings from an encoder: a first stage re-ranked, or a whole collection searched (both set-ups of section 4)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import nn

from armlib.data.tokens import TokenStore
from armlib.data.types import Run
from armlib.errors import InputError
from armlib.retrieval.encoding import encode_rows, text
from armlib.retrieval.exact import ExactSearch
from armlib.retrieval.indexes import Index, build_index
from armlib.retrieval.run_files import ranked
from armlib.retrieval.vectors import unit_vectors

RECALL_QUERIES = 200
"""So many queries, spread evenly, are also searched exactly to tell the recall of an approximate index."""

RECALL_DEPTHS = (10, 100, 1000)


def rerank(
    candidates: Mapping[str, Iterable[str]],
    query_vectors: Float[np.ndarray, "Q D"],
    query_rows: Mapping[str, int],
    passage_vectors: Float[np.ndarray, "P D"],
    passage_rows: Mapping[str, int],
) -> Run:
    """Order each query's candidates by the cosine similarity of their vectors to the query's.

    Args:
        candidates: query id to document ids, such as a first stage's run; its scores are not looked at.
        query_vectors: (Q, D), of any length.
        query_rows: query id to its row among the query vectors.
        passage_vectors: (P, D), of any length; each passage once, however many queries it is a candidate of.
        passage_rows: document id to its row among the passage vectors.

    Returns:
        The candidates with their cosine similarities, in the order of `armlib.retrieval.run_files.ranked`.

    Raises:
        InputError: there are no queries, or a query or candidate has no vector (counted, the first one named).
    """
    if not candidates:
        raise InputError("there are no queries to re-rank candidates of")
    _all_known("queries", candidates, query_rows)
    _all_known("candidates", {document for found in candidates.values() for document in found}, passage_rows)
    run: Run = {}
    for query, documents in candidates.items():
        documents = list(documents)
        rows = np.array([passage_rows[document] for document in documents], np.int64)
        scores = unit_vectors(passage_vectors[rows]) @ unit_vectors(query_vectors[query_rows[query]])
        run[query] = ranked(dict(zip(documents, scores.tolist(), strict=True)))
    return run


def rerank_first_stage(
    encoder: nn.Module,
    queries: TokenStore,
    passages: TokenStore,
    first_stage: Mapping[str, Mapping[str, float]],
    *,
    query_length: int = 30,
    passage_length: int = 200,
    passage_vectors: Float[np.ndarray, "N D"] | None = None,
    batch_tokens: int | None = None,
    device: str | torch.device | None = None,
) -> Run:
    """Re-rank a first stage's candidates; each passage is encoded once, whichever queries it is a candidate of.

    Args:
        encoder, batch_tokens, device: as `armlib.retrieval.encoding.encode_rows` takes them.
        queries: token store in which the run's queries are found by id.
        passages: token store in which the candidates are found by id.
        first_stage: the candidates of each query.
        query_length, passage_length: maximum length in tokens.
        passage_vectors: (N, D) vectors of all passages of the store, in its order, where they exist already.

    Returns:
        The same queries and documents with cosine similarities.

    Raises:
        InputError: there are no queries, a query or candidate is not in its store (counted, the first one named), or
            the vectors are not as many as the passages.
    """
    if not first_stage:
        raise InputError("there are no queries to re-rank candidates of")
    names = list(first_stage)
    documents = list(dict.fromkeys(document for found in first_stage.values() for document in found))
    query_numbers = known_rows("a query of the first stage is unknown", queries, names)
    numbers = known_rows("a candidate of the first stage is not in the collection", passages, documents)
    settings: dict[str, Any] = {"batch_tokens": batch_tokens, "device": device}
    query_vectors = encode_rows(encoder, queries, query_numbers, query_length, description="queries", **settings)
    if passage_vectors is None:
        passage_vectors = encode_rows(encoder, passages, numbers, passage_length, description="passages", **settings)
        numbers = np.arange(len(documents))
    else:
        _as_many(passage_vectors, passages)
    query_rows = {query: row for row, query in enumerate(names)}
    passage_rows = dict(zip(documents, numbers.tolist(), strict=True))
    return rerank(first_stage, query_vectors, query_rows, passage_vectors, passage_rows)


def full_ranking(
    encoder: nn.Module,
    queries: TokenStore,
    query_ids: Sequence[str],
    passages: TokenStore,
    k: int = 1000,
    index: str | Index = "exact",
    *,
    passage_vectors: Float[np.ndarray, "N D"] | None = None,
    query_length: int = 30,
    passage_length: int = 200,
    batch_tokens: int | None = None,
    device: str | torch.device | None = None,
    seed: int = 0,
    own: AbstractSet[str] = frozenset(),
    left_out: Integer[np.ndarray, " n"] | None = None,
) -> tuple[Run, dict[str, Any]]:
    """Rank a whole collection for each query through an index.

    Args:
        encoder, batch_tokens, device: as `armlib.retrieval.encoding.encode_rows` takes them; exact search follows onto a GPU.
        queries: token store in which the queries are found by id.
        query_ids: the queries to search for.
        passages: token store of the collection.
        k: results per query; all passages, where there are fewer.
        index: what `armlib.retrieval.indexes.build_index` takes, or an index that has been built over ``passage_vectors``.
        passage_vectors: (N, D) vectors of the passages in their order; None encodes them into memory.
        query_length, passage_length: maximum length in tokens.
        seed: of the index's clusterings.
        own: queries that are documents of the collection under the same id; each is left out of its own ranking.
        left_out: rows of passages that are not ranked, such as empty ones; so many more are searched for.

    Returns:
        run: up to ``k`` passages for each query with their cosine similarities (fewer where an index finds fewer).
        about: ``index`` (its specification with every parameter), ``exact``, ``passages``, ``queries``, ``k``,
            ``found`` (the mean number of results per query), ``recall`` (by depth, against exact search of
            ``recall_queries`` queries) and ``seconds`` of each step.

    Raises:
        InputError: there are no queries, one is not in its store, the index cannot be built, or the vectors are not as
            many as the passages.
    """
    if not len(query_ids):
        raise InputError("there are no queries to search for")
    seconds: dict[str, float] = {}
    settings: dict[str, Any] = {"batch_tokens": batch_tokens, "device": device}
    with _timed(seconds, "encode queries"):
        query_numbers = known_rows("a query is unknown", queries, query_ids)
        query_vectors = encode_rows(encoder, queries, query_numbers, query_length, description="queries", **settings)
    if passage_vectors is None:
        with _timed(seconds, "encode passages"):
            settings["description"] = "passages"
            passage_vectors = encode_rows(encoder, passages, np.arange(len(passages)), passage_length, **settings)
    _as_many(passage_vectors, passages)
    device = next(encoder.parameters()).device
    search_device = device if device.type == "cuda" else None
    with _timed(seconds, "build index"):
        searcher: Index = (
            index if not isinstance(index, str) else build_index(passage_vectors, index, device=search_device, seed=seed)
        )
        _as_many(searcher, passages)
    away = np.empty(0, np.int64) if left_out is None else left_out
    k = min(k, len(passages))

    def found(index: Index, vectors: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
        return without_rows(*index.search(vectors, min(most + len(away), len(passages))), away, most)

    with _timed(seconds, "search"):
        # One more, for what is left out of its own ranking.
        scores, rows = found(searcher, query_vectors, min(k + bool(own), len(passages)))
    run = to_run(scores, rows, query_ids, passages.ids)
    if own:
        run = {query: dict(islice(found.items(), k)) for query, found in without_own(run, own).items()}
    about: dict[str, Any] = {
        "index": searcher.specification,
        "exact": searcher.exact,
        "passages": len(passages),
        "queries": len(query_ids),
        "k": k,
        "found": float(np.mean([len(found) for found in run.values()])),
    }
    depths = sorted({min(depth, k) for depth in RECALL_DEPTHS})
    if searcher.exact:
        about |= {"recall": {str(depth): 1.0 for depth in depths}, "recall_queries": 0}
    else:
        from faiss.contrib.evaluation import knn_intersection_measure  # here: exact search on a GPU needs no FAISS

        with _timed(seconds, "exact search for recall"):
            some = np.unique(np.linspace(0, len(rows) - 1, RECALL_QUERIES).astype(np.int64))
            _, exact_rows = found(ExactSearch(passage_vectors, device=search_device), query_vectors[some], k)
        recall = {str(depth): knn_intersection_measure(rows[some, :depth], exact_rows[:, :depth]) for depth in depths}
        about |= {"recall": recall, "recall_queries": len(some)}
    return run, about | {"seconds": seconds}


def to_run(
    scores: Float[np.ndarray, "Q k"],
    rows: Integer[np.ndarray, "Q k"],
    query_ids: Sequence[str],
    document_ids: Sequence[str | bytes] | np.ndarray,
) -> Run:
    """A run from an index's results, without those of row -1, which stand for nothing found.

    Args:
        scores, rows: (Q, k), as `ExactSearch.search` gives them.
        query_ids: of the Q queries.
        document_ids: of the N rows, as text or UTF-8 bytes.
    """
    names = {row: text(document_ids[row]) for row in np.unique(rows).tolist() if row >= 0}
    run: Run = {}
    for query, query_scores, query_rows in zip(query_ids, scores, rows, strict=True):
        there = query_rows >= 0
        documents = map(names.__getitem__, query_rows[there].tolist())
        run[query] = ranked(dict(zip(documents, query_scores[there].tolist(), strict=True)))
    return run


def without_rows(
    scores: Float[np.ndarray, "Q m"], rows: Integer[np.ndarray, "Q m"], left_out: Integer[np.ndarray, " n"], k: int
) -> tuple[Float[np.ndarray, "Q k"], Integer[np.ndarray, "Q k"]]:
    """The best ``k`` results that are none of some rows, in their order; row -1 where there are fewer."""
    if not len(left_out):
        return scores, rows
    away = np.isin(rows, left_out)
    order = np.argsort(away, axis=1, kind="stable")[:, :k]
    kept = np.where(np.take_along_axis(away, order, 1), -1, np.take_along_axis(rows, order, 1))
    return np.take_along_axis(scores, order, 1), kept


def without_own(run: Mapping[str, Mapping[str, float]], own: AbstractSet[str]) -> Run:
    """A run in which no query of ``own`` finds the document of its own id: as in ArguAna, where queries are documents."""
    return {
        query: {document: score for document, score in found.items() if query not in own or document != query}
        for query, found in run.items()
    }


def known_rows(trouble: str, store: TokenStore, names: Sequence[str]) -> np.ndarray:
    """The rows of ids in a token store; the error for one that is not there says ``trouble`` first."""
    try:
        return np.asarray(store.rows(names), np.int64)
    except InputError as error:
        raise InputError(f"{trouble}: {error}") from error


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    """Note the seconds that a block took."""
    start = time.perf_counter()
    yield
    seconds[step] = round(time.perf_counter() - start, 4)


def _all_known(kind: str, wanted: Iterable[str], known: Mapping[str, int]) -> None:
    wanted = list(wanted)
    missing = sorted(name for name in wanted if name not in known)
    if missing:
        example = f"; those with one look like {next(iter(known))!r}" if known else ""
        raise InputError(f"{len(missing)} of {len(wanted)} {kind} have no vector, the first is {missing[0]!r}{example}")


def _as_many(vectors: Sized, passages: TokenStore) -> None:
    if len(vectors) != len(passages):
        raise InputError(f"expected one vector for each of the {len(passages):,} passages, found {len(vectors):,}")
