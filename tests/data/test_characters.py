"""What ids may be made of, one at a time and many at once."""

from __future__ import annotations

import pytest

from armlib.data.characters import check_id, check_ids
from armlib.errors import InputError

GOOD = ["d1", "Ünïcode", "\U0001f600", "a|b", "0", "\u200b"]
BAD = ["", "a b", "a\tb", "a\u00a0b", "a\u2028", "\ufeffa", "\x00", "\ud83d", None, 7, b"d1"]


@pytest.mark.parametrize("bad", BAD)
def test_many_ids_are_refused_for_what_one_is(bad: object) -> None:
    with pytest.raises(InputError) as alone:
        check_id(bad, "document id", "here")
    for names in ([bad], [*GOOD, bad], [bad, *GOOD], ["d" * 1000, bad, "a b"]):
        with pytest.raises(InputError) as together:
            check_ids(names, "document id", "here")
        assert str(together.value) == str(alone.value), "of several, the first is named"


def test_what_can_be_written_passes() -> None:
    for name in GOOD:
        check_id(name, "document id", "here")
    check_ids(GOOD, "document id", "here")
    check_ids(iter(GOOD), "document id", "here")
    check_ids([], "document id", "here")
