"""Training triples as row numbers of token stores: twelve bytes a triple, memory-mapped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from armlib.data.collection import Collection
from armlib.data.tokens import TokenStore
from armlib.data.types import Triple
from armlib.errors import InputError
from armlib.progress import bar
from armlib.storage import kept, short_digest

TRIPLES_PER_STEP = 200_000


def triple_rows(collection: Collection, queries: TokenStore, passages: TokenStore, left_out: Iterable[str] = ()) -> np.ndarray:
    """The training triples as row numbers of query, positive and negative, (T, 3) int32, memory-mapped from the cache.

    Args:
        collection: one with triples.
        queries, passages: its token stores.
        left_out: ids of queries whose triples are not for training, because they validate.

    Raises:
        InputError: the collection has no triples, or a triple names a query or passage that does not exist.
    """
    validating = frozenset(left_out)
    key = short_digest("triples", collection.fingerprint(), collection.corpus.fingerprint(), *sorted(validating))

    def make(draft: Path) -> None:
        triples = collection.triples()
        if triples is None:
            raise InputError(f"{collection.name} has no training triples: it is a collection to evaluate on")
        _write(triples, queries, passages, validating, collection.name, draft)

    folder = kept(f"triples/rows-{key}", f"triples of {collection.name}", make)
    return np.memmap(folder / "rows.bin", np.int32, "r").reshape(-1, 3)


def _write(
    triples: Iterator[Triple], queries: TokenStore, passages: TokenStore, left_out: frozenset[str], name: str, draft: Path
) -> None:
    stream, done, written = iter(triples), 0, 0
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
            done, written = done + len(step), written + len(training)
            shown.update(len(step))
    if not written:
        raise InputError(f"{name} gives no training triples ({done:,} in all, {done - written:,} of them of validation queries)")
