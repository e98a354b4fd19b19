"""How fast passages are encoded, in one paired run: every way takes the same passages in turn, A B C D A B C D and so on.

The encoder has the shape of DistilBERT (six layers, 768 dimensions) and random weights, which cost the same arithmetic as trained
ones. Passages are real texts; armlib reads their tokens from a store, the other ways tokenise as they go.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path

import numpy as np
import reporting
import torch
import transformers
from encoders import add_options, default_tokenizer, random_encoder, sentence_transformer
from timing import matrix_product, now, since
from torch.nn.functional import normalize
from transformers import AutoTokenizer

from armlib import storage
from armlib.encoder.token_stores import passage_tokens
from armlib.errors import InputError
from armlib.names import load_collection
from armlib.retrieval.encoding import encode_rows
from armlib.training.processes import default_accelerator

WAYS = {
    "armlib": "tokens from a store, longest first, without padding, the last layer for [CLS] alone",
    "armlib, whole last layer": "the same without the saving in the last layer",
    "padded": "batches in the order given, everything padded to the maximum length",
    "sentence-transformers": "its encode_document: longest first in batches of equal count",
}
TARGET = {"passages_per_second": 40_000, "on": "one H100, distilBERT"}
TOLERANCE = {"cpu": 1e-4, "cuda": 3e-2}  # of an embedding's component, in float32 and in bfloat16
Seconds = dict[str, float]


class Ways:
    """The passages, the encoders and the ways of encoding.

    Args:
        arguments: those of the command line.
        folder: for files that are needed for a while.

    Attributes:
        each: by name, a way to encode some rows of the store; it gives their embeddings.
    """

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.arguments, self.length = arguments, arguments.passage_length
        self.device = default_accelerator(arguments.device).device.type
        self.tokenizer = AutoTokenizer.from_pretrained(arguments.tokenizer or default_tokenizer())
        collection = load_collection(arguments.collection)
        saving, self.stock = (
            random_encoder(self.tokenizer, arguments.layers, arguments.dim, self.device, cls_only) for cls_only in (True, False)
        )
        self.store = passage_tokens(collection, self.stock)
        count = arguments.passages * arguments.rounds
        if count > len(self.store):
            raise InputError(f"{collection.name} has {len(self.store)} passages, fewer than the {count} of all rounds")
        self.order = np.random.default_rng(0).permutation(len(self.store))
        needed = set(self.order[:count].tolist())
        self.texts = {row: document.text for row, document in enumerate(collection.documents()) if row in needed}
        peer = sentence_transformer(self.stock, folder, self.device, passage_length=self.length, query_length=self.length)
        if self.device == "cuda":
            peer.to(torch.bfloat16)
        size = {"batch_size": arguments.batch_size, "show_progress_bar": False, "normalize_embeddings": True}
        each = {
            "armlib": lambda rows: encode_rows(saving, self.store, rows, self.length),
            "armlib, whole last layer": lambda rows: encode_rows(self.stock, self.store, rows, self.length),
            "padded": self._padded,
            "sentence-transformers": lambda rows: peer.encode_document([self.texts[row] for row in rows.tolist()], **size),
        }
        self.each = {name: each[name] for name in dict.fromkeys(["armlib", *arguments.ways])}

    def rows(self, number: int) -> np.ndarray:
        """The passages of a round, as rows of the store."""
        return self.order[number * self.arguments.passages :][: self.arguments.passages]

    def real_tokens(self, rows: np.ndarray) -> float:
        """Tokens of a passage, special tokens included and padding not, on average."""
        return float(np.minimum(self.store.lengths[rows], self.length).mean())

    def check(self) -> None:
        """Raise an `InputError` unless all ways give the same embeddings."""
        rows = self.rows(0)[:16]
        found = {name: way(rows) for name, way in self.each.items()}
        for name, vectors in found.items():
            difference = float(np.abs(vectors - found["armlib"]).max())
            if not difference < TOLERANCE[self.device]:
                raise InputError(f"{name} gives other embeddings than armlib, by up to {difference:.1e}: they cannot be compared")

    def _padded(self, rows: np.ndarray) -> np.ndarray:
        found = []
        with torch.inference_mode(), torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
            for part in np.split(rows, range(self.arguments.batch_size, len(rows), self.arguments.batch_size)):
                options = {"truncation": True, "padding": "max_length", "max_length": self.length, "return_tensors": "pt"}
                tokens = self.tokenizer([self.texts[row] for row in part.tolist()], **options).to(self.device)
                found.append(normalize(self.stock.eval()(tokens["input_ids"], tokens["attention_mask"]).float(), dim=-1).cpu())
        return torch.cat(found).numpy()


def run(ways: Ways) -> dict:
    """Every way in turn, round after round: the floor, medians over rounds, and ratios to armlib in pairs."""
    ways.check()
    count, rounds = ways.arguments.passages, range(ways.arguments.rounds)
    seconds: dict[str, list[Seconds]] = {name: [] for name in ways.each}
    for number in rounds:
        for name, way in ways.each.items():
            started = now(ways.device)
            way(ways.rows(number))
            seconds[name].append(since(started, now(ways.device)))
            rate = count / seconds[name][-1]["seconds"]
            print(f"round {number + 1} of {len(rounds)}: {name:25} {rate:10.1f} passages a second", flush=True)
    tokens = statistics.mean(ways.real_tokens(ways.rows(number)) for number in rounds)
    flop = 2 * ways.stock.parameter_counts.non_embedding * tokens
    matrix = matrix_product(ways.device, ways.arguments.dim)
    floor = {
        "real_tokens_per_passage": tokens,
        "flop_per_passage": flop,
        "matrix_product_flop_per_second": matrix,
        "passages_per_second_at_matrix_product": matrix / flop,
    }
    rates = {name: statistics.median(count / one["seconds"] for one in some) for name, some in seconds.items()}
    measured = {
        name: {
            "about": WAYS[name],
            "passages_per_second": rate,
            "flop_per_second_on_real_tokens": rate * flop,
            "share_of_matrix_product": rate * flop / matrix,
            "rounds": seconds[name],
        }
        for name, rate in rates.items()
    }
    ratios, ratios_cpu = (
        {
            f"armlib over {name}": statistics.median(
                slow[kind] / fast[kind] for slow, fast in zip(seconds[name], seconds["armlib"], strict=True)
            )
            for name in seconds
            if name != "armlib"
        }
        for kind in ("seconds", "cpu_seconds")
    )
    load = {"load_average": list(os.getloadavg())}  # of 1, 5 and 15 minutes, as the measurement ended
    result = {"floor": floor, "ways": measured, "ratios": ratios, "ratios_cpu": ratios_cpu, "target": TARGET}
    return result | {"weights": "random", "device": ways.device, **load}


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    os.environ["RAYON_NUM_THREADS"] = str(arguments.threads)  # the tokenizers' own threads, started when first used
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory(prefix="encoding-speed-") as name, storage.disk_errors(Path(name)):
        result = run(Ways(arguments, Path(name)))
    for name, ratio in result["ratios"].items():
        print(f"{name}: {ratio:.2f} times (by processor time {result['ratios_cpu'][name]:.2f})")
    reporting.write("encoding-speed", arguments, result)


def _arguments() -> argparse.Namespace:
    parser = reporting.options(__doc__)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY", help=f"some of: {', '.join(WAYS)}")
    parser.add_argument("--rounds", type=int, default=3, help="times that every way is measured")
    parser.add_argument("--passages", type=int, default=400, help="encoded by a way in a round")
    parser.add_argument("--batch-size", type=int, default=32, help="passages in a batch of the other ways")
    add_options(parser)
    return parser.parse_args()


if __name__ == "__main__":
    reporting.run(main)
