"""How much memory a batch takes with and without gradient caching, and whether both give the same gradients, dropout on.

Each batch size and way runs in a process of its own, which makes one gradient. Both ways cut a batch into the same chunks, so that
dropout is the same. The encoder is a narrow DistilBERT with random weights: what a batch takes grows with width and depth.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import reporting
import torch
from encoders import add_options, default_tokenizer, random_encoder
from timing import now, since
from transformers import AutoTokenizer

from armlib import storage
from armlib.data.batches import Shape, TripleBatches
from armlib.data.triple_rows import triple_rows
from armlib.encoder.token_stores import passage_tokens, query_tokens
from armlib.losses import MarginLoss
from armlib.names import load_collection
from armlib.training.gradients import batch_gradients
from armlib.training.processes import default_accelerator
from armlib.training.settings import Settings

LOSSES = {"distributed": ("distributed", False), "adaptive, in-batch": ("adaptive", True)}


def gradient(arguments: argparse.Namespace, loss: str, batch_size: int, cached: bool, file: Path) -> dict:
    """One batch's gradient, written to a file; gives seconds and the most memory, in MiB, before and while it was made."""
    torch.set_num_threads(arguments.threads)
    accelerator = default_accelerator(arguments.device)
    device = accelerator.device.type
    tokenizer = AutoTokenizer.from_pretrained(arguments.tokenizer or default_tokenizer())
    collection = load_collection(arguments.collection)
    encoder = random_encoder(tokenizer, arguments.layers, arguments.dim, device, cls_only=True).train()
    stores = query_tokens(collection, encoder), passage_tokens(collection, encoder)
    shape = Shape(arguments.query_length, arguments.passage_length, chunk_tokens=arguments.chunk_tokens)
    batches = TripleBatches(triple_rows(collection, *stores), *stores, batch_size=batch_size, shape=shape, seed=0)
    batch = batches[0].to(accelerator.device)
    target, in_batch = LOSSES[loss]
    settings = Settings(steps=1, learning_rate=0.0, cached=cached)
    before, started = peak(device), now(device)
    measured = batch_gradients(encoder, MarginLoss(target, in_batch=in_batch), batch, accelerator, settings, 0)
    seconds = since(started, now(device))
    found = [parameter.grad.flatten().float().cpu() for parameter in encoder.parameters() if parameter.grad is not None]
    np.save(file, torch.cat(found).numpy())
    return {
        "batch_size": batch_size,
        "cached": cached,
        "loss": loss,
        "loss_value": float(measured["loss"]),
        **seconds,
        "before_mib": before,
        "peak_mib": peak(device),
        "real_tokens": batch.real_tokens,
        "padded_tokens": batch.padded_tokens,
    }


def peak(device: str) -> float:
    """The most memory of this process so far, on the device that computes, in MiB."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main() -> None:
    arguments = _arguments()
    # The C library keeps freed blocks of sizes that differ from chunk to chunk, unless large ones go straight back to the system.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "1000000"
    rows, differences = [], []
    with tempfile.TemporaryDirectory(prefix="batch-memory-") as name, storage.disk_errors(Path(name)):
        for loss in LOSSES:
            for size in arguments.batch_sizes:
                made = {}
                for cached in (True, False) if size <= arguments.plain_up_to else (True,):
                    made[cached] = Path(name) / f"{size}-{cached}.npy"
                    with ProcessPoolExecutor(1, get_context("spawn")) as alone:
                        rows.append(alone.submit(gradient, arguments, loss, size, cached, made[cached]).result())
                    row = rows[-1]
                    way = "cached" if cached else "plain"
                    print(f"{loss}, B={size:5}, {way:6}: {row['peak_mib']:8.0f} MiB, {row['seconds']:6.1f} s", flush=True)
                if len(made) == 2:
                    ours, plain = (np.load(made[cached]) for cached in (True, False))
                    difference = float(np.linalg.norm(ours - plain) / np.linalg.norm(plain))
                    differences.append({"loss": loss, "batch_size": size, "relative_difference": difference})
                    print(f"{loss}, B={size:5}: gradients differ by {difference:.1e} of their length", flush=True)
    reporting.write("batch-memory", arguments, {"batches": rows, "gradients": differences, "weights": "random"})


def _arguments() -> argparse.Namespace:
    parser = reporting.options(__doc__)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[64, 256, 1024, 4096], help="triples in a batch")
    parser.add_argument("--plain-up-to", type=int, default=256, help="the largest batch to make without caching, too")
    parser.add_argument("--query-length", type=int, default=Shape.query_length, help="cut of queries in tokens")
    parser.add_argument("--chunk-tokens", type=int, default=8192, help="padded tokens encoded together, at most")
    add_options(parser, layers=2, dim=256)
    return parser.parse_args()


if __name__ == "__main__":
    reporting.run(main)
