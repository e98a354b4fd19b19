"""``armlib train``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from armlib.cli.experiment_options import add_experiment_options
from armlib.cli.options import add_command, add_json_option, add_store_options, asked_experiment, print_json
from armlib.errors import printable
from armlib.progress import is_main_process

EXAMPLES = """\
examples:
  armlib train                                        distributed targets on the embedded collection, in about a minute
  armlib train --target "static(0.3)" --seed 1
  armlib train --profile small --target adaptive --in-batch
  armlib train --context 64                           every text is read beside 64 passages of the collection
  armlib train --collection my/folder --encoder sentence-transformers/all-MiniLM-L6-v2 --learning-rate 2e-5
  torchrun --nproc-per-node 4 -m armlib train --profile paper

A training run that was stopped goes on where it was; a finished one is not done again. The trained encoder is a
sentence-transformers model in the folder that is printed at the end.
"""


def add_train(commands: Any) -> None:
    """Add ``armlib train``: one training run and its evaluation."""
    parser = add_command(commands, "train", _train, "Train a bi-encoder on a collection and measure it.", EXAMPLES)
    add_json_option(parser)
    add_store_options(add_experiment_options(parser), precision=True)


def _train(options: argparse.Namespace) -> None:
    from armlib.experiments.result import measures_as_text
    from armlib.experiments.store import RunStore

    experiment = asked_experiment(options)
    if is_main_process() and not options.json:
        print(experiment, flush=True)
    result = RunStore(options.runs, device=options.device, precision=options.precision).result(experiment)
    if not is_main_process():
        return
    if options.json:
        files = {"folder": str(result.folder), "encoder": str(result.folder / "encoder")}
        print_json({"key": result.key} | files | {"experiment": asdict(result.experiment)} | result.about)
        return
    print(measures_as_text(result.measures))
    print(f"{printable(result.provenance_line())}\nencoder: {printable(str(result.folder / 'encoder'))}")
