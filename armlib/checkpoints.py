"""Checkpoints of a training: written whole, checked before use, the newest two kept."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import torch

from armlib import files
from armlib.distributed import from_first, rank
from armlib.errors import InputError

STATE = "state.pt"
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
        torch.save(state, draft / STATE)
    for old in _steps(folder)[:-KEPT]:
        shutil.rmtree(old)


def load_checkpoint(folder: Path) -> dict | None:
    """The state of the newest checkpoint that is whole, on the CPU; None where there is none.

    A damaged checkpoint is passed over with a warning that says what is wrong with it. Of several processes the first one looks,
    and all load what it found.

    Raises:
        InputError: this process does not see the checkpoint that the first one found.
    """
    found = from_first(_newest_whole(folder) if rank() == 0 else None)
    if found is None:
        return None
    if not (found / STATE).is_file():
        raise InputError(f"process {rank()} does not see the checkpoint {found}: the processes of a training need one file system")
    return torch.load(found / STATE, map_location="cpu", weights_only=True)


def _newest_whole(folder: Path) -> Path | None:
    for left in folder.glob(".step-*"):  # what a process that was killed was writing
        shutil.rmtree(left)
    for path in reversed(_steps(folder)):
        harm = files.damage(path)
        if harm is None:
            return path
        warnings.warn(f"the checkpoint {path} is damaged ({harm}); the one before it is used", stacklevel=3)
        shutil.rmtree(path)
    return None


def _steps(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*")) if folder.is_dir() else []
