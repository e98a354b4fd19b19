"""What a teacher is: a model that scores queries and passages, or says which of two passages is the more relevant one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from armlib.data.collection import Collection
from armlib.data.tokens import TokenStore
from armlib.teachers.pair_scores import score_shard, scored_pairs
from armlib.teachers.row_scores import RowScores

Workers = Callable[["Teacher", Collection, Path, Sequence[int]], None]
"""Calls ``teacher.make_shard(collection, folder, number)`` for every number, here or on other machines."""


class ScoreSource(ABC):
    """Where a teacher's scores come from: a model that is asked (`Teacher`), or a file.

    ``str()`` of it is a text that `armlib.teachers.registry.parse_teacher` reads. Making one reads nothing but the names of files.

    Attributes:
        gives: the fields of `armlib.losses.base.TeacherScores` that its scores fill.
    """

    gives: frozenset[str] = frozenset({"pointwise"})

    @abstractmethod
    def fingerprint(self, collection: Collection) -> str:
        """16 hexadecimal digits of all that the scores depend on, but the texts that are scored."""

    @abstractmethod
    def scored(
        self,
        collection: Collection,
        queries: TokenStore,
        passages: TokenStore,
        lists: Integer[np.ndarray, "T columns"],
        workers: Workers | None = None,
    ) -> RowScores:
        """The scores of training lists, computed where the cache does not have them.

        Args:
            collection: what is trained on.
            queries, passages: its token stores, by whose rows the scores are asked for.
            lists: (T, 2 + N) rows of query, positive and N negatives; or of a query and any passages.
            workers: computes shards of the scores; None: this process.

        Raises:
            InputError: the source cannot be used.
            Stopped: SIGTERM came; the same call goes on.
        """


class Teacher(ScoreSource):
    """A model that reads a query and a passage and gives a score, on a scale of its own.

    Attributes:
        cost: what the teacher itself has cost, and how large it is: ``training_seconds`` and ``parameters``, where known; filled
            by `prepare`, from the cache as well.
        operations: arithmetic operations of all calls of `scores` so far; a teacher that knows them adds to it.
    """

    cost: dict[str, Any]
    operations: float

    def __init__(self) -> None:
        self.cost, self.operations = {}, 0.0

    @abstractmethod
    def prepare(self, collection: Collection) -> None:
        """Load the model, or train it and keep it in the cache. A second call does nothing.

        Raises:
            InputError: the model cannot be used.
        """

    @abstractmethod
    def scores(self, collection: Collection, queries: Sequence[str], passages: Sequence[str]) -> Float[np.ndarray, " n"]:
        """Scores of n queries and passages by their texts, (n,) float32; after `prepare`."""

    def scored(
        self,
        collection: Collection,
        queries: TokenStore,
        passages: TokenStore,
        lists: Integer[np.ndarray, "T columns"],
        workers: Workers | None = None,
    ) -> RowScores:
        return scored_pairs(self, collection, queries, passages, lists, workers)

    def make_shard(self, collection: Collection, folder: Path, number: int) -> None:
        """Compute a shard of what `scored` has prepared in a folder; one that is there and whole stays."""
        score_shard(self, collection, folder, number)


class PairwiseTeacher(ABC):
    """A model that reads a query and two passages, and says which passage is the more relevant one.

    ``str()`` of it is a text that `armlib.teachers.registry.parse_pairwise_teacher` reads; the other attributes and methods are
    those of `Teacher`.
    """

    cost: dict[str, Any]
    operations: float

    def __init__(self) -> None:
        self.cost, self.operations = {}, 0.0

    @abstractmethod
    def fingerprint(self, collection: Collection) -> str:
        """16 hexadecimal digits of all that the preferences depend on, but the texts that are compared."""

    @abstractmethod
    def prepare(self, collection: Collection) -> None:
        """Load the model, or train it and keep it in the cache. A second call does nothing."""

    @abstractmethod
    def preferences(
        self, collection: Collection, queries: Sequence[str], firsts: Sequence[str], seconds: Sequence[str]
    ) -> Float[np.ndarray, " n"]:
        """The probability that the first passage is the more relevant one, of n queries and two passages each, (n,) float32."""
