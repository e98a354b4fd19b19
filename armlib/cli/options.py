"""What commands are made of: how one is added, and the options that several share."""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from armlib.encoder.bi_encoder import BiEncoder
    from armlib.experiments.experiment import Experiment


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], None], about: str, examples: str = ""
) -> argparse.ArgumentParser:
    """Add a command to the command line.

    Args:
        commands: what an entry point of the group `armlib.cli.COMMANDS` is called with.
        name: of the command.
        run: called with the parsed options.
        about: one sentence.
        examples: shown below the options.

    Returns:
        The command's parser, to add options to.
    """
    parser = commands.add_parser(
        name, help=about, description=about, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quiet", action="store_true", default=argparse.SUPPRESS, help="show no progress on stderr")
    parser.set_defaults(run=run)
    return parser


def add_runs_option(parser: argparse._ActionsContainer) -> None:
    """Add the option that names a run store."""
    parser.add_argument("--runs", metavar="FOLDER", help="the run store (default: $ARMLIB_RUNS, else ./runs)")


def add_store_options(parser: argparse._ActionsContainer, *, precision: bool = False) -> None:
    """Add the options that name a run store and the device that it computes on."""
    add_runs_option(parser)
    add_device_option(parser)
    if precision:
        about = "of training: auto, no (float32) or bf16 (default: auto, bf16 on CUDA and float32 elsewhere)"
        parser.add_argument("--precision", default="auto", metavar="NAME", help=about)


def add_device_option(parser: argparse._ActionsContainer) -> None:
    """Add the option that names the device."""
    about = "what to compute on: auto, cpu or cuda (default: auto, CUDA where there is a GPU)"
    parser.add_argument("--device", default="auto", metavar="NAME", help=about)


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Add the option of commands that can say what they found by `print_json`."""
    parser.add_argument("--json", action="store_true", help="print JSON on stdout, and nothing else")


def print_json(value: object) -> None:
    """Print what a command found, for a program to read; numbers that JSON does not have are refused."""
    print(json.dumps(value, indent=1, allow_nan=False))


def asked_experiment(options: argparse.Namespace) -> Experiment:
    """The experiment that the options name."""
    from armlib.experiments.experiment import Experiment
    from armlib.experiments.profile import load_profile

    given = {each.name: getattr(options, each.name) for each in fields(Experiment)}
    given = {name: value for name, value in given.items() if value is not None}
    profile = load_profile(options.profile, options.collection or "", options.encoder or "")
    return replace(profile.experiment, **given)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of how a model reads texts, which `trained_model` looks at."""
    length = "tokens that {} are cut at (default: the model's, else {})"
    parser.add_argument("--query-length", type=int, metavar="N", help=length.format("queries", 30))
    parser.add_argument("--passage-length", type=int, metavar="N", help=length.format("passages", 200))
    prompt = "put in front of every {0}, such as '{0}: ' (default: the model's)"
    parser.add_argument("--query-prompt", default="", metavar="TEXT", help=prompt.format("query"))
    parser.add_argument("--passage-prompt", default="", metavar="TEXT", help=prompt.format("passage"))


def trained_model(options: argparse.Namespace) -> tuple[BiEncoder, dict[str, int], tuple[str, ...]]:
    """The encoder, its maximum lengths, and the collections that it was measured on."""
    from armlib.encoder.bi_encoder import BiEncoder
    from armlib.experiments.store import RunStore

    folder, names = options.model, tuple[str, ...]()
    for result in RunStore(options.runs).finished():
        if result.key == options.model:
            folder, names = result.folder / "encoder", result.experiment.evaluation_names()
    encoder = BiEncoder.load(folder)
    encoder.set_prompts(options.query_prompt, options.passage_prompt)
    lengths = {}
    for name, usual in {"query_length": 30, "passage_length": 200}.items():
        asked, longest = getattr(options, name), encoder.max_length
        if asked:
            encoder.check_lengths(**{f"--{name.replace('_', '-')}": asked})
        lengths[name] = asked or encoder.lengths.get(name) or usual
        if longest and lengths[name] > longest:
            warnings.warn(
                f"{name} is {longest} tokens in place of {lengths[name]}: the encoder has no more positions", stacklevel=2
            )
            lengths[name] = longest
    return encoder, lengths, names
