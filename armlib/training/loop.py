"""The training loop: batches of triples in, a fine-tuned encoder and the trace of its training out.

Paper section 4: Adam, weight decay 1e-6, a learning rate that decays by 0.99999 a step, mixed precision and (where asked for) 8-bit
optimiser states on a GPU; section 5.4: early stopping after 16 validations without a better nDCG@10.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from armlib.data.batches import Batch
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.cudnn import without_cudnn
from armlib.errors import InputError
from armlib.losses import Loss
from armlib.progress import bar
from armlib.training.checkpoints import load_checkpoint, save_checkpoint
from armlib.training.clock import moment
from armlib.training.gradients import batch_gradients
from armlib.training.interrupts import Stopped, stop_request
from armlib.training.optimizer import make_optimizer
from armlib.training.processes import default_accelerator, sum_gradients
from armlib.training.settings import MEASURE, Settings
from armlib.training.trace import Trace
from armlib.training.tracking import Tracked

STEPS_PER_LOOK = 50  # at the losses of the steps that are done, whether they are finite
Validate = Callable[[BiEncoder], dict[str, float]]


@runtime_checkable
class Batches(Protocol):
    """Whatever gives the batches of a range of steps; how a batch lies, padded or not, decides how it is encoded."""

    def starting_at(self, step: int, stop: int, *, workers: int = 0, pinned: bool = False, flat: bool = False) -> Iterator[Batch]:
        """The batches of steps ``step`` to ``stop - 1``; ``flat`` says that the encoder is best given them without padding."""


@dataclass
class TrainingRun:
    """A finished training run.

    Attributes:
        trace: one row a step, see `armlib.training.trace.Trace`.
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
    encoder: BiEncoder,
    loss: Loss,
    batches: Batches,
    settings: Settings,
    *,
    accelerator: Accelerator | None = None,
    validate: Validate | None = None,
    checkpoints: Path | None = None,
    name: str = "",
) -> TrainingRun:
    """Fine-tune the encoder in place.

    With several processes (``torchrun`` or ``accelerate launch``) every process calls this with its own share of the batches;
    the loss sees the joined batch.

    Args:
        encoder: the bi-encoder; afterwards it has the weights that ``settings.selection`` names.
        loss: called with the embeddings of each batch.
        batches: the batches of each step.
        settings: how to train.
        accelerator: device and precision; made by default: bf16 on CUDA, float32 elsewhere. Its trackers, where some have been
            started, are given losses, learning rates and validations.
        validate: called with the encoder, returns measures among which is nDCG@10.
        checkpoints: a folder for them, the same for all processes; a training run that was stopped there goes on, on a CPU to
            the same bits.
        name: of the training run, such as the key of its experiment; it is written into checkpoints.

    Raises:
        NotFinite: the loss is not finite any more.
        InputError: the batches end before the first step, the checkpoints are of another training run (of another name, loss,
            optimiser or shape of the encoder), or the disk is full.
        Stopped: SIGTERM came, to this process or to another one of the training run.
    """
    accelerator = accelerator or default_accelerator()
    device = accelerator.device
    encoder.to(device).train()
    if settings.compiled and not encoder.packs:
        raise InputError(
            f"{type(encoder.backbone).__name__} is given padded texts on {device.type}, for which no layer is compiled; expected "
            "compiled to be false"
        )
    encoder.compiled = settings.compiled
    parameters = [p for p in encoder.parameters() if p.requires_grad]
    optimizer, optimizer_name = make_optimizer(encoder, settings.optimizer, settings.learning_rate, settings.weight_decay)
    trace, validations, step = Trace(), [], 0
    best: dict[str, Any] = {"value": float("-inf"), "step": 0, "weights": None}

    shapes = {parameter: list(value.shape) for parameter, value in encoder.state_dict().items()}
    of = {"name": name, "loss": str(loss), "optimizer": type(optimizer).__name__, "shapes": shapes}
    state = load_checkpoint(checkpoints, accelerator, of) if checkpoints else None
    if state:
        encoder.load_state_dict(state["encoder"])
        optimizer.load_state_dict(state["optimizer"])
        trace.load(state["trace"])
        validations, best, step = state["validations"], state["best"], state["step"]
    tracked = Tracked(accelerator, settings, trace)
    saved_at = time.monotonic()

    def checkpoint() -> None:
        nonlocal saved_at
        state: dict[str, Any] = {"encoder": encoder.state_dict(), "optimizer": optimizer.state_dict(), "trace": trace.state()}
        tracked.steps()
        state |= {"validations": validations, "best": best, "step": step}
        if checkpoints and accelerator.is_main_process:
            save_checkpoint(checkpoints, step, state, of)
        saved_at = time.monotonic()

    def stale() -> bool:
        """Whether patience has run out."""
        return (step - best["step"]) // settings.validate_every >= settings.patience

    with without_cudnn(), stop_request(accelerator) as stopping, bar(settings.steps, "training", "steps", initial=step) as shown:
        options = {"workers": settings.workers, "pinned": device.type == "cuda", "flat": encoder.packs}
        stream = batches.starting_at(step, settings.steps, **options)
        while step < settings.steps and not (validate and stale()):
            began, asked = moment(device), time.perf_counter()
            batch = next(stream, None)
            if batch is None:
                if step == 0:
                    raise InputError("the batches ended before the first step: too few triples for one batch")
                break
            waited = time.perf_counter() - asked
            batch = batch.to(device)
            rate = settings.rate(step)
            for group in optimizer.param_groups:
                group["lr"] = rate
            measured = batch_gradients(encoder, loss, batch, accelerator, settings, step)
            sum_gradients(parameters)
            if settings.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(parameters, settings.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            trace.add(
                measured,
                began,
                waiting_seconds=waited,
                triples=step * batch.size * accelerator.num_processes,
                real_tokens=batch.real_tokens,
                padded_tokens=batch.padded_tokens,
            )
            shown.update()
            if step % STEPS_PER_LOOK == 0:
                trace.collect()
                tracked.steps()
            if validate and settings.validates(step, best["step"]):
                trace.flush()
                tracked.steps()
                row = _validated(encoder, validate, accelerator, step)
                loss_since, pace = trace.since(validations[-1]["step"] if validations else 0)
                tracked.validation(row)
                validations.append(row)
                shown.tell({"loss": f"{loss_since:.4g}", MEASURE: f"{row[MEASURE]:.4f}", "triples/s": f"{pace:,.0f}"})
                if row[MEASURE] > best["value"]:
                    kept = {name: value.detach().cpu().clone() for name, value in encoder.state_dict().items()}
                    best = {"value": row[MEASURE], "step": step, "weights": kept}
            if stopping.agreed(step):
                checkpoint()
                accelerator.wait_for_everyone()  # a launcher ends all processes when one has ended: let the writing one finish
                raise Stopped(f"stopped by SIGTERM after step {step}; the same call goes on from there")
            if checkpoints and time.monotonic() - saved_at >= settings.checkpoint_seconds:
                checkpoint()

    trace.flush()
    tracked.steps()
    stopped_early = bool(validate) and step < settings.steps and stale()
    kept_step = step
    if settings.selection == "best" and best["weights"] is not None:
        encoder.load_state_dict(best["weights"])
        kept_step = best["step"]
    validated = pd.DataFrame(validations, columns=None if validations else ["step", MEASURE, "seconds"])
    return TrainingRun(trace.frame(), validated, kept_step, optimizer_name, stopped_early)


def _validated(encoder: BiEncoder, validate: Validate, accelerator: Accelerator, step: int) -> dict[str, Any]:
    """The main process validates; all learn the result, so that all stop together."""
    started = time.perf_counter()
    row: list[Any] = [None]
    if accelerator.is_main_process:
        measures = validate(encoder)
        row = [{"step": step, **measures, "seconds": time.perf_counter() - started}]
    if accelerator.num_processes > 1:
        broadcast_object_list(row)
    encoder.train()
    return row[0]
