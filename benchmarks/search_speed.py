"""Exact search over as many vectors as MS MARCO has passages, in float16: seconds a query, memory, and whether it finds.

The vectors are random, lie in one file and are searched through a memory map on a CPU, or from a GPU's memory where they
fit. Each query is a vector with noise, and has to find that vector first.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import faiss
import numpy as np
import reporting
import torch
from gather_speed import resident
from timing import now, since

from armlib import storage
from armlib.progress import bar
from armlib.retrieval.exact import ExactSearch
from armlib.retrieval.vectors import unit_vectors
from armlib.training.processes import default_accelerator

BLOCK = 131_072  # vectors drawn at once
NOISE = 0.5  # of a query's length


def write_vectors(file: Path, count: int, dim: int, seed: int) -> np.ndarray:
    """Random vectors of length 1, (count, dim) float16, memory-mapped."""
    vectors = np.lib.format.open_memmap(file, "w+", np.float16, (count, dim))
    with bar(count, "writing vectors", "vectors") as shown:
        for number, start in enumerate(range(0, count, BLOCK)):
            generator = np.random.default_rng((seed, 0, number))
            block = generator.standard_normal((min(BLOCK, count - start), dim), dtype=np.float32)
            vectors[start : start + len(block)] = unit_vectors(block)
            shown.update(len(block))
    vectors.flush()
    return np.load(file, mmap_mode="r")


def main() -> None:
    arguments = _arguments()
    device = default_accelerator(arguments.device).device.type
    torch.set_num_threads(arguments.threads)
    faiss.omp_set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory(prefix="search-speed-", dir=arguments.folder) as name, storage.disk_errors(Path(name)):
        vectors = write_vectors(Path(name) / "vectors.npy", arguments.vectors, arguments.dim, arguments.seed)
        generator = np.random.default_rng((arguments.seed, 1))
        planted = generator.choice(len(vectors), arguments.queries, replace=False)
        noise = unit_vectors(generator.standard_normal((len(planted), arguments.dim), dtype=np.float32))
        queries = unit_vectors(unit_vectors(vectors[planted]) + NOISE * noise)
        search = ExactSearch(vectors, device=None if device == "cpu" else device)
        rounds = []
        for number in range(arguments.rounds):
            started = now(device)
            scores, rows = search.search(queries, arguments.k)
            rounds.append(since(started, now(device)))
            print(f"round {number + 1} of {arguments.rounds}: {rounds[-1]['seconds']:.1f} s", flush=True)
    found = float((rows[:, 0] == planted).mean())
    flop = 2 * arguments.vectors * arguments.dim * arguments.queries
    best = min(one["seconds"] for one in rounds)
    figures = {
        "rounds": rounds,
        "seconds_per_query": best / arguments.queries,
        "flop_per_second": flop / best,
        "found": found,
        "in_descending_order": bool((np.diff(scores) <= 0).all()),
        "bytes": arguments.vectors * arguments.dim * 2,
        "device": device,
        **(resident() if device == "cpu" else {"peak_mib": torch.cuda.max_memory_allocated() / 2**20}),
    }
    reporting.write("search-speed", arguments, figures)


def _arguments() -> argparse.Namespace:
    parser = reporting.options(__doc__)
    parser.add_argument("--vectors", type=int, default=8_841_823, help="vectors to search")
    parser.add_argument("--dim", type=int, default=768, help="their dimensions")
    parser.add_argument("--queries", type=int, default=97, help="searched for together; TREC-DL 2019 and 2020 judge 43 and 54")
    parser.add_argument("--k", type=int, default=1000, help="results of each")
    parser.add_argument("--rounds", type=int, default=2, help="times that all are searched for; the first also reads the disk")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch and FAISS")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to search")
    parser.add_argument("--seed", type=int, default=0, help="decides the vectors")
    parser.add_argument("--folder", type=Path, help="where the vectors are written for a while (13.6 GB at the defaults)")
    return parser.parse_args()


if __name__ == "__main__":
    reporting.run(main)
