"""How fast training is, in one paired run: every way takes the same batches in turn, A B C D E A B C D E and so on.

The encoder has the shape of DistilBERT (six layers, 768 dimensions) and random weights, which cost the same arithmetic as trained
ones. Each way does whole training steps: texts or rows to tokens, forward, the adaptive margin loss, backward, Adam.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import reporting
import torch
import transformers
from encoders import add_options
from timing import matrix_product
from training_ways import CHECKED, WAYS, Ways

from armlib import storage
from armlib.data.batches import Shape
from armlib.errors import InputError

COMPARED = (
    ("armlib", "padded"),
    ("armlib", "sentence-transformers"),
    ("armlib", "armlib, chunks"),
    ("armlib", "armlib, whole last layer"),
    ("armlib, whole last layer", "padded"),
    ("armlib, whole last layer", "sentence-transformers"),
)


@dataclass
class Measured:
    """One way's rounds.

    Attributes:
        padded_tokens: tokens given to the encoder in all rounds, padding included.
        optimizer: which one ran.
        rounds: wall and processor seconds of each round.
    """

    padded_tokens: int = 0
    optimizer: str = ""
    rounds: list[dict[str, float]] = field(default_factory=list)


def run(ways: Ways, rounds: int, minutes: float) -> dict:
    """Every way in turn, round after round, as far as the time goes; see `figures` for what comes back."""
    started = time.monotonic()
    for way in ways.each.values():
        way(CHECKED)  # the first step of a process also loads and compiles things
    measured = {name: Measured() for name in ways.each}
    real_tokens, matrix, longest = [], [], 0.0
    for number in range(rounds):
        began = time.monotonic()
        if number and began + longest - started > 60 * minutes:
            warnings.warn(f"only {number} of {rounds} rounds fitted into {minutes} minutes", stacklevel=2)
            break
        part = ways.round(number)
        real_tokens.append(ways.real_tokens(part))
        matrix.append(matrix_product(ways.device, ways.arguments.dim))
        for name, way in ways.each.items():
            seconds, padded, measured[name].optimizer = way(part)
            measured[name].rounds.append(seconds)
            measured[name].padded_tokens += padded
            rate = part.batch_size * part.steps / seconds["seconds"]
            print(f"round {number + 1} of {rounds}: {name:25} {rate:8.2f} triples a second", flush=True)
        longest = max(longest, time.monotonic() - began)
    return figures(ways, measured, statistics.mean(real_tokens), statistics.median(matrix))


def figures(ways: Ways, measured: dict[str, Measured], real_tokens: float, matrix: float) -> dict:
    """The floor, and medians over the rounds.

    Args:
        ways, measured: the ways and their rounds.
        real_tokens: of a triple.
        matrix: the rate of `matrix_product`.
    """
    parameters = ways.stock.parameter_counts.non_embedding
    flop = 6 * parameters * real_tokens
    count = ways.arguments.batch_size * ways.arguments.steps
    medians = {}
    for name, way in measured.items():
        rate = statistics.median(count / one["seconds"] for one in way.rounds)
        medians[name] = {
            "about": WAYS[name],
            "optimizer": way.optimizer,
            "loss_without_dropout": ways.losses[name],
            "triples_per_second": rate,
            "triples_per_cpu_second": statistics.median(count / one["cpu_seconds"] for one in way.rounds),
            "padded_tokens_per_triple": way.padded_tokens / (count * len(way.rounds)),
            "flop_per_second_on_real_tokens": rate * flop,
            "share_of_matrix_product": rate * flop / matrix,
            "rounds": way.rounds,
        }
    ratios = {}
    for faster, slower in COMPARED:
        if not {faster, slower} <= measured.keys():
            continue
        pairs = list(zip(measured[slower].rounds, measured[faster].rounds, strict=True))
        each = {kind: [slow[kind] / fast[kind] for slow, fast in pairs] for kind in ("seconds", "cpu_seconds")}
        ratios[f"{faster} over {slower}"] = {
            "median": statistics.median(each["seconds"]),
            "rounds": each["seconds"],
            "median_cpu": statistics.median(each["cpu_seconds"]),
            "rounds_cpu": each["cpu_seconds"],
        }
    floor = {
        "real_tokens_per_triple": real_tokens,
        "non_embedding_parameters": parameters,
        "flop_per_triple": flop,
        "matrix_product_flop_per_second": matrix,
        "triples_per_second_at_matrix_product": matrix / flop,
    }
    load = {"load_average": list(os.getloadavg())}  # of 1, 5 and 15 minutes, as the measurement ended
    return {"floor": floor, "ways": medians, "ratios": ratios, "weights": "random", "device": ways.device, **load}


def main() -> None:
    arguments = _arguments()
    if importlib.util.find_spec("datasets") is None:
        raise InputError("sentence-transformers' trainer needs the package datasets: pip install 'armlib[bench]'")
    torch.set_num_threads(arguments.threads)
    os.environ["RAYON_NUM_THREADS"] = str(arguments.threads)  # the tokenizers' own threads, started when first used
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # for worker processes
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory(prefix="training-speed-") as name, storage.disk_errors(Path(name)):
        result = run(Ways(arguments, Path(name)), arguments.rounds, arguments.minutes)
    for name, ratio in result["ratios"].items():
        print(f"{name}: {ratio['median']:.2f} times (by processor time {ratio['median_cpu']:.2f})")
    reporting.write("training-speed", arguments, result)


def _arguments() -> argparse.Namespace:
    parser = reporting.options(
        "Triples trained a second: armlib, padded to the maximum, and sentence-transformers, in one paired run."
    )
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY", help=f"some of: {', '.join(WAYS)}")
    parser.add_argument("--rounds", type=int, default=4, help="times that every way is measured, at most")
    parser.add_argument("--minutes", type=float, default=9.0, help="no round is begun that would end later")
    parser.add_argument("--steps", type=int, default=1, help="training steps of a way in a round")
    parser.add_argument("--batch-size", type=int, default=32, help="triples in a batch")
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare batches ahead, for every way")
    parser.add_argument("--query-length", type=int, default=Shape.query_length, help="cut of queries in tokens")
    parser.add_argument("--chunk-size", type=int, default=Shape.chunk_size, help="texts that armlib encodes together")
    add_options(parser)
    return parser.parse_args()


if __name__ == "__main__":
    reporting.run(main)
