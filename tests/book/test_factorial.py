"""Losses, batches and encoders crossed: what is trained, what is tested, and what is said of it; results are made up."""

from __future__ import annotations

from dataclasses import replace

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from armbook import chapters, context_effects, factorial
from armbook.factorial import CLUSTERED, CONTEXTUAL, LOSSES, PLAIN, RANDOM, Cell, Factorial
from armbook.factorial_figures import by_condition, by_cost
from armbook.tuned_losses import NotYet, Tuning
from armlib.evaluation.measures import Evaluation
from fabricated import TUNED_PROFILE, VARIANTS_COLLECTIONS, crossed_systems, tuned_systems

PROFILE = replace(TUNED_PROFILE, context=8)
NAMES = list(VARIANTS_COLLECTIONS)


def level(one) -> float:
    """nDCG@10 that clustered batches raise, but lower with static targets, and that a context raises a little."""
    more = -0.1 if one.target.startswith("static") else 0.07
    clustered = one.sampler != "random"
    rate = 0.02 * (one.learning_rate == (1e-3 if clustered else 5e-4))
    return 0.5 + more * clustered + 0.01 * bool(one.context) + rate + 0.05 * bool(one.loss)


@pytest.fixture(scope="module")
def crossed() -> Factorial:
    return Factorial(Tuning(PROFILE, crossed_systems(PROFILE, level), factorial.systems(PROFILE)))


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_every_loss_is_crossed_with_batches_and_encoders(crossed: Factorial) -> None:
    assert len(crossed.cells) == len(set(crossed.cells)) == 4 * len(LOSSES)
    for cell, results in crossed.results.items():
        assert [each.experiment.seed for each in results] == [0, 1]
        for each in results:
            assert each.experiment.sampler == ("random" if cell.batches == RANDOM else "clustered(10)")
            assert each.experiment.context == (0 if cell.encoder == PLAIN else 8)


def test_random_batches_with_a_plain_encoder_are_the_rows_of_table_4(crossed: Factorial) -> None:
    table4 = Tuning(PROFILE, tuned_systems(PROFILE, level))
    for loss in LOSSES:
        assert [each.experiment for each in crossed.results[Cell(loss, RANDOM, PLAIN)]] == table4.trained_as(loss)


def test_clustered_batches_tune_the_learning_rate_and_a_context_takes_it_over(crossed: Factorial) -> None:
    for cell, results in crossed.results.items():
        assert {each.experiment.learning_rate for each in results} == {1e-3 if cell.batches == CLUSTERED else 5e-4}
    tuning = Tuning(PROFILE, crossed_systems(PROFILE, level), factorial.systems(PROFILE))
    tried = [each.experiment for each in tuning.searched("InfoNCE, clustered, plain")]
    assert [(each.sampler, each.learning_rate, each.context) for each in tried] == [
        ("clustered(10)", 5e-4, 0),
        ("clustered(10)", 1e-3, 0),
    ]
    assert {each.loss for each in tried} == {tuning.trained_as("InfoNCE")[0].loss}
    assert tuning.searched("InfoNCE, random, contextual") == tuning.searched("InfoNCE")


def test_what_random_batches_have_to_tune_is_waited_for() -> None:
    first = chapters.contextual(PROFILE)
    assert {(each.sampler, each.context) for each in first} == {("random", 0)}
    with pytest.raises(NotYet):
        Tuning(PROFILE, {}, factorial.systems(PROFILE)).own_settings("InfoNCE, clustered, plain")
    made = crossed_systems(PROFILE, level)
    found = chapters.every_round(PROFILE, lambda some: {each: made[each] for each in some}, ["contextual"])
    assert found["contextual"].keys() == made.keys()


def test_without_a_context_there_are_plain_encoders_alone() -> None:
    made = crossed_systems(TUNED_PROFILE, level)
    crossed = Factorial(Tuning(TUNED_PROFILE, made, factorial.systems(TUNED_PROFILE)))
    assert {(cell.batches, cell.encoder) for cell in crossed.cells} == {(RANDOM, PLAIN), (CLUSTERED, PLAIN)}
    tests = factorial.effects(crossed.in_domain(NAMES), NAMES)
    assert set(tests.added) == {"clustered batches"} and len(tests) == 2 * len(LOSSES)


def test_effects_are_differences_to_the_same_loss_without(crossed: Factorial) -> None:
    tests = factorial.effects(crossed.in_domain(NAMES), NAMES)
    assert len(tests) == 2 * 4 * len(LOSSES)
    expected = {"clustered batches": 0.07, "context": 0.01, "context, in clustered batches": 0.01, "both": 0.08}
    for each in tests.itertuples():
        value = expected[each.added] - (0.17 if "static" in each.loss and each.added in ("clustered batches", "both") else 0)
        assert each.difference == pytest.approx(value), each
        assert each.equivalent == (abs(value) < 0.05)
    text = factorial.effects_as_text(tests)
    assert text.shape == (4 * len(LOSSES), 4)
    (row,) = text[(text.loss == "InfoNCE") & (text.added == "context")].itertuples(index=False)
    assert row[2] == "+0.010 (+0.010 to +0.010) †"


def test_the_answer_says_what_in_batch_variants_gain_and_what_a_context_adds(crossed: Factorial) -> None:
    change = (
        "raise nDCG@10 of “adaptive, in-batch”, “distributed” and “InfoNCE” (+0.070) and lower nDCG@10 of "
        "“static, tuned, in-batch” (-0.100)"
    )
    assert factorial.answer(crossed.in_domain(NAMES)) == (
        "Clustered batches help the paper's in-batch variants in 2 of 4 comparisons with random batches, and hurt them in 2. "
        f"In full ranking, they {change} on docstrings/test; they {change} on msmarco-mini/dev. "
        "Reading a context changes nDCG@10 by +0.010, and is equivalent to reading none in 16 of 16 comparisons. "
        "The best score is that of “InfoNCE” on every collection."
    )
    one = {cell: {NAMES[0]: found[NAMES[0]]} for cell, found in crossed.in_domain(NAMES).items()}
    assert factorial.answer(one).endswith("The best score is that of “InfoNCE”.")


