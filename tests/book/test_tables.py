"""Tables hold the values of the results, are exported, and are shown on a page."""

from __future__ import annotations

import pandas as pd
import pytest

from armbook import tables
from armlib.demo import docstrings
from armlib.evaluation.evaluate import FULL_RANKING
from armlib.experiments import result
from armlib.experiments.experiment import Experiment
from fabricated import Fabricated, of_variant, with_about, with_experiment


@pytest.fixture
def results() -> list[Fabricated]:
    """Distributed targets with two seeds and adaptive ones with one, made on one machine."""
    about = {
        "machine": {"processor": "Processor", "gpu": None, "threads": 1, "cores": 2, "memory_gib": 4.0},
        "time": "2026-01-01T00:00:00+00:00",
        "seconds": {"training": 8.0, "total": 16.0},
        "fingerprints": {"docs/train": "4567", "docs/test": "89ab"},
        "validated_on": "docs/test",
    }
    made = [
        of_variant(Experiment(target=target, seed=seed, selection="last"), 0.5 + 0.03 * seed, ("docs/test",))
        for target, seed in (("distributed", 0), ("distributed", 1), ("adaptive", 0))
    ]
    return [with_about(each, **about) for each in made]


def test_comparison_averages_over_seeds(results, tmp_path, monkeypatch) -> None:
    table = tables.comparison(results)
    assert table.index.tolist() == ["distributed", "adaptive"] and table[("training", "", "seeds")].tolist() == [2, 1]
    column = table[("docs/test", FULL_RANKING, "nDCG@10")]
    assert column.tolist() == ["0.515 ± 0.015", "0.500"] and table[("training", "", "seconds")].tolist() == [8.0, 8.0]
    monkeypatch.setenv("ARMLIB_FIGURES", str(tmp_path))
    csv, latex = tables.save(table, "compared")
    assert pd.read_csv(csv, header=[0, 1, 2], index_col=0).index.tolist() == table.index.tolist()
    assert r"\begin{tabular}" in latex.read_text() and column["adaptive"] in latex.read_text()


