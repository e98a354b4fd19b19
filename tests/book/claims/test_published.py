"""Every claim against the paper's own tables: verdicts and figures are data, and the tables must give each of them."""

from __future__ import annotations

import ast
import math
import re

import pytest
from scipy import stats

from armbook import published
from armbook.claims.published import entries, judge_published, published_verdicts
from armbook.claims.verdicts import DOES_NOT_HOLD, HOLDS, MARGIN, NOT_PRINTED, UNDECIDED, claims
from armbook.results import VARIANTS
from armlib.errors import InputError

KEYS = {"verdict", "evidence", "where", "decides", "arithmetic"}
LABELS = r"@\d+|(Table|Figure|equation) \d|\b20(19|20)\b|\btarget 1\b"  # numbers that are names


def figures(sentence: str) -> list[float]:
    """The numbers of a sentence that are not part of a name."""
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", re.sub(LABELS, "", sentence))]


def right_sides(expression: str) -> list[float]:
    """The numbers that an expression compares something with, as they are written from left to right."""
    body = ast.parse(f"({expression})", mode="eval").body
    sides = body.comparators if isinstance(body, ast.Compare) else []
    constants = [node for side in sides for node in ast.walk(side) if isinstance(node, ast.Constant)]
    constants.sort(key=lambda node: (node.lineno, node.col_offset))
    return [float(node.value) for node in constants if type(node.value) in (int, float)]  # and not bool, which is an int


@pytest.mark.parametrize("name", entries())
def test_the_tables_give_every_figure_and_the_verdict(name: str) -> None:
    entry = entries()[name]
    assert entry.keys() <= KEYS and entry["verdict"] in (HOLDS, DOES_NOT_HOLD, UNDECIDED)
    names = {**vars(published), "VARIANTS": VARIANTS, "MARGIN": MARGIN, "math": math, "stats": stats}
    for key, expression in entry.get("where", {}).items():
        names[key] = eval(f"({expression})", names)
    for expression in entry["arithmetic"]:
        assert eval(f"({expression})", names), expression
    assert [number for expression in entry["arithmetic"] for number in right_sides(expression)] == figures(entry["evidence"])
    if entry["verdict"] == UNDECIDED:
        assert "decides" not in entry
    else:
        assert bool(eval(entry["decides"], names)) == (entry["verdict"] == HOLDS)


def test_every_claim_has_a_verdict_in_their_order() -> None:
    names = [claim.id for claim in claims()]
    assert len(names) == len(set(names)) == 36 and list(entries()) == names
    for name, verdict in zip(names, published_verdicts(), strict=True):
        assert verdict == judge_published(name) and verdict.claim == name
        assert verdict.scope == "the paper's tables" and verdict.keys == ()
        assert re.fullmatch(r"\S+( \S+)*\.", verdict.evidence)
        assert verdict.reason == (NOT_PRINTED if verdict.verdict == UNDECIDED else "")


def test_no_table_decides_what_a_figure_shows() -> None:
    of_figures = [each for each in claims() if "Figure" in each.evidence and "Table" not in each.evidence]
    assert len(of_figures) == 14
    assert [claim.id for claim in of_figures if judge_published(claim.id).verdict != UNDECIDED] == []


def test_evidence_is_in_words_and_unlike_any_other() -> None:
    texts = [entry["evidence"] for entry in entries().values()]
    assert len(set(texts)) == len(texts)
    assert not any(re.search(r"_|\bTrue\b|\bFalse\b", text) for text in texts)


def test_an_unknown_claim_is_refused() -> None:
    with pytest.raises(InputError, match="unknown claim 'tuning-help'; did you mean 'tuning-helps'"):
        judge_published("tuning-help")
