"""What the context changes in the embeddings of an encoder that reads one, and in its rankings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from armbook.factorial import CONTEXTUAL, Factorial
from armlib.data.collection import Collection
from armlib.data.contexts import Context, collection_context, context_of_rows
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.token_stores import passage_tokens, query_tokens
from armlib.evaluation.measures import evaluate
from armlib.experiments.result import Result
from armlib.names import load_collection
from armlib.retrieval.encoding import encode_rows
from armlib.retrieval.rankings import rerank_first_stage
from armlib.storage import digest
from armlib.training.settings import MEASURE

PASSAGES, QUERIES = 500, 100  # whose embeddings are compared, and that are re-ranked for
OWN, REDRAWN, ONE_TOPIC = "the collection's own", "another draw of its passages", "candidates of one of its queries"
ROUNDING = 1e-6  # of distances in single precision
COLUMNS = ("loss", "batches", "context", "passages", "queries", "apart", MEASURE)


class Bound(NamedTuple):
    """An encoder's embeddings and ranking with one context."""

    passages: Float[np.ndarray, "P D"]
    queries: Float[np.ndarray, "Q D"]
    score: float


def effect_of_context(result: Result, collection: str, others: Sequence[str] = ()) -> pd.DataFrame:
    """Embeddings and re-ranking of a collection with its own context, and with contexts that differ more and more from it.

    Args:
        result: of an encoder that reads a context.
        collection: name of one with judgments.
        others: names of collections whose contexts are read instead.

    Returns:
        A row for each context: ``context``; ``passages`` and ``queries``, the mean of 1 less the cosine between a text's embedding
        with this context and with the collection's own; ``apart``, the mean of 1 less the cosine between two passages with this
        context, to compare them with; and ``nDCG@10`` of the re-ranked first stage of some queries.
    """
    encoder, asked = result.encoder(), result.experiment
    assert encoder.context is not None, "only an encoder that reads a context is asked what it changes"
    texts = _Texts(load_collection(collection), encoder, asked.query_length, asked.passage_length)
    size = encoder.context.passages
    contexts = {OWN: collection_context(texts.passages, size, asked.passage_length)}
    contexts[REDRAWN] = collection_context(texts.passages, size, asked.passage_length, seed=1)
    contexts[ONE_TOPIC] = texts.of_one_query(size)
    for name in others:
        other = passage_tokens(load_collection(name), encoder, asked.passage_length)
        contexts[name] = collection_context(other, size, asked.passage_length)
    found = {name: texts.read_with(context) for name, context in contexts.items()}
    return pd.DataFrame(
        {
            "context": name,
            "passages": _distance(each.passages, found[OWN].passages),
            "queries": _distance(each.queries, found[OWN].queries),
            "apart": _distance(each.passages, np.roll(each.passages, 1, axis=0)),
            MEASURE: each.score,
        }
        for name, each in found.items()
    )


def _distance(one: Float[np.ndarray, "n D"], other: Float[np.ndarray, "n D"]) -> float:
    return max(0.0, float(1 - np.einsum("nd,nd->n", one.astype(np.float64), other.astype(np.float64)).mean()))


class _Texts:
    """Some passages and all judged queries of a collection, to be read with one context after another."""

    def __init__(self, collection: Collection, encoder: BiEncoder, query_length: int, passage_length: int) -> None:
        self.encoder, self.lengths = encoder, {"query_length": query_length, "passage_length": passage_length}
        self.queries = query_tokens(collection, encoder, query_length)
        self.passages = passage_tokens(collection, encoder, passage_length)
        self.qrels = collection.qrels()
        found = {query: run for query, run in collection.first_stage().items() if query in self.qrels and run}
        self.first_stage = {query: found[query] for query in sorted(found, key=digest)[:QUERIES]}
        self.some = np.linspace(0, len(self.passages) - 1, min(PASSAGES, len(self.passages))).astype(np.int64)

    def of_one_query(self, size: int) -> Context:
        """The best first-stage candidates of the first query that has so many, else of the one that has the most."""
        names = list(max(self.first_stage.values(), key=lambda found: min(len(found), size)))[:size]
        return context_of_rows(self.passages, np.asarray(self.passages.rows(names)), self.lengths["passage_length"])

    def read_with(self, context: Context) -> Bound:
        self.encoder.bind(context)
        asked = np.asarray(self.queries.rows(list(self.first_stage)))
        vectors = encode_rows(self.encoder, self.passages, self.some, self.lengths["passage_length"])
        query_vectors = encode_rows(self.encoder, self.queries, asked, self.lengths["query_length"])
        run = rerank_first_stage(self.encoder, self.queries, self.passages, self.first_stage, **self.lengths)
        judged = {query: self.qrels[query] for query in run}
        return Bound(vectors, query_vectors, evaluate(run, judged, [MEASURE]).mean[MEASURE])


def effects_in_cells(crossed: Factorial, collection: str, others: Sequence[str] = ()) -> pd.DataFrame:
    """`effect_of_context` of the contextual encoder of every cell, of the first seed; ``loss`` and ``batches`` in front."""
    tables: list[pd.DataFrame] = []
    for cell, results in crossed.results.items():
        if cell.encoder == CONTEXTUAL:
            table = effect_of_context(results[0], collection, others)
            table.insert(0, "batches", cell.batches)
            table.insert(0, "loss", cell.loss)
            tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)


def as_text(changes: pd.DataFrame) -> pd.DataFrame:
    """`effects_in_cells` for a page, with a row for each cell.

    Returns:
        Text: ``loss``, ``batches``; for each context the distance by which it moves queries; ``apart``, the distance of two
        passages; and ``change of nDCG@10``, the largest by any of the contexts.
    """
    rows = []
    for (loss, batches), some in changes.groupby(["loss", "batches"], sort=False):
        own, others = some[some.context == OWN].iloc[0], some[some.context != OWN]
        row = {"loss": loss, "batches": batches}
        row |= {each["context"]: _distance_text(each["queries"]) for _, each in others.iterrows()}
        row["apart"] = f"{own['apart']:.2f}"
        row[f"change of {MEASURE}"] = f"{(others[MEASURE] - own[MEASURE]).abs().max():.3f}"
        rows.append(row)
    return pd.DataFrame(rows)


def _distance_text(value: float) -> str:
    return f"{value:.0e}" if value >= ROUNDING else "0"


def said(changes: pd.DataFrame) -> str:
    """What `effects_in_cells` come to, in a sentence or two."""
    others = changes[changes.context != OWN]
    most, apart = others["queries"].max(), changes.apart.min()
    range_said = (
        f"no other context moves queries by more than {_distance_text(most)}, and two passages are {apart:.2f} apart or more"
    )
    if most < 0.01 * apart:
        return f"These encoders all but ignore their context: {range_said}."
    if most < 0.1 * apart:
        return f"These encoders read their context a little: {range_said}."
    reach = f"another one moves queries by up to {_distance_text(most)}; two passages are {apart:.2f} apart or more"
    return f"These encoders read their context: {reach}."