def test_names_are_shown_and_never_read_as_markup_or_formulas(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ARMLIB_FIGURES", str(tmp_path))
    name = "<script>alert(1)</script>"
    table = pd.DataFrame([["=1+1 best", name]], columns=pd.MultiIndex.from_tuples([("a", name), ("a", "@b")]))
    shown = tables.show(table, "t", f"On {name}").data
    assert "<script" not in shown and shown.replace("<wbr>", "").count("&lt;script&gt;alert(1)&lt;/script&gt;") == 3
    assert "<b>" not in shown and "=1+1 best" in shown
    csv = tmp_path / "t.csv"
    assert csv.read_text() == f",a,a\n,{name},'@b\n0,'=1+1 best,{name}\n"
    assert "<script" not in tables.as_html(table.set_axis(["x", name], axis="columns").set_axis([name], axis="index"), index=True)


def test_scores_marked_best_are_bold_and_sentences_that_end_so_are_left(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ARMLIB_FIGURES", str(tmp_path))
    bold = {"0.64 † best": "0.64 †", "0.853 ± 0.003 best": "0.853 ± 0.003", "-0.1 best": "-0.1"}
    plain = ["where 0 is best", "3 is best", "exact re-ranking of the best", "1,000 passages are the best", "0.64 †"]
    shown = tables.show(pd.DataFrame({"x": [*bold, *plain]}), "marked", "").data
    latex = (tmp_path / "marked.tex").read_text()
    assert shown.count("<b>") == latex.count(r"\bfseries") == len(bold)
    assert all(f"<b><span>{text}</span></b>" in shown or f"<span><b>{text}</b></span>" in shown for text in bold.values())
    assert all(text in shown and text in latex for text in plain)


def test_provenance_names_keys_and_fingerprints(results) -> None:
    lines = tables.provenance(results)
    assert "- 3 training runs on Processor, 1 of 2 cores, 4.0 GiB: 48 s in all, finished 2026-01-01T00:00:00+00:00\n" in lines
    one, other, adaptive = (each.key for each in results)
    assert f"distributed `{one}` (seed 0), `{other}` (seed 1); adaptive `{adaptive}` (seed 0)\n" in lines
    assert "- collection docs/train, fingerprint 4567\n- collection docs/test, fingerprint 89ab" in lines
    assert "docstrings as a whole" not in lines and "a test set" not in lines


def test_provenance_says_what_chose_the_step_and_which_docstrings_there_were(results, monkeypatch) -> None:
    chosen = [with_experiment(results[0], selection="best"), *results[1:]]
    assert "- the step was chosen on docs/test, a test set\n" in tables.provenance(chosen)
    of_docstrings = [with_about(each, fingerprints={"docstrings/train": "0123"}) for each in results]
    for found, said in ((docstrings.REFERENCE, ": the texts that"), ("another", ": not the texts")):
        monkeypatch.setattr(docstrings, "collection_fingerprint", lambda found=found: found)
        assert said in tables.provenance(of_docstrings)


def test_measures_as_text(results) -> None:
    text = result.measures_as_text(results[0].measures)
    assert "full ranking" in text and "0.5000" in text


def test_tables_for_pages_are_escaped_and_whole() -> None:
    long = "<script>alert('$x$')</script> " + "word " * 100
    row = {"text": long, "a & b": 1234567, "share": 2.5, "none": None, "name": "beir/scifact in 1.98 s"}
    found = tables.as_html(pd.DataFrame([row], index=["<i>"], dtype=object), index=True)
    assert "&lt;script&gt;" in found and "<script" not in found and found.count("word ") >= 99
    assert "a &amp; b" in found and "&lt;i&gt;" in found
    assert "1,234,567" in found and "2.50" in found and "–" in found and "tex2jax_ignore" in found
    assert "beir/<wbr>scifact in 1.98 s" in found, "names may be broken, numbers not"


def test_a_shown_table_is_exported_and_marked_for_the_build(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ARMLIB_FIGURES", str(tmp_path))
    few = pd.DataFrame({"target": ["static(0.3)", "none"], "nDCG@10": [0.1234, None], "triples": [1_980_000.0, None]})
    shown = tables.show(few, "few", "Scores of *two*.", digits=2).data
    assert '<table id="table-few"' in shown and "<caption>Scores of <em>two</em>.</caption><thead>" in shown
    assert "<span>0.12</span>" in shown and "<span>1,980,000</span>" in shown and "sortable" not in shown
    assert pd.read_csv(tmp_path / "few.csv")["nDCG@10"][0] == 0.1234
    assert "0.12 &" in (tmp_path / "few.tex").read_text() and "Scores of" in (tmp_path / "few.tex").read_text()
    many = pd.concat([few] * 8)
    assert 'class="table-on-page sortable ' in tables.show(many, "many", "As above.").data


def test_a_table_that_needs_the_margin_gets_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ARMLIB_FIGURES", str(tmp_path))
    narrow, wide = (pd.DataFrame([{("a", f"nDCG@{k}"): "0.647 ± 0.004 †" for k in range(count)}]) for count in (3, 8))
    shown = [
        tables.show(each.set_axis(pd.MultiIndex.from_tuples(each.columns), axis="columns"), "w", "").data for each in (narrow, wide)
    ]
    assert [" wide " in each for each in shown] == [False, True]
    assert ["--ems: 29" in shown[0], "--ems: 78" in shown[1]] == [True, True]  # 15 letters and the padding, three and eight times
    assert shown[1].count("<span>0.647 ± 0.004 †</span>") == 8, "numbers are not broken before their marks"
    texts = pd.DataFrame({"text": ["word " * 50]})
    assert " wide " not in tables.show(texts, "texts", "").data, "long texts are broken into lines"


def test_texts_are_cut_at_words() -> None:
    assert tables.shortened(" a  short\ttext ", 20) == "a short text"
    assert tables.shortened("one two three four", 16) == "one two [...]"
    assert tables.shortened("one two three", 13) == "one two three" and tables.shortened("x" * 50, 20) == "x" * 14 + " [...]"
    pieces = [tables.shortened("word " * 40, width) for width in range(20, 60)]
    assert all(len(piece) <= width for width, piece in enumerate(pieces, 20))
