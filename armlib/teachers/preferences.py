"""What a pairwise teacher says of the pairs of training lists, asked once in sealed shards, so that a stopped process goes on."""

from __future__ import annotations

import shutil
import time
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from armlib.data.candidate_lists import CandidateLists
from armlib.data.collection import Collection
from armlib.data.tokens import TokenStore
from armlib.errors import InputError
from armlib.losses.base import TeacherScores
from armlib.storage import cache_folder, kept, read_json, short_digest, write_json
from armlib.teachers.base import PairwiseTeacher
from armlib.teachers.device import teacher_device
from armlib.teachers.shards import in_this_process
from armlib.teachers.texts import passage_texts, query_texts

SHARD = 1 << 13  # pairs that are asked about together: what a kill costs
VALUES, ABOUT = "values.npy", "about.json"


class Preferences(NamedTuple):
    """Preferences of a pairwise teacher, and what they have cost.

    Attributes:
        values: (Q, n, n) float16, memory-mapped: the probability that the passage of the row is more relevant than that of the
            column; NaN where nobody asked.
        cost: ``pairs``, ``seconds``, ``device`` and ``operations``, with what the teacher says of itself.
    """

    values: Float[np.ndarray, "Q n n"]
    cost: dict[str, Any]


class ScoredLists:
    """Training lists with a teacher's scores, and with a pairwise teacher's preferences where there is one.

    Called with some of ``rows``, (B, 1 + n), it gives what `armlib.data.batches.TripleBatches` asks a teacher for.

    Args:
        lists: with the teacher's scores.
        cost: of these scores.
        preferences: of the pairwise teacher.

    Attributes:
        rows: (Q, 1 + n) row numbers of each query and its passages.
        cost: of the scores, and under ``pairwise`` that of the preferences.
    """

    def __init__(self, lists: CandidateLists, cost: dict[str, Any], preferences: Preferences | None = None) -> None:
        self.rows, self._scores = lists.rows, lists.scores
        self._preferences = None if preferences is None else preferences.values
        self.cost = cost if preferences is None else cost | {"pairwise": preferences.cost}

    def __call__(self, rows: Int[np.ndarray, "B columns"]) -> TeacherScores:
        """The scores of a batch, pointwise (B, n) and pairwise (B, n, n)."""
        lists = np.searchsorted(self.rows[:, 0], rows[:, 0])  # a query has one list, and they are in ascending order
        pairwise = None if self._preferences is None else torch.from_numpy(self._preferences[lists].astype(np.float32))
        return TeacherScores(torch.from_numpy(self._scores[lists]), pairwise=pairwise)


def preferences(
    teacher: PairwiseTeacher, collection: Collection, queries: TokenStore, passages: TokenStore, lists: CandidateLists
) -> Preferences:
    """The preferences in all pairs that the lists ask about, from the cache where it has them.

    A pair is asked about once, with the passage that the pointwise teacher prefers in front; that the order makes no difference is
    for the pairwise teacher to see to, and those of armlib do.

    Raises:
        InputError: the teacher cannot be used, or gives something else than a probability a pair.
        Stopped: SIGTERM came; the same call goes on.
    """
    # Once and not for each shard, since the contents of both are checked; and not at all where the cache has everything.
    read = cache(lambda: (query_texts(collection, queries), passage_texts(collection, passages)))
    pairs = np.argwhere(lists.asked)  # (pairs, 3): list, first and second passage
    texts = queries.key, passages.key
    key = short_digest("preferences", teacher.fingerprint(collection), *texts, lists.rows.tobytes(), lists.asked.tobytes())
    unfinished = f"preferences/{key}.asking"  # outside the folder that is sealed at the end

    def shard(number: int) -> Path:
        return kept(f"{unfinished}/shard-{number:05d}", "shard of preferences", lambda draft: ask(number, draft))

    def make_shard(number: int) -> None:
        shard(number)

    def ask(number: int, draft: Path) -> None:
        part = pairs[number * SHARD : (number + 1) * SHARD]
        rows = lists.rows[part[:, 0]]
        asked, documents = read()
        words = asked.texts(rows[:, 0])
        both = [documents.texts(np.take_along_axis(rows, 1 + part[:, [side]], axis=1)[:, 0]) for side in (1, 2)]
        began, before = time.perf_counter(), teacher.operations
        found = np.asarray(teacher.preferences(collection, words, *both), np.float32)
        seconds = time.perf_counter() - began
        if found.shape != (len(part),) or not ((found >= 0) & (found <= 1)).all():
            raise InputError(
                f"the pairwise teacher {teacher} gave something else than one probability for each of {len(part)} pairs"
            )
        np.save(draft / VALUES, found)
        write_json(draft / ABOUT, {"seconds": seconds, "operations": teacher.operations - before})

    def make(draft: Path) -> None:
        teacher.prepare(collection)
        numbers = range(-(-len(pairs) // SHARD))
        in_this_process(make_shard, numbers, f"asking {teacher}")
        folders = list(map(shard, numbers))
        values = np.full(lists.asked.shape, np.nan, np.float16)
        values[lists.asked] = np.concatenate([np.empty(0, np.float32), *(np.load(folder / VALUES) for folder in folders)])
        np.save(draft / VALUES, values)
        spent = [read_json(folder / ABOUT) for folder in folders]
        total: dict[str, Any] = {name: sum(each[name] for each in spent) for name in ("seconds", "operations")}
        total |= {"pairs": len(pairs), "operations": total["operations"] or None, "device": str(teacher_device())}
        write_json(draft / ABOUT, teacher.cost | total)

    folder = kept(f"preferences/{key}", f"preferences of {teacher}", make)
    shutil.rmtree(cache_folder() / unfinished, ignore_errors=True)
    return Preferences(np.load(folder / VALUES, mmap_mode="r"), read_json(folder / ABOUT))
