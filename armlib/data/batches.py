"""Batches of training examples, cut into length-sorted chunks, with a cursor that makes continuing exact.

The examples of a step are computed from (seed, epoch, step), never skipped to, so step 300,000 costs what step 0 costs. Batches are
random over the data, because the losses compare the triples of a batch with each other; only inside a batch are the passages
sorted by length and cut into chunks, which are encoded one by one and put back in order. The loss sees the exact batch.
"""

from __future__ import annotations

import copy
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from armlib.data.contexts import CONTEXT_SOURCES, context_rows
from armlib.data.flat_texts import FlatTexts, pieces
from armlib.data.samplers import Examples, parse_sampler
from armlib.data.tokens import TokenStore
from armlib.errors import InputError, unknown
from armlib.losses.base import TeacherScores


@dataclass
class Chunk:
    """Texts of a batch that are encoded together.

    Attributes:
        input_ids: (n, L) int64, padded at the right.
        attention_mask: (n, L) int64, 1 where a token stands.
        rows: (n,) int64, the row of each text among the batch's queries or passages.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    rows: torch.Tensor

    def to(self, device: torch.device) -> Chunk:
        """The chunk on a device; from pinned memory the copy does not wait."""
        return Chunk(*(t.to(device, non_blocking=True) for t in (self.input_ids, self.attention_mask, self.rows)))

    def pin_memory(self) -> Chunk:
        """The chunk in page-locked memory; called by torch's DataLoader."""
        return Chunk(self.input_ids.pin_memory(), self.attention_mask.pin_memory(), self.rows.pin_memory())


@dataclass
class Batch:
    """B queries, each with one positive and N negative passages, as chunks of texts, or as pieces without padding.

    Attributes:
        size: B, on this process.
        queries: chunks whose rows run over 0..B-1.
        passages: chunks whose rows run over 0..(1+N)B-1: the B positives, then the first negative of each query, and so on.
        real_tokens: tokens of all texts, special tokens included.
        rows: (joined B, 2 + N) int64, row numbers of query, positive and negatives in the token stores; of several processes, the
            rows of all of them, so that what depends on row numbers alone need not be gathered.
        teacher: a teacher's scores of the joined batch; None where there is no teacher.
        context: chunks of the C passages that are read beside every text, the same on all processes; none for a plain encoder.
        flat: in place of chunks, pieces whose rows run over 0..(2+N)B-1, the queries before the passages; else none.
    """

    size: int
    queries: list[Chunk]
    passages: list[Chunk]
    real_tokens: int
    rows: torch.Tensor
    teacher: TeacherScores | None = None
    context: list[Chunk] = field(default_factory=list)
    flat: list[FlatTexts] = field(default_factory=list)

    @property
    def padded_tokens(self) -> int:
        """Tokens that the encoder is given, padding included; context vectors behind texts are none."""
        parts: list[Chunk | FlatTexts] = [*self.queries, *self.passages, *self.context, *self.flat]
        return sum(part.input_ids.numel() for part in parts)

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        flat = [piece.to(device) for piece in self.flat]
        return self._with(lambda chunk: chunk.to(device), lambda tensor: tensor.to(device, non_blocking=True), flat)

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory; called by torch's DataLoader."""
        return self._with(Chunk.pin_memory, torch.Tensor.pin_memory, [piece.pin_memory() for piece in self.flat])

    def _with(
        self, chunks: Callable[[Chunk], Chunk], tensors: Callable[[torch.Tensor], torch.Tensor], flat: list[FlatTexts]
    ) -> Batch:
        parts = self.teacher._asdict() if self.teacher else {}
        moved = {name: tensors(part) for name, part in parts.items() if part is not None}
        teacher = self.teacher and self.teacher._replace(**moved)
        queries, passages, context = (list(map(chunks, each)) for each in (self.queries, self.passages, self.context))
        return Batch(self.size, queries, passages, self.real_tokens, tensors(self.rows), teacher, context, flat)


