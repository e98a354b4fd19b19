"""Measures by name, as ir_measures and trec_eval write them, in any case: ``nDCG@10``, ``R(rel=2)@1000``, ``ndcg_cut_10``."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any

from armlib.data.types import HIGHEST_GRADE
from armlib.errors import InputError
from armlib.packages import ir_measures

if TYPE_CHECKING:
    from ir_measures import Measure

COMMON = tuple(
    "nDCG@10 nDCG@100 R@100 R@1000 R(rel=2)@1000 Success@100 Success(rel=2)@100 RR@10 RR(rel=2)@10 "
    "AP AP(rel=2) AP@1000 P@10 P(rel=2)@10 Judged@10".split()
)

# trec_eval's names that are not those of ir_measures in another case; and the paper's, Hits@100.
_OTHER_NAMES = {
    "recip_rank": "RR",
    "ndcg_cut": "nDCG",
    "map_cut": "AP",
    "iprec_at_recall": "IPrec",
    "set_p": "SetP",
    "set_relative_p": "SetRelP",
    "set_recall": "SetR",
    "set_map": "SetAP",
    "set_f": "SetF",
    "num_q": "NumQ",
    "num_ret": "NumRet",
    "num_rel": "NumRel",
    "num_rel_ret": "NumRelRet",
    "hits": "Success",
}
_LONGEST = 200  # characters of a name; a thousand brackets would take Python's parser down
_WRITTEN = re.compile(r"\s*([^\W\d]\w*?)\s*(?:\((.*)\)\s*)?(?:[@._]\s*([0-9]+(?:\.[0-9]+)?))?\s*", re.DOTALL)
_SETTING = re.compile(r"""\s*(\w+)\s*=\s*(\{[^{}]*\}|'[^'\\]*'|"[^"\\]*"|[\w.+-]+)\s*(?:,|$)""")


@cache
def providers() -> Any:
    """Those of ir_measures that compute every run.

    gdeval renames queries and rounds; Accuracy fails where all results are relevant, msmarco where no query has a relevant
    document: its RR with a cutoff is made of trec_eval's (see `cut_off`).
    """
    chosen = [ir_measures().pytrec_eval, ir_measures().judged, ir_measures().compat]
    return ir_measures().providers.FallbackProvider(chosen)


@cache
def _names() -> dict[str, str]:
    """ir_measures' names of measures, by all that are known, in lower case."""
    return {name.lower(): name for name in ir_measures().measures.registry} | _OTHER_NAMES


def _whole(value: object, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


# What trec_eval computes as it is written; with other values it crashes, takes hours, or reads a part of the number.
_EXPECTED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "cutoff": ("a whole number from 1", lambda value: _whole(value, 1, 2**31 - 1)),
    "rel": (f"a whole number from 1 to {HIGHEST_GRADE}", lambda value: _whole(value, 1, HIGHEST_GRADE)),
    "gains": (
        f"{{grade: gain, ...}} of whole numbers from 0 to {HIGHEST_GRADE}",
        lambda gains: type(gains) is dict and all(_whole(each, 0, HIGHEST_GRADE) for pair in gains.items() for each in pair),
    ),
    "recall": ("0.00 to 1.00 with two decimals", lambda value: value in [part / 100 for part in range(101)]),
    "beta": ("a decimal above 0", lambda value: value > 0 and bool(re.fullmatch(r"\d+\.\d+", repr(value)))),
    "p": ("a number between 0 and 1", lambda value: 0 < value < 1),
}


def parse_measures(names: Iterable[str | Measure] | str) -> list[Measure]:
    """Measures from their names, such as ``nDCG@10``, ``R(rel=2)@1000``, ``mrr@10`` or ``ndcg_cut_10``.

    Case does not matter, and trec_eval's names are known; what is returned writes itself as ir_measures does.

    Raises:
        InputError: a name cannot be read, or nothing that is installed can compute it; says what is near, and lists common ones.
    """
    return [_parse(str(name)) for name in ([names] if isinstance(names, str) else names)]


