"""Figure 3 and its tables hold the numbers of the results, read back from the drawing; the results here are made up."""

from __future__ import annotations

from itertools import product

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import FillBetweenPolyCollection

from armbook import published
from armbook.miniature import HERE, NAME
from armbook.results import hits_measure
from armbook.side_by_side import PUBLISHED
from armbook.static_targets import (
    PUBLISHED_TARGETS,
    beside_published,
    encoder_colours,
    shown_collections,
    static_sweep_figure,
    sweep_columns,
    sweep_scores,
    sweep_table,
    swept,
)
from armbook.static_targets_in_words import answer, meaning, scores_shown, statements, values_in_words
from armbook.style import COLOURS, MAXIMUM, maxima
from armlib.errors import InputError
from armlib.evaluation.evaluate import FULL_RANKING, RERANKING
from armlib.experiments.experiment import Experiment
from fabricated import Fabricated, evaluation, fabricated, with_experiment

SETS = ("mini/dev", "mini/trec-dl-2019")
BEST = {("lsa/distilbert", False): 0.3, ("lsa/distilbert", True): 0.5, ("org/other", False): 0.5, ("org/other", True): 0.3}
TARGETS = (0.1, 0.3, 0.5, 1.0)


def of_target(encoder: str, in_batch: bool, value: float, seed: int, **means: float) -> Fabricated:
    """Ten queries on each of two collections, of which the first stage has something relevant for nine; seed 1 is 0.01 better."""
    away = abs(value - BEST[encoder, in_batch])
    ndcg = 0.6 - 0.2 * away - 0.05 * in_batch + 0.01 * seed
    hits = means.get("hits", 0.8 - 0.1 * abs(value - 0.1) + 0.01 * seed)
    noise = np.array([-0.45] + [0.05] * 9)
    measured = {
        RERANKING: evaluation({"nDCG@10": ndcg, "R(rel=2)@1000": 0.45, "Success(rel=2)@100": hits}, noise),
        FULL_RANKING: evaluation({"nDCG@10": ndcg - 0.1, "R(rel=2)@1000": 0.7 - 0.1 * away, "Success(rel=2)@100": hits}, noise),
    }
    return fabricated(
        Experiment(encoder=encoder, target=f"static({value})", in_batch=in_batch, seed=seed),
        about={"kept_step": 100},
        validations=pd.DataFrame({"step": [100], "nDCG@10": [ndcg]}),
        evaluations={(name, mode): each for name in SETS for mode, each in measured.items()},
    )


def sweep(seeds: tuple[int, ...] = (0, 1), **means: float) -> list[Fabricated]:
    return [of_target(*one, value, seed, **means) for one, value, seed in product(BEST, TARGETS, seeds)]


@pytest.fixture
def figure():
    made = static_sweep_figure({HERE: sweep()}, {HERE: SETS[1]})
    yield made
    plt.close(made)


def test_lines_are_the_means_over_seeds_and_bands_their_range(figure):
    titles = ["this copy,\nwithout in-batch negatives", "this copy,\nwith in-batch negatives", "", ""]
    assert [axes.get_title() for axes in figure.axes] == titles
    assert [figure.axes[k].get_ylabel() for k in (0, 2)] == ["nDCG@10, re-ranking", "Hits@100, re-ranking"]
    names, shades = ("nDCG@10", "Success(rel=2)@100"), encoder_colours(["lsa/distilbert", "org/other"])
    for axes, (measure, in_batch) in zip(figure.axes, product(names, (False, True)), strict=True):
        lines = [line for line in axes.lines if line.get_label() != MAXIMUM]
        bands = [each for each in axes.collections if isinstance(each, FillBetweenPolyCollection)]
        for line, band, encoder in zip(lines, bands, ("lsa/distilbert", "org/other"), strict=True):
            runs = [[of_target(encoder, in_batch, value, seed) for value in TARGETS] for seed in (0, 1)]
            low, high = (np.array([each.value(SETS[1], RERANKING, measure) for each in one]) for one in runs)
            np.testing.assert_allclose(line.get_xdata(), TARGETS)
            np.testing.assert_allclose(line.get_ydata(), (low + high) / 2)
            corners = band.get_paths()[0].vertices
            for x, bottom, top in zip(TARGETS, low, high, strict=True):
                ends = corners[np.isclose(corners[:, 0], x), 1]
                np.testing.assert_allclose([ends.min(), ends.max()], [bottom, top])
            assert line.get_color() == shades[encoder]
        assert [line.get_marker() for line in lines] == ["o", "D"]


