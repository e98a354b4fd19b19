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
from armbook.results import hits_measure
from armbook.static_targets import beside_published, scores_in_words, static_sweep_figure, sweep_in_words, sweep_scores, sweep_table
from armbook.style import MAXIMUM, colour, maxima
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
    made = static_sweep_figure(sweep(), SETS[1])
    yield made
    plt.close(made)


def test_lines_are_the_means_over_seeds_and_bands_their_range(figure):
    assert [axes.get_title() for axes in figure.axes[:2]] == ["without in-batch negatives", "with in-batch negatives"]
    assert [figure.axes[k].get_ylabel() for k in (0, 2)] == ["nDCG@10, re-ranking", "Hits@100, re-ranking"]
    names = ("nDCG@10", "Success(rel=2)@100")
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
            assert line.get_color() == colour("static, in-batch" if in_batch else "static")
        assert [line.get_marker() for line in lines] == ["o", "D"]
        assert lines[0].get_linestyle() != lines[1].get_linestyle(), "encoders of one colour are told apart by dashes"


def test_dots_are_at_the_maxima(figure):
    found = maxima(figure)
    expected = [
        [(BEST[encoder, in_batch], 0.605 - 0.05 * in_batch) for encoder in ("lsa/distilbert", "org/other")] for in_batch in (0, 1)
    ]
    np.testing.assert_allclose(found[:2], expected)
    np.testing.assert_allclose(found[2:], [[(0.1, 0.805)] * 2] * 2)


def test_one_seed_and_one_encoder_have_no_band():
    one = [result for result in sweep((0,)) if result.experiment.encoder == "org/other" and not result.experiment.in_batch]
    made = static_sweep_figure(one, SETS[0])
    assert len(made.axes) == 2 and not any(axes.collections for axes in made.axes)
    plt.close(made)
    table = sweep_table(one, SETS[0])
    assert list(table["best target"]) == [0.5, 0.1] and list(table.seeds) == [1, 1]
    assert "no spread" in sweep_in_words(table) and "in-batch" not in sweep_in_words(table)


def test_the_table_compares_the_best_target_with_target_1_and_with_the_tuned_one():
    table = sweep_table(sweep(), SETS[1]).set_index(["encoder", "negatives", "measure"])
    row = table.loc["lsa/distilbert", "own", "nDCG@10"]
    assert (row["best target"], row["tuned target"]) == (0.3, 0.3)
    assert row["at best"] == pytest.approx(0.605) and row["at 1"] == pytest.approx(0.605 - 0.14)
    assert row.gain == row["tuned gain"] == pytest.approx(0.14)
    hits = table.loc["org/other", "own", "Hits@100"]
    assert (hits["best target"], hits["tuned target"]) == (0.1, 0.5)
    assert hits.gain == pytest.approx(0.09) and hits["tuned gain"] == pytest.approx(0.05)
    words = sweep_in_words(table.reset_index())
    assert "gains 0.100 to 0.140 nDCG@10, more than 0.1 in" in words and "in 4 of 4 cases" in words
    assert "lsa/distilbert 0.3 (own negatives), 0.5 (in-batch negatives); org/other 0.5" in words
    assert "higher in 0 of 4 cases (encoder and measure); the differences go from -0.050 to +0.000" in words


def test_without_target_1_nothing_is_said_of_gains():
    table = sweep_table([result for result in sweep() if result.experiment.target != "static(1.0)"], SETS[0])
    assert table.gain.isna().all() and "gains" not in sweep_in_words(table)


def test_recall_takes_the_place_of_hits_where_all_reach_what_the_first_stage_allows():
    results = sweep(hits=0.9)
    assert hits_measure(results, SETS[0]) == (FULL_RANKING, "R(rel=2)@1000")
    assert "instead of Hits@100, Recall@1000 of full ranking" in scores_in_words(results, SETS[0])
    assert set(sweep_scores(results, SETS[0]).measure) == {"nDCG@10", "Recall@1000"}
    results[3] = of_target("lsa/distilbert", False, 0.3, 1, hits=0.8)  # one that is worse than the first stage allows is enough
    assert hits_measure(results, SETS[0]) == (RERANKING, "Success(rel=2)@100")
    assert scores_in_words(results, SETS[0]) == f"The scores are nDCG@10 and Hits@100 of re-ranking on {SETS[0]}."


def test_published_numbers_stand_beside_those_of_the_same_architecture():
    table = beside_published(sweep(), SETS[1])
    assert list(table["training"].iloc[1]) == ["lsa/distilbert", "in-batch"]
    assert list(table["measured"].iloc[1]) == pytest.approx([0.5, 0.455, 0.7])
    printed = published.variant3("distilBERT", "static", True)
    assert list(table["published"].iloc[1]) == ["distilBERT", 0.2, printed["dl19_ndcg10"], printed["dl19_r1000"]]
    assert table["published"][table["training", "encoder"] == "org/other"].isna().all(axis=None)


def test_other_targets_are_refused():
    first, *others = sweep((0,))
    with pytest.raises(InputError, match="cannot show adaptive"):
        sweep_scores([with_experiment(first, target="adaptive"), *others], SETS[0])
    with pytest.raises(InputError, match="there are none"):
        sweep_scores([], SETS[0])
