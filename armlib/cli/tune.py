"""``armlib tune``."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from armlib.cli.experiment_options import add_experiment_options
from armlib.cli.options import add_command, add_json_option, add_store_options, asked_experiment, print_json
from armlib.errors import InputError, one_line, printable

if TYPE_CHECKING:
    from armlib.experiments.experiment import Experiment
    from armlib.experiments.tuning_result import Tuning

EXAMPLES = """\
examples:
  armlib tune                                         on the embedded collection: 32 short training runs at most
  armlib tune --collection my/folder --encoder sentence-transformers/all-MiniLM-L6-v2 --minutes 60
  armlib tune --losses distributed "static(0.2)" "infonce(50)" --learning-rates 1e-5 3e-5 --seeds 0 1
  armlib tune --profile small --json > tuned.json

First every loss is trained at every learning rate with one seed, then at its best rate with all seeds, distributed targets at the
default rate, too. Only validation queries are looked at: held-out training queries, or those of --validation. Losses are equivalent
where a paired test (TOST) finds their nDCG@10 nearer than the margin, with Bonferroni correction; of those, the one with the fewest
numbers to choose is recommended. What was trained is not trained again: the same command goes on after a stop, and with more
minutes.
"""


def add_tune(commands: Any) -> None:
    """Add ``armlib tune``: losses compared on validation queries, and the one to train with."""
    about = "Compare losses and learning rates on validation queries, and name the training command to use."
    parser = add_command(commands, "tune", _tune, about, EXAMPLES)
    add_json_option(parser)
    tuned = parser.add_argument_group("what is compared, and for how long")
    losses = "static(0.1), static(0.3), static(0.5), distributed, adaptive(in_batch=True), infonce(20)"
    tuned.add_argument("--losses", nargs="+", metavar="LOSS", help=f"losses, each named whole (default: {losses})")
    rates = "learning rates of every loss (default: --learning-rate, half of it and twice as much)"
    tuned.add_argument("--learning-rates", nargs="+", type=float, metavar="X", help=rates)
    seeds = "seeds, the first alone in the first round (default: three, from --seed)"
    tuned.add_argument("--seeds", nargs="+", type=int, metavar="N", help=seeds)
    margin = "the largest difference of nDCG@10 that counts as none (default: 0.05)"
    tuned.add_argument("--margin", type=float, default=0.05, metavar="X", help=margin)
    minutes = "begin no training run that would end later (default: no limit)"
    tuned.add_argument("--minutes", type=float, default=math.inf, metavar="X", help=minutes)
    tuned.add_argument("--jobs", type=int, default=1, metavar="N", help="training runs at a time (default: 1)")
    add_store_options(add_experiment_options(parser), precision=True)


def _tune(options: argparse.Namespace) -> None:
    from armlib.evaluation.tables import as_text
    from armlib.experiments.experiment import MARGIN_VALUES
    from armlib.experiments.store import RunStore
    from armlib.experiments.tuning import tune
    from armlib.experiments.tuning_grid import Grid

    for name in ("loss", *MARGIN_VALUES):
        if getattr(options, name) is not None:
            flag = f"--{name.replace('_', '-')}"
            raise InputError(f"tune compares several losses, each named whole; expected --losses in place of {flag}")
    if options.seeds and options.seed is not None:
        raise InputError("expected --seeds or --seed, the first of three, and not both")
    store = RunStore(options.runs, device=options.device, precision=options.precision)
    given = {name: tuple(getattr(options, name)) for name in ("losses", "learning_rates", "seeds") if getattr(options, name)}
    grid, shown_on = Grid(asked_experiment(options), **given), sys.stderr if options.json else sys.stdout
    found = tune(
        store,
        grid,
        minutes=options.minutes,
        jobs=options.jobs,
        margin=options.margin,
        report=lambda line: print(one_line(line), file=shown_on, flush=True),
    )
    command = shlex.join(train_command(found.experiment(), options))
    if options.json:
        print_json(found.about() | {"command": command})
        return
    print("", as_text(_shown(found), index=False), "", sep="\n")
    print(*map(one_line, [found.about_untuned(), *found.about_certainty(), found.about_recommended()]), "", sep="\n")
    print(printable(command))


def _shown(found: Tuning) -> Any:
    """The table for a terminal: learning rates in full, a range in place of the lowest and the highest seed."""
    table = found.table.assign(
        rate=[f"{rate:g}" for rate in found.table["learning_rate"]],
        seeds=[f"{low:.4f} to {high:.4f}" for low, high in zip(found.table["lowest"], found.table["highest"], strict=True)],
    )
    columns = {"loss": "loss", "rate": "learning rate", "mean": "nDCG@10", "seeds": "of seeds", "difference": "difference"}
    columns |= {"low": "low", "high": "high", "verdict": "is"}
    return table[list(columns)].rename(columns=columns)


def train_command(experiment: Experiment, options: argparse.Namespace) -> list[str]:
    """The words of ``armlib train`` that name an experiment, in the run store and with the device of some options.

    What the profile says by itself is not written; collection, encoder, loss, learning rate and seed always are.

    Args:
        experiment: to be trained.
        options: as they were given to a command that `add_store_options` and `add_experiment_options` were called for.
    """
    from armlib.experiments.experiment import MARGIN_VALUES

    parser = argparse.ArgumentParser()
    add_store_options(add_experiment_options(parser), precision=True)
    words = ["armlib", "train"]
    for name in ("runs", "device", "precision", "profile"):
        if (value := getattr(options, name)) != parser.get_default(name):
            words += _option(name, value)
    for name in ("collection", "encoder"):
        words += _option(name, getattr(experiment, name))
    base = asked_experiment(parser.parse_args(words[2:]))
    words += _option("loss", str(experiment.make_loss()))
    for name in ("learning_rate", "seed"):
        words += _option(name, getattr(experiment, name))
    for each in fields(experiment):
        value = getattr(experiment, each.name)
        if each.name in MARGIN_VALUES:
            if getattr(base, each.name) not in (each.default, ""):  # the profile's loss, which --loss cannot stand beside
                words += _option(each.name, each.default)
        elif each.name not in ("collection", "encoder", "loss", "learning_rate", "seed") and value != getattr(base, each.name):
            words += _option(each.name, value)
    return words


def _option(name: str, value: Any) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag if value else flag.replace("--", "--no-", 1)]
    if isinstance(value, tuple):
        return [flag, *value]
    return [f"{flag}={value}"] if str(value).startswith("-") else [flag, str(value)]
