"""Losses, batches and encoders crossed: what is trained, what is tested, and what is said of it; results are made up."""

from __future__ import annotations

from dataclasses import replace

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest

from armbook import chapters, factorial
from armbook.factorial import CLUSTERED, CONTEXTUAL, LOSSES, PLAIN, RANDOM, Cell, Factorial
from armbook.factorial_figures import by_condition, by_cost
from armbook.tuned_losses import NotYet, Tuning
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
    (row,) = text[(text["nDCG@10", "loss"] == "InfoNCE") & (text["nDCG@10", "added"] == "context")].itertuples(index=False)
    assert row[2] == "+0.010 (+0.010 to +0.010) †"


def test_the_answer_names_what_gains_what_loses_and_the_best(crossed: Factorial) -> None:
    measured = crossed.in_domain(NAMES)
    first, second, third = factorial.answer(measured, factorial.effects(measured, NAMES), NAMES)
    assert first == (
        "On docstrings/test, clustered batches help “adaptive, in-batch”, “distributed” and “InfoNCE”; "
        "hurt “static, tuned, in-batch”; best of all is InfoNCE, clustered, contextual (0.655)"
    )
    assert second.startswith("On msmarco-mini/dev, clustered batches help")
    assert third == "A context changes nDCG@10 by +0.010 to +0.010: equivalent in 16 of 16 comparisons"


def test_scores_have_every_cell_with_its_seeds(crossed: Factorial) -> None:
    table = factorial.scores(crossed.in_domain(NAMES), NAMES, crossed.results)
    assert len(table) == 16 and table["system"].drop_duplicates().shape == (16, 3)
    row = table[(table["system"] == ["InfoNCE", CLUSTERED, CONTEXTUAL]).all(axis=1)].iloc[0]
    assert row["nDCG@10", NAMES[0]] == "0.655 ± 0.005"
    assert row["training", "learning rate"] == "0.001"


def test_figures_show_every_cell(crossed: Factorial) -> None:
    measured = crossed.in_domain(NAMES)
    figure = by_condition(measured, NAMES, {NAMES[1]: measured[crossed.cells[0]][NAMES[1]][0]})
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
    drawn = by_cost(measured, costs, NAMES)
    assert [len(axes.lines) for axes in drawn.axes] == [16, 16]
    assert len({(line.get_color(), line.get_marker()) for line in drawn.axes[0].lines}) == 16
    assert [line.get_xdata()[0] for line in drawn.axes[1].lines] == list(costs.values())
