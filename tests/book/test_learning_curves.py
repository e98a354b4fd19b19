"""Figures 4 and 5 and their tables hold the validations of the results, read back from the drawing; all results are made up."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from armbook.adaptive_targets import adaptive_in_words, adaptive_learning_curves
from armbook.distributed_targets import batch_size_learning_curves, batch_sizes_in_words
from armbook.learning_curves import (
    by_setting,
    learning_curve,
    learning_curve_table,
    training_in_words,
    validation_measures,
    with_common_seeds,
)
from armbook.style import MAXIMUM, colour, dashes, maxima
from armlib.errors import InputError
from armlib.experiments.experiment import Experiment
from fabricated import Fabricated, fabricated

ENCODERS = ("lsa/distilbert", "lsa/mpnet")
POINTS = 8


def peaked(peak: int, best: float = 0.5, *, last: int = POINTS, hits: str = "Success(rel=2)@5", **values) -> Fabricated:
    """A training run whose nDCG@10 is best at one of 8 validations, and whose hits are the same upside down."""
    experiment = Experiment(steps=80 * 64 // values.get("batch_size", 64), validate_every=10, **values)
    number = np.arange(1, last + 1)
    ndcg = best - 0.01 * np.abs(number - peak) + 0.002 * experiment.seed
    steps = number * experiment.steps // POINTS
    return fabricated(
        experiment,
        about={"triples": int(steps[-1]) * experiment.batch_size, "available_triples": 10_240},
        validations=pd.DataFrame({"step": steps, hits: 1 - ndcg, "nDCG@10": ndcg, "seconds": 0.1}),
    )


@pytest.fixture
def adaptive() -> list[Fabricated]:
    return [
        peaked(7 if in_batch else 4, 0.6 if in_batch else 0.5, target="adaptive", encoder=encoder, in_batch=in_batch, seed=seed)
        for encoder in ENCODERS
        for in_batch in (False, True)
        for seed in (0, 1)
    ]


@pytest.fixture
def sizes() -> list[Fabricated]:
    return [
        peaked(3 if size == 16 else 8, target="distributed", encoder=encoder, batch_size=size, seed=seed)
        for encoder in ENCODERS
        for size in (16, 64)
        for seed in ((0,) if size == 16 else (0, 1))
    ]


def drawn(figure) -> list[list[matplotlib.lines.Line2D]]:
    return [[line for line in axes.lines if line.get_label() != MAXIMUM] for axes in figure.axes]


def test_figure_4_has_the_learning_curves_of_each_encoder_in_its_column(adaptive):
    figure = adaptive_learning_curves(adaptive)
    assert [axes.get_title() for axes in figure.axes[:2]] == list(ENCODERS)
    assert [figure.axes[k].get_ylabel() for k in (0, 2)] == ["validation nDCG@10", "validation Hits@5"]
    for place, (axes, lines) in enumerate(zip(figure.axes, drawn(figure), strict=True)):
        measure = ("nDCG@10", "Success(rel=2)@5")[place // 2]
        for line, in_batch in zip(lines, (False, True), strict=True):
            both = [
                each.validations[measure]
                for each in adaptive
                if each.experiment.encoder == ENCODERS[place % 2] and each.experiment.in_batch == in_batch
            ]
            np.testing.assert_allclose(line.get_ydata(), (both[0] + both[1]) / 2)
            np.testing.assert_allclose(line.get_xdata(), 64 * adaptive[0].validations.step)
            assert line.get_color() == colour("adaptive, in-batch" if in_batch else "adaptive")
        assert lines[0].get_linestyle() != lines[1].get_linestyle(), "variants are told apart in grey"
        assert len(axes.collections) == 2, "the ranges of two lines"
    for (x, y), (later, higher) in maxima(figure)[:2]:
        assert (x, later) == (4 * 640, 7 * 640) and (y, higher) == pytest.approx((0.501, 0.601))
    plt.close(figure)


def test_figure_5_has_a_column_for_each_batch_size_and_a_line_for_each_encoder(sizes):
    figure = batch_size_learning_curves(sizes)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["batches of 16", "batches of 64"]
    small, large = drawn(figure)[:2]
    assert [line.get_linestyle() for line in small] != [small[0].get_linestyle()] * 2
    assert dashes(ENCODERS[0]) != dashes(ENCODERS[1])
    for line in (*small, *large):
        assert line.get_color() == colour("distributed")
        np.testing.assert_allclose(line.get_xdata(), 640 * np.arange(1, POINTS + 1))
    assert not figure.axes[0].collections and len(figure.axes[1].collections) == 2, "one seed has no range"
    dots = maxima(figure)
    assert {x for x, _ in dots[0]} == {3 * 640} and {x for x, _ in dots[1]} == {8 * 640}
    plt.close(figure)


def test_the_table_says_when_a_learning_curve_is_best_and_how_it_ends(adaptive):
    table = learning_curve_table(adaptive)
    assert len(table) == 8 and set(table.measure) == {"nDCG@10", "Hits@5"}
    row = table[(table.encoder == ENCODERS[0]) & (table.variant == "adaptive") & (table.measure == "nDCG@10")].iloc[0]
    assert (row["triples at best"], row["share of training"], row.seeds) == (2560, 0.5, 2)
    assert (row.best, row["last"]) == pytest.approx((0.501, 0.461))


def test_words_count_what_the_learning_curves_show(adaptive, sizes):
    words = adaptive_in_words(adaptive)
    assert "best at 50% of the training run, before its end for 2 of 2 encoders; at the end it is lower by 0.040" in words
    assert "best nDCG@10 differs by +0.100; it is lower for 0 of 2 encoders, and comes later for 2" in words
    alone = [result for result in adaptive if not result.experiment.in_batch and result.experiment.encoder == ENCODERS[0]]
    assert "With in-batch" not in adaptive_in_words(alone) and "1 of 1 encoder;" in adaptive_in_words(alone)
    words = batch_sizes_in_words(sizes)
    assert "Batches of 16: nDCG@10 is best, 0.500, after 1,920 triples; it still rises at the end for 0 of 2 encoders." in words
    assert "after 5,120 triples; it still rises at the end for 2 of 2" in words
    assert "sooner with batches of 16 than of 64 for 2 of 2 encoders, later for 0" in words and "no spread" in words
    one = batch_sizes_in_words([result for result in sizes if result.experiment.batch_size == 64])
    assert "sooner" not in one and "Means over 2 seeds" in one
    assert training_in_words(sizes) == (
        "Each training run sees 5,120 triples, 0.5 of an epoch, in batches of 16 and 64. The learning rate starts at 0.0005."
    )


def test_a_learning_curve_ends_where_the_first_seed_stops():
    long, short = (peaked(4, target="adaptive", seed=seed, last=last) for seed, last in ((0, 8), (1, 5)))
    assert list(learning_curve([long, short], "nDCG@10").index) == [640 * number for number in range(1, 6)]


def test_settings_are_compared_on_the_seeds_that_all_have(sizes):
    assert {result.experiment.seed for result in with_common_seeds(sizes)} == {0}
    assert [len(some) for some in by_setting(sizes).values()] == [1, 2, 1, 2]
    with pytest.raises(InputError, match="seeds that all of them have"):
        with_common_seeds([peaked(4, seed=0), peaked(4, seed=1, in_batch=True, target="adaptive")])
    with pytest.raises(InputError, match="there are none"):
        with_common_seeds([])


def test_results_with_different_hits_are_not_drawn_together():
    with pytest.raises(InputError, match=r"share one measure of hits, not Success\(rel=2\)@5, Success@100"):
        validation_measures([peaked(4), peaked(4, hits="Success@100", seed=1)])
