"""The command line: train, score, evaluate, search, and what other installed packages add, such as the book's figure and table."""

from __future__ import annotations

import argparse
import signal
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import entry_points

from armlib.cli.evaluate import add_evaluate
from armlib.cli.score import add_score
from armlib.cli.search import add_search
from armlib.cli.train import add_train
from armlib.errors import InputError

COMMANDS = "armlib.commands"
"""The group of entry points through which a package adds commands: functions of what `options.add_command` takes first."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    It is 0, or 2 after one sentence on what was wrong with the input; 130 after Control-C, 143 after SIGTERM in a training run,
    both with a checkpoint to go on from.
    """
    options = _parser().parse_args(sys.argv[1:] if arguments is None else list(arguments))
    warnings.showwarning = _show_warning
    try:
        options.run(options)
    except InputError as error:
        print(f"armlib: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("armlib: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    except SystemExit as end:
        if not isinstance(end.code, str):
            raise
        print(f"armlib: {end.code}", file=sys.stderr)  # a training run that was stopped
        return 128 + signal.SIGTERM
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="armlib", description="Train dense retrievers with adaptive relevance margins, measure them, and search with them."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_train(commands)
    add_score(commands)
    add_evaluate(commands)
    add_search(commands)
    for entry in sorted(entry_points(group=COMMANDS), key=lambda entry: entry.name):
        entry.load()(commands)
    return parser


def _show_warning(message: Warning | str, *_: object, **unused: object) -> None:
    print(f"armlib: warning: {message}", file=sys.stderr)