def test_dots_are_at_the_maxima(figure):
    found = maxima(figure)
    expected = [
        [(BEST[encoder, in_batch], 0.605 - 0.05 * in_batch) for encoder in ("lsa/distilbert", "org/other")] for in_batch in (0, 1)
    ]
    np.testing.assert_allclose(found[:2], expected)
    np.testing.assert_allclose(found[2:], [[(0.1, 0.805)] * 2] * 2)


def test_encoders_have_colours_of_their_own() -> None:
    found = encoder_colours(["lsa/distilbert", "FacebookAI/roberta-base", "microsoft/mpnet-base", "mine", "yours"])
    assert len(set(found.values())) == 5 and not set(found.values()) & set(COLOURS.values())
    assert encoder_colours(["distilbert/distilbert-base-uncased"]).popitem()[1] == found["lsa/distilbert"]


def test_a_source_is_two_rows_of_the_figure() -> None:
    made = static_sweep_figure({NAME: sweep(hits=0.9), HERE: sweep()}, {NAME: SETS[1], HERE: SETS[0]})
    assert [axes.get_ylabel() for axes in made.axes[::2]] == [
        "nDCG@10, re-ranking",
        "R@1000, full ranking",
        "nDCG@10, re-ranking",
        "Hits@100, re-ranking",
    ]
    assert [axes.get_title().split(",")[0] for axes in made.axes if axes.get_title()] == [NAME, NAME, HERE, HERE]
    plt.close(made)


def only(results: list[Fabricated], encoder: str = "org/other", in_batch: bool = False) -> list[Fabricated]:
    return [each for each in results if each.experiment.encoder == encoder and each.experiment.in_batch == in_batch]


def test_one_seed_and_one_encoder_have_no_band() -> None:
    one = only(sweep((0,)))
    made = static_sweep_figure({HERE: one}, {HERE: SETS[0]})
    assert len(made.axes) == 2 and not any(axes.collections for axes in made.axes)
    plt.close(made)
    table = sweep_table(one, SETS[0])
    assert list(table["best target"]) == [0.5, 0.1] and list(table.seeds) == [1, 1]
    assert "one seed each" in meaning({HERE: table}, {HERE: SETS[0]})
    assert "The best target by nDCG@10 is 0.5 without in-batch negatives." in answer({HERE: table})
    assert "raise" not in answer({HERE: table}) and statements({HERE: table})[HERE].tolist() == [
        "2 of 2",
        "0 of 1",
        "–",
        "1 of 1",
        "–",
    ]


def test_further_seeds_of_a_tuned_target_are_not_in_the_figure() -> None:
    whole = sweep((0, 1))
    further = of_target("lsa/distilbert", False, 0.3, 2)
    assert set(swept([*whole, further])) == set(whole)


def test_the_table_compares_the_best_target_with_target_1_and_with_the_tuned_one() -> None:
    whole = sweep_table(sweep(), SETS[1])
    table = whole.set_index(["encoder", "negatives", "measure"])
    row = table.loc["lsa/distilbert", "own", "nDCG@10"]
    assert (row["best target"], row["tuned target"]) == (0.3, 0.3)
    assert row["at best"] == pytest.approx(0.605) and row["at 1"] == pytest.approx(0.605 - 0.14)
    assert row.gain == row["tuned gain"] == pytest.approx(0.14)
    hits = table.loc["org/other", "own", "Hits@100"]
    assert (hits["best target"], hits["tuned target"]) == (0.1, 0.5)
    assert hits.gain == pytest.approx(0.09) and hits["tuned gain"] == pytest.approx(0.05)
    shown = sweep_columns(whole)
    assert shown.iloc[0].tolist()[:3] == ["lsa/distilbert", "own", "nDCG@10"]
    assert shown["best by this score"].iloc[0].tolist()[::2] == ["0.3", "+0.140"]
    assert shown["chosen by validation"].iloc[0].tolist() == ["0.3", "+0.140"]


