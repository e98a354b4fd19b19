"""A teacher's scores by the workers of a cluster: each shard is a task, and those of a lost worker are taken up by another one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from dask.distributed import Client, KilledWorker, as_completed

from armlib.data.collection import Collection
from armlib.errors import InputError
from armlib.experiments.cluster import check_workers, unseen_by_worker
from armlib.names import load_collection
from armlib.progress import bar
from armlib.teachers.base import Teacher, Workers
from armlib.teachers.registry import parse_teacher

WHAT = "cache folder"


def by_workers(client: Client) -> Workers:
    """What `armlib.teachers.base.ScoreSource.scored` takes as ``workers``: those of a cluster.

    They need the file system of the cache folder, and load teacher and collection by their names.

    Args:
        client: connected to Dask's scheduler by `armlib.experiments.cluster.workers_here` or `workers_of`.
    """

    def work(teacher: Teacher, collection: Collection, folder: Path, numbers: Sequence[int]) -> None:
        with (
            tempfile.NamedTemporaryFile(dir=folder, prefix=".workers-") as mark,
            bar(len(numbers), f"{teacher}, by workers", "shards") as shown,
        ):
            check_workers(client, mark.name, WHAT)
            asked = (str(teacher), collection.name, str(folder), mark.name)
            tasks = [client.submit(_make_shard, *asked, number, pure=False) for number in numbers]
            try:
                for task in as_completed(tasks):
                    if sentence := task.result():
                        raise InputError(sentence)
                    shown.update()
            except BaseException as error:
                client.cancel(tasks)
                if isinstance(error, KilledWorker):
                    said = "workers were lost again and again at the same shard, perhaps for want of memory; the others are kept"
                    raise InputError(said) from error
                raise

    return work


def _make_shard(teacher: str, collection: str, folder: str, mark: str, number: int) -> str:
    """On a worker: make a shard; gives what is wrong with the input, or nothing."""
    if unseen := unseen_by_worker(mark, WHAT):
        return unseen
    os.environ["ARMLIB_PROGRESS"] = "0"
    try:
        asked, texts = _loaded(teacher, collection)
        asked.make_shard(texts, Path(folder), number)
    except InputError as error:
        return str(error)
    return ""


@lru_cache(maxsize=1)
def _loaded(teacher: str, collection: str) -> tuple[Teacher, Collection]:
    found = parse_teacher(teacher)
    assert isinstance(found, Teacher), "files of scores have no shards"
    return found, load_collection(collection)
