"""A part of a collection in BEIR layout, such as a reader's own collection would be."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from armlib.data.beir import write_folder
from armlib.data.collection import Collection
from armlib.errors import InputError


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