@dataclass(frozen=True)
class Shape:
    """How texts are cut and chunked.

    Attributes:
        query_length, passage_length: maximum lengths in tokens, special tokens included (30 and 200 in paper section 4).
        chunk_size: texts encoded together; without padding, all of a batch are.
        chunk_tokens: where set, the most tokens encoded together, padding included; the trainer then caches gradients, so that
            memory is bounded by a chunk instead of the batch.
        context: how many passages are read as a context, whose vectors stand behind every text and count as padded tokens here;
            0 for a plain encoder.
        context_from: where a step's context is drawn from, one of `CONTEXT_SOURCES`: the passages of its ``batch``, as Morris and
            Rush do, or those of the whole ``collection``.

    Raises:
        InputError: there is no such source.
    """

    query_length: int = 30
    passage_length: int = 200
    chunk_size: int = 16
    chunk_tokens: int | None = None
    context: int = 0
    context_from: str = "batch"

    def __post_init__(self) -> None:
        if self.context_from not in CONTEXT_SOURCES:
            raise unknown("context_from", self.context_from, CONTEXT_SOURCES)

    def cut(self, lengths: np.ndarray) -> list[np.ndarray]:
        """Rows of texts of these lengths, (n,), sorted by length and cut into chunks."""
        order = np.argsort(lengths, kind="stable")
        if self.chunk_tokens is None:
            return [order[i : i + self.chunk_size] for i in range(0, len(order), self.chunk_size)]
        chunks, start, ascending = [], 0, lengths[order].tolist()
        for end in range(1, len(order) + 1):
            # The next text is the longest so far: all of the chunk would be padded to it.
            if end == len(order) or (end + 1 - start) * (ascending[end] + self.context) > self.chunk_tokens:
                chunks.append(order[start:end])
                start = end
        return chunks


