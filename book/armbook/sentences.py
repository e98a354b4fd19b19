"""What computed sentences are put together from: capitals, lists and ranges."""

from __future__ import annotations

from collections.abc import Iterable


def capital(text: str) -> str:
    """A text with a capital at its start."""
    return text[0].upper() + text[1:]


def listed_in_words(values: Iterable[object]) -> str:
    """Values in a row, such as ``one, two and three``."""
    *first, last = map(str, values)
    return f"{', '.join(first)} and {last}" if first else last


def range_in_words(values: Iterable[float], form: str) -> str:
    """Lowest and highest value in a format, such as ``0.1 to 0.3``; one where they look alike."""
    listed = list(values)
    low, high = format(min(listed), form), format(max(listed), form)
    return low if low == high else f"{low} to {high}"
