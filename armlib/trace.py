"""What a training leaves behind: one row a step, one row a validation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from armlib.errors import InputError
from armlib.losses import similarities

MEASURED = (
    "loss",
    "target_mean", "target_minimum", "target_maximum",  # of the targets that the loss used
    "similarity_mean", "similarity_minimum", "similarity_maximum",  # of D+ x D-, as figure 6 of the paper draws them
)  # fmt: skip
COUNTED = ("seconds", "waiting_seconds", "triples", "real_tokens", "padded_tokens")


class Trace:
    """Rows of a training, one a step: what was measured on the batch, and what the step cost.

    Measured values stay on the device until `flush`, so that recording does not make the device wait for the program.

    Columns: ``step`` (from 1); ``loss``; mean, minimum and maximum of the targets and of the similarities D+ x D-;
    ``seconds`` of wall time and ``waiting_seconds`` of it for data; ``triples`` seen in all; ``real_tokens`` and
    ``padded_tokens`` of this step.
    """

    def __init__(self) -> None:
        self._measured = np.empty((0, len(MEASURED)))
        self._counted = np.empty((0, len(COUNTED)))
        self._waiting: list[tuple[Tensor, tuple[float, ...]]] = []

    @staticmethod
    @torch.no_grad()
    def measure(loss: Tensor, targets: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """The measured values of a step, (7,) float32 on the device.

        Args:
            loss: the batch's loss, a scalar.
            targets: as `MarginLoss` returns them, any shape.
            positives, negatives: the batch's embeddings, (B, D).
        """
        cosines = similarities(positives, negatives)
        values = (loss, targets.mean(), targets.min(), targets.max(), cosines.mean(), cosines.min(), cosines.max())
        return torch.stack([value.detach().float() for value in values])

    def add(self, measured: Tensor, **counted: float) -> None:
        """Record a step: the tensor of `measure` and the values of the counted columns."""
        self._waiting.append((measured, tuple(counted[name] for name in COUNTED)))

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
        frame = pd.DataFrame(np.hstack([self._measured, self._counted]), columns=[*MEASURED, *COUNTED])
        frame.insert(0, "step", np.arange(1, len(frame) + 1))
        return frame.astype({"triples": int, "real_tokens": int, "padded_tokens": int})

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps of it."""
        self.flush()
        return {"measured": torch.from_numpy(self._measured), "counted": torch.from_numpy(self._counted)}

    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from what a checkpoint kept."""
        self._measured, self._counted, self._waiting = state["measured"].numpy(), state["counted"].numpy(), []
