"""Tables hold the values of the results, are exported, and are shown on a page."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from armbook import tables
from armlib.demo import docstrings
from armlib.evaluation.evaluate import FULL_RANKING
from armlib.experiments import result


@pytest.fixture(scope="module")
def results(small_store, small_experiment):
    return small_store.results([small_experiment, replace(small_experiment, seed=1), replace(small_experiment, target="adaptive")])


def test_comparison_averages_over_seeds(results, small_experiment, tmp_path, monkeypatch) -> None:
    table = tables.comparison(results)
    assert table.index.tolist() == ["distributed", "adaptive"] and table[("training", "", "seeds")].tolist() == [2, 1]
    (name,) = small_experiment.evaluation
    first, second, other = (result.value(name, FULL_RANKING, "nDCG@10") for result in results)
    column = table[(name, FULL_RANKING, "nDCG@10")]
    assert column["distributed"] == f"{(first + second) / 2:.3f} ± {abs(first - second) / 2:.3f}"
    assert column["adaptive"] == f"{other:.3f}"
    monkeypatch.setenv("ARMLIB_FIGURES", str(tmp_path))
    csv, latex = tables.save(table, "compared")
    assert pd.read_csv(csv, header=[0, 1, 2], index_col=0).index.tolist() == table.index.tolist()
    assert r"\begin{tabular}" in latex.read_text() and column["adaptive"] in latex.read_text()


def test_provenance_names_keys_and_fingerprints(results, monkeypatch) -> None:
    lines = tables.provenance(results)
    assert all(f"`{result.key}` (seed {result.experiment.seed})" in lines for result in results)
    assert f"- {len(results)} training runs on " in lines
    assert lines.count("distributed") == 1, "a line for each variant, not for each seed"
    assert all(value in lines for value in results[0].about["fingerprints"].values())
    assert "docstrings as a whole" not in lines
    monkeypatch.setitem(results[1].__dict__, "about", results[1].about | {"validated_on": results[1].measures.collection[0]})
    monkeypatch.setitem(results[1].__dict__, "experiment", replace(results[1].experiment, selection="best"))
    assert f"chosen on {results[1].measures.collection[0]}, a test set" in tables.provenance(results)
    about = results[0].about | {"fingerprints": {"docstrings/train": "0123"}}
    monkeypatch.setitem(results[0].__dict__, "about", about)
    for found, said in ((docstrings.REFERENCE, ": the texts that"), ("another", ": not the texts")):
        monkeypatch.setattr(docstrings, "collection_fingerprint", lambda found=found: found)
        assert said in tables.provenance(results)


def test_measures_as_text(results) -> None:
    text, (name,) = result.measures_as_text(results[0].measures), results[0].experiment.evaluation
    assert "full ranking" in text and f"{results[0].value(name, FULL_RANKING, 'nDCG@10'):.4f}" in text


def test_tables_for_pages_are_escaped_and_whole() -> None:
    long = "<script>alert('$x$')</script> " + "word " * 100
    row = {"text": long, "a & b": 1234567, "share": 2.5, "none": None, "name": "beir/scifact in 1.98 s"}
    found = tables.as_html(pd.DataFrame([row], index=["<i>"], dtype=object), index=True)
    assert "&lt;script&gt;" in found and "<script" not in found and found.count("word ") >= 99
    assert "a &amp; b" in found and "&lt;i&gt;" in found
    assert "1,234,567" in found and "2.50" in found and "–" in found and "tex2jax_ignore" in found
    assert "beir/<wbr>scifact in 1.98 s" in found, "names may be broken, numbers not"


def test_texts_are_cut_at_words() -> None:
    assert tables.shortened(" a  short\ttext ", 20) == "a short text"
    assert tables.shortened("one two three four", 16) == "one two [...]"
    assert tables.shortened("one two three", 13) == "one two three" and tables.shortened("x" * 50, 20) == "x" * 14 + " [...]"
    pieces = [tables.shortened("word " * 40, width) for width in range(20, 60)]
    assert all(len(piece) <= width for width, piece in enumerate(pieces, 20))