def test_the_answer_says_what_tuning_gains_and_where_the_best_is() -> None:
    text = answer({NAME: sweep_table(sweep(), SETS[1])})
    assert text == (
        "**In miniature**, a static target chosen by validation beats the default of 1 every time: on average nDCG@10 rises by "
        "0.120 (+0.100 to +0.140). The best target by nDCG@10 differs between encoders: 0.3 (lsa/distilbert) or 0.5 (org/other) "
        "without in-batch negatives, 0.3 (org/other) or 0.5 (lsa/distilbert) with in-batch negatives. In-batch negatives never "
        "raise the best nDCG@10 (-0.050 to -0.050)."
    )


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ([0.02, 0.01], "beats the default of 1 every time: on average nDCG@10 rises by 0.015 (+0.010 to +0.020)."),
        ([0.02, -0.01], "beats the default of 1 in 1 of 2 cases: on average nDCG@10 rises by 0.005 (-0.010 to +0.020)."),
        ([-0.02, -0.01], "never beats the default of 1: on average nDCG@10 falls by 0.015 (-0.020 to -0.010)."),
        ([0.0, 0.0], "validation chooses the default target of 1 every time, so that tuning gains nothing."),
    ],
)
def test_every_outcome_of_tuning_is_told(gains: list[float], said: str) -> None:
    table = sweep_table([each for each in sweep() if not each.experiment.in_batch], SETS[1])
    table.loc[table.measure == "nDCG@10", "tuned gain"] = gains
    assert said in answer({HERE: table})


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ([0.5, 0.6, 0.5, 0.6], "In-batch negatives raise the best nDCG@10 for every encoder (+0.100 to +0.100)."),
        ([0.5, 0.6, 0.5, 0.4], "In-batch negatives raise the best nDCG@10 for 1 of 2 encoders (-0.100 to +0.100)."),
        ([0.5, 0.5, 0.5, 0.5], "In-batch negatives never raise the best nDCG@10 (+0.000 to +0.000)."),
    ],
)
def test_every_outcome_of_in_batch_negatives_is_told(scores: list[float], said: str) -> None:
    table = sweep_table(sweep(), SETS[1])
    table.loc[table.measure == "nDCG@10", "at best"] = scores
    assert answer({HERE: table}).endswith(said)
    one = sweep_table([each for each in sweep() if each.experiment.encoder == "lsa/distilbert"], SETS[1])
    assert answer({HERE: one}).endswith("In-batch negatives never raise the best nDCG@10 (-0.050).")
    assert "The best target by nDCG@10 is 0.3 without in-batch negatives, 0.5 with in-batch negatives." in answer({HERE: one})
    one["best target"] = 0.3
    assert "The best target by nDCG@10 is 0.3 with and without in-batch negatives." in answer({HERE: one})


def test_one_best_target_of_all_encoders_is_told() -> None:
    table = sweep_table([each for each in sweep() if not each.experiment.in_batch], SETS[1])
    table["best target"] = 0.3
    assert "All encoders have the same best target by nDCG@10: 0.3 without in-batch negatives." in answer({HERE: table})


def test_without_target_1_nothing_is_said_of_gains() -> None:
    table = sweep_table([result for result in sweep() if result.experiment.target != "static(1.0)"], SETS[0])
    assert table.gain.isna().all() and "nothing can be said of a gain" in answer({HERE: table})
    assert statements({HERE: table})[HERE].tolist()[:2] == ["–", "–"]


def test_what_the_paper_reads_off_its_figure_is_counted() -> None:
    table = statements({NAME: sweep_table(sweep(), SETS[1])})
    assert table[PUBLISHED].tolist() == ["all", "almost all", "none", "all", "none"]
    # Hits are best at 0.1 throughout, nDCG@10 elsewhere; the gains are .10 and .14, and .10 is not more than .1 but for rounding.
    assert table[NAME].tolist()[2:] == ["2 of 4", "4 of 4", "0 of 4"] and table[NAME][0] == "8 of 8"


