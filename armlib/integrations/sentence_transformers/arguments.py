"""Columns as queries and passages: by itself the trainer tokenises all of them alike, at one length and without prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sentence_transformers import SentenceTransformer

from armlib.errors import InputError

COLUMNS = ("anchor", "positive", "negative")
QUERY, PASSAGE = "query", "document"
PASSAGE_PROMPTS = (PASSAGE, "passage", "corpus")
"""Names of a prompt for passages; ``encode_document`` takes the first that there is."""


def column_arguments(model: SentenceTransformer, columns: Sequence[str] = COLUMNS) -> dict[str, Any]:
    """Training arguments that make the first column queries and the others passages, as ``encode_query`` and ``encode_document``.

    Without them anchors are cut where passages are, and no column has the model's prompts. Lengths of their own are a setting of
    the model, which is saved with it: ``model[0].query_length`` and ``model[0].document_length``.

    Args:
        model: the model that is trained.
        columns: names of the columns with texts, in the order of the data set.

    Returns:
        ``router_mapping`` and ``prompts``, for ``SentenceTransformerTrainingArguments(..., **column_arguments(model))``.

    Raises:
        InputError: there are fewer than two columns, or a name comes twice.
    """
    if isinstance(columns, str) or len(columns) < 2 or len(set(columns)) < len(columns):
        raise InputError(f"expected the names of a column of queries and of columns of passages, each once, got {columns!r}")
    passage = next((name for name in PASSAGE_PROMPTS if name in model.prompts), "")
    texts = (model.prompts.get(QUERY) or "", model.prompts.get(passage) or "")
    tasks = {name: PASSAGE if number else QUERY for number, name in enumerate(columns)}
    prompts = {name: texts[task == PASSAGE] for name, task in tasks.items()}
    return {"router_mapping": tasks, "prompts": {name: prompt for name, prompt in prompts.items() if prompt}}
