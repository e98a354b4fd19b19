"""A box to search a collection from a notebook, where somebody sits at it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import pandas as pd

from armbook.tables import shortened
from armlib.errors import InputError
from armlib.progress import watched
from armlib.retrieval.search import Searcher


def found_passages(searcher: Searcher, question: str, k: int = 5, grades: Mapping[str, int] | None = None) -> pd.DataFrame:
    """The passages nearest to a question, best first.

    Columns: ``similarity``, ``grade`` (a dash where nobody judged the passage), ``passage`` (its id), ``text`` (its beginning).

    Raises:
        InputError: the question is empty.
    """
    judged = grades or {}
    rows = [(hit.score, judged.get(hit.id, "–"), hit.id, shortened(hit.text, 200)) for hit in searcher.search(question, k)]
    return pd.DataFrame(rows, columns=["similarity", "grade", "passage", "text"], index=range(1, len(rows) + 1))


def as_html(found: pd.DataFrame) -> str:
    """The table of `found_passages` for a page."""
    return found.to_html(float_format="{:.3f}".format)


def search_box(searcher: Searcher, question: str = "") -> Any:
    """A text box whose question is searched for on Enter; None where nobody watches, since a page has no kernel to ask."""
    if not watched():
        return None
    from ipywidgets import HTML, Text, VBox

    box, shown = Text(question, placeholder="ask, and press Enter", continuous_update=False, layout={"width": "100%"}), HTML()

    def answer(_: object) -> None:
        try:
            shown.value = as_html(found_passages(searcher, box.value))
        except InputError as error:
            shown.value = escape(str(error))

    box.observe(answer, "value")  # which changes on Enter
    if question:
        answer(None)
    return VBox([box, shown])
