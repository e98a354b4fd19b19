"""Random batches of triples, cut into length-sorted chunks, with a cursor that makes continuing exact.

Position k of an epoch is computed from (seed, epoch, k), never skipped to, so step 300,000 costs what step 0 costs. Batches are
random over the data, because the losses compare the triples of a batch with each other; only inside a batch are the passages
sorted by length and cut into chunks, which are encoded one by one and put back in order. The loss sees the exact batch.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from math import isqrt

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from transformers import PreTrainedTokenizerBase

from armlib.errors import InputError
from armlib.tokens import TokenStore

ROUNDS = 6  # of the Feistel network; four already pass for random in the classic analysis (Luby and Rackoff, 1988)


@dataclass
class Chunk:
    """Texts of a batch that are encoded together.

    Attributes:
        input_ids: (n, L) int64, padded at the right.
        attention_mask: (n, L) int64, 1 where a token stands.
        places: (n,) int64, the place of each text in the batch.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    places: torch.Tensor

    def to(self, device: torch.device) -> Chunk:
        """The chunk on a device; from pinned memory the copy does not wait."""
        return Chunk(*(t.to(device, non_blocking=True) for t in (self.input_ids, self.attention_mask, self.places)))

    def pin_memory(self) -> Chunk:
        """The chunk in page-locked memory; called by torch's DataLoader."""
        return Chunk(self.input_ids.pin_memory(), self.attention_mask.pin_memory(), self.places.pin_memory())


@dataclass
class Batch:
    """B triples: their queries and their 2B passages (the B positives first), each as chunks.

    Attributes:
        size: B, on this process.
        queries: chunks whose places run over 0..B-1.
        passages: chunks whose places run over 0..2B-1.
        real_tokens: tokens of all texts, special tokens included.
        padded_tokens: tokens that the encoder is given, padding included.
    """

    size: int
    queries: list[Chunk]
    passages: list[Chunk]
    real_tokens: int
    padded_tokens: int

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        return Batch(
            self.size, [c.to(device) for c in self.queries], [c.to(device) for c in self.passages],
            self.real_tokens, self.padded_tokens,
        )  # fmt: skip

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory; called by torch's DataLoader."""
        return Batch(
            self.size, [c.pin_memory() for c in self.queries], [c.pin_memory() for c in self.passages],
            self.real_tokens, self.padded_tokens,
        )  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """How texts are cut and chunked.

    Attributes:
        query_length, passage_length: maximum lengths in tokens, special tokens included (30 and 200 in paper section 4).
        chunk_size: texts encoded together.
        chunk_tokens: where set, the most padded tokens encoded together; the trainer then caches gradients, so that memory is
            bounded by a chunk instead of the batch.
    """

    query_length: int = 30
    passage_length: int = 200
    chunk_size: int = 16
    chunk_tokens: int | None = None

    def cut(self, lengths: np.ndarray) -> list[np.ndarray]:
        """Places of texts of these lengths, (n,), sorted by length and cut into chunks."""
        order = np.argsort(lengths, kind="stable")
        if self.chunk_tokens is None:
            return [order[i : i + self.chunk_size] for i in range(0, len(order), self.chunk_size)]
        chunks, start, ascending = [], 0, lengths[order].tolist()
        for end in range(1, len(order) + 1):
            # The next text is the longest so far: all of the chunk would be padded to it.
            if end == len(order) or (end + 1 - start) * ascending[end] > self.chunk_tokens:
                chunks.append(order[start:end])
                start = end
        return chunks


