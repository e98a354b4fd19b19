"""armlib's samplers as batch samplers of sentence-transformers' trainer: batches of neighbours, of topics, balanced ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sentence_transformers import SentenceTransformer
from torch.utils.data import BatchSampler

from armlib.data.pair_clusters import pair_clusters
from armlib.data.query_clusters import query_clusters
from armlib.data.samplers import Examples, Sampler, parse_sampler
from armlib.errors import InputError
from armlib.integrations.sentence_transformers.arguments import COLUMNS

if TYPE_CHECKING:
    from datasets import Dataset


def batch_sampler(
    name: str, model: SentenceTransformer, columns: Sequence[str] = COLUMNS, scores: str = ""
) -> Callable[..., BatchSampler]:
    """What ``SentenceTransformerTrainingArguments(batch_sampler=...)`` takes, for a sampler of `armlib.data.samplers`.

    Clusters come from the model as it is when the trainer makes its batches. Every batch is whole: the rest of an epoch is left
    out.

    Args:
        name: such as ``clustered(64)``, ``topic-aware(50)`` or ``balanced(50, by='student')``.
        model: encodes what is clustered, where the sampler names no other one.
        columns: of queries, positives and negatives.
        scores: the column of a teacher's scores, positive first, that ``balanced`` bins by.

    Raises:
        InputError: there is no such sampler; or, when batches are made, the data set lacks a column, or is too small.
    """
    return _OfDataSet(name, model, tuple(columns), scores)


class _OfDataSet:
    """What `batch_sampler` gives; a copy of it in a file holds no model."""

    def __init__(self, name: str, model: SentenceTransformer | None, columns: tuple[str, ...], scores: str) -> None:
        self.make = parse_sampler(name)
        self.name, self.model, self.columns, self.scores = name, model, columns, scores

    def __call__(self, dataset: Dataset, **named: Any) -> BatchSampler:
        return Batches(self.make, self.model, self.columns, self.scores, dataset, **named)

    def __reduce__(self) -> tuple[Any, ...]:
        # The trainer writes its arguments beside every checkpoint; the model is there already.
        return _OfDataSet, (self.name, None, self.columns, self.scores)

    def __repr__(self) -> str:
        return f"batch_sampler({self.name!r})"


class Batches(BatchSampler):
    """Batches of row numbers of a data set, others in each epoch; see `batch_sampler`."""

    def __init__(
        self,
        make: Callable[[Examples, int, int], Sampler],
        model: SentenceTransformer,
        columns: tuple[str, ...],
        scores: str,
        dataset: Dataset,
        batch_size: int,
        drop_last: bool,
        valid_label_columns: Sequence[str] | None = None,
        generator: Any = None,
        seed: int = 0,
    ) -> None:
        super().__init__(range(len(dataset)), batch_size, True)
        if missing := [name for name in (*columns, *([scores] if scores else [])) if name not in dataset.column_names]:
            raise InputError(f"the data set has no column {missing[0]!r}; it has {', '.join(dataset.column_names)}")
        texts = _Texts(dataset, model, columns, scores)
        self.epoch = 0
        self.batches = make(Examples(texts.queries[1], texts.clusters, texts.margins, texts.pair_clusters), batch_size, seed)

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches.steps_per_epoch

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(len(self)):
            yield self.batches.positions(self.epoch, step).tolist()


class _Texts:
    """What samplers ask of a data set; see `armlib.data.samplers.Examples`."""

    def __init__(self, dataset: Dataset, model: SentenceTransformer, columns: tuple[str, ...], scores: str) -> None:
        self.dataset, self.model, self.columns, self.scores = dataset, model, columns, scores
        self.queries = self._unique(0)

    def _unique(self, column: int) -> tuple[list[str], np.ndarray]:
        """The texts of a column, each once, in the order of the data set, and which of them each row has."""
        numbers: dict[str, int] = {}
        rows = [numbers.setdefault(text, len(numbers)) for text in self.dataset[self.columns[column]]]
        return list(numbers), np.array(rows)

    def _encoded(self, texts: list[str], name: str = "", query: bool = False) -> np.ndarray:
        model = SentenceTransformer(name) if name else self.model
        encode = model.encode_query if query else model.encode_document
        return encode(texts, normalize_embeddings=True, show_progress_bar=False).astype(np.float32)

    def clusters(self, k: int, encoder: str) -> np.ndarray:
        texts, rows = self.queries
        return query_clusters(self._encoded(texts, encoder, query=True), k)[rows]

    def pair_clusters(self, size: int, encoder: str, tour: bool) -> np.ndarray:
        (queries, query_rows), (positives, positive_rows) = self.queries, self._unique(1)
        pairs, rows = np.unique(np.stack([query_rows, positive_rows], axis=1), axis=0, return_inverse=True)
        vectors = self._encoded(queries, encoder, query=True), self._encoded(positives, encoder)
        return pair_clusters(*vectors, pairs.astype(np.int32), size, tour)[rows.reshape(-1)]

    def margins(self, by: str) -> np.ndarray:
        if by == "student":
            (positives, positive_rows), (negatives, negative_rows) = self._unique(1), self._unique(2)
            vectors = self._encoded(positives)[positive_rows], self._encoded(negatives)[negative_rows]
            return np.einsum("td,td->t", *vectors)
        if not self.scores:
            raise InputError("balanced bins by a teacher's scores; expected the name of their column as scores, or by='student'")
        scores = np.array(self.dataset[self.scores], np.float32)
        return scores if scores.ndim == 1 else scores[:, 0] - scores[:, 1]
