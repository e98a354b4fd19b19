"""Training lists of a student's candidates in a teacher's order, and which pairs of each list to compare (PairDistill).

Huang and Chen, EMNLP 2024, arXiv:2410.01383. The judged passages of a query play no part: the first passage of a list, in the place
of the positive, is the one that the teacher scores highest.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from armlib.errors import InputError
from armlib.parsing import parse_call, whole, written
from armlib.storage import kept, short_digest


@dataclass(frozen=True)
class StudentLists:
    """How lists are made of the candidates that the student, before training, ranks highest.

    Attributes:
        passages: n, the passages of a list.
        depth: candidates of each query, which the teacher scores.
        window: two passages are a pair if they are at most so many ranks apart in the teacher's order.
        pairs: how many pairs of a query are drawn, without replacement; all, if there are fewer.
        queries: how many training queries are drawn and get a list; 0, or more than there are: all.
        seed: of the draws.

    Raises:
        InputError: a setting is of the wrong type or out of its range.
    """

    passages: int = 8
    depth: int = 20
    window: int = 5
    pairs: int = 100
    queries: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("passages", 2), ("depth", 2), ("window", 1), ("pairs", 0), ("queries", 0), ("seed", 0)):
            whole(getattr(self, name), f"{name} of student lists", least)
        if self.passages > self.depth:
            raise InputError(f"lists of {self.passages} passages cannot be made of {self.depth} candidates")

    def drawn(self, queries: Integer[np.ndarray, " Q"]) -> Integer[np.ndarray, " drawn"]:
        """Those of the queries, by row number, that get a list, in their order; the teacher scores no other's candidates."""
        if not 0 < self.queries < len(queries):
            return queries
        return np.sort(np.random.default_rng([self.seed, len(queries)]).choice(queries, self.queries, replace=False))

    def __str__(self) -> str:
        return written("student", **{each.name: (getattr(self, each.name), each.default) for each in fields(self)})


def parse_lists(text: str) -> StudentLists:
    """The settings that a string such as ``student(passages=8)`` names; ``str(parse_lists(text))`` is its canonical form.

    Raises:
        InputError: there are no such lists, or a setting cannot be used.
    """
    return parse_call(text, "kind of lists", {"student": StudentLists})


class CandidateLists(NamedTuple):
    """A list of n passages for each of Q queries, best first in the teacher's order.

    Attributes:
        rows: (Q, 1 + n) row numbers of the query and its passages.
        scores: (Q, n) of the teacher.
        asked: (Q, n, n), where the passage in the row is to be compared with that in the column, which stands behind it.
    """

    rows: Int[np.ndarray, "Q columns"]
    scores: Float[np.ndarray, "Q n"]
    asked: Bool[np.ndarray, "Q n n"]


def candidate_lists(
    settings: StudentLists,
    queries: Integer[np.ndarray, " Q"],
    candidates: Integer[np.ndarray, "Q depth"],
    scores: Float[np.ndarray, "Q depth"],
) -> CandidateLists:
    """Draw pairs and lists, or read those that the cache has, memory-mapped.

    A list takes candidates that occur in the drawn pairs, at random, and other candidates where these do not fill it. Of the drawn
    pairs, those are asked for that have both passages in the list: others would not be seen in training.

    Args:
        settings: of the lists; fewer candidates than its ``depth`` are a small collection's.
        queries: row numbers.
        candidates: row numbers of passages.
        scores: of the teacher.

    Raises:
        InputError: there are fewer candidates than a list takes, or a score is missing.
    """
    depth, n = candidates.shape[1], settings.passages
    if depth < n:
        raise InputError(f"lists of {n} passages cannot be made: the collection has only {depth}")
    missing = int(np.count_nonzero(~np.isfinite(scores)))
    if missing:
        raise InputError(f"the teacher has no score of {missing} of the {scores.size} candidates; expected a model as teacher")
    count = min(settings.pairs, len(window_pairs(depth, settings.window)))
    if count < settings.pairs:
        warnings.warn(
            f"a window of {settings.window} over {depth} candidates gives {count} pairs, so {count} are drawn in place of "
            f"{settings.pairs}",
            stacklevel=2,
        )

    def make(draft: Path) -> None:
        for name, values in _drawn(settings, count, queries, candidates, scores)._asdict().items():
            np.save(draft / f"{name}.npy", values)

    parts = [np.ascontiguousarray(each).tobytes() for each in (queries, candidates, scores)]
    folder = kept(f"lists/{short_digest(repr(settings), *parts)}", "training lists", make)
    return CandidateLists(*(np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in CandidateLists._fields))


def _drawn(
    settings: StudentLists,
    count: int,
    queries: Integer[np.ndarray, " Q"],
    candidates: Integer[np.ndarray, "Q depth"],
    scores: Float[np.ndarray, "Q depth"],
) -> CandidateLists:
    """The lists, with ``count`` pairs drawn for each query."""
    depth, n = candidates.shape[1], settings.passages
    window = window_pairs(depth, settings.window)
    order = np.argsort(-scores, axis=1, kind="stable")  # of equal scores, the student's better one first
    places = np.empty((len(queries), n), np.int64)
    asked = np.zeros((len(queries), n, n), bool)
    for number, query in enumerate(queries.tolist()):
        draw = np.random.default_rng([settings.seed, query])
        pairs = window[draw.choice(len(window), count, replace=False)]
        in_pairs = np.unique(pairs)
        others = np.setdiff1d(np.arange(depth), in_pairs)
        chosen = np.sort(np.concatenate([draw.permutation(in_pairs), draw.permutation(others)])[:n])
        places[number] = chosen
        inside = pairs[np.isin(pairs, chosen).all(axis=1)]
        asked[number, *np.searchsorted(chosen, inside).T] = True
    taken = np.take_along_axis(order, places, axis=1)
    rows = np.column_stack([queries, np.take_along_axis(candidates, taken, axis=1)]).astype(np.int32)
    return CandidateLists(rows, np.take_along_axis(scores, taken, axis=1).astype(np.float32), asked)


def window_pairs(candidates: int, window: int) -> Integer[np.ndarray, "pairs 2"]:
    """All pairs of ranks (i, j) with i < j <= i + ``window``, counted from 0: 85 of 20 candidates and a window of 5."""
    i, j = np.triu_indices(candidates, 1)
    return np.stack([i, j], axis=1)[j - i <= window]
