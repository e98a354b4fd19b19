"""Search with a trained encoder, from a terminal or a notebook."""

from __future__ import annotations

from dataclasses import dataclass

from armlib.data.characters import check_text
from armlib.data.collection import Collection
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.token_stores import passage_tokens, without_text
from armlib.errors import InputError
from armlib.retrieval.embeddings import cached_embeddings
from armlib.retrieval.encoding import encode_texts
from armlib.retrieval.exact import ExactSearch


@dataclass(frozen=True)
class Hit:
    """A passage that was found: its cosine similarity to the question, its id and its text."""

    score: float
    id: str
    text: str


class Searcher:
    """Exact search over a collection; its passages are encoded once and kept in the cache.

    Args:
        encoder: a bi-encoder.
        collection: what to search.
        query_length, passage_length: maximum lengths in tokens.
    """

    def __init__(self, encoder: BiEncoder, collection: Collection, *, query_length: int = 30, passage_length: int = 200) -> None:
        encoder.check_lengths(query_length=query_length, passage_length=passage_length)
        self.encoder, self.collection, self.query_length = encoder, collection, query_length
        self.passages = passage_tokens(collection, encoder, passage_length)
        self.empty = set(without_text(self.passages, encoder).tolist())  # rows that are never found
        self.context = encoder.context_of(self.passages, passage_length)
        encoder.bind(self.context)
        self.index = ExactSearch(cached_embeddings(encoder, self.passages, passage_length))

    def search(self, question: str, k: int = 5) -> list[Hit]:
        """The k passages nearest to the question, best first.

        Raises:
            InputError: what `check_question` raises.
        """
        check_question(question, k)
        self.encoder.bind(self.context)  # another searcher may have bound it to another collection
        vector = encode_texts(self.encoder, [self.encoder.prompts.query + question], self.query_length)
        scores, rows = self.index.search(vector, min(k + len(self.empty), len(self.passages)))
        found = [
            (score, self.passages.ids[row].decode())
            for score, row in zip(scores[0], rows[0].tolist(), strict=True)
            if row not in self.empty
        ][:k]
        texts = self.collection.corpus.texts([name for _, name in found])
        return [Hit(float(score), name, texts[name]) for score, name in found]


def check_question(question: str, k: int) -> None:
    """Refuse what cannot be searched for, before anything is encoded.

    Raises:
        InputError: the question is empty or no text that UTF-8 can hold, or k is not at least 1.
    """
    if not isinstance(question, str) or not question.strip():
        raise InputError("the question is empty")
    check_text(question, "question", "search")
    if k < 1:
        raise InputError(f"expected at least 1 passage to show, found k={k}")
