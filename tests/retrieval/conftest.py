"""What the tests of this folder share: SciFact's claims and abstracts, as vectors and as words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from armlib.retrieval.vectors import unit_vectors
from words import WordStore


@pytest.fixture(scope="session")
def scifact(shared_data: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of the abstracts, (5183, 128), and of 200 claims, (200, 128), by latent semantic analysis: float32 of length 1."""
    texts = {}
    for name in ("corpus", "queries"):
        lines = (shared_data / "scifact" / f"{name}.jsonl").read_text().splitlines()
        texts[name] = [f"{entry.get('title', '')} {entry['text']}" for entry in map(json.loads, lines)]
    words = TfidfVectorizer(sublinear_tf=True, max_features=10_000)
    reduce = TruncatedSVD(128, n_iter=2, random_state=0)
    passages = reduce.fit_transform(words.fit_transform(texts["corpus"]))
    return unit_vectors(passages), unit_vectors(reduce.transform(words.transform(texts["queries"][:200])))


@pytest.fixture(scope="session")
def exact_rows(scifact: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The 1,000 nearest abstracts of each claim, (200, 1000), by the full product."""
    passages, queries = scifact
    return np.argsort(-(queries @ passages.T).astype(np.float64), axis=1, kind="stable")[:, :1000]


@pytest.fixture(scope="session")
def stores(shared_data: Path) -> tuple[WordStore, WordStore]:
    """Token stores of 30 claims and 1,000 abstracts."""
    made = []
    for name, count in (("queries", 30), ("corpus", 1000)):
        entries = map(json.loads, (shared_data / "scifact" / f"{name}.jsonl").read_text().splitlines()[:count])
        made.append(WordStore({str(e["_id"]): f"{e.get('title', '')} {e['text']}" for e in entries}))
    return made[0], made[1]
