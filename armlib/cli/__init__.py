"""The command line: a module for each command, and whatever other installed packages add, such as the book's figure and table."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib.metadata import entry_points, version
from typing import Any, NoReturn

from armlib.cli.compare import add_compare
from armlib.cli.evaluate import add_evaluate
from armlib.cli.export import add_export
from armlib.cli.measure import add_measure
from armlib.cli.runs import add_runs
from armlib.cli.score import add_score
from armlib.cli.search import add_search
from armlib.cli.train import add_train
from armlib.cli.tune import add_tune
from armlib.errors import InputError, one_line
from armlib.progress import silence

COMMANDS = "armlib.commands"
"""The group of entry points through which a package adds commands: functions of what `options.add_command` takes first."""


EPILOG = """\
examples:
  armlib train                                       on a collection that needs no download, in about a minute
  armlib train --help                                every command explains its options, and has examples
  armlib search "how do I sort an array by several keys"

environment variables:
  ARMLIB_RUNS        the run store (default: ./runs)
  ARMLIB_CACHE       where collections, tokens, scores and encoders are kept (default: ~/.cache/armlib)
  ARMLIB_PROGRESS    progress on stderr: 0 (none), bar or lines (default: bar on a terminal, lines elsewhere)
  IR_DATASETS_HOME   where ir_datasets keeps what it downloads (default: ~/.ir_datasets)
  HF_HOME            where Hugging Face keeps what it downloads (default: ~/.cache/huggingface)
  HF_HUB_OFFLINE     1: take what Hugging Face downloaded before, and ask for nothing
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    It is 0, or 2 after one sentence on what was wrong with the input; 130 after Control-C, 143 after SIGTERM in a training run,
    both with a checkpoint to go on from; 141 where nobody reads the output any more.
    """
    options = _parser().parse_args(sys.argv[1:] if arguments is None else list(arguments))
    warnings.showwarning = _show_each_once()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # letters that the terminal's encoding lacks
    try:
        with silence() if "quiet" in options else nullcontext():
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


class _Version(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, **settings: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, **settings)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print(f"armlib {version('armlib')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    about = "Train dense retrievers with adaptive relevance margins, measure them, and search with them."
    form = argparse.RawDescriptionHelpFormatter
    parser = _Parser(prog="armlib", description=about, epilog=EPILOG, formatter_class=form)
    parser.add_argument("--version", action=_Version, help="show the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_train(commands)
    add_tune(commands)
    add_score(commands)
    add_evaluate(commands)
    add_measure(commands)
    add_compare(commands)
    add_search(commands)
    add_export(commands)
    add_runs(commands)
    for entry in sorted(entry_points(group=COMMANDS), key=lambda entry: entry.name):
        entry.load()(commands)
    return parser


def _show_each_once() -> Callable[..., None]:
    """Shows a warning as one line, but none that the command has shown before: its parts read the same data."""
    seen = set[str]()

    def show(message: Warning | str, *_: object, **unused: object) -> None:
        if str(message) not in seen:
            seen.add(str(message))
            print(one_line(f"armlib: warning: {message}"), file=sys.stderr)

    return show
