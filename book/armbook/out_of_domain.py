"""Trained encoders on collections that they were not trained for; measured once, and kept in the cache folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from armbook.factorial import Factorial, Measured
from armlib.evaluation.evaluate import FULL_RANKING, Evaluator, file_name
from armlib.evaluation.measures import Evaluation
from armlib.evaluation.tables import read_csv
from armlib.experiments.outcome import bm25
from armlib.experiments.result import Result
from armlib.names import load_collection
from armlib.storage import kept, short_digest


def measured_elsewhere(result: Result, names: Sequence[str]) -> dict[str, Evaluation]:
    """Full rankings of other collections by the encoder of a result, with the lengths that it was trained with.

    An encoder that reads a context reads that of the collection that is searched.

    Args:
        result: with an encoder.
        names: of collections with judgments.

    Returns:
        By collection.

    Raises:
        InputError: a collection cannot be measured on.
    """
    collections = [load_collection(name) for name in names]
    names = [each.name for each in collections]
    encoder, asked = result.encoder(), result.experiment
    lengths = {"query_length": asked.query_length, "passage_length": asked.passage_length}

    def make(draft: Path) -> None:
        evaluator = Evaluator(encoder, collections, **lengths)
        evaluator(encoder, draft, tag=result.key)

    prints = [part for each in collections for part in (each.name, each.fingerprint(), each.corpus.fingerprint())]
    key = short_digest("elsewhere", result.key, encoder.fingerprint(), *prints)
    folder = kept(f"elsewhere/{key}", f"measures of {result.key} elsewhere", make)
    files = {name: folder / "measures" / f"{file_name(name, FULL_RANKING, names)}.csv" for name in names}
    return {name: Evaluation.from_per_query(read_csv(file, "query").set_index("query")) for name, file in files.items()}


def bm25_elsewhere(names: Sequence[str]) -> dict[str, Evaluation]:
    """BM25's ranking of all documents, by collection."""
    return {each.name: bm25(each) for each in map(load_collection, names)}


def crossed_elsewhere(crossed: Factorial, names: Sequence[str]) -> Measured:
    """Every cell of the factorial on other collections; nothing where there are none."""
    if not names:
        return {}
    found = {cell: [measured_elsewhere(result, names) for result in results] for cell, results in crossed.results.items()}
    return {cell: {name: [one[name] for one in each] for name in each[0]} for cell, each in found.items()}
