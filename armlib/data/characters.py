"""What ids and texts may be made of, so that every id can stand in a TREC run and every text in a UTF-8 file."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from contextlib import suppress

from armlib.errors import InputError


def check_id(name: str, what: str, where: str) -> None:
    """Refuse an id that would not come back from a TREC run as it was written.

    Args:
        name: the id.
        what: what it is, such as ``"document id"``.
        where: where it stands, such as ``"corpus.jsonl:3"``.

    Raises:
        InputError: the id is empty, or holds white space, a control character, a byte order mark or half a surrogate pair.
    """
    # The first line is a quick look that nearly every id passes; rarer letters have to be looked at one at a time.
    if isinstance(name, str) and name and (name.isprintable() and " " not in name or not any(map(_parts_words, name))):
        return
    raise InputError(
        f"{where}: the {what} {name!r} cannot stand in a TREC run: expected a text without white space and control characters"
    )


def check_ids(names: Iterable[str], what: str, where: str) -> None:
    """Refuse the first of some ids that `check_id` refuses; many ids at once take a tenth of the time."""
    names = list(names)
    with suppress(TypeError):  # something else than text is among them, which `check_id` names
        together = "".join(names)
        if all(names) and together.isprintable() and " " not in together:
            return
    for name in names:
        check_id(name, what, where)


def _parts_words(character: str) -> bool:
    return character.isspace() or character == "\ufeff" or unicodedata.category(character) in ("Cc", "Cs")


def check_text(text: str, what: str, where: str) -> None:
    """Refuse a text that no file can hold and no tokenizer takes; the arguments are as for `check_id`.

    Raises:
        InputError: the text holds half a surrogate pair, such as JSON's ``\\ud83d`` without its second half.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise InputError(f"{where}: the {what} holds {half!r}, half a surrogate pair: expected text that UTF-8 can hold") from error
