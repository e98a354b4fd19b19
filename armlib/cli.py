"""The command line: train, evaluate, search, and whatever other installed packages add, such as the book's figure and table."""

from __future__ import annotations

import argparse
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from armlib.errors import InputError

if TYPE_CHECKING:
    from armlib.encoder.bi_encoder import BiEncoder

COMMANDS = "armlib.commands"
"""The group of entry points through which a package adds commands: functions that take what `add_command` takes first."""

TRAIN_EXAMPLES = """\
examples:
  armlib train                                        distributed targets on the embedded collection, in about a minute
  armlib train --target "static(0.3)" --seed 1
  armlib train --profile small --target adaptive --in-batch
  armlib train --collection my/folder --encoder sentence-transformers/all-MiniLM-L6-v2 --learning-rate 2e-5
  torchrun --nproc-per-node 4 -m armlib train --profile paper

A training run that was stopped goes on where it was; a finished one is not done again. The trained encoder is a
sentence-transformers model in the folder that is printed at the end.
"""
EVALUATE_EXAMPLES = """\
examples:
  armlib evaluate 3f0c9a1b2d4e --output measured                      a result of this store, by its key
  armlib evaluate runs/3f0c9a1b2d4e/encoder --collection msmarco-mini/trec-dl-2019
  armlib evaluate sentence-transformers/all-MiniLM-L6-v2 --collection beir/scifact/test --index paper:nprobe=64
"""
SEARCH_EXAMPLES = """\
examples:
  armlib search "how do I sort an array by several keys"
  armlib search "effect of vitamin D on bone density" --collection beir/scifact/test --model runs/3f0c9a1b2d4e/encoder
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    It is 0, or 2 after one sentence on what was wrong with the input; 130 after Control-C, 143 after SIGTERM in a training run,
    both with a checkpoint to go on from.
    """
    options = _parser().parse_args(sys.argv[1:] if arguments is None else list(arguments))
    warnings.showwarning = _show_warning
    try:
        options.run(options)
    except InputError as error:
        print(f"armlib: {error}", file=sys.stderr)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="armlib", description="Train dense retrievers with adaptive relevance margins, measure them, and search with them."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_train(commands)
    _add_evaluate(commands)
    _add_search(commands)
    for entry in sorted(entry_points(group=COMMANDS), key=lambda entry: entry.name):
        entry.load()(commands)
    return parser


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], None], about: str, examples: str = ""
) -> argparse.ArgumentParser:
    """Add a command to the command line.

    Args:
        commands: what an entry point of the group `COMMANDS` is called with.
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


def _add_train(commands: Any) -> None:
    from armlib.experiments.experiment import Experiment

    parser = add_command(commands, "train", _train, "Train a bi-encoder on a collection and measure it.", TRAIN_EXAMPLES)
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
    print(f"{result.provenance_line()}\nencoder: {result.folder / 'encoder'}")


def _add_evaluate(commands: Any) -> None:
    about = "Write TREC runs and measures of a model: re-ranking and full ranking."
    parser = add_command(commands, "evaluate", _evaluate, about, EVALUATE_EXAMPLES)
    parser.add_argument("model", help="a result's key, a folder with a model, or a Hugging Face name")
    parser.add_argument("--collection", nargs="+", metavar="NAME", help="what to measure on (default: a result's own)")
    parser.add_argument("--measure", nargs="+", default=(), help="as ir_measures writes them, such as nDCG@10 'R(rel=2)@1000'")
    parser.add_argument("--index", default="exact", help="exact (default), paper, or a FAISS factory string with its parameters")
    parser.add_argument("--query-length", type=int, help="tokens of a query (default: the model's, else 30)")
    parser.add_argument("--passage-length", type=int, help="tokens of a passage (default: the model's, else 200)")
    parser.add_argument("--output", default="measured", help="folder for runs and measures (default: measured)")
    add_store_options(parser)


def _evaluate(options: argparse.Namespace) -> None:
    import pandas as pd

    from armlib.evaluation.evaluate import evaluate_encoder
    from armlib.experiments.result import measures_as_text
    from armlib.names import load_collection

    encoder, lengths, names = _model(options)
    names = options.collection or names
    if not names:
        raise InputError("evaluate needs --collection: only a result of a run store knows what it was measured on")
    collections = [load_collection(name) for name in names]
    folder = Path(options.output)
    rows, indexes = evaluate_encoder(
        encoder,
        collections,
        folder,
        query_length=lengths["query_length"],
        passage_length=lengths["passage_length"],
        index=options.index,
        measures=options.measure,
        tag=Path(options.model).name,
    )
    frame = pd.DataFrame(rows)
    frame.to_csv(folder / "measures.csv", index=False)
    print(measures_as_text(frame))
    for name, about in indexes.items():
        print(f"{name}: index {about}")
    print(f"runs and measures per query: {folder}/runs, {folder}/measures")


def _model(options: argparse.Namespace) -> tuple[BiEncoder, dict[str, int], tuple[str, ...]]:
    """The encoder, its maximum lengths, and the collections that it was measured on."""
    from armlib.encoder.bi_encoder import BiEncoder
    from armlib.experiments.store import RunStore

    folder, names = options.model, tuple[str, ...]()
    for result in RunStore(options.runs).finished():
        if result.key == options.model:
            folder, names = result.folder / "encoder", result.experiment.evaluation_names()
    encoder = BiEncoder.load(folder)
    paper = {"query_length": 30, "passage_length": 200}
    lengths = {name: getattr(options, name, None) or encoder.saved.get(name, default) for name, default in paper.items()}
    return encoder, lengths, names


def _add_search(commands: Any) -> None:
    parser = add_command(commands, "search", _search, "Search a collection with a trained model.", SEARCH_EXAMPLES)
    parser.add_argument("question", help="what to look for")
    parser.add_argument("--model", help="as for evaluate (default: the newest result of the store on this collection)")
    parser.add_argument("--collection", default="docstrings", help="what to search (default: docstrings)")
    parser.add_argument("-k", type=int, default=5, help="passages to show (default: 5)")
    add_store_options(parser)


def _search(options: argparse.Namespace) -> None:
    from armlib.experiments.store import RunStore
    from armlib.names import load_collection
    from armlib.retrieval.search import Searcher

    collection = load_collection(options.collection)
    if options.model is None:
        finished = RunStore(options.runs).finished()
        trained = [result for result in finished if load_collection(result.experiment.collection).corpus == collection.corpus]
        if not trained:
            raise InputError(f"nothing was trained on {options.collection} yet; run 'armlib train' first, or name a --model")
        options.model = trained[-1].key
    encoder, lengths, _ = _model(options)
    for rank, hit in enumerate(Searcher(encoder, collection, **lengths).search(options.question, options.k), start=1):
        print(f"{rank}. {hit.score:.3f}  {hit.id}\n   {hit.text}")


def _show_warning(message: Warning | str, *_: object, **unused: object) -> None:
    print(f"armlib: warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
