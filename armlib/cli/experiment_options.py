"""The options that name an experiment: one for each of its values, in groups, with the defaults that they have."""

from __future__ import annotations

import argparse
import tomllib
from dataclasses import fields
from importlib import resources
from typing import Any

from armlib.experiments.defaults import LEARNING_RATE, LENGTHS

PROFILE = "demo"
"""The profile whose defaults are shown and taken."""

GROUPS = {
    "data": "data",
    "encoder": "encoder",
    "loss": "loss: the margin loss that --target to --filter describe, or another one by name",
    "teacher": "teacher",
    "optimisation": "optimisation",
    "texts": "texts",
    "context": "context",
    "validation": "validation",
    "evaluation": "evaluation",
    "machine": "machine",
}
"""The groups in the order of the help, and what stands above each."""

FIRST = {
    "collection": "data",
    "encoder": "encoder",
    "loss": "loss",
    "teacher": "teacher",
    "sampler": "optimisation",
    "compiled": "machine",
    "query_prompt": "texts",
    "chunk_size": "machine",
    "context": "context",
    "validation": "validation",
    "evaluation": "evaluation",
    "seed": "optimisation",
}
"""Values of an experiment and the groups that begin with them: every value is in the group of the last one before it."""

KINDS = {str: "TEXT", int: "N", float: "X"}
"""What stands behind a flag, by the type of its value."""

USUAL = {
    "relevant_from": "the collection's own",
    "learning_rate": f"0.0005, {LEARNING_RATE['pre-trained']:g} for a pre-trained encoder",
    "query_length": f"24, {LENGTHS['query_length']} for your own collection or a pre-trained encoder",
    "passage_length": f"48, {LENGTHS['passage_length']} for your own collection or a pre-trained encoder",
    "pooling": "the encoder's own",
    "query_prompt": "the encoder's own",
    "passage_prompt": "the encoder's own",
    "validation": "the collection's own, else held-out",
    "evaluation": "the collection's own",
    "loss": "the margin loss",
    "teacher": "none",
    "pairwise_teacher": "none",
    "lists": "none",
}
"""Defaults that are no value that one could write, in words."""


def add_experiment_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options that name an experiment, which `armlib.cli.options.asked_experiment` looks at.

    Returns:
        The group of the options that say where and how a command computes, to add others to.
    """
    from armlib.experiments.experiment import Experiment

    values = defaults()
    groups = {name: parser.add_argument_group(title) for name, title in GROUPS.items()}
    groups["data"].add_argument(
        "--profile",
        default=PROFILE,
        metavar="NAME",
        help="whose defaults to take: demo, small, paper or a TOML file; shown here are those of demo (default: demo)",
    )
    group = groups["data"]
    for each in fields(Experiment):
        group = groups[FIRST[each.name]] if each.name in FIRST else group
        kind: type = type(each.default)
        flag = f"--{each.name.replace('_', '-')}"
        about = f"{each.metadata['about']} (default: {USUAL.get(each.name) or _written(values[each.name])})"
        if kind is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=about)
        elif kind is tuple:
            group.add_argument(flag, nargs="+", metavar="NAME", help=about)
        else:
            group.add_argument(flag, type=kind, metavar=KINDS[kind], help=about)
    return groups["machine"]


def defaults() -> dict[str, Any]:
    """The values of the experiment of `PROFILE`, read without checking them, which would import torch."""
    from armlib.experiments.experiment import Experiment

    file = resources.files("armlib.experiments") / "profiles" / f"{PROFILE}.toml"
    return {each.name: each.default for each in fields(Experiment)} | tomllib.loads(file.read_text("utf8"))["experiment"]


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
