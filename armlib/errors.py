"""The one kind of exception that speaks to a user: a sentence saying what was wrong, what was expected, what there is."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

LONGEST = 1000
"""Characters of a message: what was given is named in it, and may be a whole file."""


class InputError(ValueError):
    """Something that the user gave cannot be used. The message is one sentence, on one line, that stands on its own."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def printable(text: str) -> str:
    """The text with what no terminal should get, such as line ends and escapes, written as in Python."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def one_line(text: str) -> str:
    """The text as it can be printed, with what is too long cut out of its middle."""
    text = printable(text)
    text = re.sub(r"\S{300,}", lambda word: f"{word[0][:150]}…{word[0][-50:]}", text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 301]}…{text[-300:]}"


def unknown(kind: str, name: str, available: Iterable[str]) -> InputError:
    """The error for a name that does not exist: names the nearest ones first, then what there is (at most 20).

    Args:
        kind: what the name should have been, such as ``"collection"``.
        name: what was given.
        available: the names that would have worked.
    """
    names = sorted(available)
    near = difflib.get_close_matches(name, names, n=3)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    listed = ", ".join(names[:20]) + (f", and {len(names) - 20} more" if len(names) > 20 else "")
    return InputError(f"unknown {kind} {name!r}{hint} (available: {listed})")
