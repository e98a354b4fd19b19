"""What a training run leaves behind: one row a step."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from armlib.errors import InputError
from armlib.losses import EmbeddedBatch, LossValue, similarities
from armlib.training.clock import Moment, moment, passed, seconds_between, wait_for

TARGETS = ("target_mean", "target_minimum", "target_maximum")  # of the targets that the loss used
SIMILARITIES = ("similarity_mean", "similarity_minimum", "similarity_maximum")  # of D+ x D-, as in Figure 6 of the paper
COUNTED = ("seconds", "waiting_seconds", "triples", "real_tokens", "padded_tokens")


class NotFinite(InputError):
    """Training has run away: its loss is not a finite number any more."""


class Trace:
    """Rows of a training run, one a step: what was measured on the batch, and what the step cost.

    Measured values come off the device by copies that nobody waits for, and are looked at once they are there: recording makes
    neither the program wait for the device nor the device for the program.

    Columns: ``step`` (from 1); ``loss``; where the loss has targets, their mean, minimum and maximum; those of the similarities
    D+ x D- of positive to negative passages; ``seconds`` of wall-clock time, on CUDA by the device's clock; ``waiting_seconds``
    that the program waited for data, while a CUDA device may have computed; ``triples`` seen in all; ``real_tokens`` and
    ``padded_tokens`` of this step.
    """

    def __init__(self) -> None:
        self._names: list[str] = ["loss", *TARGETS, *SIMILARITIES]
        self._measured = np.empty((0, len(self._names)))
        self._counted = np.empty((0, len(COUNTED)))
        self._waiting: list[tuple[Tensor, Moment, Moment, tuple[float, ...]]] = []  # values, began, ended, counted

    @staticmethod
    @torch.no_grad()
    def measure(loss: LossValue, batch: EmbeddedBatch) -> dict[str, Tensor]:
        """The measured values of a step by column, scalars on the device."""
        measured = {"loss": loss.value}
        if loss.targets is not None:
            measured |= dict(zip(TARGETS, _summary(loss.targets), strict=True))
        negatives = batch.negatives.flatten(0, 1)  # (B, N, D) to (B N, D)
        return measured | dict(zip(SIMILARITIES, _summary(similarities(batch.positives, negatives)), strict=True))

    def add(self, measured: Mapping[str, Tensor], began: Moment, **counted: float) -> None:
        """Record a step that ends now, on CUDA with what the device was given for it.

        Args:
            measured: what `measure` gave.
            began: when the step began.
            counted: values of the other columns in `COUNTED`.
        """
        if not len(self._measured) and not self._waiting:
            self._names = list(measured)
            self._measured = np.empty((0, len(self._names)))
        values = torch.stack([measured[name].detach().float() for name in self._names])  # one copy off the device, not seven
        # From CUDA this goes into pinned memory while the program goes on; it is there once the moment after it has passed.
        copied = values.to("cpu", non_blocking=True)
        self._waiting.append((copied, began, moment(values.device), tuple(counted[name] for name in COUNTED[1:])))

    def collect(self) -> None:
        """Take in the steps that are done, without waiting for the others.

        Raises:
            NotFinite: the loss is not a finite number any more.
        """
        self._take(sum(1 for _ in itertools.takewhile(lambda row: passed(row[2]), self._waiting)))

    def flush(self) -> None:
        """Wait until all steps are done, and take them in.

        Raises:
            NotFinite: the loss is not a finite number any more.
        """
        if self._waiting:
            wait_for(self._waiting[-1][2])
        self._take(len(self._waiting))

    def _take(self, count: int) -> None:
        """Take in the first steps of those that are waiting, which are done."""
        if not count:
            return
        rows, self._waiting = self._waiting[:count], self._waiting[count:]
        copied, counted = torch.stack([row[0] for row in rows]), [(seconds_between(row[1], row[2]), *row[3]) for row in rows]
        self._measured = np.concatenate([self._measured, copied.double().numpy()])
        self._counted = np.concatenate([self._counted, np.array(counted)])
        bad = np.flatnonzero(~np.isfinite(self._measured[:, 0]))
        if len(bad):
            raise NotFinite(f"the loss is not a finite number at step {bad[0] + 1}; a lower learning rate or a clip_norm helps")

    def since(self, step: int) -> tuple[float, float]:
        """Of the steps after ``step`` that are taken in: the mean loss, and the triples a second."""
        triples = self._counted[:, COUNTED.index("triples")]
        seen = triples[-1] - (triples[step - 1] if step else 0)
        return float(self._measured[step:, 0].mean()), float(seen / self._counted[step:, COUNTED.index("seconds")].sum())

    def losses(self) -> np.ndarray:
        """The losses of the steps that were taken in, in order; nobody waits for the others."""
        return self._measured[:, self._names.index("loss")]

    def frame(self) -> pd.DataFrame:
        """The rows so far."""
        self.flush()
        frame = pd.DataFrame(np.hstack([self._measured, self._counted]), columns=[*self._names, *COUNTED])
        frame.insert(0, "step", np.arange(1, len(frame) + 1))
        return frame.astype({"triples": int, "real_tokens": int, "padded_tokens": int})

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        self.flush()
        arrays = {"measured": torch.from_numpy(self._measured), "counted": torch.from_numpy(self._counted)}
        return {**arrays, "names": self._names}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what a checkpoint kept."""
        self._names = list(state["names"])
        self._measured, self._counted, self._waiting = state["measured"].numpy(), state["counted"].numpy(), []


def _summary(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return values.mean(), values.min(), values.max()
