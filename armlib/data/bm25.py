"""BM25 through the bm25s package: the first stage where a collection brings none, and the source of hard negatives.

Parameters k1 = 0.9 and b = 0.4 are those of the BM25 runs of TREC-DL's organisers and of Anserini's MS MARCO baselines.
Words are runs of two or more letters or digits in lower case without Lucene's 33 English stop words and without a
stemmer, as bm25s has it by default (Lù, 2024, "BM25S", arXiv:2407.03618).
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from armlib.data.types import Run
from armlib.errors import InputError
from armlib.packages import bm25s
from armlib.progress import progress
from armlib.storage import kept

# Part of the key of everything cached from BM25; raise it when words, parameters or the drawing of negatives change.
BM25_RECIPE = "bm25 k1=0.9 b=0.4 english no stemmer 1"


class BM25:
    """An index over texts. Build it with `build` or `cached`, ask it with `search`."""

    def __init__(self, model: Any, ids: list[str]) -> None:
        self._model = model
        self._tokenizer = word_tokenizer()
        self._tokenizer.word_to_id = model.vocab_dict
        self.ids = ids

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def build(cls, documents: Iterable[tuple[str, str]], *, k1: float = 0.9, b: float = 0.4) -> BM25:
        """Index (id, text) pairs. The texts pass by one at a time; four bytes a word are held, and then the index.

        Raises:
            InputError: there are no documents, or no word in any of them.
        """
        tokenizer = word_tokenizer()
        ids: list[str] = []

        def texts() -> Iterator[str]:
            for name, text in documents:
                ids.append(name)
                yield text

        words = _Rows()
        for row in progress(tokenizer.streaming_tokenize(texts(), allow_empty=False), None, "indexing for BM25", "documents"):
            words.append(row)
        if not words.flat:
            raise InputError(f"BM25 cannot index {len(ids)} documents without a single word")
        model = bm25s().BM25(k1=k1, b=b, method="lucene", csc_backend="scipy")
        vocabulary = tokenizer.word_to_id
        model.vocab_dict = vocabulary
        model.unique_token_ids_set = set(vocabulary.values())
        model.scores = model.build_index_from_ids(range(len(vocabulary)), words, show_progress=False)
        return cls(model, ids)

    def save(self, folder: Path) -> None:
        """Write the index into an existing folder."""
        self._model.save(folder, show_progress=False)
        (folder / "ids.json").write_text(json.dumps(self.ids), encoding="utf8")

    @classmethod
    def load(cls, folder: Path) -> BM25:
        """Read what `save` wrote; the large arrays stay on disk."""
        model = bm25s().BM25.load(folder, mmap=True, show_progress=False)
        return cls(model, json.loads((folder / "ids.json").read_text(encoding="utf8")))

    @classmethod
    def cached(cls, key: str, documents: Callable[[], Iterable[tuple[str, str]]]) -> BM25:
        """The index kept in the cache folder under ``key``, built from ``documents()`` where there is none.

        A damaged one is built again, with a warning.
        """
        folder = kept(f"bm25/{key}", "BM25 index", lambda draft: cls.build(documents()).save(draft))
        return cls.load(folder)

    def search(self, queries: Mapping[str, str], k: int = 1000) -> Run:
        """The best ``k`` documents of each query, best first; equal scores in the order of the documents.

        Only documents that share a word with the query are returned, so a query may have fewer, or none.
        """
        run: Run = {}
        names, texts = (list(queries), self._tokenizer.streaming_tokenize(queries.values(), update_vocab=False, allow_empty=False))
        for name, words in progress(zip(names, texts, strict=True), len(names), "BM25", "queries"):
            run[name] = {}
            if words:
                scores = self._model.get_scores_from_ids(words)
                run[name] = {self.ids[row]: float(scores[row]) for row in _best(scores, k)}
        return run


class _Rows:
    """Lists of word numbers in one flat array, which bm25s reads as the list of lists that it asks for."""

    def __init__(self) -> None:
        self.flat, self.ends = array("i"), array("q")

    def append(self, row: list[int]) -> None:
        self.flat.extend(row)
        self.ends.append(len(self.flat))

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[list[int]]:
        start = 0
        for end in self.ends:
            yield self.flat[start:end].tolist()
            start = end


def word_tokenizer() -> Any:
    """How BM25 splits texts into words: lower case, two letters or more, without English stop words, not stemmed."""
    return bm25s().tokenization.Tokenizer(lower=True, splitter=r"(?u)\b\w\w+\b", stopwords="english", stemmer=None)


def _best(scores: np.ndarray, k: int) -> np.ndarray:
    """Rows of the ``k`` highest positive scores, in descending order, ties by row: the same on every machine."""
    rows = np.flatnonzero(scores > 0)
    if len(rows) > k:
        bound = np.partition(scores[rows], len(rows) - k)[len(rows) - k]
        rows = rows[scores[rows] >= bound]
    return rows[np.argsort(-scores[rows], kind="stable")][:k]
