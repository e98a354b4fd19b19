"""The training loop: batches of triples in, a fine-tuned encoder and the trace of its training out.

Paper section 4: Adam, weight decay 1e-6, a learning rate that decays by 0.99999 a step, mixed precision and 8-bit optimiser states
on a GPU; section 5.4: early stopping after 16 validations without a better nDCG@10.
"""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor

from armlib.batches import Batch, Chunk
from armlib.checkpoints import load_checkpoint, save_checkpoint
from armlib.distributed import gather_with_local_gradient, sum_gradients
from armlib.encoder import BiEncoder
from armlib.errors import InputError, unknown
from armlib.interrupts import Stopped, stop_request
from armlib.losses import MarginLoss
from armlib.optimizers import make_optimizer
from armlib.progress import bar
from armlib.trace import Trace

MEASURE = "nDCG@10"  # decides early stopping and the best step, as in the paper
STEPS_PER_FLUSH = 50

Validate = Callable[[BiEncoder], dict[str, float]]


class Batches(Protocol):
    """Whatever gives the batches of a range of steps."""

    def starting_at(self, step: int, stop: int, *, workers: int = 0, pinned: bool = False) -> Iterator[Batch]: ...


@dataclass(frozen=True)
class Settings:
    """How to train, with the paper's values where it gives them.

    Attributes:
        steps: optimiser steps at most.
        learning_rate: at the first step.
        decay: the learning rate is multiplied by this after every step.
        weight_decay: of matrices; biases and normalisation weights have none.
        clip_norm: largest norm of the gradient; None leaves it as it is.
        optimizer: ``"adam"``, ``"adam8bit"`` (bitsandbytes, CUDA) or ``"auto"``: 8-bit on CUDA where bitsandbytes is installed.
        validate_every: steps between two validations; the last step is always validated.
        patience: validations without a better nDCG@10 after which training stops.
        selection: ``"best"`` keeps the weights of the best validation, ``"last"`` those of the last step.
        cached: gradient caching: memory for one chunk instead of the whole batch, for twice the forward passes.
        seed: decides dropout.
        checkpoint_seconds: time between two checkpoints.
        workers: processes that gather batches ahead.
    """

    steps: int
    learning_rate: float
    decay: float = 0.99999
    weight_decay: float = 1e-6
    clip_norm: float | None = None
    optimizer: str = "auto"
    validate_every: int = 500
    patience: int = 16
    selection: str = "best"
    cached: bool = False
    seed: int = 0
    checkpoint_seconds: float = 120.0
    workers: int = 0

    def __post_init__(self) -> None:
        if self.selection not in ("best", "last"):
            raise unknown("selection", self.selection, ("best", "last"))
        if self.steps < 0 or self.validate_every < 1 or self.patience < 1:
            raise InputError("a training needs steps >= 0, validate_every >= 1 and patience >= 1")


@dataclass
class Training:
    """A finished training.

    Attributes:
        trace: one row a step, see `armlib.trace.Trace`.
        validations: one row a validation: step, every measure, and the seconds it took.
        kept_step: the step whose weights the encoder has now.
        optimizer: the optimiser that ran.
        stopped_early: whether patience ran out before the last step.
    """

    trace: pd.DataFrame
    validations: pd.DataFrame
    kept_step: int
    optimizer: str
    stopped_early: bool


