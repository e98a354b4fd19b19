"""Checkpoints of a training run: written whole, checked before use, the newest two kept."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from armlib import storage
from armlib.errors import InputError

STATE = "state.pt"
KEPT = 2  # so that a damaged newest one can fall back to the one before
OF = "of"


def save_checkpoint(folder: Path, step: int, state: Mapping[str, Any], of: Mapping[str, Any]) -> None:
    """Write the state after ``step`` steps and delete all but the two newest checkpoints.

    Args:
        folder: holds the checkpoints of one training run, as folders ``step-00000500``.
        step: steps done.
        state: tensors and plain values, as `torch.save` takes them.
        of: plain values that say which training run it is.

    Raises:
        InputError: the disk is full; the checkpoints that were there stay.
    """
    with storage.atomic_folder(folder / f"step-{step:08d}") as draft:
        torch.save({**state, OF: dict(of)}, draft / STATE)
    for old in _steps(folder)[:-KEPT]:
        storage.remove(old)


def load_checkpoint(folder: Path, accelerator: Accelerator, of: Mapping[str, Any]) -> dict[str, Any] | None:
    """The state of the newest checkpoint that is whole, on the CPU; None where there is none.

    A damaged checkpoint is passed over with a warning that says what is wrong with it. Of several processes the first one looks,
    and all load what it found.

    Args:
        folder: as `save_checkpoint` takes it.
        accelerator: the training run's.
        of: as `save_checkpoint` was given it.

    Raises:
        InputError: the newest checkpoint is of another training run, or this process does not see the one that the first found.
    """
    path, state = _newest(folder, of) if accelerator.is_main_process else (None, None)
    found = [path]
    if accelerator.num_processes > 1:
        broadcast_object_list(found)
    path = found[0]
    if path is None or state is not None:
        return state
    if not (path / STATE).is_file():
        rank = accelerator.process_index
        raise InputError(f"process {rank} does not see the checkpoint {path}: the processes of a training run need one file system")
    return _read(path)


def _newest(folder: Path, of: Mapping[str, Any]) -> tuple[Path, dict[str, Any]] | tuple[None, None]:
    for left in folder.glob(".step-*"):  # what a process that was killed was writing
        storage.sweep(folder / left.name.split(".")[1])
    for path in reversed(_steps(folder)):
        if reason := storage.damage(path):
            warnings.warn(f"the checkpoint {path} is damaged ({reason}); the one before it is used", stacklevel=4)
            storage.remove(path)
            continue
        state = _read(path)
        there = state.get(OF)
        if there != of:
            differing = ", ".join(each for each in of if there.get(each) != of[each]) if isinstance(there, dict) else "all"
            raise InputError(
                f"the checkpoint {path} is of another training run ({differing} differs); delete it, or name another folder"
            )
        return path, state
    return None, None


def _read(path: Path) -> dict[str, Any]:
    """What a checkpoint that is whole holds; nothing where it is no checkpoint of armlib."""
    try:
        # Weights alone: any other pickle could run code.
        state = torch.load(path / STATE, map_location="cpu", weights_only=True)
    except Exception:  # sealed, so not by a damage that torch would have a name for
        return {}
    return state if isinstance(state, dict) else {}


def _steps(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*")) if folder.is_dir() else []
