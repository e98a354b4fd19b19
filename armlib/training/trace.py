"""What a training run leaves behind: one row a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from armlib.errors import InputError
from armlib.losses import EmbeddedBatch, LossValue, similarities

TARGETS = ("target_mean", "target_minimum", "target_maximum")  # of the targets that the loss used
SIMILARITIES = ("similarity_mean", "similarity_minimum", "similarity_maximum")  # of D+ x D-, as in Figure 6 of the paper
COUNTED = ("seconds", "waiting_seconds", "triples", "real_tokens", "padded_tokens")


class Trace:
    """Rows of a training run, one a step: what was measured on the batch, and what the step cost.

    Measured values stay on the device until `flush`, so that recording does not make the device wait for the program.

    Columns: ``step`` (from 1); ``loss``; where the loss has targets, their mean, minimum and maximum; those of the similarities
    D+ x D- of positive to negative passages; ``seconds`` of wall-clock time and ``waiting_seconds`` of it for data; ``triples``
    seen in all; ``real_tokens`` and ``padded_tokens`` of this step.
    """

    def __init__(self) -> None:
        self._names: list[str] = ["loss", *TARGETS, *SIMILARITIES]
        self._measured = np.empty((0, len(self._names)))
        self._counted = np.empty((0, len(COUNTED)))
        self._waiting: list[tuple[Tensor, tuple[float, ...]]] = []

    @staticmethod
    @torch.no_grad()
    def measure(loss: LossValue, batch: EmbeddedBatch) -> dict[str, Tensor]:
        """The measured values of a step by column, scalars on the device."""
        measured = {"loss": loss.value}
        if loss.targets is not None:
            measured |= dict(zip(TARGETS, _summary(loss.targets), strict=True))
        negatives = batch.negatives.flatten(0, 1)  # (B, N, D) to (B N, D)
        return measured | dict(zip(SIMILARITIES, _summary(similarities(batch.positives, negatives)), strict=True))

    def add(self, measured: Mapping[str, Tensor], **counted: float) -> None:
        """Record a step: what `measure` gave, and the values of the counted columns."""
        if not len(self._measured) and not self._waiting:
            self._names = list(measured)
            self._measured = np.empty((0, len(self._names)))
        values = torch.stack([measured[name].detach().float() for name in self._names])  # one copy off the device, not seven
        self._waiting.append((values, tuple(counted[name] for name in COUNTED)))

    def flush(self) -> None:
        """Fetch what waits on the device.

        Raises:
            InputError: the loss is not a finite number any more.
        """
        if not self._waiting:
            return
        measured, counted = zip(*self._waiting, strict=True)
        self._waiting = []
        self._measured = np.concatenate([self._measured, torch.stack(measured).cpu().double().numpy()])
        self._counted = np.concatenate([self._counted, np.array(counted)])
        bad = np.flatnonzero(~np.isfinite(self._measured[:, 0]))
        if len(bad):
            raise InputError(f"the loss is not a finite number at step {bad[0] + 1}; a lower learning rate or a clip_norm helps")

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
