"""Checkpoints of a training: written whole, checked before use, the newest two kept."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import torch

from armlib import files

KEPT = 2  # so that a damaged newest one can fall back to the one before


def save_checkpoint(folder: Path, step: int, state: dict) -> None:
    """Write the state after ``step`` steps and delete all but the two newest checkpoints.

    Args:
        folder: holds the checkpoints of one training, as folders ``step-00000500``.
        step: steps done.
        state: tensors and plain values, as `torch.save` takes them.

    Raises:
        InputError: the disk is full; the checkpoints that were there stay.
    """
    with files.atomic_folder(folder / f"step-{step:08d}") as draft:
        torch.save(state, draft / "state.pt")
    for old in _steps(folder)[:-KEPT]:
        shutil.rmtree(old)


def load_checkpoint(folder: Path) -> dict | None:
    """The state of the newest checkpoint that is whole, on the CPU; None where there is none.

    A damaged checkpoint is passed over with a warning that says what is wrong with it.
    """
    for path in reversed(_steps(folder)):
        harm = files.damage(path)
        if harm is None:
            return torch.load(path / "state.pt", map_location="cpu", weights_only=True)
        warnings.warn(f"the checkpoint {path} is damaged ({harm}); the one before it is used", stacklevel=2)
        shutil.rmtree(path)
    return None


def _steps(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*")) if folder.is_dir() else []
