"""``armlib evaluate``."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from armlib.cli.options import add_command, add_json_option, add_model_options, add_store_options, print_json, trained_model
from armlib.errors import InputError, one_line
from armlib.storage import canonical, check_writable

if TYPE_CHECKING:
    from armlib.data.collection import Collection
    from armlib.encoder.bi_encoder import BiEncoder
    from armlib.experiments.experiment import Experiment

EXAMPLES = """\
examples:
  armlib evaluate 3f0c9a1b2d4e --output measured                      a result of this store, by its key
  armlib evaluate runs/3f0c9a1b2d4e/encoder --collection msmarco-mini/trec-dl-2019
  armlib evaluate sentence-transformers/all-MiniLM-L6-v2 --collection beir/scifact/test --index paper:nprobe=64
"""


def add_evaluate(commands: Any) -> None:
    """Add ``armlib evaluate``: runs and measures of a model."""
    about = "Write TREC runs and measures of a model: re-ranking and full ranking."
    parser = add_command(commands, "evaluate", _evaluate, about, EXAMPLES)
    parser.add_argument("model", metavar="MODEL", help="a result's key, a folder with a model, or a Hugging Face name")
    parser.add_argument(
        "--collection", nargs="+", metavar="NAME", help="what to measure on (default: what the result was measured on)"
    )
    parser.add_argument(
        "--measure",
        nargs="+",
        default=(),
        metavar="NAME",
        help="such as nDCG@10, ndcg_cut_10 or 'R(rel=2)@1000' (default: nDCG@10, R@1000, Success@100)",
    )
    parser.add_argument(
        "--index",
        default="exact",
        metavar="NAME",
        help="of full ranking: exact, paper, or a FAISS factory string with its parameters (default: exact)",
    )
    about = "how embeddings are kept: float32, or float16 in half the space (default: float32)"
    parser.add_argument("--vectors", default="float32", metavar="NAME", help=about)
    add_model_options(parser)
    about = "a folder for runs and measures (default: measured)"
    parser.add_argument("--output", default="measured", metavar="FOLDER", help=about)
    parser.add_argument(
        "--relevant-from", type=int, metavar="N", help="lowest grade that is relevant (default: the collection's own)"
    )
    parser.add_argument(
        "--on-training-queries", action="store_true", help="measure also on queries that the model was trained on, which is no test"
    )
    parser.add_argument(
        "--compared",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="test the model against BM25 and, of one that armlib trained, against the encoder before training (default: yes)",
    )
    add_store_options(parser)
    add_json_option(parser)


def _evaluate(options: argparse.Namespace) -> None:
    import pandas as pd

    from armlib.evaluation.evaluate import Evaluator
    from armlib.evaluation.measure_names import parse_measures
    from armlib.evaluation.tables import write_csv
    from armlib.experiments.experiment import Experiment
    from armlib.experiments.outcome import AFTER, BEFORE, as_text, comparisons, measured_in
    from armlib.experiments.result import measures_as_text
    from armlib.experiments.run_metadata import write_run_metadata
    from armlib.names import load_collection, written_here
    from armlib.training.settings import MEASURE

    if Path(options.model).is_file():
        meant = f"if it is a run, 'armlib measure {options.model} --qrels ...' is meant"
        raise InputError(f"{options.model} is a file, and a model is a folder; {meant}")
    parse_measures(options.measure)
    folder = Path(options.output)
    check_writable(folder)
    encoder, lengths, names = trained_model(options)
    names = options.collection or names
    if not names:
        raise InputError("evaluate needs --collection: only a result of a run store knows what it was measured on")
    collections = [load_collection(name) for name in dict.fromkeys(names)]
    if options.relevant_from is not None:
        collections = [each.graded(options.relevant_from) for each in collections]
    record = encoder.saved.get("provenance")
    trained = Experiment.of_record(record)
    if record and not trained:
        warnings.warn("whether it was trained on these queries cannot be told: its record names no whole experiment", stacklevel=2)
    if trained and not options.on_training_queries:
        _refuse_training_queries(trained, collections)
    shared = {**lengths, "index": options.index, "measures": options.measure, "vectors": options.vectors}
    evaluator = Evaluator(encoder, collections, **shared)
    tag = "-".join(canonical(options.model).name.split()) or "armlib"
    rows, indexes = evaluator(encoder, folder, tag=tag)
    command = _command(options, names, lengths)
    write_run_metadata(folder / "runs", evaluator, encoder, collections, tag=tag, command=command)
    frame = pd.DataFrame(rows)
    write_csv(frame, folder / "measures.csv", index=False)
    compared = []
    if options.compared and MEASURE in set(frame.measure):
        systems = {AFTER if trained else "the model": folder}
        if trained and (before := _before_training(trained)):
            untrained, where = Evaluator(before, collections, **shared), folder / "before-training"
            untrained(before, where, tag=f"{tag}-before")
            write_run_metadata(where / "runs", untrained, before, collections, tag=f"{tag}-before", command=command)
            systems = {BEFORE: where, **systems}
        compared = comparisons(evaluator.sizes, {name: measured_in(where, frame) for name, where in systems.items()})
    if options.json:
        files = {"runs": str(folder / "runs"), "per_query": str(folder / "measures")}
        about = {"indexes": indexes, "compared": [each.as_values() for each in compared]}
        print_json({"model": options.model, "measures": rows} | about | files)
        return
    print(measures_as_text(frame))
    if compared:
        print(f"\n{as_text(compared)}\n")
    for name, about in indexes.items():
        print(one_line(f"{written_here(name)}: {_search_in_words(about)}"))
    print(one_line(f"runs and measures per query: {folder}/runs, {folder}/measures"))


def _search_in_words(about: Mapping[str, Any]) -> str:
    """What `armlib.retrieval.rankings.full_ranking` says of a search, as a part of a sentence."""
    what = "exact search" if about["exact"] else f"search with index {about['index']}"
    said = f"{what} of {about['passages']:,} passages for {about['queries']:,} queries, {about['found']:,.6g} found for each"
    if not about["exact"]:
        recalled = ", ".join(f"{value:.3f} at {depth}" for depth, value in about["recall"].items())
        said += f"; recall against exact search {recalled} ({about['recall_queries']:,} queries)"
    return f"{said}; " + ", ".join(f"{step} {seconds:.3g} s" for step, seconds in about["seconds"].items())


def _command(options: argparse.Namespace, names: Sequence[str], lengths: Mapping[str, int]) -> list[str]:
    """The command with all that the runs depend on."""
    words = ["armlib", "evaluate", options.model, "--collection", *names, "--index", options.index, "--vectors", options.vectors]
    for name, length in lengths.items():
        words += [f"--{name.replace('_', '-')}", str(length)]
    for name in ("query_prompt", "passage_prompt"):
        words += [f"--{name.replace('_', '-')}={getattr(options, name)}"] if getattr(options, name) else []
    words += ["--relevant-from", str(options.relevant_from)] if options.relevant_from is not None else []
    words += ["--on-training-queries"] if options.on_training_queries else []
    return words + (["--measure", *options.measure] if options.measure else [])


def _before_training(trained: Experiment) -> BiEncoder | None:
    """The encoder that a model was trained from; None, with a warning, where it is no longer at hand."""
    from armlib.experiments.training_data import TrainingData

    try:
        return TrainingData(trained).untrained_encoder()
    except InputError as error:
        warnings.warn(f"the encoder before training is not compared: {error}", stacklevel=2)
        return None


def _refuse_training_queries(trained: Experiment, collections: list[Collection]) -> None:
    """Refuse collections with queries whose judgments the model was trained on, where what it was trained on is at hand."""
    from armlib.data.training_queries import trained_on
    from armlib.experiments.training_data import TrainingData
    from armlib.names import written_here

    try:
        training = TrainingData(trained).collection
        training.qrels()
    except InputError as error:
        warnings.warn(f"whether it was trained on these queries cannot be told: {error}", stacklevel=2)
        return
    for each in collections:
        if again := trained_on(training, each):
            raise InputError(
                f"the model was trained on {len(again)} of the {len(each.qrels())} queries of {written_here(each.name)}, so that "
                "measures on them would be no test; expected other queries, or --on-training-queries"
            )
