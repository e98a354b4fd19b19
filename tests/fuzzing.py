"""Inputs that nobody wrote by hand: each reader gives a right result or one `InputError`, whatever a file holds.

``ARMLIB_FUZZ`` sets the inputs that every property is tried on (default 40), half of them from a fixed seed and half from one
that differs each time; the end of a test run prints it, and ``ARMLIB_FUZZ_SEED`` repeats it.
"""

from __future__ import annotations

import os
import random
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from armlib.errors import InputError

INPUTS = int(os.environ.get("ARMLIB_FUZZ", "40"))
FIXED_SEED = 20240731
OTHER_SEED = int(os.environ.get("ARMLIB_FUZZ_SEED") or random.SystemRandom().randrange(2**32))
LONGEST_MESSAGE = 1000
"""Characters of an error; a message never echoes more than a line of input."""

counts: dict[str, Counter[str]] = defaultdict(Counter)
"""By reader: how many inputs were read, and how many refused."""

MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xff", b"\xed\xa0\x80", b"\\ud800", "é".encode(), "٣".encode())
SPACES = (b" ", b"\t", b"\t\t", b"\r", b"\r\n", b"\n\n", b"\x85", b"\xc2\xa0", b"\xe2\x80\xa8", b"\xe3\x80\x80")
CONTROLS = (b"\x00", b"\x07", b"\x1b[31m", b'"', b"'", b"\\", b"#", b"%s", b"../", b"<b>", b"=1+1", b"{", b"}", b"[" * 5000)
NUMBERS = (b"-1", b"1.0", b"1.5", b"1_0", b"1e999", b"inf", b"-Infinity", b"nan", b"2147483648", b"9" * 5000)
NASTY = (*MARKS, *SPACES, *CONTROLS, *NUMBERS, b"NA", b"null", b"x" * 5000)
"""What trips readers: marks of encodings, unusual white space, control characters, numbers at the edge, missing values."""


@st.composite
def mutated(draw: st.DrawFn, original: bytes) -> bytes:
    """A file's bytes after one to four changes: bytes or lines cut out, doubled, moved or replaced by what trips readers."""
    data = original
    for _ in range(draw(st.integers(1, 4))):
        lines = data.split(b"\n")
        at = draw(st.integers(0, len(data)))
        line = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(("insert", "replace", "cut", "end", "drop", "double", "swap", "field", "noise", "encoding"))):
            case "insert":
                data = data[:at] + draw(st.sampled_from(NASTY)) + data[at:]
            case "replace":
                data = data[:at] + draw(st.sampled_from(NASTY)) + data[at + draw(st.integers(1, 8)) :]
            case "cut":
                data = data[:at] + data[at + draw(st.integers(1, 40)) :]
            case "end":
                data = data[:at]
            case "drop":
                data = b"\n".join(lines[:line] + lines[line + 1 :])
            case "double":
                data = b"\n".join(lines[: line + 1] + lines[line:])
            case "swap":
                other = draw(st.integers(0, len(lines) - 1))
                lines[line], lines[other] = lines[other], lines[line]
                data = b"\n".join(lines)
            case "field":
                separator = b"\t" if b"\t" in lines[line] else b" "
                fields = lines[line].split(separator)
                fields[draw(st.integers(0, len(fields) - 1))] = draw(st.sampled_from(NASTY))
                data = b"\n".join([*lines[:line], separator.join(fields), *lines[line + 1 :]])
            case "noise":
                data = data[:at] + draw(st.binary(min_size=1, max_size=12)) + data[at:]
            case "encoding":
                data = data.decode("utf8", "replace").encode(draw(st.sampled_from(("utf-16", "utf-8-sig", "latin-1"))), "replace")
    return data


def tried_on(reader: str, *strategies: st.SearchStrategy, most: int = INPUTS) -> Callable:
    """Make a test of a function that reads one input and says with assertions what is right of the result.

    The input is read, or refused by an `InputError` of one line; anything else, and any failed assertion, fails the test.

    Args:
        reader: the name under which inputs are counted.
        strategies: of the function's last arguments.
        most: inputs that are tried, however many `INPUTS` asks for, where each takes a process of its own.
    """

    def decorate(check: Callable[..., None]) -> Callable:
        @pytest.mark.any_input
        @pytest.mark.parametrize("fuzz_seed", [FIXED_SEED, OTHER_SEED], ids=["fixed", "other"])
        def test(fuzz_seed: int, tmp_path: Any) -> None:
            @seed(fuzz_seed)
            @settings(
                max_examples=max(1, min(INPUTS, most) // 2),
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                print_blob=True,
            )
            @given(st.tuples(*strategies))
            def once(inputs: tuple) -> None:
                counts[reader]["inputs"] += 1
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", UserWarning)
                        check(tmp_path, *inputs)
                except InputError as error:
                    message = str(error)
                    assert len(message) <= LONGEST_MESSAGE and message.isprintable(), message[:2000]
                    counts[reader]["refused"] += 1

            once()

        test.__name__, test.__doc__, test.__module__ = check.__name__, check.__doc__, check.__module__
        return test

    return decorate
