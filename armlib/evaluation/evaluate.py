"""A trained encoder measured on collections: re-ranking and full ranking, TREC runs and measures per query written to a folder."""

from __future__ import annotations

import tempfile
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer

from armlib.data.characters import check_id
from armlib.data.collection import Collection
from armlib.data.contexts import Context
from armlib.data.tokens import TokenStore
from armlib.data.types import Qrels, Run
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.token_stores import passage_tokens, query_tokens, without_text
from armlib.errors import InputError, unknown
from armlib.evaluation.measure_names import parse_measures
from armlib.evaluation.measures import checked_qrels, default_measures, evaluate
from armlib.evaluation.tables import write_csv
from armlib.retrieval.embeddings import DTYPES, encode_collection
from armlib.retrieval.encoding import text
from armlib.retrieval.indexes import check_index
from armlib.retrieval.rankings import full_ranking, known_rows, rerank_first_stage, without_own
from armlib.retrieval.run_files import write_run
from armlib.storage import check_writable, short_digest

RERANKING, FULL_RANKING = "re-ranking", "full ranking"
DEPTH = 1000  # passages ranked for each query, as in paper section 4
LONGEST_NAME = 180  # bytes; file systems take 255, of which endings and drafts need some


class Evaluator:
    """Collections to measure encoders on, with all that is ready before a passage is encoded: what cannot be used is said here.

    Collections over the same documents share one encoding of them. An encoder that reads a context reads that of each collection.

    Args:
        encoder: whose tokenizer, prompts and dimensions those that are measured share.
        collections: queries, judgments and first stages.
        query_length, passage_length: maximum lengths in tokens.
        full: whether to rank the whole collection, too; without, only candidates are encoded.
        index: ``exact``, ``paper`` or a FAISS factory string, for full ranking.
        measures: as ir_measures writes them; by default those of the paper, at each collection's own relevance grade.
        vectors: the type in which the passages' embeddings are kept for full ranking: ``float32``, or ``float16``, which takes half
            the space and changes cosines by about 1e-5.

    Raises:
        InputError: a measure, a length, an index, a type or a collection cannot be used.

    Warns:
        UserWarning: queries are documents of their collection: each is left out of its own ranking.
    """

    def __init__(
        self,
        encoder: BiEncoder,
        collections: Sequence[Collection],
        *,
        query_length: int,
        passage_length: int,
        full: bool = True,
        index: str = "exact",
        measures: Sequence[str] = (),
        vectors: str = DTYPES[0],
    ) -> None:
        if vectors not in DTYPES:
            raise unknown("type of vectors", vectors, DTYPES)
        self.vectors = vectors
        self.query_length, self.passage_length, self.full, self.index = query_length, passage_length, full, index
        parse_measures(measures)
        self.measures = {each.name: list(measures) or default_measures(each.relevant_from) for each in collections}
        encoder.check_lengths(query_length=query_length, passage_length=passage_length)
        if full:
            check_index(index, encoder.dim)
        by_corpus = sorted(collections, key=lambda one: one.corpus.fingerprint())
        self._prepared = [_prepare(each, encoder, query_length, passage_length) for each in by_corpus]
        for each in self._prepared if full else ():
            check_index(index, encoder.dim, len(each.passages))

    @property
    def sizes(self) -> dict[Collection, int]:
        """The collections, each with its number of documents."""
        return {each.collection: len(each.passages) for each in self._prepared}

    def __call__(
        self, encoder: BiEncoder, folder: Path, *, tag: str = "armlib", work: Path | None = None
    ) -> tuple[list[dict], dict[str, dict]]:
        """Measure an encoder.

        Writes ``runs/<collection>-<mode>.run.gz`` and ``measures/<collection>-<mode>.csv`` (one row a query) below ``folder``.

        Args:
            encoder: a bi-encoder.
            folder: where runs and measures go.
            tag: the last column of the run files.
            work: a folder for the passages' embeddings, so that a stopped encoding goes on; a temporary one by default.

        Returns:
            One row for each collection, mode and measure; and for each collection what the index did (recall against exact
            search).

        Raises:
            InputError: the tag or the folder cannot be used.
        """
        check_id(tag, "tag", "the run files")
        for kind in ("runs", "measures"):
            check_writable(folder / kind)
        rows: list[dict] = []
        indexes: dict[str, dict] = {}
        with tempfile.TemporaryDirectory(prefix="armlib-") as temporary:
            for each in self._prepared:
                name = each.collection.name
                found, index = self._runs(each, encoder, (work or Path(temporary)) / each.collection.corpus.fingerprint())
                indexes |= {name: index} if self.full else {}
                for mode, run in found.items():
                    evaluation = evaluate(run, each.qrels, self.measures[name], f"the {mode} of {name}")
                    file = file_name(name, mode, self.measures)
                    write_run(folder / "runs" / f"{file}.run.gz", run, tag)
                    write_csv(evaluation.per_query, folder / "measures" / f"{file}.csv")
                    named = {"collection": name, "mode": mode}
                    rows += [{**named, "measure": measure, "value": value} for measure, value in evaluation.mean.items()]
        order = list(self.measures)
        return sorted(rows, key=lambda row: (order.index(row["collection"]), row["mode"] != RERANKING, row["measure"])), indexes

    def _runs(self, each: _Prepared, encoder: BiEncoder, embeddings: Path) -> tuple[dict[str, Run], dict]:
        """The runs of a collection by mode, and what the index did."""
        encoder.bind(each.context)
        vectors = None
        if self.full:
            vectors = encode_collection(encoder, each.passages, embeddings, self.passage_length, dtype=self.vectors)
        reranked = rerank_first_stage(
            encoder,
            each.queries,
            each.passages,
            each.candidates,
            query_length=self.query_length,
            passage_length=self.passage_length,
            passage_vectors=vectors,
        )
        if vectors is None:
            return {RERANKING: reranked}, {}
        ranked, index = full_ranking(
            encoder,
            each.queries,
            list(each.qrels),
            each.passages,
            DEPTH,
            self.index,
            query_length=self.query_length,
            passage_vectors=vectors,
            own=each.own,
            left_out=each.empty,
        )
        return {RERANKING: reranked, FULL_RANKING: ranked}, index | ({} if self.vectors == DTYPES[0] else {"vectors": self.vectors})


