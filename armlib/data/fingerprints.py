"""Fingerprints: a few hexadecimal digits that stand for all that a result depends on."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from armlib import storage
from armlib.data.types import Qrels
from armlib.errors import InputError

SETTLED = 0.1  # seconds after which a file's time of modification tells a later change: file systems count in ticks


def fingerprint_of(parts: Iterable[str]) -> str:
    """16 hexadecimal digits of a stream of texts; each counts with its length, so that no two streams collide."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode("utf8", "surrogatepass")
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()[:16]


def judged_parts(queries: Mapping[str, str], qrels: Qrels) -> Iterator[str]:
    """Queries and judgments as texts to be hashed, in an order that does not depend on the source's."""
    for query in sorted(queries):
        yield from (query, queries[query])
    for query in sorted(qrels):
        yield query
        for document in sorted(qrels[query]):
            yield from (document, str(qrels[query][document]))


def fingerprint_of_files(files: Sequence[Path], what: str, compute: Callable[[], str]) -> str:
    """A fingerprint that depends on files, computed once for as long as their sizes, times and inodes stay as they are.

    Args:
        files: all that it depends on.
        what: tells several fingerprints of the same files apart; it must change with the way they are computed.
        compute: reads the files.
    """
    paths = [file.resolve() for file in files]
    # The time of modification can be set back; that of the last change to anything cannot.
    stamp = [[each.st_size, each.st_mtime_ns, each.st_ctime_ns, each.st_ino] for each in map(Path.stat, paths)]
    record = storage.cache_folder() / "fingerprints" / f"{storage.short_digest(what, *map(str, paths))}.json"
    known = storage.read_record(record)
    if known.get("stamp") == stamp and isinstance(known.get("fingerprint"), str):
        return known["fingerprint"]
    value = compute()
    if all(time.time_ns() - modified > SETTLED * 1e9 for _, modified, *_ in stamp):
        with suppress(InputError):  # a cache that cannot be written costs time, no more
            storage.write_json(record, {"files": list(map(str, paths)), "stamp": stamp, "fingerprint": value})
    return value


def fingerprint_of_folder(folder: Path, ignored: Collection[str] = ()) -> str:
    """16 hexadecimal digits of the names and contents of all files below a folder, wherever it is; computed as seldom as others.

    Args:
        folder: links in it count as what they point to.
        ignored: names of files that do not matter; hidden files and folders never do.
    """
    names = sorted(_names_below(folder, ignored))
    files = [folder / name for name in names]

    def compute() -> str:
        return fingerprint_of(part for name, file in zip(names, files, strict=True) for part in (name, storage.file_digest(file)))

    with storage.disk_errors(folder, "read"):
        return fingerprint_of_files(files, "\0".join(["contents", *names]), compute)


def _names_below(folder: Path, ignored: Collection[str]) -> Iterator[str]:
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [each for each in folders if not each.startswith(".")]
        for name in files:
            path = os.path.join(place, name)
            if not name.startswith(".") and name not in ignored and os.path.isfile(path):
                yield os.path.relpath(path, folder)
