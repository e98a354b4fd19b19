"""What the tests of this folder share: the official judgments of TREC Deep Learning."""

from __future__ import annotations

from pathlib import Path

import ir_measures
import pytest

from armlib.data.types import Qrels


@pytest.fixture(scope="session")
def qrels(shared_data: Path) -> dict[str, Qrels]:
    """The judgments of ``dl19`` and ``dl20``."""
    found: dict[str, Qrels] = {"dl19": {}, "dl20": {}}
    for year in found:
        for judged in ir_measures.read_trec_qrels(str(shared_data / "trec-dl" / f"qrels.{year}-passage.txt")):
            found[year].setdefault(judged.query_id, {})[judged.doc_id] = judged.relevance
    return found