def noisy(one: float, more: tuple[float, ...] = (-0.2, 0.2)) -> Evaluation:
    """nDCG@10 of some queries around a mean, on which differences between systems cannot be told."""
    values = one + np.resize(more, 40)
    return Evaluation.from_per_query(pd.DataFrame({"nDCG@10": values}, index=[f"q{number}" for number in range(40)]))


def test_the_answer_says_where_nothing_can_be_told_and_where_all_losses_gain() -> None:
    def measured(gain: float, opposite: bool, best: str) -> dict:
        return {
            Cell(loss, batches, PLAIN): {
                "first": [
                    noisy(0.5 + gain * (batches == CLUSTERED), (0.2, -0.2) if opposite and batches == CLUSTERED else (-0.2, 0.2))
                ],
                "second": [noisy(0.6 if loss == best and batches == RANDOM else 0.5)],
            }
            for loss in LOSSES
            for batches in (RANDOM, CLUSTERED)
        }

    text = factorial.answer(measured(0.01, True, "distributed"))
    assert "in none of 4 comparisons with random batches, and hurt them in none. " in text
    assert "they make no clear difference on first; they lower nDCG@10 of “distributed” (-0.100) on second, without a clear" in text
    assert "context" not in text and text.endswith(
        "The best score is that of “adaptive, in-batch” on first, “distributed” on second."
    )
    assert "they raise nDCG@10 of every loss (+0.010) on first" in factorial.answer(measured(0.01, False, ""))
    assert "they lower nDCG@10 of every loss (-0.030) on first" in factorial.answer(measured(-0.03, False, ""))


@pytest.mark.parametrize(
    ("moved", "begins"),
    [(1e-7, "all but ignore"), (0.003, "all but ignore"), (0.02, "read their context a little"), (0.2, "read their context:")],
)
def test_how_far_a_context_moves_queries_is_told(moved: float, begins: str) -> None:
    row = {"loss": "InfoNCE", "batches": RANDOM, "passages": 0.0, "apart": 0.5, "nDCG@10": 0.4}
    contexts = [
        {**row, "context": context_effects.OWN, "queries": 0.0},
        {**row, "context": "other", "queries": moved, "nDCG@10": 0.38},
    ]
    changes = pd.DataFrame(contexts)
    assert context_effects.said(changes).startswith(f"These encoders {begins}")
    (text,) = context_effects.as_text(changes).to_dict("records")
    assert text == {
        "loss": "InfoNCE",
        "batches": RANDOM,
        "other": f"{moved:.0e}" if moved > 1e-6 else "0",
        "apart": "0.50",
        "change of nDCG@10": "0.020",
    }


def test_the_results_of_one_encoder_make_a_factorial(crossed: Factorial) -> None:
    results = [each for some in crossed.results.values() for each in some] + list(crossed_systems(PROFILE, level).values())
    assert factorial.of_results(replace(PROFILE, encoders=("lsa/distilbert", "lsa/mpnet")), results).results == crossed.results
    with pytest.raises(NotYet):
        factorial.of_results(PROFILE, results[:1])


def test_scores_have_every_cell_with_its_seeds(crossed: Factorial) -> None:
    table = factorial.scores(crossed.in_domain(NAMES), NAMES, crossed.results)
    names = table[["loss", "batches", "encoder"]]
    assert len(table) == 16 and names.drop_duplicates().shape == (16, 3)
    row = table[(names == ["InfoNCE", CLUSTERED, CONTEXTUAL]).all(axis=1)].iloc[0]
    assert row[NAMES[0]] == "0.655 ± 0.005"
    assert row["learning rate"] == "0.001"


def test_figures_show_every_cell(crossed: Factorial) -> None:
    measured = crossed.in_domain(NAMES)
    figure = by_condition([measured], {NAMES[1]: measured[crossed.cells[0]][NAMES[1]][0]})
    assert [axes.get_title() for axes in figure.axes] == NAMES
    for axes, dotted in zip(figure.axes, (0, 1), strict=True):
        assert [text.get_text() for text in axes.get_xticklabels()] == [
            "random\nplain",
            "clustered\nplain",
            "random\ncontextual",
            "clustered\ncontextual",
        ]
        drawn = {each.get_label(): each.lines[0].get_ydata() for each in axes.containers}
        assert list(drawn) == list(LOSSES)
        assert drawn["InfoNCE"] == pytest.approx(
            [each - 0.1 * NAMES.index(axes.get_title()) for each in (0.575, 0.645, 0.585, 0.655)]
        )
        assert sum(line.get_linestyle() == ":" for line in axes.lines) == dotted
    costs = {cell: 10.0 + number for number, cell in enumerate(crossed.cells)}
    drawn = by_cost(measured, costs)
    assert [len(axes.lines) for axes in drawn.axes] == [16, 16]
    assert len({(line.get_color(), line.get_marker()) for line in drawn.axes[0].lines}) == 16
    assert [line.get_xdata()[0] for line in drawn.axes[1].lines] == list(costs.values())
    three = [measured, {cell: {"another": found[NAMES[0]]} for cell, found in measured.items()}]
    assert [axes.get_title() for axes in by_condition(three).axes if axes.get_visible()] == [*NAMES, "another"]
