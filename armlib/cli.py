"""The command line: train, evaluate, search, figure, book."""

from __future__ import annotations

import argparse
import signal
import sys
import warnings
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from armlib.errors import InputError

TRAIN_EXAMPLES = """\
examples:
  armlib train                                        distributed targets on the embedded collection, in about a minute
  armlib train --target "static(0.3)" --seed 1
  armlib train --profile small --target adaptive --in-batch
  armlib train --collection my/folder --encoder sentence-transformers/all-MiniLM-L6-v2 --learning-rate 2e-5
  torchrun --nproc-per-node 4 -m armlib train --profile paper

A training that was stopped goes on where it was; one that is finished is not done again. The trained encoder is a
sentence-transformers model in the folder that is printed at the end.
"""
SWEEP_EXAMPLES = """\
examples:
  armlib sweep --profile small --workers 4             four trainings at a time on this machine
  armlib sweep --profile paper --chapter static_sweep  only the sweep over static targets, and what it tunes
  armlib sweep --profile paper --list                  what there is to train, and what of it is finished
  armlib sweep --profile paper --runs /shared/runs --scheduler tcp://host:8786

Chapters: distributed, adaptive, static_sweep, readings, ablations, batch_sizes, baselines. What is finished is not trained again;
the training of a worker that was lost goes on, on another worker, from its last checkpoint. The workers of a scheduler of your
own (SSH, Slurm, Kubernetes: whatever Dask starts) need this package, the data and the folder of the runs.
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
FIGURE_EXAMPLES = """\
examples:
  armlib figure 3
  armlib figure 5 -p profile small
  armlib table 3 -p collection beir/scifact/train -p encoder sentence-transformers/all-MiniLM-L6-v2
  armlib figure 12_ablations -p seeds "[0, 1, 2]"
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    It is 0, or 2 after one sentence on what was wrong with the input; 130 after Control-C, 143 after SIGTERM in a training, both
    with a checkpoint to go on from.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser(arguments[:1]).parse_args(arguments)
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
        print(f"armlib: {end.code}", file=sys.stderr)  # a training that was stopped
        return 128 + signal.SIGTERM
    return 0