class _Prepared(NamedTuple):
    """A collection with all that is ready before its passages are encoded."""

    collection: Collection
    queries: TokenStore
    passages: TokenStore
    qrels: Qrels
    candidates: Run
    own: frozenset[str]
    context: Context | None
    empty: Integer[np.ndarray, " n"]


def _prepare(collection: Collection, encoder: BiEncoder, query_length: int, passage_length: int) -> _Prepared:
    qrels = checked_qrels(collection.qrels())
    queries, passages = query_tokens(collection, encoder, query_length), passage_tokens(collection, encoder, passage_length)
    known_rows("a judged query is unknown", queries, list(qrels))
    own = collection.queries_in_corpus()
    candidates = without_own({query: found for query, found in collection.first_stage().items() if query in qrels}, own)
    empty = without_text(passages, encoder)
    if len(empty):
        names = {text(passages.ids[row]) for row in empty}
        candidates = {
            query: {name: score for name, score in found.items() if name not in names} for query, found in candidates.items()
        }
    documents = {document for found in candidates.values() for document in found}
    if not documents:
        raise InputError(f"the first stage of {collection.name} found no document for any judged query")
    known_rows("a candidate of the first stage is not in the collection", passages, list(documents))
    if own:
        said = f"{len(own)} of {len(qrels)} queries of {collection.name} are documents of the collection"
        warnings.warn(f"{said}; each is left out of its own ranking, as in BEIR", stacklevel=3)
    context = encoder.context_of(passages, passage_length)
    return _Prepared(collection, queries, passages, qrels, candidates, own, context, empty)


def file_name(collection: str, mode: str, among: Iterable[str] = ()) -> str:
    """The name, without an ending, under which a collection's run and measures are written.

    Args:
        collection: its name.
        mode: ``re-ranking`` or ``full ranking``.
        among: all collections that are measured; of two that would share a name, also where case does not count, each gets a
            digest of its own behind it. So does one whose name is too long for a file.
    """
    name = _plain(f"{collection}-{mode}")
    alike = [other for other in {*among, collection} if _folded(other) == _folded(collection)]
    if len(alike) == 1 and len(name.encode()) <= LONGEST_NAME:
        return name
    cut = name.encode()[-LONGEST_NAME:].decode(errors="ignore")
    return f"{cut}-{short_digest(collection)}"


def _plain(name: str) -> str:
    return name.strip("/").replace("/", "_").replace(" ", "_")


def _folded(name: str) -> str:
    """Equal for names that some file systems do not tell apart."""
    return unicodedata.normalize("NFC", _plain(name)).casefold()
