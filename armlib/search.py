"""Search with a trained encoder, from a terminal or a notebook."""

from __future__ import annotations

from dataclasses import dataclass

from armlib import files
from armlib.data import Collection
from armlib.data.texts import found_texts
from armlib.encoder import BiEncoder
from armlib.encoding import encode_collection, encode_texts
from armlib.errors import InputError
from armlib.exact import ExactSearch
from armlib.stores import passage_store


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
        self.encoder, self.collection, self.query_length = encoder, collection, query_length
        self.passages = passage_store(collection, encoder.tokenizer)
        key = files.digest(encoder.fingerprint(), self.passages.key, str(passage_length))[:16]
        folder = files.cache_folder() / "embeddings" / key
        self.index = ExactSearch(encode_collection(encoder, self.passages, folder, max_length=passage_length))

    def search(self, question: str, k: int = 5) -> list[Hit]:
        """The k passages nearest to the question, best first.

        Raises:
            InputError: the question is empty.
        """
        if not question.strip():
            raise InputError("the question is empty")
        vector = encode_texts(self.encoder, [question], self.query_length)
        scores, rows = self.index.search(vector, min(k, len(self.passages)))
        ids = [self.passages.ids[row].decode() for row in rows[0]]
        texts = found_texts(self.collection, ids)
        return [Hit(float(score), name, texts[name]) for score, name in zip(scores[0], ids, strict=True)]