def _parser(command: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="armlib", description="Train dense retrievers with adaptive relevance margins, measure them, and build the book."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_train(commands, command == ["train"])
    _add_sweep(commands)
    _add_evaluate(commands)
    _add_search(commands)
    _add_figures(commands)
    _add_book(commands)
    return parser


def _command(commands, name: str, run, about: str, examples: str = "") -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name, help=about, description=about, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(run=run)
    return parser


def _add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", metavar="FOLDER", help="the run store (default: $ARMLIB_RUNS, else ./runs)")
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")


def _add_train(commands, asked: bool) -> None:
    parser = _command(commands, "train", _train, "Train a bi-encoder on a collection and measure it.", TRAIN_EXAMPLES)
    parser.add_argument("--profile", default="demo", help="where the defaults come from: demo, small, paper or a TOML file")
    _add_store(parser)
    parser.add_argument("--precision", default="auto", help="auto (default: bf16 on CUDA, else float32), no or bf16")
    if not asked:
        return
    from armlib.experiments import Experiment  # takes torch, and seconds: only where its values are options

    values = parser.add_argument_group("the experiment (defaults: the profile's)")
    about = _described(Experiment.__doc__)
    for field in fields(Experiment):
        flag, kind = f"--{field.name.replace('_', '-')}", type(field.default)
        text = about.get(field.name)
        if kind is bool:
            values.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
        elif kind is tuple:
            values.add_argument(flag, nargs="+", metavar="NAME", help=text)
        else:
            values.add_argument(flag, type=kind, metavar=kind.__name__.upper(), help=text)


def _described(docstring: str) -> dict[str, str]:
    """What a docstring's Attributes say of each name, so that the help and the documentation cannot differ."""
    found: dict[str, str] = {}
    for line in docstring.split("Attributes:")[1].splitlines():
        head, colon, text = line.strip().partition(": ")
        if colon and line.startswith(" " * 8) and not line.startswith(" " * 9):
            found |= dict.fromkeys((name.strip() for name in head.split(",")), text.replace("``", "").replace("`", ""))
    return found


def _train(options: argparse.Namespace) -> None:
    from armlib.experiments import Experiment, load_profile
    from armlib.store import RunStore
    from armlib.tables import as_text

    given = {f.name: getattr(options, f.name) for f in fields(Experiment) if getattr(options, f.name) is not None}
    experiment = replace(load_profile(options.profile, options.collection or "").experiment, **given)
    print(experiment, flush=True)
    result = RunStore(options.runs, device=options.device, precision=options.precision).result(experiment)
    print(as_text(result.measures))
    print(f"{result.provenance_line()}\nencoder: {result.folder / 'encoder'}")


def _add_sweep(commands) -> None:
    parser = _command(commands, "sweep", _sweep, "Train all that a profile compares, with many workers.", SWEEP_EXAMPLES)
    parser.add_argument("--profile", default="demo", help="demo (default), small, paper or a TOML file")
    _add_store(parser)
    parser.add_argument("--precision", default="auto", help="auto (default: bf16 on CUDA, else float32), no or bf16")
    parser.add_argument("--chapter", nargs="+", metavar="NAME", help="only the trainings of these chapters (default: all)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes of this machine (default: the profile's jobs)")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler, whose workers are used instead")
    parser.add_argument("--list", action="store_true", help="train nothing; print the state of each training")


def _sweep(options: argparse.Namespace) -> None:
    from armlib.experiments import load_profile
    from armlib.store import RunStore
    from armlib.sweeps import CHAPTERS, first_round

    if options.scheduler and options.workers is not None:
        raise InputError("--workers counts processes of this machine; those of a --scheduler are started with it")
    profile, chapters = load_profile(options.profile), options.chapter or list(CHAPTERS)
    store = RunStore(options.runs, device=options.device, precision=options.precision)
    states = {experiment: store.state(experiment) for experiment in first_round(profile, chapters)}
    if options.list:
        for experiment, state in states.items():
            print(f"{state:10} {experiment.key()} | {experiment}")
    counts = [f"{list(states.values()).count(state)} {state}" for state in dict.fromkeys(states.values())]
    then = "; then static targets that the sweep tunes" if "static_sweep" in chapters else ""
    print(f"{len(states)} trainings in {store.path}: {', '.join(counts)}{then}", flush=True)
    if options.list:
        return

    from tqdm import tqdm

    from armlib.sweeping import sweep, workers_here, workers_of

    jobs = profile.jobs if options.workers is None else options.workers
    with workers_of(options.scheduler) if options.scheduler else workers_here(jobs) as client:
        outcomes = sweep(client, store, profile, chapters, lambda line: tqdm.write(line, file=sys.stdout))
    failed = sum(bool(outcome.error) for outcome in outcomes)
    if failed:
        raise InputError(f"{failed} of {len(outcomes)} trainings failed, as said above; the same command tries them again")


def _add_evaluate(commands) -> None:
    parser = _command(
        commands, "evaluate", _evaluate, "Write TREC runs and measures of a model: re-ranking and full ranking.", EVALUATE_EXAMPLES
    )
    parser.add_argument("model", help="a result's key, a folder with a model, or a Hugging Face name")
    parser.add_argument("--collection", nargs="+", metavar="NAME", help="what to measure on (default: a result's own)")
    parser.add_argument("--measure", nargs="+", default=(), help="as ir_measures writes them, such as nDCG@10 'R(rel=2)@1000'")
    parser.add_argument("--index", default="exact", help="exact (default), paper, or a FAISS factory string with its parameters")
    parser.add_argument("--query-length", type=int, help="tokens of a query (default: the model's, else 30)")
    parser.add_argument("--passage-length", type=int, help="tokens of a passage (default: the model's, else 200)")
    parser.add_argument("--output", default="measured", help="folder for runs and measures (default: measured)")
    _add_store(parser)


def _evaluate(options: argparse.Namespace) -> None:
    import pandas as pd

    from armlib.data import load_collection
    from armlib.measuring import measure
    from armlib.tables import as_text

    encoder, lengths, names = _model(options)
    names = options.collection or names
    if not names:
        raise InputError("evaluate needs --collection: only a result of a run store knows what it was measured on")
    collections = [load_collection(name) for name in names]
    folder = Path(options.output)
    rows, indexes = measure(
        encoder, collections, folder, **lengths, index=options.index, measures=options.measure, tag=Path(options.model).name
    )
    frame = pd.DataFrame(rows)
    frame.to_csv(folder / "measures.csv", index=False)
    print(as_text(frame))
    for name, about in indexes.items():
        print(f"{name}: index {about}")
    print(f"runs and measures per query: {folder}/runs, {folder}/measures")


def _model(options: argparse.Namespace):
    """The encoder, its maximum lengths, and the collections that it was measured on."""
    from armlib.encoder import BiEncoder
    from armlib.store import RunStore

    folder, names = options.model, ()
    for result in RunStore(options.runs).finished():
        if result.key == options.model:
            folder, names = result.folder / "encoder", result.experiment.evaluation_names()
    encoder = BiEncoder.load(folder)
    paper = {"query_length": 30, "passage_length": 200}
    lengths = {name: getattr(options, name, None) or encoder.saved.get(name, default) for name, default in paper.items()}
    return encoder, lengths, names


def _add_search(commands) -> None:
    parser = _command(commands, "search", _search, "Search a collection with a trained model.", SEARCH_EXAMPLES)
    parser.add_argument("question", help="what to look for")
    parser.add_argument("--model", help="as for evaluate (default: the newest result of the store on this collection)")
    parser.add_argument("--collection", default="docstrings", help="what to search (default: docstrings)")
    parser.add_argument("-k", type=int, default=5, help="passages to show (default: 5)")
    _add_store(parser)


def _search(options: argparse.Namespace) -> None:
    from armlib.data import load_collection
    from armlib.search import Searcher
    from armlib.store import RunStore

    collection = load_collection(options.collection)
    if options.model is None:
        finished = RunStore(options.runs).finished()
        trained = [result for result in finished if load_collection(result.experiment.collection).corpus == collection.corpus]
        if not trained:
            raise InputError(f"nothing was trained on {options.collection} yet; run 'armlib train' first, or name a --model")
        options.model = trained[-1].key
    encoder, lengths, _ = _model(options)
    for place, hit in enumerate(Searcher(encoder, collection, **lengths).search(options.question, options.k), start=1):
        print(f"{place}. {hit.score:.3f}  {hit.id}\n   {hit.text}")


def _add_figures(commands) -> None:
    for kind in ("figure", "table"):
        about = f"Make a {kind} of the book and say where it is."
        parser = _command(commands, kind, _figure, about, FIGURE_EXAMPLES)
        parser.add_argument("name", help=f"the paper's number of the {kind}, or the notebook that makes it, such as 12_ablations")
        parser.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="parameters")
        parser.set_defaults(kind=kind)
        _add_book_folder(parser)


