"""Table 3 and its figure from fabricated results: means, spreads, daggers, times and triples worked out by hand."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from armbook import published
from armbook.comparison import (
    comparable,
    costs_by_source,
    marks,
    published_costs,
    published_scores,
    scores_by_source,
    selection,
    training_costs,
    tuned_in_words,
    variant_scores,
    variants,
)
from armbook.comparison_tables import (
    APART,
    by_triples,
    cost_ratios,
    costs_table,
    effectiveness_and_cost,
    grades_in_words,
    ratios_table,
    scores_table,
)
from armbook.miniature import HERE, NAME
from armbook.results import RECALL, headed, is_of_the_paper
from armbook.side_by_side import PUBLISHED, model_names, paper_collections, titled
from armbook.style import colour, marker
from armbook.tables import show
from armlib.errors import InputError
from armlib.evaluation.equivalence import compare
from armlib.evaluation.evaluate import RERANKING
from fabricated import VARIANTS_COLLECTIONS, evaluation, five_variants, with_about, with_experiment


def test_static_targets_are_the_tuned_ones() -> None:
    found = variants(five_variants())
    assert len(found) == 10
    assert {key: chosen[0].experiment.target for key, chosen in found.items() if key[1] == "static"} == {
        ("lsa/distilbert", "static", False): "static(0.3)",
        ("lsa/distilbert", "static", True): "static(0.1)",
        ("mine", "static", False): "static(0.1)",
        ("mine", "static", True): "static(0.3)",
    }
    assert all([result.experiment.seed for result in chosen] == [0, 1] for chosen in found.values())


def test_a_result_that_is_given_twice_counts_once() -> None:
    whole = five_variants()
    pd.testing.assert_frame_equal(variant_scores([*whole, *whole[:3]]), variant_scores(whole))
    pd.testing.assert_frame_equal(training_costs([*whole, *whole[:3]]), training_costs(whole))


def test_a_missing_variant_is_named() -> None:
    without = [r for r in five_variants() if (r.experiment.encoder, r.experiment.variant()) != ("mine", "adaptive, in-batch")]
    with pytest.raises(InputError, match="lacks results of adaptive, in-batch with mine"):
        variant_scores(without)


def test_costs_add_up() -> None:
    table = training_costs(five_variants()).set_index(["encoder", "target", "in_batch"])
    static = table.loc["lsa/distilbert", "static", False]
    assert static.seconds == 10.5 and static.seconds_with_sweep == 21.0  # two targets, each the mean of 10 and 11 seconds
    assert static.triples == 1000 and static.triples_with_sweep == 2000
    distributed = table.loc["lsa/distilbert", "distributed", False]
    assert distributed.seconds == distributed.seconds_with_sweep == 8.0
    assert distributed.triples == distributed.triples_with_sweep == 1000
    assert set(table.best_triples) == {500}
    assert set(training_costs(five_variants(best_step=100)).best_triples) == {1000}


def test_further_seeds_of_the_tuned_target_do_not_lengthen_the_sweep() -> None:
    swept = [r for r in five_variants() if not (r.experiment.target.startswith("static") and r.experiment.seed)]
    further = [
        r for r in five_variants() if r.experiment.target == "static(0.3)" and not r.experiment.in_batch and r.experiment.seed
    ]
    static = training_costs([*swept, *further]).set_index(["encoder", "target", "in_batch"]).loc["lsa/distilbert", "static", False]
    assert static.seconds == 10.5 and static.seconds_with_sweep == 20.0  # both targets have seed 0 alone in common


def test_a_shorter_sweep_comes_on_top() -> None:
    swept = [
        with_about(with_experiment(result, steps=40, full_ranking=False), seconds={"training": 4.0})
        for result in five_variants()
        if result.experiment.target.startswith("static")
    ]
    chosen = {("lsa/distilbert", "static(0.3)", False), ("lsa/distilbert", "static(0.1)", True)}
    chosen |= {("mine", "static(0.1)", False), ("mine", "static(0.3)", True)}
    compared = [
        result
        for result in five_variants()
        if not result.experiment.target.startswith("static")
        or (result.experiment.encoder, result.experiment.target, result.experiment.in_batch) in chosen
    ]
    assert variants([*swept, *compared]) == variants(five_variants())
    static = training_costs([*swept, *compared]).set_index(["encoder", "target", "in_batch"]).loc["lsa/distilbert", "static", False]
    assert static.seconds == 10.5 and static.seconds_with_sweep == 4.0 + 4.0 + 10.5


def test_equivalence_is_tested_to_the_best_of_the_encoder() -> None:
    table = variant_scores(five_variants())
    assert len(table) == 2 * 5 * 2 * 2  # encoders, variants, collections, measures
    group = table[(table.encoder == "lsa/distilbert") & (table.collection == "docstrings/test") & (table.measure == "nDCG@10")]
    # The best is 0.60; 0.58 and 0.57 are nearer than 0.05 on 40 queries with little noise, 0.50 and 0.45 are not.
    assert group.target.tolist() == ["static", "static", "adaptive", "adaptive", "distributed"]
    assert group["mark"].tolist() == ["best", "†", "", "", "†"]
    assert group["mean"].tolist() == pytest.approx([0.60, 0.58, 0.45, 0.50, 0.57])
    assert group.spread.tolist() == pytest.approx([0.01] * 5)
    assert group["corrected p"].isna().tolist() == [True, False, False, False, False]


def test_what_was_selected_how_is_said() -> None:
    assert "keeps its last weights" in selection(five_variants()) and "optimistic" not in selection(five_variants())
    chosen = [with_about(with_experiment(each, selection="best"), validated_on="msmarco-mini/dev") for each in five_variants()]
    text = selection(chosen)
    assert "on msmarco-mini/dev, which chooses the step" in text and "optimistic" in text


def test_a_margin_loss_on_sampled_batches_is_none_of_the_variants() -> None:
    results = five_variants()
    ours = variants(results)
    balanced = [with_experiment(result, sampler="balanced(4, by='student')") for result in results]
    assert variants([*balanced, *results]) == ours and is_of_the_paper(results[0]) and not is_of_the_paper(balanced[0])


SHOWN = {
    NAME: five_variants(collections=("mini/dev", "mini/trec-dl-2019")),
    HERE: five_variants(collections=VARIANTS_COLLECTIONS[:1]),
}


def test_of_what_came_with_the_repository_only_whole_encoders_are_compared() -> None:
    whole = five_variants()
    partial = [r for r in whole if (r.experiment.encoder, r.experiment.target) != ("mine", "distributed")]
    assert comparable({NAME: partial, HERE: partial}) == {
        NAME: [r for r in whole if r.experiment.encoder == "lsa/distilbert"],
        HERE: partial,
    }
    assert comparable({NAME: [r for r in whole if r.experiment.target == "distributed"], HERE: whole}) == {HERE: whole}


def test_the_published_scores_are_those_of_the_printed_table() -> None:
    scores, printed = published_scores(), published.table3()
    assert len(scores) == 4 * len(printed)
    row = scores[
        (scores.encoder == "distilBERT") & (scores.target == "static") & scores.in_batch & (scores.measure == "R(rel=2)@1000")
    ]
    assert row["mean"].tolist() == [0.786, 0.823] and row["mark"].tolist() == ["†", "†"]
    best = scores[scores["mark"] == "best"].groupby(["encoder", "collection", "measure"]).size()
    assert len(best) == 12 and set(best) == {1}
    highest = scores.groupby(["encoder", "collection", "measure"])["mean"].transform("max")
    assert (scores["mean"] == highest)[scores["mark"] == "best"].all()


def test_published_times_and_triples_are_not_rounded() -> None:
    costs = published_costs().set_index(["encoder", "target", "in_batch"])
    assert costs.loc[("distilBERT", "adaptive", True)].tolist() == [3840.0, 1_980_000]
    table = costs_table({PUBLISHED: published_costs()})
    assert table[PUBLISHED].iloc[:5].to_numpy().tolist() == [
        ["15:07*", "5.18M"],
        ["13:30*", "2.24M"],
        ["2:36", "4.93M"],
        ["1:04", "1.98M"],
        ["3:56", "7.30M"],
    ]


def test_scores_stand_side_by_side() -> None:
    scores = scores_by_source(SHOWN)
    assert list(scores) == [PUBLISHED, NAME, HERE] and set(scores[NAME].collection) == {"mini/trec-dl-2019"}
    table = scores_table(scores, "nDCG@10")
    assert list(table.columns) == [
        ("model", "encoder"),
        ("model", "target"),
        ("model", "in-batch"),
        (PUBLISHED, "TREC-DL 2019"),
        (PUBLISHED, "TREC-DL 2020"),
        (NAME, "TREC-DL 2019"),
        (HERE, "docstrings/test"),
    ]
    assert table.iloc[0].tolist() == [
        "distilBERT",
        "static",
        "no",
        "0.647 best",
        "0.632 best",
        "0.500 ± 0.010 best",
        "0.600 ± 0.010 best",
    ]
    assert table.iloc[4, 2:].tolist() == ["yes", "0.639 †", "0.615 †", "0.470 ± 0.010 †", "0.570 ± 0.010 †"]
    assert len(table) == 20 and table.iloc[5:15, 5:].isna().all(axis=None)
    assert table["model", "encoder"].tolist()[15:] == ["mine"] * 5 and table.iloc[15:, 3:5].isna().all(axis=None)
    recall = scores_table(scores, RECALL)
    assert recall.iloc[0, 3:].tolist() == ["0.792 best", "0.821 †", "0.400 ± 0.010", "0.300 ± 0.010"]
    again = scores_by_source(SHOWN, RERANKING)
    assert list(again) == [NAME, HERE] and len(scores_table(again, "nDCG@10")) == 10


def test_what_is_best_is_bold_on_the_page_and_in_latex(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ARMLIB_FIGURES", str(tmp_path))
    table = scores_table(scores_by_source(SHOWN), "nDCG@10").replace("mine", "my_own")
    html = show(table, "table", "5% of `A_B`").data
    assert "<b>0.600 ± 0.010</b>" in html and "5% of <code>A_B</code>" in html and "best<" not in html
    text = (tmp_path / "table.tex").read_text()
    assert r"\bfseries 0.600 ± 0.010" in text and r"\caption{5\% of `A\_B`}" in text and r"my\_own" in text and "best &" not in text
    assert pd.read_csv(tmp_path / "table.csv", header=[0, 1], index_col=0).iloc[0, 3] == "0.647 best"


def test_one_seed_has_no_spread() -> None:
    table = scores_table(scores_by_source({HERE: five_variants(("mine",), (3,), VARIANTS_COLLECTIONS[:1])}), "nDCG@10")
    assert len(table) == 20 and not table.map(lambda text: "±" in str(text)).any(axis=None)


def test_a_tie_has_no_best() -> None:
    noise = np.linspace(-0.01, 0.01, 20)
    group = {name: evaluation({"nDCG@10": mean}, noise) for name, mean in {"a": 0.5, "b": 0.5, "c": 0.49, "d": 0.3}.items()}
    assert marks(compare(group, "nDCG@10")).to_dict() == {"a": "=", "b": "=", "c": "†", "d": ""}
    assert marks(compare({name: group[name] for name in ("a", "c")}, "nDCG@10")).to_dict() == {"a": "best", "c": "†"}
    assert set(marks(compare({name: group["a"] for name in "abcde"}, "nDCG@10"))) == {"="}, "not five times the best"


def test_costs_and_ratios_stand_side_by_side() -> None:
    costs = costs_by_source(SHOWN)
    table = costs_table(costs)
    assert table[NAME].iloc[0].tolist() == ["0:00:21*", "1k", "500"] and table[HERE].iloc[4].tolist() == ["0:00:08", "1k", "500"]
    ratios = ratios_table(costs)
    assert list(ratios) == ["compared", "encoder", PUBLISHED, NAME, HERE] and len(ratios) == 16
    first = ratios[ratios.compared == "static / distributed"].set_index("encoder")
    assert first.loc["distilBERT"].tolist()[1:] == ["3.8×", "2×", "2×"], "hours, and triples of two targets over those of one"
    assert first.loc["mine", PUBLISHED] != first.loc["mine", PUBLISHED], "not published"
    assert not by_triples(costs[PUBLISHED]) and by_triples(costs[HERE])


def test_time_counts_where_training_stops_early() -> None:
    costs = training_costs(five_variants())
    costs.loc[0, "triples"] = 900
    found = cost_ratios(costs)
    assert not by_triples(costs)
    assert found.ratio[(found.encoder == "mine") & (found.compared == "static / distributed")].item() == 21 / 8


def test_names_are_short() -> None:
    assert [titled(each) for each in ("msmarco-passage/trec-dl-2020/judged", "docstrings/test")] == [
        "TREC-DL 2020",
        "docstrings/test",
    ]
    assert [headed(each) for each in ("R(rel=2)@1000", "Success(rel=2)@100", "nDCG@10")] == ["R@1000", "Hits@100", "nDCG@10"]
    assert paper_collections(["a/dev", "a/trec-dl-2019", "a/trec-dl-2020"]) == ["a/trec-dl-2019", "a/trec-dl-2020"]
    assert paper_collections(["a/dev", "a/dev", "a/test"]) == ["a/dev", "a/test"]
    assert model_names(["lsa/mpnet", "microsoft/mpnet-base", "FacebookAI/roberta-base"]) == {
        "lsa/mpnet": "lsa/mpnet",  # two of one architecture keep their names
        "microsoft/mpnet-base": "microsoft/mpnet-base",
        "FacebookAI/roberta-base": "RoBERTa",
    }


def test_grades_are_told_where_they_differ() -> None:
    scores = scores_by_source(SHOWN)
    assert grades_in_words(scores, RECALL) == "passages count as relevant from grade 2"
    scores[HERE] = scores[HERE].replace("R(rel=2)@1000", "R@1000")
    said = "passages count as relevant from grade 2 (published, MS MARCO in miniature) and grade 1 (this copy)"
    assert grades_in_words(scores, RECALL) == said


def test_tuned_targets_are_told() -> None:
    assert tuned_in_words(five_variants()) == "lsa/distilbert 0.3 (in-batch 0.1); mine 0.1 (in-batch 0.3)"


@pytest.fixture
def figure():
    made = effectiveness_and_cost(scores_by_source(SHOWN), costs_by_source(SHOWN))
    yield made
    plt.close(made)


def test_points_are_at_the_cost_and_the_score(figure) -> None:
    scores, costs = scores_by_source(SHOWN), costs_by_source(SHOWN)
    titles = [f"{PUBLISHED}: TREC-DL 2019", f"{NAME}: TREC-DL 2019", f"{HERE}: docstrings/test"]
    assert [axes.get_title() for axes in figure.axes] == titles
    for axes, source in zip(figure.axes, scores, strict=True):
        cost = costs[source].set_index(["encoder", "target", "in_batch"])
        own = scores[source][(scores[source].measure == "nDCG@10") & (scores[source].collection != "TREC-DL 2020")]
        assert len(axes.containers) == len(own) == (15 if source == PUBLISHED else 10) and axes.get_xscale() == "log"
        for drawn, row in zip(axes.containers, own.to_dict("records"), strict=True):
            point, _, (bar,) = drawn.lines
            spent = cost.loc[(row["encoder"], row["target"], row["in_batch"])]
            apart = APART ** (0.5 if row["encoder"] == "mine" else -0.5)
            there = spent.seconds_with_sweep / 3600 if source == PUBLISHED else spent.triples_with_sweep * apart
            assert point.get_xdata()[0] == pytest.approx(there) and point.get_ydata()[0] == row["mean"]
            low, high = bar.get_segments()[0][:, 1]
            spread = 0 if source == PUBLISHED else row["spread"]
            assert (low, high) == pytest.approx((row["mean"] - spread, row["mean"] + spread))
            assert to_rgb(point.get_color()) == to_rgb(colour(row["target"] + (", in-batch" if row["in_batch"] else "")))
            assert point.get_marker() == marker(row["encoder"])


def test_a_line_leads_back_to_one_training_run_where_its_time_is_known(figure) -> None:
    counts = []
    for axes in figure.axes:
        lines = [line for line in axes.lines if len(line.get_xdata()) == 2]
        assert all(line.get_xdata()[1] == 2 * line.get_xdata()[0] and len(set(line.get_ydata())) == 1 for line in lines)
        counts.append(len(lines))
    assert counts == [0, 4, 4]


def test_the_legend_names_variants_and_encoders(figure) -> None:
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["static", "static, in-batch", "adaptive", "adaptive, in-batch", "distributed", *published.MODELS, "mine"]
