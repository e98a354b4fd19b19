"""Where the benchmarks write what they measured: one JSON file for each benchmark and machine."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

from armlib import storage
from armlib.errors import InputError
from armlib.experiments.provenance import machine_line, provenance

RESULTS = Path(__file__).parent / "results"


def options(description: str) -> argparse.ArgumentParser:
    """A command's options, of which every benchmark has ``--output``."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--output", type=Path, help="the JSON file; by default one in results/ named after the machine")
    return parser


def run(main: Callable[[], None]) -> None:
    """Run a benchmark; what it cannot do is said in one line."""
    try:
        main()
    except InputError as error:
        sys.exit(f"{Path(sys.argv[0]).stem}: {error}")


def write(benchmark: str, arguments: argparse.Namespace, figures: dict, quiet: bool = False) -> Path:
    """Write a result with the machine, the versions and the options it was measured with, and say where unless ``quiet``.

    Args:
        benchmark: its name, the start of the file's name.
        arguments: the command's; places on this machine are left out. Without ``output`` the file is
            ``results/<benchmark>-<machine>.json`` beside this module.
        figures: what was measured.
    """
    settings = {name: value for name, value in vars(arguments).items() if name not in ("folder", "output", "tokenizer")}
    made = provenance()
    machine = made["machine"]
    name = f"{benchmark} {machine['gpu'] or machine['processor']} {machine['threads']} of {machine['cores']} cores"
    path = arguments.output or RESULTS / f"{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}.json"
    storage.write_json(path, {"benchmark": benchmark, "made": made, "settings": settings, **figures})
    if not quiet:
        print(f"On {machine_line(made)}; written to {path}")
    return path
