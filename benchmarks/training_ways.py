"""The ways of training that `training_speed` compares, on the same triples and from the same weights."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import transformers
from encoders import default_tokenizer, random_encoder, sentence_transformer
from timing import now, since
from torch import Tensor, nn
from torch.utils.data import DataLoader, SequentialSampler
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PrinterCallback, TrainerCallback

from armlib.data.batches import Batch, Chunk, Shape, TripleBatches
from armlib.data.collection import Collection
from armlib.data.triple_rows import triple_rows
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.token_stores import passage_tokens, query_tokens
from armlib.errors import InputError
from armlib.losses import MarginLoss
from armlib.names import load_collection
from armlib.training.loop import Batches, train
from armlib.training.processes import default_accelerator
from armlib.training.settings import Settings

WAYS = {
    "armlib": "tokens gathered from a store, without padding, the last layer for [CLS] alone, in armlib's training loop",
    "armlib, whole last layer": "the same without the saving in the last layer",
    "armlib, chunks": "the last layer for [CLS] alone, and texts padded in chunks sorted by length",
    "padded": "everything padded to the maximum lengths and tokenised in the collate function, in armlib's training loop",
    "sentence-transformers": "its trainer: tokenised in the collate function, each column padded to its longest text",
}
LOSS = "adaptive"
LEARNING_RATE = 5e-6
Texts = list[tuple[str, str, str]]


class Part(NamedTuple):
    """Triples that every way trains on: the first steps of the order that the seed decides."""

    seed: int
    batch_size: int
    steps: int


CHECKED = Part(seed=0, batch_size=4, steps=1)  # on which the ways must agree before they are timed


class PaddedBatches:
    """Texts padded to the maximum lengths, tokenised as they are collated: queries, positives and negatives in a chunk each."""

    def __init__(self, texts: Texts, tokenizer: PreTrainedTokenizerBase, batch_size: int, shape: Shape) -> None:
        self.texts, self.tokenizer, self.batch_size, self.shape = texts, tokenizer, batch_size, shape

    def starting_at(self, step: int, stop: int, *, workers: int = 0, pinned: bool = False, flat: bool = False) -> Iterator[Batch]:
        chosen = self.texts[step * self.batch_size : stop * self.batch_size]
        return iter(DataLoader(chosen, self.batch_size, collate_fn=self.collate, num_workers=workers, pin_memory=pinned))

    def collate(self, triples: Texts) -> Batch:
        queries, positives, negatives = zip(*triples, strict=True)
        rows = torch.arange(2 * len(triples))
        chunks = [
            self._chunk(queries, self.shape.query_length, rows[: len(triples)]),
            self._chunk(positives, self.shape.passage_length, rows[: len(triples)]),
            self._chunk(negatives, self.shape.passage_length, rows[len(triples) :]),
        ]
        real = sum(int(chunk.attention_mask.sum()) for chunk in chunks)
        numbers = torch.full((len(triples), 3), -1)  # of no store, and the loss asks for none
        return Batch(len(triples), chunks[:1], chunks[1:], real, numbers)

    def _chunk(self, texts: tuple[str, ...], length: int, rows: Tensor) -> Chunk:
        encoded = self.tokenizer(list(texts), truncation=True, padding="max_length", max_length=length, return_tensors="pt")
        return Chunk(encoded["input_ids"], encoded["attention_mask"], rows)


class Chunked:
    """The batches of a token store in padded chunks, whatever the encoder would rather have."""

    def __init__(self, batches: TripleBatches) -> None:
        self.batches = batches

    def starting_at(self, step: int, stop: int, *, workers: int = 0, pinned: bool = False, flat: bool = False) -> Iterator[Batch]:
        return self.batches.starting_at(step, stop, workers=workers, pinned=pinned, flat=False)


class ColumnLoss(nn.Module):
    """The margin loss in the form that sentence-transformers' trainer calls: one forward pass a column, as its guide shows."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.loss = model, MarginLoss(LOSS)

    def forward(self, columns: list[dict[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        return self.loss(*(self.model(column)["sentence_embedding"] for column in columns))


class Stopwatch(TrainerCallback):
    """Times a training run of transformers' trainer from its first batch to the end of its last step, its preparation left out."""

    def __init__(self, device: str) -> None:
        self.device = device

    def on_train_begin(self, *unused: object, **also_unused: object) -> None:
        self.started = now(self.device)

    def on_step_end(self, *unused: object, **also_unused: object) -> None:
        self.ended = time.perf_counter(), time.process_time()

    def on_train_end(self, *unused: object, **also_unused: object) -> None:
        if self.device == "cuda":
            self.ended = now(self.device)  # the last steps may still be running


class Ways:
    """The data, the encoders and the ways of training.

    Args:
        arguments: those of the command line.
        folder: for files that are needed for a while.

    Attributes:
        each: by name, a way to train on a part; it gives the seconds, the padded tokens and the optimiser.
        losses: by name, the loss of the same few triples without dropout.

    Raises:
        InputError: the ways do not compute the same loss, or something was asked for that does not exist.
    """

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.arguments, self.folder = arguments, folder
        self.device = default_accelerator(arguments.device).device.type
        self.shape = Shape(arguments.query_length, arguments.passage_length, arguments.chunk_size)
        self.tokenizer = AutoTokenizer.from_pretrained(arguments.tokenizer or default_tokenizer())
        collection = load_collection(arguments.collection)
        self.stock, self.saving = (
            random_encoder(self.tokenizer, arguments.layers, arguments.dim, self.device, cls_only) for cls_only in (False, True)
        )
        self.queries, self.passages = query_tokens(collection, self.stock), passage_tokens(collection, self.stock)
        self.triples = triple_rows(collection, self.queries, self.passages)
        self.texts = self._texts(collection)
        lengths = {"query_length": self.shape.query_length, "passage_length": self.shape.passage_length}
        self.peer = sentence_transformer(self.stock, folder, self.device, **lengths)
        ways: tuple[Callable[[Part], tuple[dict[str, float], int, str]], ...] = (
            lambda part: self._ours(self.saving, self._stored(part), part),
            lambda part: self._ours(self.stock, self._stored(part), part),
            lambda part: self._ours(self.saving, Chunked(self._stored(part)), part),
            lambda part: self._ours(self.stock, self._padded(part), part),
            self._theirs,
        )
        each = dict(zip(WAYS, ways, strict=True))
        self.each = {name: each[name] for name in arguments.ways}
        self.losses = self._checked_losses()

    def round(self, number: int) -> Part:
        """The part of a round."""
        return Part(number, self.arguments.batch_size, self.arguments.steps)

    def real_tokens(self, part: Part) -> float:
        """Tokens of a triple, special tokens included and padding not, on average."""
        batches = self._stored(part)
        return sum(batches[step].real_tokens for step in range(part.steps)) / (part.steps * part.batch_size)

    def _stored(self, part: Part) -> TripleBatches:
        stores = self.queries, self.passages
        return TripleBatches(self.triples, *stores, batch_size=part.batch_size, shape=self.shape, seed=part.seed)

    def _padded(self, part: Part) -> PaddedBatches:
        return PaddedBatches(self._part_texts(part), self.tokenizer, part.batch_size, self.shape)

    def _rows(self, part: Part) -> np.ndarray:
        stored = self._stored(part)
        return np.concatenate([stored.rows(step) for step in range(part.steps)])

    def _part_texts(self, part: Part) -> Texts:
        """The triples of a part as texts, in the order in which the token stores' batches have them."""
        queries, passages = self.texts
        return [(queries[query], passages[one], passages[other]) for query, one, other in self._rows(part).tolist()]

    def _texts(self, collection: Collection) -> tuple[dict[int, str], dict[int, str]]:
        """Queries and passages by row number, those of the rounds only."""
        rows = np.concatenate([self._rows(part) for part in (CHECKED, *map(self.round, range(self.arguments.rounds)))])
        needed, names = set(rows[:, 1:].reshape(-1).tolist()), collection.queries()
        queries = {row: names[self.queries.ids[row].decode()] for row in set(rows[:, 0].tolist())}
        passages = {row: document.text for row, document in enumerate(collection.documents()) if row in needed}
        return queries, passages

    def _ours(self, encoder: BiEncoder, batches: Batches, part: Part) -> tuple[dict[str, float], int, str]:
        settings = Settings(part.steps, LEARNING_RATE, seed=part.seed, workers=self.arguments.workers)
        started = now(self.device)
        done = train(encoder, MarginLoss(LOSS), batches, settings, accelerator=default_accelerator(self.arguments.device))
        return since(started, now(self.device)), int(done.trace["padded_tokens"].sum()), done.optimizer

    def _theirs(self, part: Part) -> tuple[dict[str, float], int, str]:
        watch, trainer = Stopwatch(self.device), self._trainer(part)
        trainer.add_callback(watch)
        trainer.train()
        batches = trainer.get_train_dataloader()
        padded = sum(value.numel() for batch in batches for name, value in batch.items() if name.endswith("_input_ids"))
        return since(watch.started, watch.ended), padded, f"transformers {transformers.__version__} {trainer.args.optim.value}"

    def _trainer(self, part: Part):
        from datasets import Dataset
        from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
        from sentence_transformers.base.sampler import DefaultBatchSampler

        columns = zip(*self._part_texts(part), strict=True)
        data = Dataset.from_dict(dict(zip(("query", "positive", "negative"), map(list, columns), strict=True)))
        settings = SentenceTransformerTrainingArguments(
            output_dir=str(self.folder / "trainer"),
            num_train_epochs=1,
            per_device_train_batch_size=part.batch_size,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="constant",
            max_grad_norm=0,
            seed=part.seed,
            use_cpu=self.device == "cpu",
            bf16=self.device == "cuda",
            dataloader_num_workers=self.arguments.workers,
            report_to="none",
            save_strategy="no",
            eval_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            # Queries are cut at their own length only where the trainer is told which column they are in.
            router_mapping={"query": "query", "positive": "document", "negative": "document"},
            batch_sampler=lambda dataset, **options: DefaultBatchSampler(SequentialSampler(dataset), **options),
        )
        trainer = SentenceTransformerTrainer(model=self.peer, args=settings, train_dataset=data, loss=ColumnLoss(self.peer))
        trainer.remove_callback(PrinterCallback)
        return trainer

    def _checked_losses(self) -> dict[str, float]:
        stored, padded, trainer, losses = self._stored(CHECKED), self._padded(CHECKED), self._trainer(CHECKED), {}
        (columns,) = trainer.get_train_dataloader()
        with torch.no_grad():
            encoders = self.saving, self.stock, self.saving, self.stock
            for name, encoder, batches in zip(WAYS, encoders, (stored, stored, Chunked(stored), padded), strict=False):
                batch = next(batches.starting_at(0, 1, flat=encoder.packs)).to(torch.device(self.device))
                losses[name] = float(MarginLoss(LOSS)(*_embeddings(encoder.eval(), batch)))
            self.peer.eval()
            losses["sentence-transformers"] = float(trainer.loss(*trainer.collect_features(columns)))
        if max(losses.values()) - min(losses.values()) > 1e-4:
            raise InputError(f"the ways do not compute the same loss of the same triples, so they cannot be compared: {losses}")
        return losses


def _embeddings(encoder: BiEncoder, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, positives and negatives of a batch, (B, D) each."""
    if batch.flat:
        embeddings = torch.cat([encoder.embed_flat(piece) for piece in batch.flat])
        embeddings = embeddings[torch.argsort(torch.cat([piece.rows for piece in batch.flat]))]
        return embeddings.split(batch.size)
    parts = []
    for chunks in (batch.queries, batch.passages):
        embeddings = torch.cat([encoder(chunk.input_ids, chunk.attention_mask) for chunk in chunks])
        parts.append(embeddings[torch.argsort(torch.cat([chunk.rows for chunk in chunks]))])
    return parts[0], parts[1][: batch.size], parts[1][batch.size :]
