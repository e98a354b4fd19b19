"""The command line: a module for each command, and whatever other installed packages add, such as the book's figure and table."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import NoReturn

from armlib.cli.compare import add_compare
from armlib.cli.evaluate import add_evaluate
from armlib.cli.measure import add_measure
from armlib.cli.runs import add_runs
from armlib.cli.score import add_score
from armlib.cli.search import add_search
from armlib.cli.train import add_train
from armlib.cli.tune import add_tune
from armlib.errors import InputError, one_line

COMMANDS = "armlib.commands"
"""The group of entry points through which a package adds commands: functions of what `options.add_command` takes first."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    It is 0, or 2 after one sentence on what was wrong with the input; 130 after Control-C, 143 after SIGTERM in a training run,
    both with a checkpoint to go on from; 141 where nobody reads the output any more.
    """
    options = _parser().parse_args(sys.argv[1:] if arguments is None else list(arguments))
    warnings.showwarning = _show_warning
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # letters that the terminal's encoding lacks
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except InputError as error:
        print(f"armlib: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.filename is None or error.strerror is None:
            raise
        print(one_line(f"armlib: {os.fspath(error.filename)}: {error.strerror}"), file=sys.stderr)
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


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(one_line(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="armlib", description="Train dense retrievers with adaptive relevance margins, measure them, and search with them."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_train(commands)
    add_tune(commands)
    add_score(commands)
    add_evaluate(commands)
    add_measure(commands)
    add_compare(commands)
    add_search(commands)
    add_runs(commands)
    for entry in sorted(entry_points(group=COMMANDS), key=lambda entry: entry.name):
        entry.load()(commands)
    return parser


def _show_warning(message: Warning | str, *_: object, **unused: object) -> None:
    print(one_line(f"armlib: warning: {message}"), file=sys.stderr)
