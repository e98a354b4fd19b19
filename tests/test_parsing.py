"""Names with settings in parentheses: what is read, how it is written again, and what is refused."""

from __future__ import annotations

import pytest

from armlib.errors import InputError
from armlib.parsing import parse_call, usage, written


def plain() -> str:
    return "plain"


def sized(size, weight=1.0, *, words="few", on=False) -> tuple:
    return size, weight, words, on


KNOWN = {"plain": plain, "sized": sized}


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("plain", "plain"),
        (" Plain ", "plain"),
        ("plain()", "plain"),
        ("sized(3)", (3, 1.0, "few", False)),
        ("sized( 3 , .5 )", (3, 0.5, "few", False)),
        ("SIZED(size=-3, on=True)", (-3, 1.0, "few", True)),
        ("sized(1e-7, words='a (b), c=d')", (1e-7, 1.0, "a (b), c=d", False)),
        ('sized((1, 2), words="two")', ((1, 2), 1.0, "two", False)),
        ("sized(x)", ("x", 1.0, "few", False)),
        ("sized(nan, weight=no - 1)", ("nan", "no - 1", "few", False)),
    ],
)
def test_settings_are_read_by_position_and_by_name(text: str, made: object) -> None:
    assert parse_call(text, "thing", KNOWN) == made


@pytest.mark.parametrize(
    "text",
    [
        "sized",
        "sized()",
        "sized(",
        "sized(1",
        "sized(1))",
        "sized(1) + sized(2)",
        "sized(1)(2)",
        "sized(1, 2, 3)",
        "sized(1, size=1)",
        "sized(1, length=2)",
        "sized(1, **{'on': True})",
        "sized(1; 2)",
        "sized(1, words='open)",
        "sized(1\0)",
        "sized(" + "(" * 5000 + "1" + ")" * 5000 + ")",
    ],
)
def test_what_cannot_be_read_says_how_it_is_written(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_call(text, "thing", KNOWN)
    said = f"the thing {text!r} cannot be read: expected sized(size, weight=1.0, words='few', on=False)"
    assert str(caught.value) == str(InputError(said))


def test_unknown_names_say_what_there_is() -> None:
    with pytest.raises(InputError, match=r"^unknown thing 'seized\(3\)'.*\(available: plain, sized\)$"):
        parse_call("seized(3)", "thing", KNOWN)
    with pytest.raises(InputError, match=r"^unknown thing ''"):
        parse_call("", "thing", KNOWN)
    with pytest.raises(InputError, match=r"^a thing is named by a text, not by 3; expected one such as plain$"):
        parse_call(3, "thing", KNOWN)


def test_what_is_read_is_not_run() -> None:
    with pytest.raises(InputError, match="cannot be read"):
        parse_call("plain(__import__('os').system('true'))", "thing", KNOWN)
    assert parse_call("sized(__import__('os').getcwd())", "thing", KNOWN)[0] == "__import__('os').getcwd()"


def test_what_a_thing_refuses_passes_through() -> None:
    def small(size: int) -> int:
        if size > 9:
            raise InputError(f"size must be at most 9, not {size}")
        return size

    assert parse_call("small(9)", "thing", {"small": small}) == 9
    with pytest.raises(InputError, match="^size must be at most 9, not 10$"):
        parse_call("small(10)", "thing", {"small": small})


def test_written_is_what_is_read() -> None:
    assert written("plain") == usage("plain", plain) == "plain"
    assert written("sized", 3, weight=(1.0, 1.0), words=("few", "few")) == "sized(3)"
    text = written("sized", 0.1, weight=(1e-7, 1.0), words=("it's", "few"), on=(True, False))
    assert text == 'sized(0.1, weight=1e-07, words="it\'s", on=True)'
    assert parse_call(text, "thing", KNOWN) == (0.1, 1e-7, "it's", True)
    assert written("sized", size=(3, None)) == "sized(size=3)"
