"""A trained encoder as transformers of PyTerrier: a retriever and a re-ranker, each for all queries of a data frame at once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from armlib import packages
from armlib.data.collection import Collection
from armlib.data.types import Run
from armlib.encoder.bi_encoder import BiEncoder
from armlib.errors import InputError
from armlib.experiments.store import KEY, RunStore
from armlib.names import load_collection
from armlib.retrieval.rankings import known_rows, rerank
from armlib.retrieval.search import Searcher

packages.pyterrier()  # says what to install where it is not there
import pyterrier as pt  # noqa: E402

DEFAULT_LENGTHS = {"query_length": 30, "passage_length": 200}
"""Tokens, where the encoder's folder names none; those of section 4 of the paper, or what the encoder has positions for."""


class _Transformer(pt.Transformer):
    """What both transformers are made from; the collection is encoded when the first query comes, and kept in the cache."""

    def __init__(
        self,
        model: str | Path | BiEncoder,
        collection: Collection | str | Path,
        *,
        query_length: int | None = None,
        passage_length: int | None = None,
        runs: str | Path | None = None,
    ) -> None:
        super().__init__()
        self.encoder = model if isinstance(model, BiEncoder) else load_model(model, runs)
        self.collection = collection if isinstance(collection, Collection) else load_collection(collection)
        given = {"query_length": query_length, "passage_length": passage_length}
        longest = self.encoder.max_length
        usual = {name: min(length, longest or length) for name, length in DEFAULT_LENGTHS.items()}
        self.lengths = {name: length or self.encoder.lengths.get(name) or usual[name] for name, length in given.items()}
        self.encoder.check_lengths(**self.lengths)

    @cached_property
    def searcher(self) -> Searcher:
        """Encodes queries, and holds the vectors of the collection's passages."""
        return Searcher(self.encoder, self.collection, **self.lengths)


class Retriever(_Transformer):
    """Ranks the whole collection for each query by cosine similarity.

    A query that is a document of the collection under the same id and with the same text, as in ArguAna, does not find itself.

    Args:
        model: a trained encoder: its folder, the key of an experiment in the run store, or a name on the hub; or the encoder.
        collection: what to search, or its name.
        k: results of each query.
        query_length, passage_length: tokens; by default those that the encoder was saved with.
        runs: the folder of the run store.

    Raises:
        InputError: the encoder, the collection or a length cannot be used; or, when it transforms, a query is empty or a query id
            comes with two texts.
    """

    def __init__(self, model: str | Path | BiEncoder, collection: Collection | str | Path, k: int = 1000, **settings: Any) -> None:
        super().__init__(model, collection, **settings)
        if k < 1:
            raise InputError(f"expected at least 1 result of a query, got k={k}")
        self.k = k

    @cached_property
    def _own(self) -> dict[str, str]:
        own = self.collection.queries_in_corpus()
        return {query: text for query, text in self.collection.queries().items() if query in own}

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Columns qid, query and whatever else belongs to queries in; those with docno, score and rank (from 0) out."""
        pt.validate.query_frame(inp, extra_columns=["query"])
        queries, kept = _queries(inp), set(pt.model.query_columns(inp))
        asked = inp[[name for name in inp.columns if name in kept]].drop_duplicates("qid")
        own = {query for query, text in queries.items() if self._own.get(query) == text} if queries else set()
        return _frame(self.searcher.run(queries, self.k, own) if queries else {}, asked, ["qid"])


class Reranker(_Transformer):
    """Scores the candidates of each query, documents of the collection, by cosine similarity; see `Retriever`.

    Raises:
        InputError: as for `Retriever`; or a candidate is not in the collection.
    """

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Columns qid, query, docno and any others in; the same rows with their new score and rank (from 0) out, best first."""
        pt.validate.result_frame(inp, extra_columns=["query"])
        queries, run = _queries(inp), Run()
        if queries:
            searcher, found = self.searcher, list(inp.docno.unique())
            numbers = known_rows("a candidate is not in the collection", searcher.passages, found)
            candidates = inp.groupby("qid", sort=False).docno.agg(list).to_dict()
            query_rows = {query: row for row, query in enumerate(queries)}
            passage_rows = dict(zip(found, numbers.tolist(), strict=True))
            run = rerank(candidates, searcher.encode(list(queries.values())), query_rows, searcher.index.vectors, passage_rows)
        return _frame(run, inp.drop(columns=["score", "rank"], errors="ignore"), ["qid", "docno"])


def load_model(model: str | Path, runs: str | Path | None = None) -> BiEncoder:
    """The encoder of a folder, of a hub name, or of the experiment with a key in the run store.

    Raises:
        InputError: there is no such encoder.
    """
    store = RunStore(runs)
    if KEY.fullmatch(str(model)) and store.state_of(str(model)) == "finished":
        return BiEncoder.load(store.path / str(model) / "encoder")
    return BiEncoder.load(model)


def _queries(frame: pd.DataFrame) -> dict[str, str]:
    pairs = frame[["qid", "query"]].drop_duplicates()
    queries: Mapping[str, str] = dict(zip(pairs.qid, pairs["query"], strict=True))
    if len(queries) < len(pairs):
        twice = pairs.qid[pairs.qid.duplicated()].iloc[0]
        raise InputError(f"the query id {twice!r} comes with several texts; expected one")
    return dict(queries)


def _frame(run: Run, known: pd.DataFrame, on: list[str]) -> pd.DataFrame:
    """The rows of a run in its order, with what is known of each query, or of each query and document."""
    rows = [
        (query, document, score, rank)
        for query, results in run.items()
        for rank, (document, score) in enumerate(results.items(), start=pt.model.FIRST_RANK)
    ]
    columns = ["qid", "docno", "score", "rank"]
    kinds = {"score": float, "rank": int} | ({} if rows else {"qid": object, "docno": object})
    found = pd.DataFrame(rows, columns=columns).astype(kinds)
    merged = found.merge(known, on=on, how="left") if rows else found.join(known.iloc[:0].drop(columns=on))
    return merged[[*known.columns, *(name for name in columns if name not in known.columns)]]
