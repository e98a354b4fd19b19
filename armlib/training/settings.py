"""How to train, as plain values."""

from __future__ import annotations

import math
from dataclasses import dataclass

from armlib.errors import InputError, unknown

MEASURE = "nDCG@10"  # decides early stopping and the best step, as in the paper
OPTIMIZERS = ("auto", "adam", "adam8bit")
SELECTIONS = ("best", "last")
CONTEXT_STAGES = ("trained", "frozen", "cached")
EXPONENTIAL, LINEAR = SCHEDULES = ("exponential", "linear")
DECAY = 0.99999  # of the exponential schedule, as in paper section 4


@dataclass(frozen=True)
class Settings:
    """How to train, with the paper's values where it gives them.

    Attributes:
        steps: optimiser steps at most.
        learning_rate: at the first step, or where it warms up, at the first step after that.
        warmup_steps: steps in which the learning rate rises from 0, see `rate`.
        schedule: how it falls then: ``"exponential"``, by ``decay``, or ``"linear"``, to 0 behind the last step.
        decay: of the exponential schedule: the learning rate is multiplied by this after every step.
        weight_decay: of matrices; biases and normalisation weights have none. See `armlib.training.optimizer.make_optimizer`.
        clip_norm: largest norm of the gradient; None leaves it as it is.
        optimizer: ``"adam"`` (torch's fused Adam), ``"adam8bit"`` (bitsandbytes, CUDA; its weight decay is decoupled) or
            ``"auto"``, which is ``"adam"``.
        validate_every: steps between two validations; the last step is always validated.
        patience: steps without a better nDCG@10 after which training stops, in units of ``validate_every``.
        validation_stride: far from that, only every so many validations are made, see `validates`; 1 makes all.
        selection: ``"best"`` keeps the weights of the best validation, ``"last"`` those of the last step.
        cached: gradient caching: memory for one chunk instead of the whole batch, for twice the forward passes.
        context_stage: the first stage of an encoder that reads a context: ``"trained"``, ``"frozen"``, or ``"cached"``: trained by
            gradient caching, whatever the other stage does.
        seed: decides dropout.
        checkpoint_seconds: time between two checkpoints.
        workers: processes that gather batches ahead.
        compiled: let torch's compiler write what a layer computes between two attentions, of encoders that are given texts without
            padding, see `armlib.encoder.packed`.

    Raises:
        InputError: a value is out of its range.
    """

    steps: int
    learning_rate: float
    decay: float = DECAY
    weight_decay: float = 1e-6
    clip_norm: float | None = None
    optimizer: str = "auto"
    validate_every: int = 500
    patience: int = 16
    validation_stride: int = 1
    selection: str = "best"
    cached: bool = False
    context_stage: str = "trained"
    seed: int = 0
    checkpoint_seconds: float = 120.0
    workers: int = 0
    compiled: bool = False
    warmup_steps: int = 0
    schedule: str = EXPONENTIAL

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise unknown("schedule", self.schedule, SCHEDULES)
        if self.schedule == LINEAR and self.decay != DECAY:
            raise InputError(
                f"decay is of the exponential schedule; expected its default {DECAY} with a linear one, not {self.decay}"
            )
        if self.warmup_steps < 0 or 0 < self.steps <= self.warmup_steps:
            raise InputError(f"training needs warmup_steps from 0 to less than its {self.steps} steps, not {self.warmup_steps}")
        if self.selection not in SELECTIONS:
            raise unknown("selection", self.selection, SELECTIONS)
        if self.context_stage not in CONTEXT_STAGES:
            raise unknown("context_stage", self.context_stage, CONTEXT_STAGES)
        if self.steps < 0 or min(self.validate_every, self.patience, self.validation_stride) < 1:
            raise InputError("training needs steps >= 0, validate_every >= 1, patience >= 1 and validation_stride >= 1")
        if self.optimizer not in OPTIMIZERS:
            raise unknown("optimizer", self.optimizer, OPTIMIZERS)
        for name, most in {"learning_rate": math.inf, "weight_decay": math.inf, "clip_norm": math.inf, "decay": 1.0}.items():
            value = getattr(self, name)
            if value is not None and not (0 <= value <= most and math.isfinite(value)):
                raise InputError(f"training needs {name} as a finite number from 0{' to 1' if most == 1 else ''}, not {value}")

    def validates(self, step: int, best: int) -> bool:
        """Whether a validation follows a step, counted from 1, if the best one so far followed step ``best`` (0 before the first).

        Those are left out that cannot end training soon: where less than half of the patience has passed since the best one, all
        but every ``validation_stride``-th. What is validated is measured as ever, but the best step is known less exactly.
        """
        if step == self.steps:
            return True
        place, since = step // self.validate_every, (step - best) // self.validate_every
        return step % self.validate_every == 0 and (2 * since > self.patience or place % self.validation_stride == 0)

    def rate(self, step: int) -> float:
        """The learning rate of a step; the first step is 0, as in transformers' `get_linear_schedule_with_warmup`.

        While it warms up it is ``learning_rate * step / warmup_steps``; n steps after that, ``learning_rate * decay**n``, or on the
        linear schedule ``learning_rate * (1 - n / (steps - warmup_steps))``.
        """
        if step < self.warmup_steps:
            return self.learning_rate * (step / self.warmup_steps)
        after = step - self.warmup_steps
        if self.schedule == LINEAR:
            left = self.steps - self.warmup_steps
            return self.learning_rate * ((left - after) / left)
        return self.learning_rate * self.decay**after