def test_the_targets_that_were_tried_are_told() -> None:
    text = values_in_words({HERE: sweep()})
    assert text == (
        "The paper tries 11 targets, from 0 to 1 in steps of 0.1. In this copy there are 4: 0.1, 0.3, 0.5, 1. A best target that "
        "lies between those would be missed."
    )
    whole = [of_target("lsa/distilbert", False, value, 0) for value in PUBLISHED_TARGETS]
    assert "In miniature they are the same." in values_in_words({NAME: whole}) and "missed" not in values_in_words({NAME: whole})


def test_validation_is_held_against_the_test_queries() -> None:
    tables = {HERE: sweep_table(sweep(), SETS[1])}
    text = meaning(tables, {HERE: SETS[1]})
    assert text == "In this copy, validation chooses the target that is best on TREC-DL 2019 in 4 of 4 cases (means over 2 seeds)."


def test_recall_takes_the_place_of_hits_where_all_reach_what_the_first_stage_allows() -> None:
    results = sweep(hits=0.9)
    assert hits_measure(results, SETS[0]) == (FULL_RANKING, "R(rel=2)@1000")
    told = scores_shown({NAME: results, HERE: results}, {NAME: SETS[1], HERE: SETS[0]})
    assert told == (
        "Scores are nDCG@10 of re-ranking and, in place of Hits@100, R@1000 of full ranking: in miniature on TREC-DL 2019, in this "
        "copy on mini/dev. Hits@100 would tell nothing apart there, since every result has at least 98% of what the first stage "
        "allows."
    )
    assert set(sweep_scores(results, SETS[0]).measure) == {"nDCG@10", "R@1000"}
    results[3] = of_target("lsa/distilbert", False, 0.3, 1, hits=0.8)  # one that is worse than the first stage allows is enough
    assert hits_measure(results, SETS[0]) == (RERANKING, "Success(rel=2)@100")
    told = scores_shown({HERE: results}, {HERE: SETS[0]})
    assert told == "Scores are nDCG@10 and Hits@100 of re-ranking: in this copy on mini/dev."


def test_published_numbers_stand_beside_ours_of_the_same_architecture() -> None:
    table = beside_published({NAME: sweep(), HERE: only(sweep())}, {NAME: SETS[1], HERE: SETS[0]})
    assert list(dict.fromkeys(table.columns.get_level_values(0))) == ["training", PUBLISHED, NAME, HERE] and len(table) == 8
    assert list(table["training"].iloc[1]) == ["distilBERT", "in-batch"]
    printed = published.variant3("distilBERT", "static", True)
    assert list(table[PUBLISHED].iloc[1]) == ["0.2", printed["dl19_ndcg10"], printed["dl19_r1000"]]
    assert table[NAME, "target"].iloc[1] == "0.5" and list(table[NAME].iloc[1, 1:]) == pytest.approx([0.455, 0.7])
    other = table[table["training", "encoder"] == "org/other"]
    assert other[PUBLISHED].isna().all(axis=None) and other[HERE].notna().all(axis="columns").tolist() == [True, False]
    assert table[NAME].iloc[2:6].isna().all(axis=None)


def test_a_page_shows_the_paper_s_collection_or_what_is_asked_for() -> None:
    shown = {NAME: sweep(), HERE: sweep()}
    assert shown_collections(shown) == {NAME: SETS[1], HERE: SETS[1]}
    assert shown_collections(shown, SETS[0]) == {NAME: SETS[0], HERE: SETS[0]}
    with pytest.raises(InputError, match="unknown evaluation collection of these results 'other'"):
        shown_collections(shown, "other")


def test_other_targets_are_refused():
    first, *others = sweep((0,))
    with pytest.raises(InputError, match="cannot show adaptive"):
        sweep_scores([with_experiment(first, target="adaptive"), *others], SETS[0])
    with pytest.raises(InputError, match="there are none"):
        sweep_scores([], SETS[0])
