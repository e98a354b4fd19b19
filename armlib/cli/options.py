"""What commands are made of: how one is added, and the options that several share."""

from __future__ import annotations

import argparse
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
    parser.set_defaults(run=run)
    return parser


def add_store_options(parser: argparse.ArgumentParser, *, precision: bool = False) -> None:
    """Add the options that name a run store and the device that it computes on."""
    parser.add_argument("--runs", metavar="FOLDER", help="the run store (default: $ARMLIB_RUNS, else ./runs)")
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    if precision:
        parser.add_argument("--precision", default="auto", help="auto (default: bf16 on CUDA, else float32), no or bf16")


def add_experiment_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name an experiment, which `asked_experiment` looks at."""
    from armlib.experiments.experiment import Experiment

    parser.add_argument("--profile", default="demo", help="where the defaults come from: demo, small, paper or a TOML file")
    values = parser.add_argument_group("the experiment (defaults: the profile's)")
    for each in fields(Experiment):
        kind: type = type(each.default)
        flag, about = f"--{each.name.replace('_', '-')}", each.metadata["about"]
        if kind is bool:
            values.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=about)
        elif kind is tuple:
            values.add_argument(flag, nargs="+", metavar="NAME", help=about)
        else:
            values.add_argument(flag, type=kind, metavar=kind.__name__.upper(), help=about)


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
    parser.add_argument("--query-length", type=int, help="tokens of a query (default: the model's, else 30)")
    parser.add_argument("--passage-length", type=int, help="tokens of a passage (default: the model's, else 200)")
    parser.add_argument("--query-prompt", default="", help="put in front of every query, such as 'query: ' (default: the model's)")
    parser.add_argument("--passage-prompt", default="", help="put in front of every passage (default: the model's)")


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
