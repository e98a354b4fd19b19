"""``armlib train``."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from typing import Any

from armlib.cli.options import add_command, add_store_options
from armlib.errors import printable

EXAMPLES = """\
examples:
  armlib train                                        distributed targets on the embedded collection, in about a minute
  armlib train --target "static(0.3)" --seed 1
  armlib train --profile small --target adaptive --in-batch
  armlib train --collection my/folder --encoder sentence-transformers/all-MiniLM-L6-v2 --learning-rate 2e-5
  torchrun --nproc-per-node 4 -m armlib train --profile paper

A training run that was stopped goes on where it was; a finished one is not done again. The trained encoder is a
sentence-transformers model in the folder that is printed at the end.
"""


def add_train(commands: Any) -> None:
    from armlib.experiments.experiment import Experiment

    parser = add_command(commands, "train", _train, "Train a bi-encoder on a collection and measure it.", EXAMPLES)
    parser.add_argument("--profile", default="demo", help="where the defaults come from: demo, small, paper or a TOML file")
    add_store_options(parser, precision=True)
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


def _train(options: argparse.Namespace) -> None:
    from armlib.experiments.experiment import Experiment
    from armlib.experiments.profile import load_profile
    from armlib.experiments.result import measures_as_text
    from armlib.experiments.store import RunStore

    given = {each.name: getattr(options, each.name) for each in fields(Experiment)}
    given = {name: value for name, value in given.items() if value is not None}
    experiment = replace(load_profile(options.profile, options.collection or "").experiment, **given)
    print(experiment, flush=True)
    result = RunStore(options.runs, device=options.device, precision=options.precision).result(experiment)
    print(measures_as_text(result.measures))
    print(f"{printable(result.provenance_line())}\nencoder: {printable(str(result.folder / 'encoder'))}")
