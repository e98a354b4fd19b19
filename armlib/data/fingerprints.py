"""Fingerprints: a few hexadecimal digits that stand for all that a result depends on."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from armlib import storage
from armlib.data.types import Qrels

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
    """A fingerprint that depends on files, computed once for as long as their sizes and times of modification stay as they are.

    Args:
        files: all that it depends on.
        what: tells several fingerprints of the same files apart; it must change with the way they are computed.
        compute: reads the files.
    """
    paths = [file.resolve() for file in files]
    stamp = [[status.st_size, status.st_mtime_ns] for status in map(Path.stat, paths)]
    record = storage.cache_folder() / "fingerprints" / f"{storage.short_digest(what, *map(str, paths))}.json"
    known = _recorded(record)
    if known.get("stamp") == stamp:
        return known["fingerprint"]
    value = compute()
    if all(time.time_ns() - modified > SETTLED * 1e9 for _, modified in stamp):
        storage.write_json(record, {"files": list(map(str, paths)), "stamp": stamp, "fingerprint": value})
    return value


def _recorded(record: Path) -> dict:
    try:
        known = json.loads(record.read_text(encoding="utf8"))
    except (OSError, ValueError):  # absent, or damaged: it is computed again
        return {}
    return known if isinstance(known, dict) and isinstance(known.get("fingerprint"), str) else {}
