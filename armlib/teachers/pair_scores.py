"""A teacher's scores of the unique pairs of training lists: each computed once, in shards, and looked up by row numbers.

A pair of rows is one integer, query x number of passages + passage. The integers are sorted in a memory-mapped file, beside which
the scores lie: twelve bytes a pair, 0.95 GB for the 80 million pairs of MS MARCO's triples.
"""

from __future__ import annotations

import os
import shutil
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Integer

from armlib import storage
from armlib.data.collection import Collection
from armlib.data.tokens import TokenStore
from armlib.errors import InputError
from armlib.teachers.device import teacher_device
from armlib.teachers.row_scores import RowScores
from armlib.teachers.shards import in_this_process
from armlib.teachers.texts import TextRows, passage_texts, query_texts

if TYPE_CHECKING:
    from armlib.teachers.base import ScoreSource, Teacher, Workers

PAIRS, SCORES, LISTS, ABOUT = "pairs.bin", "scores.bin", "lists.bin", "about.json"
SHARD = 1 << 14  # pairs that are scored together: what a kill costs, and a task of a worker
STEP = 1 << 20  # lists or pairs in memory at a time


class PairScores(RowScores):
    """Scores in a folder, memory-mapped.

    Attributes:
        without: pairs that have no score.
    """

    def __init__(self, folder: Path) -> None:
        about = storage.read_json(folder / ABOUT)
        self.folder, self.cost, self.without = folder, about["cost"], about.get("without", 0)
        self._passages: int = about["passages"]
        # Plain views of the mapped files: indexing a memmap object costs several times as much.
        self._pairs = np.asarray(np.memmap(folder / PAIRS, np.int64, "r"))
        self._scores = np.asarray(np.memmap(folder / SCORES, np.float32, "r"))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.folder,)  # so that a process that gathers batches maps the files, too

    def of_pairs(self, queries: Integer[np.ndarray, "*n"], passages: Integer[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        return look_up(self._pairs, self._scores, queries.astype(np.int64) * self._passages + passages)

    def complete(self, lists: Integer[np.ndarray, "T columns"]) -> Integer[np.ndarray, "kept columns"]:
        if not self.without:
            return lists
        return np.memmap(self.folder / LISTS, lists.dtype, "r").reshape(-1, lists.shape[1])


def look_up(
    pairs: Integer[np.ndarray, " U"], scores: Float[np.ndarray, " U"], asked: Integer[np.ndarray, "*n"]
) -> Float[np.ndarray, "*n"]:
    """Scores of the pairs that are asked for; NaN for those that are not among ``pairs``, which ascend."""
    found = np.minimum(np.searchsorted(pairs, asked), len(pairs) - 1)
    return np.where(pairs[found] == asked, scores[found], np.float32(np.nan))


def cache_key(source: ScoreSource, collection: Collection, queries: TokenStore, lists: Integer[np.ndarray, "T columns"]) -> str:
    """Names the scores of lists in the cache: teacher, texts, the order of their rows, and which rows are asked for."""
    rows = storage.digest(*(np.ascontiguousarray(lists[start : start + STEP]).tobytes() for start in range(0, len(lists), STEP)))
    texts = (collection.fingerprint(), collection.corpus.fingerprint(), np.asarray(queries.ids).tobytes())
    return storage.short_digest("pair scores", source.fingerprint(collection), *texts, str(lists.shape), str(lists.dtype), rows)


def scored_pairs(
    teacher: Teacher,
    collection: Collection,
    queries: TokenStore,
    passages: TokenStore,
    lists: Integer[np.ndarray, "T columns"],
    workers: Workers | None,
) -> PairScores:
    """`armlib.teachers.base.ScoreSource.scored` of a teacher that reads texts."""
    if not len(lists):
        raise InputError("there are no lists to score")
    key = cache_key(teacher, collection, queries, lists)
    # Outside the folder that is sealed at the end, so that a scoring that is stopped goes on.
    unfinished = storage.cache_folder() / "teacher-scores" / f"{key}.scoring"

    def prepare(draft: Path) -> None:
        count = write_unique_pairs(lists, len(passages), draft / PAIRS)
        texts = {"queries": query_texts(collection, queries), "passages": passage_texts(collection, passages)}
        folders = {name: str(rows.folder.resolve()) for name, rows in texts.items()}
        storage.write_json(draft / ABOUT, {"count": count, "shard": SHARD, "passages": len(passages), "texts": folders})

    def make(draft: Path) -> None:
        teacher.prepare(collection)
        asked = storage.kept(f"teacher-scores/{key}.scoring/asked", "list of pairs to score", prepare)
        about = storage.read_json(asked / ABOUT)
        shards = [_shard(unfinished, number) for number in range(-(-about["count"] // about["shard"]))]
        missing = [number for number, shard in enumerate(shards) if not _is_whole(shard)]
        if workers:
            workers(teacher, collection, unfinished, missing)
        else:
            in_this_process(lambda number: score_shard(teacher, collection, unfinished, number), missing, f"scoring by {teacher}")
        _join(shards, asked, draft, teacher.cost)

    folder = storage.kept(f"teacher-scores/{key}", f"scores of {teacher}", make)
    shutil.rmtree(unfinished, ignore_errors=True)
    return PairScores(folder)


def write_unique_pairs(lists: Integer[np.ndarray, "T columns"], passages: int, path: Path) -> int:
    """Write the unique pairs of query and passage of lists in ascending order.

    The pairs are sorted in a file beside ``path``, eight bytes each (0.64 GB for 80 million), through a memory map that the
    system may write back; besides, some tens of megabytes are held.

    Args:
        lists: (T, 1 + n) rows of a query and its n passages.
        passages: how many passages there are.
        path: where to write, int64.

    Returns:
        How many they are.
    """
    every = path.with_suffix(".every")
    # Written as a file and not through a memory map: a disk that is full then ends the process instead of raising an error.
    with open(every, "wb") as out:
        for start in range(0, len(lists), STEP):
            part = lists[start : start + STEP].astype(np.int64)
            (part[:, :1] * passages + part[:, 1:]).tofile(out)
    pairs, count, last = np.memmap(every, np.int64, "r+"), 0, -1
    pairs.sort()
    with open(path, "wb") as out:
        for start in range(0, len(pairs), STEP):
            unique = np.unique(pairs[start : start + STEP])
            unique = unique[unique > last]
            unique.tofile(out)
            count, last = count + len(unique), int(pairs[min(start + STEP, len(pairs)) - 1])
    every.unlink()
    return count


def score_shard(teacher: Teacher, collection: Collection, folder: Path, number: int) -> None:
    """Score a shard of the pairs that `scored_pairs` has listed in a folder; one that is there and whole stays.

    Raises:
        InputError: the teacher gave something else than one finite score a pair, or the disk is full.
    """
    shard = _shard(folder, number)
    if shard.exists() and storage.damage(shard) is None:
        return
    teacher.prepare(collection)
    about = storage.read_json(folder / "asked" / ABOUT)
    start, every = number * about["shard"], np.memmap(folder / "asked" / PAIRS, np.int64, "r")
    pairs = np.array(every[start : start + about["shard"]])
    texts = [
        TextRows(Path(about["texts"][name])).texts(rows)
        for name, rows in zip(("queries", "passages"), np.divmod(pairs, about["passages"]), strict=True)
    ]
    began, before = time.perf_counter(), teacher.operations
    scores = np.asarray(teacher.scores(collection, *texts), np.float32)
    seconds = time.perf_counter() - began
    if scores.shape != pairs.shape or not np.isfinite(scores).all():
        raise InputError(
            f"the teacher {teacher} gave scores of shape {scores.shape}, {np.isfinite(scores).sum()} of them finite numbers, "
            f"for {len(pairs)} pairs; expected one number for each"
        )
    with storage.atomic_folder(shard) as draft:
        with open(draft / SCORES, "wb") as out:
            scores.tofile(out)
            out.flush()
            os.fsync(out.fileno())
        spent = {"seconds": seconds, "operations": teacher.operations - before, "device": str(teacher_device())}
        storage.write_json(draft / ABOUT, spent)


def _shard(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:05d}"


def _is_whole(shard: Path) -> bool:
    reason = storage.damage(shard) if shard.exists() else "absent"
    if reason not in (None, "absent"):
        warnings.warn(f"{shard} is damaged ({reason}); it is scored again", stacklevel=3)
    return reason is None


def _join(shards: list[Path], asked: Path, draft: Path, cost: dict[str, Any]) -> None:
    """Put the shards together, and add up what they have cost."""
    spent = [storage.read_json(shard / ABOUT) for shard in shards]
    with open(draft / SCORES, "wb") as out:
        for shard in shards:
            out.write((shard / SCORES).read_bytes())
    storage.link_or_copy(asked / PAIRS, draft / PAIRS)  # the list stays whole until the scores have their name
    about = storage.read_json(asked / ABOUT)
    total = {
        "pairs": about["count"],
        "seconds": sum(each["seconds"] for each in spent),
        "operations": sum(each["operations"] for each in spent) or None,
        "device": ", ".join(sorted({each["device"] for each in spent})),
    }
    storage.write_json(draft / ABOUT, {"passages": about["passages"], "cost": cost | total})