@cache
def _parse(text: str) -> Measure:
    try:
        return _checked(*_read(text))
    except ValueError as error:
        near = list(dict.fromkeys(_near(text)))
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise InputError(f"unknown measure {text!r}{error}{hint} (available: {', '.join(sorted(COMMON))})") from error


def _read(text: str) -> tuple[Measure, dict[str, Any]]:
    """The measure that a text names, and its settings; a ValueError says why it cannot be read."""
    found = _WRITTEN.fullmatch(text) if len(text) <= _LONGEST else None
    if not found or found[1].lower() not in _names():
        raise ValueError
    name, written, number = found.groups(default="")
    measure: Measure = ir_measures().measures.registry[_names()[name.lower()]]
    if name.lower().endswith("_cut") and not number:
        raise ValueError(f": it needs a cutoff, as in {name}_10")
    settings: dict[str, Any] = {}
    while written.strip():
        setting = _SETTING.match(written)
        if not setting or setting[1] in settings:
            raise ValueError(": expected each setting once, as in R(rel=2)@1000")
        try:
            settings[setting[1]] = ast.literal_eval(setting[2])
        except (ValueError, SyntaxError, TypeError) as error:
            raise ValueError(f": {setting[2]!r} is neither a number nor a quoted word") from error
        written = written[setting.end() :]
    if number and measure.AT_PARAM in settings:
        raise ValueError(f": {measure.AT_PARAM} stands there twice")
    return measure, settings | ({measure.AT_PARAM: float(number) if "." in number else int(number)} if number else {})


def _checked(measure: Measure, settings: dict[str, Any]) -> Measure:
    """The measure with its settings; a ValueError says why it cannot be computed."""
    made: Measure = measure(**settings)
    try:
        supported = providers().supports(cut_off(made)[0])
    except (AssertionError, TypeError) as error:  # a setting of another name or type, or one that is missing
        known = [name for name in made.SUPPORTED_PARAMS if name != made.AT_PARAM]
        at = f"@{made.AT_PARAM}" if made.AT_PARAM in made.SUPPORTED_PARAMS else ""
        raise ValueError(f": expected {made.NAME}{at}" + (f" with settings {', '.join(known)}" if known else "")) from error
    for name, value in settings.items():
        if name in _EXPECTED and not _EXPECTED[name][1](value):
            raise ValueError(f": {name} is {value!r}, expected {_EXPECTED[name][0]}")
    if not supported:
        raise ValueError(": nothing that is installed computes it")
    if not isinstance(made.aggregator(), ir_measures().measures.MeanAgg):
        raise ValueError(f": {made.NAME} counts, it has no mean over queries")
    return made


def _near(text: str) -> Iterator[str]:
    """Measures that may have been meant: of names that are alike, with the same cutoff, or the commonest."""
    found = re.match(r"\W*(\w+?)(?:[@._]([0-9]+))?\W*$|\W*(\w+)", text[:_LONGEST])
    name, number, start = found.groups(default="") if found else ("", "", "")
    for spelling in get_close_matches((name or start).lower(), _names(), n=3):
        measure: Measure = ir_measures().measures.registry[_names()[spelling]]
        try:
            yield str(_checked(measure, {"cutoff": int(number)} if number else {}))
        except ValueError:
            yield from [each for each in COMMON if re.split(r"\W", each)[0] == measure.NAME][:1]


def cut_off(measure: Measure) -> tuple[Measure, int | None]:
    """RR with a cutoff as RR without one and the cutoff, since trec_eval's has none; any other measure as it is."""
    if measure.NAME != "RR" or "cutoff" not in measure.params:
        return measure, None
    settings = dict(measure.params)
    cutoff = settings.pop("cutoff")
    return type(measure)(**settings), cutoff
