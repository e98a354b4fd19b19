"""Which queries that are measured were trained on: measures on them are of memory, not of retrieval."""

from __future__ import annotations

from armlib.data.collection import Collection


def trained_on(training: Collection, measured: Collection) -> list[str]:
    """The judged queries of a collection whose judgments another one trains on.

    That is where both are over the same documents, the query has the same id and text in both, and a document is relevant to it in
    both.

    Args:
        training: what is trained on.
        measured: what is measured on.

    Returns:
        Query ids, in the order of ``measured``.
    """
    if training.corpus.fingerprint() != measured.corpus.fingerprint():
        return []
    asked, judged = training.queries(), training.qrels()
    measured_texts, found = measured.queries(), []
    for query, grades in measured.qrels().items():
        if query in judged and query in asked and asked[query] == measured_texts.get(query):
            own = judged[query]
            if any(
                grade >= measured.relevant_from and own.get(document, 0) >= training.relevant_from
                for document, grade in grades.items()
            ):
                found.append(query)
    return found
