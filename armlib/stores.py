"""A collection as numbers: token stores of its queries and passages, and its triples as row numbers of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from armlib import files
from armlib.cache import kept
from armlib.data import Collection
from armlib.errors import InputError
from armlib.progress import bar
from armlib.tokens import TokenStore, token_store

TRIPLES_PER_STEP = 200_000


def query_store(collection: Collection, tokenizer: PreTrainedTokenizerBase) -> TokenStore:
    """The token store of a collection's queries; see `armlib.tokens.token_store` for what it raises."""
    source = files.digest("queries", collection.fingerprint())
    return token_store(lambda: collection.queries().items(), tokenizer, source, f"queries of {collection.name}")


def passage_store(collection: Collection, tokenizer: PreTrainedTokenizerBase) -> TokenStore:
    """The token store of a collection's documents, shared by all collections over the same documents."""
    source = files.digest("documents", collection.corpus_fingerprint())
    return token_store(collection.documents, tokenizer, source, f"passages of {collection.corpus}")


def triple_rows(
    collection: Collection, queries: TokenStore, passages: TokenStore, left_out: frozenset[str] = frozenset()
) -> np.ndarray:
    """The training triples as row numbers of query, positive and negative, (T, 3) int32, memory-mapped from the cache.

    Args:
        collection: one with triples.
        queries, passages: its token stores.
        left_out: ids of queries whose triples are not for training, because they validate.

    Raises:
        InputError: the collection has no triples, or a triple names a query or passage that does not exist.
    """
    key = files.digest("triples", collection.fingerprint(), collection.corpus_fingerprint(), *sorted(left_out))[:16]

    def make(draft: Path) -> None:
        triples = collection.triples()
        if triples is None:
            raise InputError(f"{collection.name} has no training triples: it is a collection to evaluate on")
        _write(triples, queries, passages, left_out, collection.name, draft)

    folder = kept(f"triples/rows-{key}", f"triples of {collection.name}", make)
    return np.memmap(folder / "rows.bin", np.int32, "r").reshape(-1, 3)


def _write(
    triples: Iterator[tuple[str, str, str]], queries: TokenStore, passages: TokenStore, left_out: frozenset[str], name: str,
    draft: Path,
) -> None:
    stream, done, kept = iter(triples), 0, 0
    with open(draft / "rows.bin", "wb") as out, bar(None, f"numbering the triples of {name}", "triples") as shown:
        while step := list(islice(stream, TRIPLES_PER_STEP)):
            training = [triple for triple in step if triple[0] not in left_out]
            try:
                if training:
                    columns = list(zip(*training, strict=True))
                    rows = [queries.rows(columns[0]), passages.rows(columns[1]), passages.rows(columns[2])]
                    np.stack(rows, axis=1).astype(np.int32).tofile(out)
            except InputError as error:
                raise InputError(f"among triples {done + 1:,} to {done + len(step):,} of {name}, {error}") from error
            done, kept = done + len(step), kept + len(training)
            shown.update(len(step))
    if not kept:
        raise InputError(f"{name} gives no training triples ({done:,} in all, {done - kept:,} of them of validation queries)")
