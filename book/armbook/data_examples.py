"""Examples as texts: triples of a batch, and a query with judged passages."""

from __future__ import annotations

import pandas as pd

from armbook.batch_example import passage_texts
from armbook.tables import shortened
from armlib.data.collection import Collection
from armlib.experiments.training_data import TrainingData

SHOWN_CHARACTERS = 400  # of a text, at most


def example_triples(data: TrainingData, count: int = 3) -> pd.DataFrame:
    """The first triples of the first batch as texts.

    Returns:
        Three rows a triple; columns ``triple`` (from 1), ``role`` (``query``, ``positive``, ``negative``), ``text``.
    """
    rows = data.batches().rows(0)[:count]
    queries = data.collection.queries()
    names = [(data.queries.ids[q].decode(), data.passages.ids[p].decode(), data.passages.ids[n].decode()) for q, p, n in rows]
    texts = passage_texts(data.collection, {passage for _, *passages in names for passage in passages})
    found = [
        {"triple": number, "role": role, "text": _shown(text)}
        for number, (query, positive, negative) in enumerate(names, 1)
        for role, text in (("query", queries[query]), ("positive", texts[positive]), ("negative", texts[negative]))
    ]
    return pd.DataFrame(found)


def most_graded(data: TrainingData) -> Collection:
    """The first of the collections to measure on, or to validate on, whose judgments have the most different grades."""
    return max(
        [*data.evaluations, data.validation], key=lambda one: len({g for grades in one.qrels().values() for g in grades.values()})
    )


def example_judgments(collection: Collection, each: int = 2) -> pd.DataFrame:
    """A query with judged passages: of those with the most different grades, the one with the fewest judged passages.

    Args:
        collection: one with judgments.
        each: how many passages of each grade are shown, the first by id.

    Returns:
        Columns ``grade`` (``query`` for the query), ``id``, ``text``; the query, then passages from the highest grade down.
    """
    queries, qrels = collection.judged_queries(), collection.qrels()
    chosen = min(queries, key=lambda query: (-len(set(qrels[query].values())), len(qrels[query]), query))
    by_grade: dict[int, list[str]] = {}
    for passage, grade in sorted(qrels[chosen].items(), key=lambda item: (-item[1], item[0])):
        by_grade.setdefault(grade, []).append(passage)
    wanted = [(grade, passage) for grade, passages in by_grade.items() for passage in passages[:each]]
    texts = collection.corpus.texts({passage for _, passage in wanted})
    rows = [("query", chosen, _shown(queries[chosen]))]
    rows += [(grade, passage, _shown(texts[passage])) for grade, passage in wanted if passage in texts]
    return pd.DataFrame(rows, columns=["grade", "id", "text"], dtype=object)


def _shown(text: str) -> str:
    return shortened(text, SHOWN_CHARACTERS, " …")
