"""The one kind of exception that speaks to a user: a sentence saying what was wrong, what was expected, what there is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something that the user gave cannot be used. The message is one sentence that stands on its own."""


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
