"""A trained encoder measured on collections: re-ranking and full ranking, TREC runs and measures per query written to a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from armlib.data.collection import Collection
from armlib.data.types import Run
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.token_stores import passage_tokens, query_tokens
from armlib.evaluation.measures import Evaluation, default_measures, evaluate
from armlib.retrieval.embeddings import encode_collection
from armlib.retrieval.rankings import full_ranking, rerank_first_stage
from armlib.retrieval.run_files import write_run

RERANKING, FULL_RANKING = "re-ranking", "full ranking"
DEPTH = 1000  # passages ranked for each query, as in paper section 4


def evaluate_encoder(
    encoder: BiEncoder,
    collections: Sequence[Collection],
    folder: Path,
    *,
    query_length: int,
    passage_length: int,
    full: bool = True,
    index: str = "exact",
    measures: Sequence[str] = (),
    tag: str = "armlib",
    work: Path | None = None,
) -> tuple[list[dict], dict[str, dict]]:
    """Measure an encoder; collections over the same documents share one encoding of them.

    Writes ``runs/<collection>-<mode>.run.gz`` and ``measures/<collection>-<mode>.csv`` (one row a query) below ``folder``.

    Args:
        encoder: a bi-encoder.
        collections: queries, judgments and first stages.
        folder: where runs and measures go.
        query_length, passage_length: maximum lengths in tokens.
        full: whether to rank the whole collection, too; without, only candidates are encoded.
        index: ``exact``, ``paper`` or a FAISS factory string, for full ranking.
        measures: as ir_measures writes them; by default those of the paper, at each collection's own relevance grade.
        tag: the last column of the run files.
        work: a folder for the passages' embeddings, so that a stopped encoding goes on; a temporary one by default.

    Returns:
        One row for each collection, mode and measure; and for each collection what the index did (recall against exact search).

    Raises:
        InputError: a measure, an index or a collection cannot be used.
    """
    encoder.check_lengths(query_length=query_length, passage_length=passage_length)
    wanted = {each.name: list(measures) or default_measures(each.relevant_from) for each in collections}
    rows, indexes = [], {}
    with tempfile.TemporaryDirectory(prefix="armlib-") as temporary:
        for each in sorted(collections, key=lambda one: one.corpus.fingerprint()):
            queries, passages = query_tokens(each, encoder), passage_tokens(each, encoder, passage_length)
            embeddings = (work or Path(temporary)) / each.corpus.fingerprint()
            vectors = encode_collection(encoder, passages, embeddings, passage_length) if full else None
            qrels = each.qrels()
            candidates = {query: found for query, found in each.first_stage().items() if query in qrels}
            reranked = rerank_first_stage(
                encoder,
                queries,
                passages,
                candidates,
                query_length=query_length,
                passage_length=passage_length,
                passage_vectors=vectors,
            )
            found = {RERANKING: reranked}
            if full:
                found[FULL_RANKING], indexes[each.name] = full_ranking(
                    encoder, queries, list(qrels), passages, DEPTH, index, query_length=query_length, passage_vectors=vectors
                )
            for mode, run in found.items():
                evaluation = evaluate(run, qrels, wanted[each.name])
                _write(folder, each.name, mode, run, evaluation, tag)
                rows += [
                    {"collection": each.name, "mode": mode, "measure": name, "value": value}
                    for name, value in evaluation.mean.items()
                ]
    order = [each.name for each in collections]
    return sorted(rows, key=lambda row: (order.index(row["collection"]), row["mode"] != RERANKING, row["measure"])), indexes


def file_name(collection: str, mode: str) -> str:
    """The name, without an ending, under which a collection's run and measures are written."""
    return f"{collection}-{mode}".strip("/").replace("/", "_").replace(" ", "_")


def _write(folder: Path, collection: str, mode: str, run: Run, evaluation: Evaluation, tag: str) -> None:
    name = file_name(collection, mode)
    for kind in ("runs", "measures"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    write_run(folder / "runs" / f"{name}.run.gz", run, tag)
    evaluation.per_query.rename_axis("query").to_csv(folder / "measures" / f"{name}.csv")
