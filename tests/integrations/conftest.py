"""Triples and models that the tests of several toolkits share."""

from __future__ import annotations

from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer

Triples = list[tuple[str, str, str]]


@pytest.fixture(scope="session")
def triples(texts: list[tuple[str, str]]) -> Triples:
    """Each documented object's first line, what follows it, and what follows one of the next two."""
    pairs = [text.split("\n", 1) for _, text in texts if text.partition("\n")[2].strip()]
    flat = [(query, " ".join(body.split())) for query, body in pairs]
    return [(*flat[number], flat[(number + ahead) % len(flat)][1]) for number in range(len(flat)) for ahead in (1, 2)]


@pytest.fixture
def model(tiny_folder: Path) -> SentenceTransformer:
    """The encoder of `tiny_folder` as sentence-transformers loads it, a fresh one for each test."""
    return SentenceTransformer(str(tiny_folder), device="cpu")
