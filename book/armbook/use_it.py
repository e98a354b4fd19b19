"""A reader's own collection tried out: a folder in BEIR layout, some losses trained on it, and what came of it in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pandas as pd

from armbook.tables import DASH
from armlib.data.beir import write_folder
from armlib.data.collection import Collection
from armlib.errors import InputError
from armlib.experiments import outcome
from armlib.experiments.experiment import Experiment
from armlib.experiments.outcome import Comparison
from armlib.experiments.store import RunStore
from armlib.experiments.training_data import TrainingData
from armlib.names import load_collection, written_here
from armlib.training.settings import MEASURE


def write_sample(source: Collection, folder: Path, **counts: int) -> None:
    """Write a part of a collection in BEIR layout: its first judged queries, and the documents judged for them.

    Args:
        source: a collection with judgments.
        folder: where to; made if there is none.
        counts: queries of each split, such as ``train=300, test=100``; no two splits share a query.

    Raises:
        InputError: the collection has fewer judged queries.
    """
    judged, texts = source.qrels(), source.queries()
    if sum(counts.values()) > len(judged):
        raise InputError(f"{source.name} has {len(judged)} judged queries, fewer than the {sum(counts.values())} asked for")
    names = iter(judged)
    splits = {split: {query: judged[query] for query in islice(names, count)} for split, count in counts.items()}
    wanted = {document for grades in splits.values() for judgments in grades.values() for document in judgments}
    documents = [document for document in source.documents() if document.id in wanted]
    write_folder(folder, documents, {query: texts[query] for grades in splits.values() for query in grades}, splits)


def compared(store: RunStore, base: Experiment, losses: Sequence[str]) -> list[Comparison]:
    """BM25, the encoder before training and trained with some losses, on every collection that an experiment is measured on.

    Args:
        store: where training runs are kept.
        base: the experiment, whatever its target.
        losses: targets; the others are compared with the last.
    """
    trained = dict(zip(losses, store.results([replace(base, target=loss) for loss in losses]), strict=True))
    systems = {outcome.BEFORE: store.result(outcome.before_training(base)), **trained}
    return outcome.comparisons(outcome.sizes(TrainingData(base)), {name: each.evaluations() for name, each in systems.items()})


def answer(comparisons: Sequence[Comparison], steps: int) -> str:
    """What came of training on a collection of one's own, on the first collection that it was measured on.

    Args:
        comparisons: of BM25 (if there is one), ``before training``, and some losses.
        steps: of training.
    """
    if not comparisons:
        return "This collection has no test queries to compare on."
    one = comparisons[0]
    values = {system: each.mean[MEASURE] for system, each in one.systems.items()}
    trained = {system: value for system, value in values.items() if system not in (outcome.BM25, outcome.BEFORE)}
    last = list(trained)[-1]
    named = [f"{value:.3f} with {system} targets" for system, value in trained.items()]
    listed = " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
    test = one.table.loc[outcome.BEFORE]
    ahead = values[last] - values[outcome.BEFORE]
    if test["low"] > 0:
        verdict = f"Training with {last} targets helps ({ahead:+.3f})"
    elif test["high"] < 0:
        verdict = f"Training with {last} targets does harm ({ahead:+.3f})"
    else:
        verdict = f"The {one.queries} test queries cannot tell whether {last} targets helped ({ahead:+.3f})"
    return (
        f"After {steps} steps, {MEASURE} on {written_here(one.collection)} ({one.mode}) is {listed}; before training it was "
        f"{values[outcome.BEFORE]:.3f}. {verdict}. {_bm25_said(values.get(outcome.BM25), list(trained.values()))}"
    ).strip()


def _bm25_said(value: float | None, trained: Sequence[float]) -> str:
    if value is None:
        return ""
    if value > max(trained):
        place = "is ahead of all of them"
    else:
        place = "is behind all of them" if value < min(trained) else "lies between them"
    return f"BM25, which needs no training, reaches {value:.3f} and {place}."


def collections(names: Sequence[str]) -> pd.DataFrame:
    """What names of collections stand for, found out without a download.

    Returns:
        A row for each; columns ``train on``, ``validated on``, ``measured on``, ``relevant in training`` and ``relevant in
        evaluation`` (the lowest grade that counts as relevant; of each evaluation collection where they differ).
    """
    rows = []
    for each in map(load_collection, names):
        grades = dict.fromkeys(str(load_collection(name).relevant_from) for name in each.evaluation)
        measured = ", ".join(each.evaluation) or DASH
        rows.append((each.name, each.validation or "held-out", measured, str(each.relevant_from), ", ".join(grades) or DASH))
    columns = ["train on", "validated on", "measured on", "relevant in training", "relevant in evaluation"]
    return pd.DataFrame(rows, columns=columns)