def _figure(options: argparse.Namespace) -> None:
    from armlib.book import run_one

    name = f"{options.kind} {options.name}" if options.name.isdecimal() else options.name
    for made in run_one(Path(options.folder), name, dict(options.parameters)):
        print(made)


def _add_book(commands) -> None:
    parser = _command(commands, "book", _book, "Run all notebooks and build the book.")
    parser.add_argument("--profile", default="demo", help="demo (default), small or paper")
    parser.add_argument("--jobs", type=int, default=2, help="notebooks at a time (default: 2)")
    _add_book_folder(parser)


def _add_book_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", default=".", help="the book's folder, with _toc.yml (default: this one)")


def _book(options: argparse.Namespace) -> None:
    from armlib.book import build

    def train() -> None:
        from armlib.experiments import load_profile
        from armlib.store import RunStore
        from armlib.sweeps import first_round, tuned_static

        profile, store = load_profile(options.profile), RunStore()
        first = first_round(profile)
        print(f"{len(first)} trainings for profile {options.profile}, as far as they are not there", flush=True)
        store.results(tuned_static(profile, store.results(first, profile.jobs)), profile.jobs)

    print(f"the book is at {build(Path(options.folder), profile=options.profile, jobs=options.jobs, train=train)}")


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    print(f"armlib: warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