def shuffled(positions: np.ndarray, count: int, seed: int, epoch: int) -> np.ndarray:
    """Elements at the given positions of a pseudo-random permutation of 0..count-1, computed without making the permutation.

    A Feistel network over pairs (left, right) with left * right just above ``count``, with cycle walking for the few elements
    beyond it (Black and Rogaway, 2002).

    Args:
        positions: (n,) integers below ``count``.
        count: how many elements are permuted.
        seed, epoch: together they name the permutation.
    """
    lefts = np.uint64(isqrt(count - 1) + 1) if count > 1 else np.uint64(1)
    rights = np.uint64(-(-count // int(lefts)))
    found = np.asarray(positions).astype(np.uint64)
    walking = np.arange(len(found))
    while len(walking):
        left, right = np.divmod(found[walking], rights)
        for key in _round_keys(seed, epoch):
            # Adding a hash of one half to the other, in turns, can be undone: whatever the hash is, this is a permutation.
            mixed = (right ^ key) * np.uint64(0x9E3779B97F4A7C15)
            mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
            left, right = right, (left + (mixed >> np.uint64(32))) % lefts
            lefts, rights = rights, lefts
        found[walking] = left * rights + right
        walking = walking[found[walking] >= count]
    return found.astype(np.int64)


@lru_cache(maxsize=8)
def _round_keys(seed: int, epoch: int) -> np.ndarray:
    return np.random.SeedSequence([seed, epoch]).generate_state(ROUNDS, np.uint64)


class TripleBatches(Dataset):
    """Step number -> batch, gathered from token stores.

    With several processes, B is the size of the joined batch and each process gets its own B / processes triples of it.

    Args:
        triples: row numbers of query, positive and negative, (T, 3) integers, memory-mapped or not.
        queries, passages: the token stores that the row numbers refer to.
        batch_size: B.
        shape: cuts and chunks.
        seed: decides the order of the triples in every epoch.
        rank, processes: this process among how many.

    Raises:
        InputError: fewer than B triples, or B is not a multiple of the number of processes.
    """

    def __init__(
        self, triples: np.ndarray, queries: TokenStore, passages: TokenStore, *, batch_size: int, shape: Shape, seed: int,
        rank: int = 0, processes: int = 1,
    ) -> None:  # fmt: skip
        if len(triples) < batch_size:
            raise InputError(f"a batch of {batch_size} triples cannot be made: there are only {len(triples)}")
        if batch_size % processes:
            raise InputError(f"a batch of {batch_size} triples cannot be divided evenly over {processes} processes")
        # A plain view of a mapped file: indexing a memmap object costs several times as much.
        self.triples, self.queries, self.passages = np.asarray(triples), queries, passages
        self.batch_size, self.shape, self.seed = batch_size, shape, seed
        self.rank, self.processes = rank, processes

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass over the triples; the rest of an epoch is left out, for the losses depend on B."""
        return len(self.triples) // self.batch_size

    def rows(self, step: int) -> np.ndarray:
        """Row numbers of this process's triples of a step, (B / processes, 3)."""
        epoch, within = divmod(step, self.steps_per_epoch)
        share = self.batch_size // self.processes
        start = within * self.batch_size + self.rank * share
        return self.triples[shuffled(np.arange(start, start + share), len(self.triples), self.seed, epoch)]

    def __getitem__(self, step: int) -> Batch:
        rows = self.rows(step)
        queries, query_tokens = self._chunks(self.queries, rows[:, 0], self.shape.query_length)
        passages, passage_tokens = self._chunks(self.passages, rows[:, 1:].T.reshape(-1), self.shape.passage_length)
        return _batch(len(rows), queries, passages, query_tokens + passage_tokens)

    def _chunks(self, store: TokenStore, rows: np.ndarray, max_length: int) -> tuple[list[Chunk], int]:
        """The rows' texts in chunks, and how many real tokens they have."""
        lengths = np.minimum(store.lengths_of(rows), max_length)
        cut = self.shape.cut(lengths)
        gathered = store.gather_chunks([rows[places] for places in cut], max_length)
        return [_chunk(*arrays, places) for arrays, places in zip(gathered, cut, strict=True)], int(lengths.sum())

    def starting_at(self, step: int, stop: int, *, workers: int = 0, pinned: bool = False) -> Iterator[Batch]:
        """The batches of steps ``step`` to ``stop - 1``, through torch's DataLoader.

        Args:
            workers: processes that gather ahead; 0 gathers in this process.
            pinned: give the batches in page-locked memory, for asynchronous copies to a GPU.
        """
        return iter(
            DataLoader(
                self, batch_size=None, sampler=range(step, stop), num_workers=workers, pin_memory=pinned,
                worker_init_fn=_leave_sigterm_to_the_training,
            )  # fmt: skip
        )


def _leave_sigterm_to_the_training(worker: int) -> None:
    # A cluster's notice goes to all processes; one that gathers would end at once, and the training with it, without a checkpoint.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class TextBatches:
    """Batches from any iterable of (query, positive, negative) texts, in its order: training on data as it arrives.

    Nothing is stored, so a continued training goes on with whatever the iterable gives next. A last, smaller batch is left out.

    Args:
        triples: texts, read once.
        tokenizer: the encoder's.
        batch_size: B.
        shape: cuts and chunks.
    """

    def __init__(
        self, triples: Iterable[tuple[str, str, str]], tokenizer: PreTrainedTokenizerBase, *, batch_size: int, shape: Shape
    ) -> None:
        self.triples, self.tokenizer, self.batch_size, self.shape = iter(triples), tokenizer, batch_size, shape

    def starting_at(self, step: int, stop: int, *, workers: int = 0, pinned: bool = False) -> Iterator[Batch]:
        """The next ``stop - step`` batches, fewer if the texts end."""
        for _ in range(step, stop):
            texts = list(islice(self.triples, self.batch_size))
            if len(texts) < self.batch_size:
                return
            queries, positives, negatives = zip(*texts, strict=True)
            query_chunks, query_tokens = self._chunks(queries, self.shape.query_length)
            passage_chunks, passage_tokens = self._chunks(positives + negatives, self.shape.passage_length)
            batch = _batch(len(texts), query_chunks, passage_chunks, query_tokens + passage_tokens)
            yield batch.pin_memory() if pinned else batch

    def _chunks(self, texts: Sequence[str], max_length: int) -> tuple[list[Chunk], int]:
        encoded = self.tokenizer(list(texts), truncation=True, max_length=max_length)["input_ids"]
        lengths = np.array([len(ids) for ids in encoded])
        chunks = []
        for places in self.shape.cut(lengths):
            ids = np.full((len(places), lengths[places].max()), self.tokenizer.pad_token_id, np.int64)
            for row, place in enumerate(places):
                ids[row, : lengths[place]] = encoded[place]
            mask = (np.arange(ids.shape[1]) < lengths[places, None]).astype(np.int64)
            chunks.append(_chunk(ids, mask, places))
        return chunks, int(lengths.sum())


def _chunk(ids: np.ndarray, mask: np.ndarray, places: np.ndarray) -> Chunk:
    return Chunk(torch.from_numpy(ids), torch.from_numpy(mask), torch.from_numpy(places))


def _batch(size: int, queries: list[Chunk], passages: list[Chunk], real_tokens: int) -> Batch:
    return Batch(size, queries, passages, real_tokens, sum(c.input_ids.numel() for c in queries + passages))
