"""A few texts of a collection, found in one pass, and texts cut to be shown."""

from __future__ import annotations

from collections.abc import Iterable

from armlib.data.collection import Collection
from armlib.errors import InputError


def found_texts(collection: Collection, ids: Iterable[str]) -> dict[str, str]:
    """The texts of those of the documents that the collection has, by reading it up to the last of them."""
    wanted, found = set(ids), {}
    for document in collection.documents() if wanted else ():
        if document.id in wanted:
            found[document.id] = document.text
            if len(found) == len(wanted):
                break
    return found


def passage_texts(collection: Collection, ids: Iterable[str]) -> dict[str, str]:
    """The texts of a few passages, found by reading the collection up to the last of them.

    Raises:
        InputError: a passage is not in the collection.
    """
    wanted = set(ids)
    found = found_texts(collection, wanted)
    if missing := wanted - found.keys():
        raise InputError(f"{collection.name} has no passage {min(missing)!r}")
    return found


def shortened(text: str, width: int, mark: str = " [...]") -> str:
    """A text on one line, cut at a word to at most ``width`` characters with a mark where something is left out."""
    line = " ".join(text.split())
    if len(line) <= width:
        return line
    kept = line[: width - len(mark) + 1]
    return (kept.rsplit(" ", 1)[0] if " " in kept else kept[:-1]) + mark
