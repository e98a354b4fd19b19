"""Validation during training: the first stage of some queries re-ranked by the encoder as it then is."""

from __future__ import annotations

from armlib.data.collection import Collection
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.token_stores import passage_tokens, query_tokens
from armlib.errors import InputError
from armlib.evaluation.measure_names import parse_measures
from armlib.evaluation.measures import Evaluation, evaluate
from armlib.retrieval.rankings import rerank_first_stage, without_own
from armlib.retrieval.run_files import ranked
from armlib.storage import digest
from armlib.training.settings import MEASURE


class Validator:
    """Re-ranks the first stage of a validation collection; each passage is encoded once.

    Args:
        collection: queries, judgments and first stage.
        encoder: whose tokenizer and prompts those that are validated share.
        queries: at most so many of its queries with a relevant document, always the same ones; 0 takes all.
        depth: how many first-stage candidates of each are re-ranked.
        query_length, passage_length: maximum lengths in tokens.

    Raises:
        InputError: no query can be validated, or the collection has fewer passages than the encoder's context.
    """

    def __init__(
        self, collection: Collection, encoder: BiEncoder, *, queries: int, depth: int, query_length: int, passage_length: int
    ) -> None:
        self.queries = query_tokens(collection, encoder, query_length)
        self.passages = passage_tokens(collection, encoder, passage_length)
        self.context = encoder.context_of(self.passages, passage_length)
        self.query_length, self.passage_length = query_length, passage_length
        judged = {query: grades for query, grades in collection.qrels().items() if max(grades.values()) >= collection.relevant_from}
        first_stage = without_own(collection.first_stage(), collection.queries_in_corpus())
        chosen = [query for query in first_stage if query in judged]
        if not chosen:
            raise InputError(
                f"{collection.name} cannot validate: none of its {len(collection.qrels()):,} judged queries has both a relevant "
                f"document (grade {collection.relevant_from} or more) and first-stage candidates"
            )
        if queries:
            chosen = sorted(chosen, key=lambda query: digest(query))[:queries]
        self.qrels = {query: judged[query] for query in chosen}
        grade = f"(rel={collection.relevant_from})" if collection.relevant_from > 1 else ""
        self.hits = f"Success{grade}@{max(1, depth // 10)}"  # ir_measures' name of the paper's Hits@k
        parse_measures([MEASURE, self.hits])  # what cannot be measured is said before training
        self.candidates = {query: ranked(first_stage[query], depth) for query in chosen}

    def __call__(self, encoder: BiEncoder) -> dict[str, float]:
        """The means of `per_query`."""
        return self.per_query(encoder).mean

    def per_query(self, encoder: BiEncoder) -> Evaluation:
        """nDCG@10 and hits of each query's re-ranked candidates; hits at a tenth of the depth, as the paper's Hits@100 of 1000."""
        encoder.bind(self.context)
        run = rerank_first_stage(
            encoder,
            self.queries,
            self.passages,
            self.candidates,
            query_length=self.query_length,
            passage_length=self.passage_length,
        )
        return evaluate(run, self.qrels, [MEASURE, self.hits])