class TripleBatches(Dataset[Batch]):
    """Step number -> batch, gathered from token stores.

    With several processes, B is the size of the joined batch and each process gets its own B / processes examples of it.

    Args:
        triples: row numbers of query, positive and N negatives, (T, 2 + N) integers, memory-mapped or not.
        queries, passages: the token stores that the row numbers refer to.
        batch_size: B.
        shape: cuts and chunks.
        seed: of the sampler.
        sampler: a name as `armlib.data.samplers.parse_sampler` takes it.
        known: what the sampler may ask about the triples; None: which query each one has, and no more.
        teacher: called with rows of ``triples``, (n, 2 + N), gives a teacher's scores of them.
        rank, processes: this process among how many.
        flat: make batches of pieces without padding; for encoders that read no context.

    Raises:
        InputError: fewer than B triples, fewer passages to draw a context from than it has, or B is not a multiple of the number of
            processes.
    """

    def __init__(
        self,
        triples: np.ndarray,
        queries: TokenStore,
        passages: TokenStore,
        *,
        batch_size: int,
        shape: Shape,
        seed: int,
        sampler: str = "random",
        known: Examples | None = None,
        teacher: Callable[[np.ndarray], TeacherScores] | None = None,
        rank: int = 0,
        processes: int = 1,
        flat: bool = False,
    ) -> None:
        if batch_size % processes:
            raise InputError(f"a batch of {batch_size} triples cannot be divided evenly over {processes} processes")
        # A plain view of a mapped file: indexing a memmap object costs several times as much.
        self.triples, self.queries, self.passages = np.asarray(triples), queries, passages
        self.teacher = teacher
        self.sampler = parse_sampler(sampler)(known or Examples(self.triples[:, 0]), batch_size, seed)
        self.shape, self.seed, self.rank, self.processes, self.flat = shape, seed, rank, processes, flat
        self.context_rows(0)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in one pass over the triples."""
        return self.sampler.steps_per_epoch

    def positions(self, step: int) -> np.ndarray:
        """Numbers of the triples of a step, of all processes, (B,)."""
        return self.sampler.positions(*divmod(step, self.steps_per_epoch))

    def rows(self, step: int) -> np.ndarray:
        """Row numbers of this process's triples of a step, (B / processes, 2 + N)."""
        return self._share(self.triples[self.positions(step)])

    def context_rows(self, step: int) -> np.ndarray:
        """Row numbers of the passages that are the context of a step, (C,): others in every step, by seed and step alone.

        One context for all steps would be learned by heart, as constants that have nothing to do with passages, and the context of
        another collection would mean nothing to the encoder. A context drawn from one collection says little more: nearly the
        same in every step. That of a batch says what the batch is about, where the sampler makes batches of neighbours; a passage
        that two triples of it share can be drawn twice.
        """
        size = self.shape.context
        if not size:
            return np.empty(0, np.int64)
        if self.shape.context_from == "collection":
            return context_rows(len(self.passages), size, self.seed, step)
        passages = self.triples[self.positions(step), 1:].reshape(-1)  # of all processes, ((1 + N) B,)
        return passages[context_rows(len(passages), size, self.seed, step)].astype(np.int64)

    def _share(self, rows: np.ndarray) -> np.ndarray:
        share = self.sampler.batch_size // self.processes
        return rows[self.rank * share : (self.rank + 1) * share]

    def __getitem__(self, step: int) -> Batch:
        joined = self.triples[self.positions(step)]  # (B, 2 + N)
        rows = self._share(joined)
        teacher = self.teacher(joined) if self.teacher else None
        numbers = torch.from_numpy(joined.astype(np.int64))
        if self.flat:
            flat = self._pieces(rows)
            return Batch(len(rows), [], [], sum(int(piece.lengths.sum()) for piece in flat), numbers, teacher, flat=flat)
        queries, query_tokens = self._chunks(self.queries, rows[:, 0], self.shape.query_length)
        # (B, 1 + N) turned to ((1 + N) B,): all positives, then all first negatives, and so on
        passages, passage_tokens = self._chunks(self.passages, rows[:, 1:].T.reshape(-1), self.shape.passage_length)
        context, context_tokens = self._chunks(self.passages, self.context_rows(step), self.shape.passage_length)
        tokens = query_tokens + passage_tokens + context_tokens
        return Batch(len(rows), queries, passages, tokens, numbers, teacher, context)

    def _pieces(self, rows: np.ndarray) -> list[FlatTexts]:
        """Queries and passages of rows, (n, 2 + N), without padding."""
        queries, query_lengths = self.queries.gather_flat(rows[:, 0], self.shape.query_length)
        passages, passage_lengths = self.passages.gather_flat(rows[:, 1:].T.reshape(-1), self.shape.passage_length)
        lengths = np.concatenate([query_lengths, passage_lengths])
        return pieces(np.concatenate([queries, passages]), lengths, self.shape.chunk_tokens)

    def _chunks(self, store: TokenStore, rows: np.ndarray, max_length: int) -> tuple[list[Chunk], int]:
        """The rows' texts in chunks, and how many real tokens they have; no chunks of no rows."""
        if not len(rows):
            return [], 0
        lengths = np.minimum(store.lengths_of(rows), max_length)
        cut = self.shape.cut(lengths)
        gathered = store.gather_chunks([rows[part] for part in cut], max_length)
        chunks = [Chunk(*map(torch.from_numpy, (*arrays, part))) for arrays, part in zip(gathered, cut, strict=True)]
        return chunks, int(lengths.sum())

    def starting_at(
        self, step: int, stop: int, *, workers: int = 0, pinned: bool = False, flat: bool | None = None
    ) -> Iterator[Batch]:
        """The batches of steps ``step`` to ``stop - 1``, through torch's DataLoader.

        Args:
            step: the first.
            stop: one beyond the last.
            workers: processes that gather ahead; 0 gathers in this process.
            pinned: give the batches in page-locked memory, for asynchronous copies to a GPU.
            flat: without padding or not; None: as these batches are.
        """
        source = copy.copy(self)
        source.flat = self.flat if flat is None else flat
        loader = DataLoader(
            source,
            batch_size=None,
            sampler=range(step, stop),
            num_workers=workers,
            pin_memory=pinned,
            worker_init_fn=_leave_sigterm_to_the_trainer,
        )
        return iter(loader)


def _leave_sigterm_to_the_trainer(worker: int) -> None:
    # A cluster's notice goes to all processes; one that gathers would end at once, and training with it, without a checkpoint.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
