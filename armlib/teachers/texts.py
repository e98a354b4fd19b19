"""The texts of a collection by their rows in its token stores, memory-mapped: a teacher reads words, not a student's tokens."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Integer

from armlib.data.collection import Collection
from armlib.data.tokens import TokenStore
from armlib.errors import InputError
from armlib.storage import kept, short_digest


class TextRows:
    """N texts by row number, of a folder that `query_texts` or `passage_texts` has written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._offsets = np.asarray(np.load(folder / "offsets.npy", mmap_mode="r"))
        # A file without contents cannot be mapped.
        self._texts = np.asarray(np.memmap(folder / "texts.bin", np.uint8, "r")) if self._offsets[-1] else np.empty(0, np.uint8)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def texts(self, rows: Integer[np.ndarray, " n"]) -> list[str]:
        """The texts of n rows."""
        bounds = zip(self._offsets[rows].tolist(), self._offsets[rows + 1].tolist(), strict=True)
        return [self._texts[start:end].tobytes().decode("utf8", "surrogatepass") for start, end in bounds]


def query_texts(collection: Collection, store: TokenStore) -> TextRows:
    """The queries of a collection in the order of a token store of theirs, from the cache."""
    key = short_digest("query texts", collection.fingerprint(), np.asarray(store.ids).tobytes())
    queries = collection.queries() if len(store) else {}
    return _text_rows(key, store, ((name.decode(), queries[name.decode()]) for name in store.ids))


def passage_texts(collection: Collection, store: TokenStore) -> TextRows:
    """The documents of a collection in the order of a token store of theirs, from the cache."""
    key = short_digest("passage texts", collection.corpus.fingerprint())
    return _text_rows(key, store, collection.documents())


def _text_rows(key: str, store: TokenStore, texts: Iterable[Sequence[str]]) -> TextRows:
    def make(draft: Path) -> None:
        offsets = array("q", [0])
        with open(draft / "texts.bin", "wb") as out:
            for (name, text), expected in zip(texts, store.ids, strict=True):
                if name.encode() != expected:
                    raise InputError(f"the {store.description} are not in the order of their token store ({name!r})")
                offsets.append(offsets[-1] + out.write(text.encode("utf8", "surrogatepass")))
        np.save(draft / "offsets.npy", np.asarray(offsets, np.int64))

    return TextRows(kept(f"texts/{key}", f"texts of the {store.description}", make))
