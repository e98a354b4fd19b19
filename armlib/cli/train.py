"""``armlib train``."""

from __future__ import annotations

import argparse
import warnings
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from armlib.cli.experiment_options import add_experiment_options
from armlib.cli.options import add_command, add_json_option, add_store_options, asked_experiment, print_json
from armlib.errors import printable
from armlib.progress import is_main_process

if TYPE_CHECKING:
    from armlib.experiments.experiment import Experiment

EXAMPLES = """\
examples:
  armlib train                                        distributed targets on the embedded collection, in about a minute
  armlib train --target "static(0.3)" --seed 1
  armlib train --profile small --target adaptive --in-batch
  armlib train --context 64                           every text is read beside 64 passages of the collection
  armlib train --collection my/folder --encoder sentence-transformers/all-MiniLM-L6-v2
  armlib train --collection "my/folder#train"         a folder with one split: a fifth of its queries is kept to measure on
  torchrun --nproc-per-node 4 -m armlib train --profile paper

A training run that was stopped goes on where it was; a finished one is not done again. The trained encoder is a
sentence-transformers model in the folder that is printed at the end.
"""


def add_train(commands: Any) -> None:
    """Add ``armlib train``: one training run and its evaluation."""
    parser = add_command(commands, "train", _train, "Train a bi-encoder on a collection and measure it.", EXAMPLES)
    add_json_option(parser)
    parser.add_argument(
        "--compared",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure BM25 and the encoder before training, too, and test the trained one against them (default: yes)",
    )
    machine = add_experiment_options(parser)
    add_store_options(machine, precision=True)
    about = "tell tensorboard, wandb, mlflow, ... of the training (default: nobody)"
    machine.add_argument("--tracker", nargs="+", default=(), metavar="NAME", help=about)


def _train(options: argparse.Namespace) -> None:
    from armlib.experiments.collapse import troubles
    from armlib.experiments.outcome import as_text, outcome
    from armlib.experiments.result import measures_as_text
    from armlib.experiments.store import RunStore

    experiment = asked_experiment(options)
    store = RunStore(options.runs, device=options.device, precision=options.precision, trackers=options.tracker)
    cut = _tokens_cut(experiment, options.collection is not None)
    if is_main_process() and not options.json:
        print(f"{experiment}\n{cut}", flush=True)
    result = store.result(experiment)
    found = outcome(result, store) if options.compared else []
    if not is_main_process():
        return
    wrong = troubles(result) if options.compared else []
    for trouble in wrong:
        warnings.warn(trouble, stacklevel=2)
    if options.json:
        files = {"folder": str(result.folder), "encoder": str(result.folder / "encoder")}
        compared = [each.as_values() for each in found]
        about = {"experiment": asdict(result.experiment), "compared": compared, "troubles": wrong}
        print_json({"key": result.key} | files | about | result.about)
        return
    print(measures_as_text(result.measures))
    if found:
        print(f"\n{as_text(found)}\n")
    print(f"{printable(result.provenance_line())}\nencoder: {printable(str(result.folder / 'encoder'))}")


def _tokens_cut(experiment: Experiment, own: bool) -> str:
    """What the maximum lengths cut off, in a line; a warning where it is much, and not a profile's choice for its collection."""
    from armlib.experiments.cut_tokens import MUCH, cut_share, length_for
    from armlib.experiments.training_data import TrainingData

    data = TrainingData(experiment)
    cut = cut_share(data)
    if own and cut["passages"] > MUCH:
        warnings.warn(
            f"{cut['passages']:.0%} of the passages' tokens are cut off at {experiment.passage_length}; --passage-length "
            f"{length_for(data, MUCH)} would cut {MUCH:.0%} or less",
            stacklevel=2,
        )
    return f"cut off: {cut['queries']:.1%} of the queries' tokens, {cut['passages']:.1%} of the passages'"
