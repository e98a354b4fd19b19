"""How evidence names variants, collections and measures, and how it lists things."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from armbook.results import spoken, variant_name
from armbook.sentences import capital
from armlib.evaluation.evaluate import FULL_RANKING

TREC = re.compile(r"(?:^|.*[/-])trec-dl-(20\d\d)\b.*")
SIGNS: dict[bool | None, str] = {True: "✓", False: "✗", None: "–"}
"""Before a case: it supports the claim, it contradicts it, it is too close to call."""


def said(target: str, in_batch: bool = False) -> str:
    """A variant in a sentence, such as ``adaptive in-batch``."""
    return variant_name(target, in_batch).replace(",", "")


def targets(target: str, in_batch: bool = False) -> str:
    """A variant's targets in a sentence, such as ``adaptive in-batch targets`` or ``the static target 0.3``."""
    one = re.fullmatch(r"static\(([\d.]+)\)", target)
    return f"the static target {float(one[1]):g}{', in-batch' if in_batch else ''}" if one else f"{said(target, in_batch)} targets"


def place(collection: str) -> str:
    """A collection in a sentence: ``TREC-DL 2019`` for any that has its judgments, ``docstrings`` for ``docstrings/test``."""
    if trec := TREC.fullmatch(collection):
        return f"TREC-DL {trec[1]}"
    return re.sub(r"/dev$", " dev queries", collection.removesuffix("/test"))


def with_trec(collections: Iterable[str]) -> list[str]:
    """Those of some collections that have TREC-DL's judgments, which the paper's claims are about; all of them where none has."""
    given = list(collections)
    return [each for each in given if TREC.fullmatch(each)] or given


def measure_in_words(collection: str, mode: str, measure: str) -> str:
    """A measure in a sentence, such as ``Recall@1000 on TREC-DL 2019`` or ``nDCG@10 of re-ranking on docstrings``."""
    return f"{spoken(measure)}{'' if mode == FULL_RANKING else ' of re-ranking'} on {place(collection)}"


def sentences(*parts: str) -> str:
    """Parts of a text as sentences: each starts with a capital and ends with a full stop."""
    return " ".join(f"{capital(part).removesuffix('.')}." for part in parts if part)


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun, such as ``1 claim`` or ``2 claims``."""
    return f"{number:,} {one if number == 1 else many or one + ('es' if one.endswith('s') else 's')}"


def row_of(names: Sequence[str], values: Iterable[str]) -> str:
    """Named values in a row, such as ``0.647 (static), 0.537 (adaptive)``."""
    return ", ".join(f"{value} ({name})" for name, value in zip(names, values, strict=True))
