"""Checkpoints of a training run: written whole, checked before use, the newest two kept."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from armlib import storage
from armlib.errors import InputError

STATE = "state.pt"
KEPT = 2  # so that a damaged newest one can fall back to the one before


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Write the state after ``step`` steps and delete all but the two newest checkpoints.

    Args:
        folder: holds the checkpoints of one training run, as folders ``step-00000500``.
        step: steps done.
        state: tensors and plain values, as `torch.save` takes them.

    Raises:
        InputError: the disk is full; the checkpoints that were there stay.
    """
    with storage.atomic_folder(folder / f"step-{step:08d}") as draft:
        torch.save(state, draft / STATE)
    for old in _steps(folder)[:-KEPT]:
        shutil.rmtree(old)


def load_checkpoint(folder: Path, accelerator: Accelerator) -> dict[str, Any] | None:
    """The state of the newest checkpoint that is whole, on the CPU; None where there is none.

    A damaged checkpoint is passed over with a warning that says what is wrong with it. Of several processes the first one looks,
    and all load what it found.

    Raises:
        InputError: this process does not see the checkpoint that the first one found.
    """
    found = [_newest_whole(folder) if accelerator.is_main_process else None]
    if accelerator.num_processes > 1:
        broadcast_object_list(found)
    path = found[0]
    if path is None:
        return None
    if not (path / STATE).is_file():
        rank = accelerator.process_index
        raise InputError(f"process {rank} does not see the checkpoint {path}: the processes of a training run need one file system")
    return torch.load(path / STATE, map_location="cpu", weights_only=True)


def _newest_whole(folder: Path) -> Path | None:
    for left in folder.glob(".step-*"):  # what a process that was killed was writing
        shutil.rmtree(left)
    for path in reversed(_steps(folder)):
        reason = storage.damage(path)
        if reason is None:
            return path
        warnings.warn(f"the checkpoint {path} is damaged ({reason}); the one before it is used", stacklevel=3)
        shutil.rmtree(path)
    return None


def _steps(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*")) if folder.is_dir() else []
