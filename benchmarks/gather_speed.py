"""How fast batches are gathered, without any training: triples per second on one core, and memory, for growing numbers of triples.

Texts are synthetic: random token ids in the token store's own format, with the text lengths of MS MARCO. What is timed is
`TripleBatches.__getitem__`: the positions in the shuffled epoch, the rows, the sort by length, the cut into chunks, ids and masks.
The files were just written, so they are in the system's page cache; reading them from a disk for the first time is not measured.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import reporting
import torch

from armlib import storage
from armlib.data.batches import Shape, TripleBatches
from armlib.data.tokenising import FORMAT, STORED_LENGTH
from armlib.data.tokens import TokenStore
from armlib.progress import progress

AIM = 30_000  # triples per second on one core
ROUNDS = 5
BLOCK = 1_000_000  # rows written at once

# Word pieces (BERT's, without special tokens) of MS MARCO texts at these percentiles, measured on the 32,895 passages and 10,809
# training queries of msmarco-mini. Their means are 75.1 and 8.7.
PERCENTILES = (0, 1, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 80, 85, 90, 95, 99, 99.9, 100)
PASSAGE_LENGTHS = (8, 24, 37, 44, 48, 52, 54, 57, 59, 62, 64, 67, 70, 73, 76, 82, 89, 99, 109, 121, 137, 173, 218, 296)
QUERY_LENGTHS = (2, 3, 4, 5, 5, 6, 6, 6, 7, 7, 7, 8, 8, 9, 9, 10, 10, 11, 12, 14, 17, 24, 36, 67)


def main() -> None:
    arguments = _arguments()
    shape = Shape(arguments.query_length, arguments.passage_length, arguments.chunk_size)
    with tempfile.TemporaryDirectory(prefix="gather-speed-", dir=arguments.folder) as name, storage.disk_errors(Path(name)):
        folder, generator = Path(name), np.random.default_rng(arguments.seed)
        bytes_written = {
            "passages": write_store(folder / "passages", arguments.passages, PASSAGE_LENGTHS, generator),
            "queries": write_store(folder / "queries", arguments.queries, QUERY_LENGTHS, generator),
            "triples": write_triples(folder / "triples.bin", max(arguments.triples), arguments, generator),
        }
        mean = float(TokenStore(folder / "passages").lengths.mean())
        sizes = []
        for triples in arguments.triples:
            # A process of its own for each size, so that the memory is that of this size alone.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                sizes.append(process.submit(measure, folder, triples, arguments.batch_size, arguments.steps, shape).result())
            print(_line(sizes[-1]), flush=True)
    torch.set_num_threads(1)
    slowest = min(size["triples_per_second"] for size in sizes)
    private = [size["memory"]["last_batches"]["private_mib"] for size in sizes]
    figures = {
        "sizes": sizes,
        "bytes": bytes_written,
        "mean_passage_tokens": mean,
        "private_memory_spread_mib": None if None in private else max(private) - min(private),
        "target": {"triples_per_second": AIM, "met": slowest >= AIM},
    }
    reporting.write("gather-speed", arguments, figures)


def write_store(folder: Path, count: int, quantiles: tuple[int, ...], generator: np.random.Generator) -> int:
    """Write the token store of ``count`` texts of random tokens; return its bytes."""
    folder.mkdir()
    lengths = np.interp(100 * generator.random(count), PERCENTILES, quantiles).round().astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    with open(folder / "tokens.bin", "wb") as out:
        for start in progress(range(0, count, BLOCK), -(-count // BLOCK), f"writing {folder.name}", "blocks"):
            tokens = offsets[min(start + BLOCK, count)] - offsets[start]
            generator.integers(1000, 30_522, tokens, dtype=np.uint16).tofile(out)  # from 1000 on there are only word pieces
    np.save(folder / "offsets.npy", offsets)
    digits = len(str(count - 1))
    np.save(folder / "ids.npy", np.char.zfill(np.arange(count).astype(f"S{digits}"), digits))
    np.save(folder / "order.npy", np.arange(count, dtype=np.int32))
    about = {
        "key": FORMAT,
        "description": f"synthetic {folder.name}",
        "dtype": "uint16",
        "padding": 0,
        "prefix": [101],
        "suffix": [102],
        "stored_length": STORED_LENGTH,
    }
    storage.write_json(folder / "about.json", about)
    return sum(file.stat().st_size for file in folder.iterdir())


def write_triples(file: Path, count: int, arguments: argparse.Namespace, generator: np.random.Generator) -> int:
    """Write ``count`` random triples of row numbers, int32; return their bytes."""
    with open(file, "wb") as out:
        for start in progress(range(0, count, BLOCK), -(-count // BLOCK), "writing triples", "blocks"):
            highest = (arguments.queries, arguments.passages, arguments.passages)
            generator.integers(0, highest, (min(BLOCK, count - start), 3), dtype=np.int32).tofile(out)
    return file.stat().st_size


def measure(folder: Path, triples: int, batch_size: int, steps: int, shape: Shape) -> dict:
    """Gather ``steps`` batches in each of five rounds and watch the memory of this process."""
    torch.set_num_threads(1)
    rows = np.memmap(folder / "triples.bin", np.int32, "r").reshape(-1, 3)[:triples]
    stores = TokenStore(folder / "queries"), TokenStore(folder / "passages")
    batches = TripleBatches(rows, *stores, batch_size=batch_size, shape=shape, seed=0)
    memory, rounds = {"before": resident()}, []
    for step in range(ROUNDS):
        batches[step]
    memory["first_batches"] = resident()
    real = padded = 0
    for number in range(ROUNDS):
        wall, cpu = time.perf_counter(), time.process_time()
        for step in range(number * steps, (number + 1) * steps):
            batch = batches[step]
            real, padded = real + batch.real_tokens, padded + batch.padded_tokens
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        rounds.append({"seconds": wall, "cpu_seconds": cpu, "private_mib": resident()["private_mib"]})
    memory["last_batches"] = resident()
    gathered = steps * batch_size
    return {
        "triples": triples,
        "triples_per_second": statistics.median(gathered / done["seconds"] for done in rounds),
        "triples_per_cpu_second": statistics.median(gathered / done["cpu_seconds"] for done in rounds),
        "real_tokens_per_triple": real / gathered / ROUNDS,
        "padded_tokens_per_triple": padded / gathered / ROUNDS,
        "memory": memory,
        "rounds": rounds,
    }


def resident() -> dict[str, float | None]:
    """Resident memory of this process in MiB, from Linux's ``/proc``; None on other systems.

    ``private`` is the process's own; ``mapped`` are pages of the files, which the system takes back when others need the memory;
    ``peak`` is the most that both have been together.
    """
    fields = {"private_mib": "RssAnon", "mapped_mib": "RssFile", "peak_mib": "VmHWM"}
    status = Path("/proc/self/status")
    if not status.exists():
        return dict.fromkeys(fields)
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return {name: int(lines[field].split()[0]) / 1024 for name, field in fields.items()}


def _line(size: dict) -> str:
    memory = size["memory"]["last_batches"]
    line = f"{size['triples']:>12,} triples: {size['triples_per_second']:,.0f} a second"
    if memory["peak_mib"] is None:
        return line
    return f"{line}; private memory {memory['private_mib']:.0f} MiB, with mapped files at most {memory['peak_mib']:.0f} MiB"


def _arguments() -> argparse.Namespace:
    parser = reporting.options(__doc__)
    parser.add_argument("--triples", type=int, nargs="+", default=[1_000_000, 10_000_000, 40_000_000], help="numbers of triples")
    parser.add_argument("--passages", type=int, default=8_841_823, help="passages in the synthetic store")
    parser.add_argument("--queries", type=int, default=808_731, help="queries in the synthetic store")
    parser.add_argument("--batch-size", type=int, default=128, help="triples in a batch")
    parser.add_argument("--steps", type=int, default=500, help=f"batches gathered in each of {ROUNDS} rounds")
    parser.add_argument("--query-length", type=int, default=Shape.query_length, help="cut of queries in tokens")
    parser.add_argument("--passage-length", type=int, default=Shape.passage_length, help="cut of passages in tokens")
    parser.add_argument("--chunk-size", type=int, default=Shape.chunk_size, help="texts encoded together")
    parser.add_argument("--seed", type=int, default=0, help="decides the synthetic data")
    parser.add_argument("--folder", type=Path, help="where the files are written for a while (1.9 GB at the defaults)")
    return parser.parse_args()


if __name__ == "__main__":
    reporting.run(main)
