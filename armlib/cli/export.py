"""``armlib export``."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

from armlib.cli.options import add_command, add_runs_option
from armlib.errors import InputError, one_line

EXAMPLES = """\
examples:
  armlib export 3f0c my-encoder                                      a folder for sentence-transformers, with a model card
  armlib export 3f0c my-encoder --onnx                               and as ONNX, compared with ONNX Runtime
  armlib export 3f0c my-encoder --license mit --push-to-hub me/my-encoder --private

Nothing is uploaded without --push-to-hub, which takes the token of 'hf auth login'.
"""


def add_export(commands: Any) -> None:
    """Add ``armlib export``: a result's encoder for others."""
    about = "Write a result's encoder as a plain folder with a model card, to load elsewhere or to share."
    parser = add_command(commands, "export", _export, about, EXAMPLES)
    parser.add_argument("key", metavar="KEY", help="a finished result's key, or the first digits of it")
    parser.add_argument("folder", metavar="FOLDER", help="where to write; a new folder")
    parser.add_argument("--onnx", action="store_true", help="also write onnx/model.onnx: token ids in, normalised embeddings out")
    about = "licence of the encoder, as the hub writes it, such as apache-2.0 (default: the card names none)"
    parser.add_argument("--license", default="", metavar="NAME", help=about)
    parser.add_argument(
        "--compared",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="test the encoder against BM25 and, where 'armlib train' measured it, against the one before training (default: yes)",
    )
    about = "upload the folder to this repository of the hub (default: nothing is uploaded)"
    parser.add_argument("--push-to-hub", default="", metavar="NAME", help=about)
    parser.add_argument("--private", action="store_true", help="make that repository a private one")
    add_runs_option(parser)


def _export(options: argparse.Namespace) -> None:
    from armlib.experiments.model_card import FOLDER
    from armlib.experiments.sharing import check_hub_name, check_new, compared, export_encoder, push_to_hub
    from armlib.experiments.store import RunStore

    name = options.push_to_hub
    if name:
        check_hub_name(name)
    elif options.private:
        raise InputError("--private is of a repository on the hub; expected --push-to-hub beside it")
    store, folder = RunStore(options.runs), Path(options.folder)
    check_new(folder)
    result = store.find(options.key)
    baselines = None
    if options.compared:
        try:
            baselines = compared(result, store)
        except InputError as error:
            warnings.warn(f"the card compares the encoder with nothing: {error}", stacklevel=2)
    export_encoder(result, folder, place=name or FOLDER, licence=options.license, onnx=options.onnx, baselines=baselines)
    print(one_line(f"{result.key}: {folder}, card: {folder / 'README.md'}"))
    if name:
        print(one_line(push_to_hub(folder, name, private=options.private)))
