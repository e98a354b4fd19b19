"""Search with a trained encoder, from a terminal or a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer

from armlib.data.characters import check_text
from armlib.data.collection import Collection
from armlib.data.types import Run
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.token_stores import passage_tokens, without_text
from armlib.errors import InputError
from armlib.retrieval.embeddings import cached_embeddings
from armlib.retrieval.encoding import encode_texts
from armlib.retrieval.exact import ExactSearch
from armlib.retrieval.rankings import to_run, without_own, without_rows
from armlib.retrieval.run_files import ranked

QUESTIONS = 256
"""Questions that are encoded together."""


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
        query_length, passage_length: maximum length in tokens.
    """

    def __init__(self, encoder: BiEncoder, collection: Collection, *, query_length: int = 30, passage_length: int = 200) -> None:
        encoder.check_lengths(query_length=query_length, passage_length=passage_length)
        self.encoder, self.collection, self.query_length = encoder, collection, query_length
        self.passages = passage_tokens(collection, encoder, passage_length)
        self.empty = without_text(self.passages, encoder)  # rows that are never found
        self.context = encoder.context_of(self.passages, passage_length)
        encoder.bind(self.context)
        self.index = ExactSearch(cached_embeddings(encoder, self.passages, passage_length))

    def search(self, question: str, k: int = 5) -> list[Hit]:
        """The k passages nearest to the question, best first.

        Raises:
            InputError: the question is empty or no text that UTF-8 can hold, or k is not at least 1.
        """
        check_question(question, k)
        scores, rows = self._nearest(self.encode([question]), k)
        found = [(score, self.passages.ids[row].decode()) for score, row in zip(scores[0], rows[0], strict=True) if row >= 0]
        texts = self.collection.corpus.texts([name for _, name in found])
        return [Hit(float(score), name, texts[name]) for score, name in found]

    def run(self, questions: Mapping[str, str], k: int = 1000, own: AbstractSet[str] = frozenset()) -> Run:
        """The k passages nearest to each of many questions, with their cosine similarities.

        Args:
            questions: id to text.
            k: passages of each; all, where there are fewer.
            own: questions that are documents of the collection under the same id; each is left out of its own ranking.

        Raises:
            InputError: a question is empty or no text that UTF-8 can hold, or k is not at least 1.
        """
        for question in questions.values():
            check_question(question, k)
        # One more, for what is left out of its own ranking.
        scores, rows = self._nearest(self.encode(list(questions.values())), k + bool(own))
        found = without_own(to_run(scores, rows, list(questions), self.passages.ids), own)
        return {question: ranked(results, k) for question, results in found.items()}

    def _nearest(self, vectors: Float[np.ndarray, "n D"], k: int) -> tuple[Float[np.ndarray, "n k"], Integer[np.ndarray, "n k"]]:
        """Scores and rows of the k nearest passages that have a text; row -1 where there are fewer."""
        scores, rows = self.index.search(vectors, min(k + len(self.empty), len(self.passages)))
        return without_rows(scores, rows, self.empty, k)

    def encode(self, questions: Sequence[str]) -> Float[np.ndarray, "n D"]:
        """The vectors of n questions, each of length 1, with the encoder's prompt in front."""
        self.encoder.bind(self.context)  # another searcher may have bound it to another collection
        asked = [self.encoder.prompts.query + question for question in questions]
        parts = [asked[start : start + QUESTIONS] for start in range(0, len(asked), QUESTIONS)]
        return np.concatenate([encode_texts(self.encoder, part, self.query_length) for part in parts])


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
