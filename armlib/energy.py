"""Energy, where this machine tells: the processor's counters that Linux shows (RAPL) and the power that nvidia-smi reports."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pandas as pd
import torch

from armlib.errors import InputError

RAPL = Path("/sys/class/powercap")
NVIDIA = ("nvidia-smi", "--query-gpu=name,power.draw", "--format=csv,noheader,nounits")
READABLE = "yes"


def sources(rapl: Path = RAPL, command: tuple[str, ...] = NVIDIA) -> pd.DataFrame:
    """What this machine could be asked for its energy, and whether it answers.

    Args:
        rapl: the folder of the processor's counters.
        command: what prints a line for each GPU: its name, a comma, and its power in watts.

    Returns:
        Columns ``source``, ``can be read`` (``yes``, or why not).
    """
    rows = [{"source": "processor, counters of Linux (RAPL)", "can be read": _rapl_state(rapl)}]
    rows.append({"source": f"GPU, {command[0]}", "can be read": _gpu_state(command)})
    return pd.DataFrame(rows)


def watts_under_load(seconds: float = 2.0, rapl: Path = RAPL, command: tuple[str, ...] = NVIDIA) -> dict[str, float]:
    """Watts by device while large matrix products keep it busy; empty where no source can be read.

    Args:
        seconds: how long; the processor's watts are the mean over it, a GPU's are read at its end.
        rapl, command: as for `sources`.

    Raises:
        InputError: ``seconds`` is not positive.
    """
    if not seconds > 0:
        raise InputError(f"power is measured for more than 0 seconds, not {seconds}")
    found: dict[str, float] = {}
    before, started = counters(rapl) if _rapl_state(rapl) == READABLE else {}, time.perf_counter()
    if before:
        _busy("cpu", seconds)
        passed, after = time.perf_counter() - started, counters(rapl)
        found |= {name: joules(before[name], after[name]) / passed for name in before}
    if _gpu_state(command) == READABLE:
        if torch.cuda.is_available():
            _busy("cuda", seconds)
        found |= dict(_gpus(command))
    return found


def estimate(watts: dict[str, float], hours: float) -> str:
    """What some hours under full load would use, in a sentence; or that this machine does not tell.

    Args:
        watts: as `watts_under_load` gives them.
        hours: of wall-clock time.
    """
    if not watts:
        return "This machine does not tell what it draws, so there is no figure of energy here."
    drawn = ", ".join(f"{name} {power:.0f} W" for name, power in watts.items())
    used = sum(watts.values()) * hours / 1000
    return (
        f"The machine that made this page draws, while it multiplies matrices: {drawn}. The {hours:.2f} hours of the trainings "
        f"above at that power would be {used:.3f} kWh: an estimate, since they were not measured while they ran."
    )


def counters(rapl: Path = RAPL) -> dict[str, tuple[int, int]]:
    """Microjoules that each processor package has used, and the value after which its counter starts again."""
    found = {}
    for folder in _packages(rapl):
        used, largest = (int((folder / name).read_text()) for name in ("energy_uj", "max_energy_range_uj"))
        found[(folder / "name").read_text().strip()] = used, largest
    return found


def joules(before: tuple[int, int], after: tuple[int, int]) -> float:
    """Energy between two readings of a counter, of which the later may have started again once."""
    used = after[0] - before[0]
    return (used if used >= 0 else used + after[1]) / 1e6


def _packages(rapl: Path) -> list[Path]:
    # intel-rapl:0 is a package; intel-rapl:0:0 is a part of it and would be counted twice.
    return sorted(folder for folder in rapl.glob("intel-rapl:*") if folder.name.count(":") == 1)


def _rapl_state(rapl: Path) -> str:
    packages = _packages(rapl)
    if not packages:
        return "no: this machine shows no such counters"
    if not all(os.access(folder / "energy_uj", os.R_OK) for folder in packages):
        return "no: only the administrator may read them"
    return READABLE


def _gpu_state(command: tuple[str, ...]) -> str:
    if shutil.which(command[0]) is None:
        return f"no: there is no {Path(command[0]).name}"
    return READABLE if _gpus(command) else "no: it reports no power"


def _gpus(command: tuple[str, ...]) -> list[tuple[str, float]]:
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line.rpartition(",") for line in answer.stdout.splitlines()] if answer.returncode == 0 else []
    return [(f"{name.strip()} {number}", float(power)) for number, (name, _, power) in enumerate(lines) if _is_number(power)]


def _is_number(text: str) -> bool:
    return text.strip().replace(".", "", 1).isdigit()


def _busy(device: str, seconds: float) -> None:
    matrix = torch.rand((1024, 1024), device=device)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        matrix = torch.nn.functional.normalize(matrix @ matrix)
        if device == "cuda":
            torch.cuda.synchronize()