def train(
    encoder: BiEncoder, loss: MarginLoss, batches: Batches, settings: Settings, *, accelerator: Accelerator | None = None,
    validate: Validate | None = None, checkpoints: Path | None = None,
) -> Training:  # fmt: skip
    """Fine-tune the encoder in place.

    With several processes (``torchrun`` or ``accelerate launch``) every process calls this with its own share of the batches;
    the loss sees the joined batch.

    Args:
        encoder: the bi-encoder; afterwards it has the weights that ``settings.selection`` names.
        loss: called with (B, D) embeddings of queries, positives and negatives.
        batches: the batches of each step.
        settings: how to train.
        accelerator: device and precision; made by default: bf16 on CUDA, float32 elsewhere.
        validate: called with the encoder, returns measures among which is nDCG@10.
        checkpoints: a folder for them, the same for all processes; a training that was stopped there goes on, on a CPU to the
            same bits.

    Raises:
        InputError: the loss is not finite any more, the batches end before the first step, or the disk is full.
        Stopped: SIGTERM came, to this process or to another one of the training.
    """
    accelerator = accelerator or default_accelerator()
    device = accelerator.device
    encoder.to(device).train()
    parameters = [p for p in encoder.parameters() if p.requires_grad]
    optimizer, optimizer_name = make_optimizer(encoder, settings.optimizer, settings.learning_rate, settings.weight_decay)
    trace, validations, step = Trace(), [], 0
    best = {"value": float("-inf"), "step": 0, "weights": None}

    state = load_checkpoint(checkpoints) if checkpoints else None
    if state:
        encoder.load_state_dict(state["encoder"])
        optimizer.load_state_dict(state["optimizer"])
        trace.load(state["trace"])
        validations, best, step = state["validations"], state["best"], state["step"]
    saved_at = time.monotonic()

    def checkpoint() -> None:
        nonlocal saved_at
        trace_state = trace.state()
        if checkpoints and accelerator.is_main_process:
            save_checkpoint(checkpoints, step, {
                "encoder": encoder.state_dict(), "optimizer": optimizer.state_dict(), "trace": trace_state,
                "validations": validations, "best": best, "step": step,
            })  # fmt: skip
        saved_at = time.monotonic()

    def stale() -> bool:
        """Whether patience has run out."""
        return len([row for row in validations if row["step"] > best["step"]]) >= settings.patience

    with stop_request(device) as stopping, bar(settings.steps, "training", "steps", initial=step) as shown:
        stream = batches.starting_at(step, settings.steps, workers=settings.workers, pinned=device.type == "cuda")
        while step < settings.steps and not (validate and stale()):
            started = time.perf_counter()
            batch = next(stream, None)
            if batch is None:
                if step == 0:
                    raise InputError("the batches ended before the first step: too few triples for one batch")
                break
            waited = time.perf_counter() - started
            batch = batch.to(device)
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * settings.decay**step
            measured = batch_gradients(encoder, loss, batch, accelerator, settings, step)
            sum_gradients(parameters)
            if settings.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(parameters, settings.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            trace.add(
                measured, seconds=time.perf_counter() - started, waiting_seconds=waited,
                triples=step * batch.size * accelerator.num_processes, real_tokens=batch.real_tokens,
                padded_tokens=batch.padded_tokens,
            )  # fmt: skip
            shown.update()
            if step % STEPS_PER_FLUSH == 0:
                trace.flush()
            if validate and (step % settings.validate_every == 0 or step == settings.steps):
                trace.flush()
                row = _validated(encoder, validate, accelerator, step)
                validations.append(row)
                shown.set_postfix({MEASURE: f"{row[MEASURE]:.3f}"})
                if row[MEASURE] > best["value"]:
                    kept = {name: value.detach().cpu().clone() for name, value in encoder.state_dict().items()}
                    best = {"value": row[MEASURE], "step": step, "weights": kept}
            if stopping.agreed(step):
                checkpoint()
                accelerator.wait_for_everyone()  # a launcher ends all processes when one has ended: let the writing one finish
                raise Stopped(f"stopped by SIGTERM after step {step}; the same call goes on from there")
            if checkpoints and time.monotonic() - saved_at >= settings.checkpoint_seconds:
                checkpoint()

    stopped_early = bool(validate) and step < settings.steps and stale()
    kept_step = step
    if settings.selection == "best" and best["weights"] is not None:
        encoder.load_state_dict(best["weights"])
        kept_step = best["step"]
    validated = pd.DataFrame(validations, columns=None if validations else ["step", MEASURE, "seconds"])
    return Training(trace.frame(), validated, kept_step, optimizer_name, stopped_early)


def default_accelerator(device: str = "auto", precision: str = "auto") -> Accelerator:
    """Accelerate's device, precision and processes.

    Args:
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``.
        precision: ``"no"`` (float32), ``"bf16"`` or ``"auto"``: bf16 on CUDA, float32 elsewhere.

    Raises:
        InputError: CUDA was asked for and is not there, or this process has used another device or precision already.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise unknown("device", device, ("auto", "cpu", "cuda"))
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda' was asked for, but torch finds no CUDA GPU here; use 'cpu' or 'auto'")
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if precision == "auto":
        precision = "bf16" if on_gpu else "no"
    if precision == "bf16" and not on_gpu:
        warnings.warn("bf16 on a CPU is slower than float32 (three times, where it was measured)", stacklevel=2)
    try:
        return Accelerator(mixed_precision=precision, cpu=not on_gpu)
    except ValueError as error:
        said = "Accelerate keeps the first device and precision of a process; start another one to change them"
        raise InputError(said) from error


def batch_gradients(
    encoder: BiEncoder, loss: MarginLoss, batch: Batch, accelerator: Accelerator, settings: Settings, step: int
) -> Tensor:
    """Give the parameters the gradient of the joined batch's loss; return what the trace measures."""
    chunks = [*batch.queries, *batch.passages]
    sections = (batch.queries, batch.passages)
    first = (0, len(batch.queries))  # number of a section's first chunk

    def encode(number: int, words: Tensor | None = None) -> Tensor:
        _seed_dropout((settings.seed, step, accelerator.process_index, number), accelerator.device)
        with accelerator.autocast():
            # A copy: the first token's vector may be a view that keeps those of all tokens.
            return encoder(chunks[number].input_ids, chunks[number].attention_mask, words).float().clone()

    with torch.set_grad_enabled(not settings.cached):
        words = [None] * len(chunks) if settings.cached else _looked_up(encoder, chunks)
        encoded = [encode(number, words[number]) for number in range(len(chunks))]
        queries, passages = (
            torch.cat(encoded[start : start + len(section)])[torch.argsort(torch.cat([chunk.places for chunk in section]))]
            for start, section in zip(first, sections, strict=True)
        )
    if settings.cached:
        queries, passages = queries.requires_grad_(), passages.requires_grad_()
    joined = [gather_with_local_gradient(part) for part in (queries, passages[: batch.size], passages[batch.size :])]
    value, targets = loss(*joined, return_targets=True)
    value.backward()
    if settings.cached:
        # Second pass: each chunk again, with the same dropout, pulled by the gradient of its embeddings.
        for start, section, embeddings in zip(first, sections, (queries, passages), strict=True):
            for number, chunk in enumerate(section, start):
                encode(number).backward(embeddings.grad[chunk.places])
    return Trace.measure(value, targets, joined[1], joined[2])


def _looked_up(encoder: BiEncoder, chunks: list[Chunk]) -> list[Tensor]:
    """The word embeddings of chunks by one look-up, since the gradient of each look-up is as large as the vocabulary."""
    flat = encoder.word_embeddings(torch.cat([chunk.input_ids.flatten() for chunk in chunks]))
    parts = flat.split([chunk.input_ids.numel() for chunk in chunks])
    return [part.view(*chunk.input_ids.shape, -1) for part, chunk in zip(parts, chunks, strict=True)]


def _seed_dropout(place: tuple[int, ...], device: torch.device) -> None:
    """Make dropout depend on the seed and the chunk's place alone: it can be replayed, and needs no place in a checkpoint."""
    # The hash is for torch's generator on a CPU, which looks at 32 bits of a seed only.
    seed = int.from_bytes(hashlib.blake2b(repr(place).encode(), digest_size=8).digest()) >> 1
    # Not torch.manual_seed: it also seeds devices that are not there, at twenty times the price.
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def _validated(encoder: BiEncoder, validate: Validate, accelerator: Accelerator, step: int) -> dict[str, float]:
    """The main process validates; all learn the result, so that all stop together."""
    started = time.perf_counter()
    row = [None]
    if accelerator.is_main_process:
        measures = validate(encoder)
        row = [{"step": step, **measures, "seconds": time.perf_counter() - started}]
    if accelerator.num_processes > 1:
        broadcast_object_list(row)
    encoder.train()
    return row[0]
