"""The texts of a collection as an encoder reads them: with its prompts in front, by its tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from jaxtyping import Integer

from armlib.data.collection import Collection
from armlib.data.tokenising import STORED_LENGTH, token_store
from armlib.data.tokens import TokenStore
from armlib.encoder.bi_encoder import BiEncoder
from armlib.storage import digest


def query_tokens(collection: Collection, encoder: BiEncoder, max_length: int = STORED_LENGTH) -> TokenStore:
    """The token store of a collection's queries.

    Args:
        collection: whose queries.
        encoder: whose tokenizer, and whose prompt for queries.
        max_length: the longest maximum length to be gathered, in tokens.

    Raises:
        InputError: as `armlib.data.tokenising.token_store`.
    """
    source, prompt = _source("queries", collection.fingerprint(), encoder.prompts.query)
    texts = _prompted(lambda: collection.queries().items(), prompt)
    return token_store(texts, encoder.tokenizer, source, f"queries of {collection.name}", max_length=max_length)


def passage_tokens(collection: Collection, encoder: BiEncoder, max_length: int = STORED_LENGTH) -> TokenStore:
    """The token store of a collection's documents, shared by all collections over the same documents; see `query_tokens`."""
    source, prompt = _source("documents", collection.corpus.fingerprint(), encoder.prompts.passage)
    texts = _prompted(collection.documents, prompt)
    return token_store(texts, encoder.tokenizer, source, f"passages of {collection.corpus.name}", max_length=max_length)


def without_text(passages: TokenStore, encoder: BiEncoder) -> Integer[np.ndarray, " n"]:
    """Rows of the passages that have no token of their own: such an embedding is that of the prompt, and near to any query or none.

    Args:
        passages: made by `passage_tokens` with the same encoder.
        encoder: whose tokenizer and prompt.
    """
    prompt = encoder.tokenizer(encoder.prompts.passage, add_special_tokens=False)["input_ids"]
    return np.flatnonzero(passages.lengths <= passages.specials + len(prompt))


def _source(kind: str, fingerprint: str, prompt: str) -> tuple[str, str]:
    return digest(kind, fingerprint, *([prompt] if prompt else [])), prompt


def _prompted(texts: Callable[[], Iterable[tuple[str, str]]], prompt: str) -> Callable[[], Iterable[tuple[str, str]]]:
    def stream() -> Iterator[tuple[str, str]]:
        for name, text in texts():
            yield name, prompt + text

    return stream if prompt else texts
