"""The lines of the README's section on other toolkits, all of them, on a tiny encoder and a tiny collection."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from armlib import load_collection
from armlib.encoder.bi_encoder import BiEncoder

README = Path(__file__).resolve().parents[2] / "README.md"
Triples = list[tuple[str, str, str]]


def blocks() -> list[str]:
    """The section's pieces of Python."""
    section = README.read_text(encoding="utf8").partition("## In other toolkits\n")[2].partition("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")  # of pyterrier 1.1
@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")  # the trainer's default, on a machine without a GPU
def test_every_line_runs(triples: Triples, tiny_folder: Path, beir_folder: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    for name in ("datasets", "pyterrier"):
        pytest.importorskip(name, reason=f"{name} is not installed (pip install 'armlib[integrations]')")
    monkeypatch.chdir(tmp_path)
    test = load_collection(f"{beir_folder}/test")
    queries, positives, negatives = map(list, zip(*triples, strict=True))
    rows = [(query, name, grade) for query, grades in test.qrels().items() for name, grade in grades.items()]
    names: dict[str, Any] = {"queries": queries, "positives": positives, "negatives": negatives}
    names["topics"] = pd.DataFrame(test.queries().items(), columns=["qid", "query"])
    names["qrels"] = pd.DataFrame(rows, columns=["qid", "docno", "label"])
    code = blocks()
    assert len(code) == 3
    stands_for = {"sentence-transformers/all-MiniLM-L6-v2": str(tiny_folder), "beir/scifact/test": f"{beir_folder}/test"}
    for block in code:
        for name, instead in stands_for.items():
            block = block.replace(name, instead)
        *lines, last = block.strip().split("\n")
        exec("\n".join([*lines, f"last = {last}" if last.startswith("pyterrier") else last]), names)
    assert set(names["last"]["ndcg_cut_10"] > 0.1) == {True} and len(names["last"]) == 2
    assert BiEncoder.load("my-encoder").lengths == BiEncoder.load("my-model").lengths == {"query_length": 30, "passage_length": 200}
    assert len(names["run"].validations) > 0 and list((tmp_path / "out" / "eval").glob("*.run.gz"))
