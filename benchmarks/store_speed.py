"""Building the stores of a collection of MS MARCO's size: texts tokenised and triples numbered per second, and memory.

The collection is synthetic: passages are stretches of one long row of words, with the text lengths of MS MARCO; the words and the
tokenizer are those of a real one, by default the embedded collection. Texts are streamed, as those of a real collection are. The
build is killed once half way, and goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import tempfile
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import reporting
from gather_speed import PASSAGE_LENGTHS, PERCENTILES, QUERY_LENGTHS, resident

from armlib import storage
from armlib.data.tokenising import token_store
from armlib.data.triple_rows import triple_rows
from armlib.errors import InputError
from armlib.names import load_collection, load_encoder

AIMS = {"peak_gib": 4.0, "passages_gb": 1.3, "triples_gb": 0.5}
ROW = 2_000_000  # words in the row that texts are cut from
BLOCK = 100_000  # texts or triples whose random numbers are drawn at once


class Synthetic:
    """A collection of so many passages, queries and triples, as far as the stores ask for one.

    Args:
        source: the collection whose words its texts are made of.
        sizes: numbers of ``passages``, ``queries`` and ``triples``.
        seed: decides all of it.
    """

    def __init__(self, source: str, sizes: dict[str, int], seed: int) -> None:
        self.sizes, self.seed = sizes, seed
        self.name = f"synthetic-{source}-{'-'.join(map(str, sizes.values()))}-{seed}"
        words = [word for document in load_collection(source).documents() for word in document.text.split()]
        self.row = np.random.default_rng(seed).choice(np.array(words, object), ROW).tolist()
        self.corpus = self  # the passages are its own

    def fingerprint(self) -> str:
        return storage.short_digest(self.name)

    def documents(self) -> Iterator[tuple[str, str]]:
        return self._texts(self.sizes["passages"], PASSAGE_LENGTHS, 1)

    def queries(self) -> dict[str, str]:
        return dict(self._texts(self.sizes["queries"], QUERY_LENGTHS, 2))

    def triples(self) -> Iterator[tuple[str, str, str]]:
        highest = (self.sizes["queries"], self.sizes["passages"], self.sizes["passages"])
        generator = np.random.default_rng((self.seed, 3))
        for start in range(0, self.sizes["triples"], BLOCK):
            drawn = generator.integers(0, highest, (min(BLOCK, self.sizes["triples"] - start), 3))
            yield from ((str(query), str(positive), str(negative)) for query, positive, negative in drawn.tolist())

    def _texts(self, count: int, quantiles: tuple[int, ...], stream: int) -> Iterator[tuple[str, str]]:
        generator = np.random.default_rng((self.seed, stream))
        for first in range(0, count, BLOCK):
            lengths = np.interp(100 * generator.random(BLOCK), PERCENTILES, quantiles)
            # A word is about one and a half tokens.
            starts, words = generator.integers(0, ROW - 300, BLOCK).tolist(), (lengths / 1.5).round().astype(int).tolist()
            for number in range(first, min(first + BLOCK, count)):
                start = starts[number - first]
                yield str(number), " ".join(self.row[start : start + max(1, words[number - first])])


def main() -> None:
    arguments = _arguments()
    sizes = {name: getattr(arguments, name) for name in ("passages", "queries", "triples")}
    source = (arguments.collection, sizes, arguments.seed)
    with tempfile.TemporaryDirectory(prefix="store-speed-", dir=arguments.folder) as name, storage.disk_errors(Path(name)):
        folder = Path(name)
        load_encoder("lsa/distilbert", load_collection(arguments.collection), None)  # made before the clock starts
        stopped = _build(folder, source, stop_at=sizes["passages"] // 2)
        finished = _build(folder, source) if "peak_gib" not in stopped else stopped
    figures = {
        "passages": finished["passages"],
        "queries": finished["queries"],
        "triples": finished["triples"],
        "stopped": stopped if stopped is not finished else None,
        "peak_gib": finished["peak_gib"],
        "targets": AIMS,
    }
    reporting.write("store-speed", arguments, figures)


def _build(folder: Path, source: tuple[str, dict[str, int], int], stop_at: int | None = None) -> dict:
    """Build in a process of its own; where ``stop_at`` is given, kill it when so many passages are done, if it is seen in time."""
    report = folder / "report.json"
    process = get_context("spawn").Process(target=build, args=(folder, source, report))
    started = time.perf_counter()
    process.start()
    while process.is_alive():
        process.join(1)
        done = max([storage.read_json(each)["texts"] for each in folder.glob("tokens/*.building/progress.json")], default=0)
        if stop_at and done >= stop_at:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            return {"passages_done": done, "seconds": time.perf_counter() - started}
    if process.exitcode:
        raise InputError(f"the build ended with code {process.exitcode}")
    return storage.read_json(report)


def build(folder: Path, source: tuple[str, dict[str, int], int], report: Path) -> None:
    """Build, or go on building, the stores of a synthetic collection in the cache folder ``folder``."""
    collection = Synthetic(*source)
    tokenizer = load_encoder("lsa/distilbert", load_collection(source[0]), None).tokenizer
    os.environ["ARMLIB_CACHE"] = str(folder)
    already = max([storage.read_json(each)["texts"] for each in folder.glob("tokens/*.building/progress.json")], default=0)
    figures, stores = {}, []
    for name, texts in (("passages", collection.documents), ("queries", lambda: collection.queries().items())):
        wall, cpu = time.perf_counter(), time.process_time()
        store = token_store(texts, tokenizer, f"{collection.fingerprint()} {name}", f"{name} of {collection.name}")
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        tokens = int(store.lengths.sum() - store.specials * len(store))
        new = len(store) - (already if name == "passages" else 0)
        figures[name] = {
            "texts": len(store),
            "went_on_from": len(store) - new,
            "seconds": wall,
            "cpu_seconds": cpu,
            "texts_per_second": new / wall,
            "texts_per_cpu_second": new / cpu,
            "mean_tokens": tokens / len(store),
            "bytes": tokens * 2,
            **resident(),
        }
        stores.append(store)
    wall = time.perf_counter()
    rows = triple_rows(collection, stores[1], stores[0])
    wall = time.perf_counter() - wall
    made = {"triples": len(rows), "seconds": wall, "triples_per_second": len(rows) / wall, "bytes": rows.nbytes}
    figures["triples"] = {**made, **resident()}
    storage.write_json(report, {**figures, "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20})


def _arguments() -> argparse.Namespace:
    parser = reporting.options(__doc__)
    parser.add_argument("--collection", default="docstrings", help="whose words and tokenizer are taken")
    parser.add_argument("--passages", type=int, default=8_841_823, help="passages of the synthetic collection")
    parser.add_argument("--queries", type=int, default=808_731, help="its queries")
    parser.add_argument("--triples", type=int, default=39_780_811, help="its triples")
    parser.add_argument("--seed", type=int, default=0, help="decides the synthetic data")
    parser.add_argument("--folder", type=Path, help="where the stores are built for a while (4 GB at the defaults)")
    return parser.parse_args()


if __name__ == "__main__":
    reporting.run(main)
