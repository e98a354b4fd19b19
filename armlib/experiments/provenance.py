"""What a result was made with: machine, versions, time."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

PACKAGES = ("armlib", "torch", "transformers", "accelerate", "faiss-cpu", "faiss-gpu", "bm25s", "ir-datasets", "ir-measures")


def provenance() -> dict:
    """The machine (processor, cores, threads that torch uses, memory, GPU), package versions, and the time, as plain values."""
    return {
        "machine": {
            "name": platform.node(),
            "system": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "memory_gib": round(_memory() / 2**30, 1),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "versions": {"python": platform.python_version(), **_versions()},
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def machine_line(made: dict) -> str:
    """One line on the machine of a `provenance`."""
    machine = made["machine"]
    cores = f"{machine['threads']} of {machine['cores']} cores"
    return f"{machine['gpu'] or machine['processor']}, {cores}, {machine['memory_gib']} GiB"


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue  # faiss-cpu and faiss-gpu exclude each other
    return found


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0  # not a POSIX system: unknown
