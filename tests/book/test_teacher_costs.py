"""What Table 4 costs with its teachers, and how it is drawn; results are made up."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from armbook.baselines import Baseline, trained
from armbook.table4_sources import Source
from armbook.teacher_costs import cost, line_of
from armbook.teacher_figures import (
    clocks,
    cost_table,
    effectiveness_and_teachers,
    every_pair,
    learning,
    pairs_figure,
    settings_found,
    settings_table,
)
from armbook.tuned_losses import Tuning
from fabricated import TUNED_PROFILE, VARIANTS_COLLECTIONS, tuned_systems, with_about

TEST = VARIANTS_COLLECTIONS[0]


@pytest.fixture(scope="module")
def tuning() -> Tuning:
    return Tuning(TUNED_PROFILE, tuned_systems(ndcg=lambda one: 0.6 if one.loss.startswith("infonce") else 0.5))


@pytest.fixture(scope="module")
def rows(tuning: Tuning) -> list[Baseline]:
    return trained(tuning)


@pytest.fixture(scope="module")
def source(rows: list[Baseline], tuning: Tuning) -> Source:
    lexical = replace(rows[0], loss="BM25", cost=None, results=())
    teacher = replace(lexical, loss="the teacher", origin="measured here, re-ranking the first stage")
    return Source(tuning, [*rows, lexical, teacher], [TEST])


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


def test_settings_and_times_stand_below_each_other(source: Source) -> None:
    both = {"MS MARCO in miniature": source, "this copy": source}
    table, times = settings_table(both), clocks(both)
    assert table.source.tolist() == [name for name in both for _ in source.trained] == times.source.tolist()
    assert times.columns.tolist() == ["source", "system", *cost_table(source.rows).columns[1:]]
    row = times.set_index(["source", "system"]).loc["this copy", "MarginMSE"]
    assert row.tolist()[:4] == ["0:00:10", "0:00:40", "0:00:20", "0:01:10"]
    assert pd.isna(times.set_index("system").loc["InfoNCE", "scoring"]).all()


def test_the_drawing_has_every_row_at_its_cost(source: Source) -> None:
    figure = effectiveness_and_teachers({"MS MARCO in miniature": source, "this copy": source})
    assert len(figure.axes) == 2 and [axes.get_title() for axes in figure.axes] == [
        f"MS MARCO in miniature: {TEST}",
        f"this copy: {TEST}",
    ]
    axes = figure.axes[0]
    places = {bar.get_label(): bar.lines[0].get_xdata()[0] for bar in axes.containers}
    assert places["MarginMSE"] == 70 and places["InfoNCE"] == 10 and len(places) == len(source.trained)
    (back,) = [
        line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_xdata()[1] == 70 and line.get_linestyle() == "-"
    ][:1]
    assert back.get_xdata()[0] < 20
    across = {line.get_linestyle(): line.get_label() for line in axes.lines if line.get_xdata()[0] == 0}
    assert across == {":": "_the teacher", "--": "_BM25"}
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == [*(row.loss for row in source.trained), "BM25", "the teacher, re-ranking"]


def test_a_students_line_starts_behind_its_teacher(source: Source) -> None:
    texts, seconds = learning({"this copy": source}, ["InfoNCE", "MarginMSE", "PairDistill"]).axes
    starts = {
        line.get_label(): (line.get_xdata()[0], later.get_xdata()[0])
        for line, later in zip(texts.lines, seconds.lines, strict=True)
    }
    assert starts["InfoNCE"] == (50 * 10 * 3 / 1000, pytest.approx(5))
    assert starts["MarginMSE"] == (50 * 10 * 3 / 1000, pytest.approx(60 + 5))
    assert starts["PairDistill"] == ((100 * 10 * 3 + 50 * 3 * 9) / 1000, pytest.approx(44 + 22 + 10 + 5))


def test_every_pair_is_tested_once(rows: list[Baseline], source: Source) -> None:
    table = every_pair(rows, TEST)
    assert len(table) == len(rows) * (len(rows) - 1) / 2 and set(table.measure) == {"nDCG@10"}
    pair = table[(table.system == "adaptive") & (table.baseline == "InfoNCE")].iloc[0]
    assert pair.difference == pytest.approx(-0.1) and not pair.equivalent
    same = table[(table.system == "MarginMSE") & (table.baseline == "list-wise KL")].iloc[0]
    assert same.equivalent
    figure = pairs_figure({"this copy": source}, ["adaptive", "InfoNCE", "MarginMSE", "list-wise KL"])
    written = [text.get_text() for text in figure.axes[0].texts]
    assert len(written) == 6 and "0 †" in written
    assert "+100" in written  # InfoNCE, the row, less adaptive, the column
