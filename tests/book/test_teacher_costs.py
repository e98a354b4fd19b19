"""What Table 4 costs with its teachers, and how it is drawn; results are made up."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from armbook.baselines import Baseline, trained
from armbook.teacher_costs import cost, line_of
from armbook.teacher_figures import (
    beside,
    cost_table,
    effectiveness_and_teachers,
    every_pair,
    in_words,
    learning,
    pairs_figure,
    settings_found,
)
from armbook.tuned_losses import Tuning
from armlib.evaluation.measures import Evaluation
from fabricated import TUNED_PROFILE, VARIANTS_COLLECTIONS, tuned_systems, with_about

TEST = VARIANTS_COLLECTIONS[0]


@pytest.fixture(scope="module")
def tuning() -> Tuning:
    return Tuning(TUNED_PROFILE, tuned_systems(ndcg=lambda one: 0.6 if one.loss.startswith("infonce") else 0.5))


@pytest.fixture(scope="module")
def rows(tuning: Tuning) -> list[Baseline]:
    return trained(tuning)


def shifted(one: Evaluation, by: float) -> Evaluation:
    return Evaluation.from_per_query(one.per_query + by)


def test_a_student_without_a_teacher_costs_its_training_and_its_search(tuning: Tuning) -> None:
    spent = cost("InfoNCE", tuning)
    assert (spent.training, spent.teacher_training, spent.scoring, spent.full, spent.amortised) == (10, 0, 0, 10, 10)
    assert spent.search == 30  # two scales, and one more learning rate


def test_a_teacher_is_paid_for_once_by_each_student_or_by_all(tuning: Tuning) -> None:
    spent = cost("MarginMSE", tuning)
    assert (spent.training, spent.teacher_training, spent.scoring, spent.full) == (10, 40, 20, 70)
    taught = sum(bool(one.teacher) for one in tuning.found)
    assert taught > 10 and spent.amortised == pytest.approx(10 + 60 / taught)


def test_what_a_student_goes_on_from_is_paid_for_too(tuning: Tuning) -> None:
    first, second = line_of("PairDistill", tuning, 1), line_of("PairDistill, second round", tuning, 1)
    assert [result.experiment.seed for result in second] == [1, 1, 1] and second[:2] == first
    spent = cost("PairDistill, second round", tuning)
    # InfoNCE and two rounds; both teachers trained once, one scoring by the first and one for each round by the second
    assert (spent.training, spent.teacher_training, spent.scoring) == (30, 44, 20 + 2 + 2)


def test_seconds_that_nobody_knows_are_not_zero(tuning: Tuning) -> None:
    chosen = tuning.trained_as("MarginMSE")
    found = dict(tuning.found)
    for one in chosen:
        found[one] = with_about(found[one], teacher={"name": "cross-encoder('x')", "fingerprint": "x", "seconds": 5.0})
    other = Tuning(TUNED_PROFILE, found)
    assert cost("MarginMSE", other).teacher_training is None and cost("MarginMSE", other).full == 15
    row = cost_table(trained(other)).set_index("system").loc["MarginMSE"]
    assert pd.isna(row["teacher's training"]) and row.scoring == 5 and pd.isna(row["in all"]) and row.training == 10


def test_the_settings_that_tuning_found_are_shown(rows: list[Baseline], tuning: Tuning) -> None:
    table = settings_found(rows, tuning).set_index("system")
    assert list(table.index) == list(tuning.systems)
    one = table.loc["PairDistill"]
    assert one.setting == "temperature 0.1" and one["learning rate"] == "0.0005" and one["training runs"] == 3
    assert table.loc["InfoNCE", "validation"] == "0.705" and table.loc["InfoNCE", "setting"] == "scale 10"
    assert table.loc[["static, tuned", "distributed"], "setting"].tolist() == ["static(0.3)", "–"]


def test_the_drawing_has_every_row_at_its_cost(rows: list[Baseline]) -> None:
    teacher = replace(rows[0], loss="the teacher", origin="measured here, re-ranking the first stage", cost=None, results=())
    figure = effectiveness_and_teachers([*rows, teacher], VARIANTS_COLLECTIONS)
    axes = figure.axes[0]
    places = {bar.get_label(): bar.lines[0].get_xdata()[0] for bar in axes.containers}
    assert places["MarginMSE"] == 70 and places["InfoNCE"] == 10 and len(places) == len([row for row in rows if row.cost])
    (back,) = [
        line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_xdata()[1] == 70 and line.get_linestyle() == "-"
    ][:1]
    assert back.get_xdata()[0] < 20
    assert any(line.get_linestyle() == ":" for line in axes.lines)


def test_a_students_line_starts_behind_its_teacher(rows: list[Baseline], tuning: Tuning) -> None:
    some = [row for row in rows if row.loss in ("InfoNCE", "MarginMSE", "PairDistill")]
    texts, seconds = learning(some, tuning).axes
    starts = {
        line.get_label(): (line.get_xdata()[0], later.get_xdata()[0])
        for line, later in zip(texts.lines, seconds.lines, strict=True)
    }
    assert starts["InfoNCE"] == (50 * 10 * 3, pytest.approx(5))
    assert starts["MarginMSE"] == (50 * 10 * 3, pytest.approx(60 + 5))
    assert starts["PairDistill"] == (100 * 10 * 3 + 50 * 3 * 9, pytest.approx(44 + 22 + 10 + 5))


def test_every_pair_is_tested_once(rows: list[Baseline]) -> None:
    table = every_pair(rows, TEST)
    assert len(table) == len(rows) * (len(rows) - 1) / 2 and set(table.measure) == {"nDCG@10"}
    pair = table[(table.system == "adaptive") & (table.baseline == "InfoNCE")].iloc[0]
    assert pair.difference == pytest.approx(-0.1) and not pair.equivalent
    same = table[(table.system == "MarginMSE") & (table.baseline == "list-wise KL")].iloc[0]
    assert same.equivalent
    figure = pairs_figure(rows, VARIANTS_COLLECTIONS)
    written = [text.get_text() for text in figure.axes[0].texts]
    assert len(written) == len(table) and sum("†" in text for text in written) == table.equivalent.sum()
    assert "+100" in written  # InfoNCE, the row, less adaptive, the column


def test_a_difference_is_told_with_its_interval(rows: list[Baseline]) -> None:
    tests = beside(rows, "InfoNCE", ["adaptive", "distributed"], [TEST])
    assert tests[TEST][1].difference == pytest.approx(0.1)
    assert in_words("InfoNCE", tests).startswith(f"On {TEST} InfoNCE is ahead of {tests[TEST][0]} (+0.100, 90% confidence +0.")
    tests = beside(rows, "adaptive", ["InfoNCE"], [TEST])
    assert "adaptive is behind InfoNCE (-0.100" in in_words("adaptive", tests)
    near = [
        replace(row, evaluations={TEST: [shifted(each, 0.02) for each in row.evaluations[TEST]]}) if row.loss == "adaptive" else row
        for row in rows
    ]
    (told,) = in_words("adaptive", beside(near, "adaptive", ["distributed"], [TEST])).split(";")
    assert told.startswith(f"On {TEST} adaptive is ahead of distributed by less than 0.05 (+0.020, ")
    same = beside(rows, "MarginMSE", ["list-wise KL"], list(VARIANTS_COLLECTIONS))
    assert in_words("MarginMSE", same).count("is equivalent to list-wise KL") == 2
