"""Figures and tables hold the values of the results."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from armbook import style, tables, why_margins

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


def test_learning_draws_the_validations_and_the_trace(results, tmp_path, monkeypatch) -> None:
    figure = why_margins.learning(results)
    scores, similarities = figure.axes
    for result, line in zip(results, scores.lines, strict=True):
        assert line.get_ydata().tolist() == result.validations["nDCG@10"].tolist()
        assert line.get_xdata().tolist() == (result.validations.step * 16).tolist()
        assert line.get_color() == style.colour(result.experiment.variant())
    for result, line in zip(results, similarities.lines, strict=True):
        assert line.get_ydata()[-1] == pytest.approx(result.trace.similarity_mean.mean()), "20 steps are within one rolling mean"
    monkeypatch.setenv("ARMLIB_FIGURES", str(tmp_path))
    made = style.save(figure, "learning")
    assert [path.name for path in made] == ["learning.svg", "learning.pdf"]
    before = [path.read_bytes() for path in made]
    style.save(why_margins.learning(results), "learning")
    assert [path.read_bytes() for path in made] == before, "the same data give the same bytes"


def test_every_variant_has_a_colour() -> None:
    variants = ("static(0.3)", "static(1.0), in-batch", "adaptive", "adaptive, in-batch", "distributed", "mean", "variance")
    assert len({style.colour(variant) for variant in variants}) == len(variants)
    assert style.colour("static(0.3)") == style.colour("static(1.0), released-code reading")
    assert style.short_name("/models/mine/roberta") == "mine/roberta" and style.short_name("lsa/mpnet") == "lsa/mpnet"
    assert len({style.marker(f"lsa/{name}") for name in ("distilbert", "roberta", "mpnet")}) == 3


def test_provenance_names_keys_and_fingerprints(results, monkeypatch) -> None:
    lines = tables.provenance(results)
    assert all(f"`{result.key}` (seed {result.experiment.seed})" in lines for result in results)
    assert f"- {len(results)} trainings on " in lines
    assert lines.count("distributed") == 1, "a line for each variant, not for each seed"
    assert all(value in lines for value in results[0].about["fingerprints"].values())
    assert "docstrings as a whole" not in lines
    about = results[0].about | {"fingerprints": {"docstrings/train": "0123"}}
    monkeypatch.setitem(results[0].__dict__, "about", about)
    monkeypatch.setitem(results[1].__dict__, "about", results[1].about | {"validated_on": results[1].measures.collection[0]})
    monkeypatch.setitem(results[1].__dict__, "experiment", replace(results[1].experiment, selection="best"))
    assert f"chosen on {results[1].measures.collection[0]}, a test set" in tables.provenance(results)
    for found, said in ((docstrings.REFERENCE, ": the texts that"), ("another", ": not the texts")):
        monkeypatch.setattr(docstrings, "collection_fingerprint", lambda found=found: found)
        assert said in tables.provenance(results)


def test_measures_as_text(results) -> None:
    text, (name,) = result.measures_as_text(results[0].measures), results[0].experiment.evaluation
    assert "full ranking" in text and f"{results[0].value(name, FULL_RANKING, 'nDCG@10'):.4f}" in text
