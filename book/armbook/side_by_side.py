"""What stands side by side on a page, the paper's numbers and ours: how sources, collections, measures and encoders are called."""

from __future__ import annotations

import re
from collections.abc import Iterable

from armbook import published
from armbook.miniature import HERE, NAME
from armbook.style import short_name

PUBLISHED = "published"
OPENINGS = {NAME: "In miniature", HERE: "In this copy"}
"""How a sentence on a source of ours begins."""
_TREC_DL = re.compile(r"trec-dl.*(20(?:19|20))", re.IGNORECASE)


def paper_collections(names: Iterable[str]) -> list[str]:
    """Those of some collections that have the judgments of TREC-DL 2019 or 2020, as the paper's; all where none has."""
    whole = list(dict.fromkeys(names))
    return [name for name in whole if _TREC_DL.search(name)] or whole


def titled(collection: str) -> str:
    """What heads the column of a collection: TREC-DL's year, or the collection's name."""
    found = _TREC_DL.search(collection)
    return f"TREC-DL {found[1]}" if found else short_name(collection)


def model_names(encoders: Iterable[str]) -> dict[str, str]:
    """What encoders are called in a row beside the paper's: by the paper's model where one alone is of that architecture."""
    whole = list(dict.fromkeys(encoders))
    found = {model: [name for name in whole if model.lower() in name.lower()] for model in published.MODELS}
    return {name: short_name(name) for name in whole} | {ours[0]: model for model, ours in found.items() if len(ours) == 1}
