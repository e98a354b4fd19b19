"""What names stand for: collections and encoders, from ir_datasets, Hugging Face, a file or folder, or made on this machine."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from armlib.data import irds
from armlib.data.beir import BeirFolder
from armlib.data.collection import Collection
from armlib.data.msmarco_mini import MsmarcoMini
from armlib.data.qrels_file import read_qrels_file
from armlib.data.query_split import NAME, QuerySplit
from armlib.data.triples_file import TriplesFile
from armlib.data.types import Qrels
from armlib.demo.docstrings import Docstrings
from armlib.errors import InputError, unknown
from armlib.storage import canonical, disk_errors

if TYPE_CHECKING:
    from armlib.encoder.bi_encoder import BiEncoder

OWN = {f"{kind.corpus_name}/{split}": kind for kind in (Docstrings, MsmarcoMini) for split in kind.splits}
"""The collections that armlib makes by itself."""

SHORT = {"docstrings": "docstrings/train", "msmarco-mini": "msmarco-mini/train"}


def load_collection(name: str | Path) -> Collection:
    """The collection of a name. Nothing is read, downloaded or mined before it is asked for.

    Args:
        name: one of

            - ``docstrings`` (or ``docstrings/train``), ``docstrings/validation``, ``docstrings/test``: mined from
              installed packages;
            - ``msmarco-mini`` (or ``msmarco-mini/train``), ``msmarco-mini/dev``, ``msmarco-mini/trec-dl-2019``,
              ``msmarco-mini/trec-dl-2020``: MS MARCO in miniature;
            - a folder in BEIR layout (its train split, else its only one), or ``folder/SPLIT``;
            - a ``.tsv`` or ``.tsv.gz`` file of text triples;
            - any name of ir_datasets;
            - one of these with ``#train`` or ``#test`` behind it: four fifths of its queries to train on, the others to measure on
              (see `armlib.data.query_split`).

            A folder or file that exists is preferred to an ir_datasets name. Its collection's name is its path as it is always
            written: absolute, and without links.

    Raises:
        InputError: there is no such collection; the message says what there is.

    Examples:
        A folder with ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/train.tsv``:

        >>> from armlib import load_collection
        >>> collection = load_collection("my/folder")
        >>> collection.queries()
        {'q1': 'how are lists sorted', 'q2': 'how are files read'}
        >>> collection.qrels()
        {'q1': {'d1': 1}, 'q2': {'d2': 1}}
        >>> list(collection.triples())  # negatives are mined from BM25's best
        [('q1', 'd1', 'd3'), ('q2', 'd2', 'd4')]
    """
    text = str(name)
    if not isinstance(name, Path) and text in OWN.keys() | SHORT.keys():
        return _own(SHORT.get(text, text))
    if parts := NAME.fullmatch(text):
        return QuerySplit(load_collection(parts["source"]), parts["part"], int(parts["seed"] or 0))
    path = canonical(name)
    with disk_errors(path, "read"):
        if text.rstrip("/").endswith((".tsv", ".tsv.gz")):
            # A link to a file of another ending would be read in another way.
            same = path.suffix == Path(text).suffix
            return TriplesFile(path if same else canonical(Path(name).parent) / Path(text).name)
        for folder, split in ((path, None), (path.parent, path.name)):
            if any(os.path.isfile(folder / f"corpus.jsonl{ending}") for ending in ("", ".gz")):
                return BeirFolder(folder, split)
    if isinstance(name, Path) or text.startswith(("/", "./", "../", "~")):
        raise InputError(
            f"no collection at {path}: expected a folder in BEIR layout (corpus.jsonl, queries.jsonl, qrels/) "
            "or a .tsv file of text triples"
        )
    if irds.is_known(text):
        return _irds(text)
    near = difflib.get_close_matches(text, [*SHORT, *OWN, *irds.names()], n=3)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise InputError(
        f"unknown collection {text!r}{hint} (available: {', '.join([*SHORT, *OWN])}; a folder in BEIR layout; "
        f"a .tsv file of text triples; or one of the {len(irds.names())} names of ir_datasets, such as "
        "msmarco-passage/train/triples-small or beir/scifact/train)"
    )


def read_qrels(source: str | Path) -> Qrels:
    """Read judgments: query id to document id to grade.

    Args:
        source: a file, plain or compressed by gzip, in TREC's layout (query, iteration, document, grade) or in BEIR's (the
            header query-id, corpus-id, score); else a collection, as `load_collection` takes it. A file that exists is preferred.

    Raises:
        InputError: there is neither such a file nor such a collection, or its judgments cannot be read.
    """
    path = Path(os.path.expanduser(source))
    if os.path.exists(path) and not os.path.isdir(path):
        return read_qrels_file(path)
    try:
        collection = load_collection(source)
    except InputError as error:
        raise InputError(f"there is no file of judgments {str(source)!r}, nor such a collection: {error}") from error
    return collection.qrels()


# One object a name, so that what it has read and hashed is not read and hashed again. Not for folders and files, which change.
@cache
def _own(name: str) -> Collection:
    return OWN[name](name.rpartition("/")[2])


@cache
def _irds(name: str) -> Collection:
    return irds.IrDataset(name)


def load_encoder(name: str, collection: Collection, pooling: str | None = None) -> BiEncoder:
    """The encoder that an experiment names.

    Args:
        name: ``lsa/distilbert``, ``lsa/roberta`` or ``lsa/mpnet``, made from the collection's documents; else what
            `BiEncoder.load` takes.
        collection: whose documents the word vectors come from.
        pooling: overrides the default: ``cls`` for LSA encoders, `BiEncoder.load`'s for others.

    Raises:
        InputError: there is no such encoder.
    """
    # Imported here: collections are there in half a second, and torch and transformers take many.
    from armlib.demo.lsa import ARCHITECTURES, lsa_encoder
    from armlib.encoder.bi_encoder import BiEncoder

    kind, _, architecture = name.partition("/")
    if kind != "lsa":
        return BiEncoder.load(encoder_folder(name) or name, pooling)
    if architecture not in ARCHITECTURES:
        raise unknown("LSA encoder", name, [f"lsa/{known}" for known in ARCHITECTURES])

    def texts() -> Iterator[str]:
        return (document.text for document in collection.documents())

    return lsa_encoder(texts, collection.corpus.fingerprint(), architecture, pooling=pooling or "cls")


def encoder_folder(name: str) -> Path | None:
    """The folder that an encoder's name stands for; None where it is made from a collection or is a name on the hub."""
    if name.partition("/")[0] == "lsa":
        return None
    folder = canonical(name)
    return folder if os.path.isdir(folder) else None


def written_here(name: str) -> str:
    """A collection's name as one would write it in the working folder: local ones are named by their whole path elsewhere."""
    path, here = Path(name), Path.cwd()
    return path.relative_to(here).as_posix() if path.is_absolute() and path.is_relative_to(here) else name
