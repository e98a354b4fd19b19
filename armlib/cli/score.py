"""``armlib score``."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from typing import Any

from armlib.cli.experiment_options import add_experiment_options
from armlib.cli.options import add_command, add_device_option, asked_experiment
from armlib.errors import InputError

EXAMPLES = """\
examples:
  armlib score --loss "margin-mse(20)" --teacher "cross-encoder('cross-encoder/ms-marco-MiniLM-L6-v2')"
  armlib score --loss list-kl --teacher "bi-encoder('my/folder')" --workers 4
  armlib score --profile paper --loss "margin-mse(20)" --teacher "cross-encoder('NAME')" --scheduler tcp://host:8786

It takes the options of train, and computes what train would before its first step. A scoring that was stopped goes on where it
was. The workers of a scheduler need the file system of the cache folder ($ARMLIB_CACHE).
"""


def add_score(commands: Any) -> None:
    """Add ``armlib score``: a teacher's scores ahead of training."""
    parser = add_command(commands, "score", _score, "Compute a teacher's scores of an experiment ahead of training.", EXAMPLES)
    machine = add_experiment_options(parser)
    add_device_option(machine)
    machine.add_argument("--workers", type=int, metavar="N", help="score by N processes of this machine (default: by this one)")
    machine.add_argument("--scheduler", metavar="ADDRESS", help="score by the workers of this Dask scheduler (default: none)")


def _score(options: argparse.Namespace) -> None:
    experiment = asked_experiment(options)
    if options.scheduler and options.workers is not None:
        raise InputError("--workers counts processes of this machine; those of a --scheduler are started with it")
    if not experiment.teacher:
        raise InputError("score needs a --teacher, and with it a --loss that learns from one")

    from armlib.experiments.training_data import TrainingData
    from armlib.storage import cache_folder
    from armlib.training.processes import default_accelerator

    default_accelerator(options.device, "no")
    with _client(options) as client:
        workers = None
        if client is not None:
            from armlib.experiments.scoring import by_workers

            workers = by_workers(client)
        data = TrainingData(experiment, workers=workers)
        about = data.about_teacher()["teacher"]
    print(f"{len(data.examples):,} examples of {experiment.collection}, scored by {experiment.teacher}; kept in {cache_folder()}")
    for name, value in about.items():
        if value is not None:
            print(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")


def _client(options: argparse.Namespace) -> Any:
    if not options.scheduler and options.workers is None:
        return nullcontext()
    from armlib.experiments.cluster import workers_here, workers_of

    return workers_of(options.scheduler) if options.scheduler else workers_here(options.workers)
