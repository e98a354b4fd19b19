"""``armlib search``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from armlib.cli.options import add_command, add_json_option, add_model_options, add_store_options, print_json, trained_model
from armlib.errors import InputError, printable

if TYPE_CHECKING:
    from armlib.data.collection import Collection

EXAMPLES = """\
examples:
  armlib search "how do I sort an array by several keys"
  armlib search "effect of vitamin D on bone density" --collection beir/scifact/test --model runs/3f0c9a1b2d4e/encoder
  armlib search "how do I sort an array by several keys" -k 20 --json > found.json
"""


def add_search(commands: Any) -> None:
    """Add ``armlib search``: a trained model searches."""
    parser = add_command(commands, "search", _search, "Search a collection with a trained model.", EXAMPLES)
    parser.add_argument("question", help="what to look for")
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="a result's key, a folder with a model, or a Hugging Face name (default: the newest result that was trained on this "
        "collection)",
    )
    about = "what to search: a name of ir_datasets, a folder in BEIR layout, a file of triples (default: docstrings)"
    parser.add_argument("--collection", default="docstrings", metavar="NAME", help=about)
    parser.add_argument("-k", type=int, default=5, metavar="N", help="passages to show (default: 5)")
    add_model_options(parser)
    add_store_options(parser)
    add_json_option(parser)


def _search(options: argparse.Namespace) -> None:
    from armlib.experiments.store import RunStore
    from armlib.names import load_collection
    from armlib.retrieval.search import Searcher, check_question

    check_question(options.question, options.k)
    collection = load_collection(options.collection)
    if options.model is None:
        # A run of no steps measures an encoder before training.
        results = [each for each in RunStore(options.runs).finished() if each.experiment.steps]
        trained = [each for each in results if _is_on(each.experiment.collection, collection)]
        if not trained:
            raise InputError(f"nothing was trained on {options.collection} yet; run 'armlib train' first, or name a --model")
        options.model = trained[-1].key
    encoder, lengths, _ = trained_model(options)
    hits = Searcher(encoder, collection, **lengths).search(options.question, options.k)
    if options.json:
        passages = [{"id": hit.id, "score": hit.score, "text": hit.text} for hit in hits]
        print_json({"model": options.model, "question": options.question, "passages": passages})
        return
    for rank, hit in enumerate(hits, start=1):
        print(f"{rank}. {hit.score:.3f}  {printable(hit.id)}\n   {printable(' '.join(hit.text.split()))}")


def _is_on(name: str, collection: Collection) -> bool:
    """Whether a name is that of a collection over the same documents; not where it can be found no more."""
    from armlib.names import load_collection

    try:
        return load_collection(name).corpus == collection.corpus
    except InputError:
        return False
