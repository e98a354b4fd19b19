"""Projections by hand: the paper's own sum, the arithmetic of one triple, hours of each part, and what is refused."""

from __future__ import annotations

import math

import pytest

from armbook import projection
from armbook.benchmarks import find, load
from armbook.projection import MODELS, Rates
from armlib.errors import InputError
from armlib.training.settings import Settings
from books import REPOSITORY

SAME = dict.fromkeys(MODELS, 1000.0)


def test_the_papers_hours_add_up_to_204() -> None:
    assert projection.published_hours() == pytest.approx(12_263 / 60)


def test_hours_are_written_as_the_paper_writes_them() -> None:
    assert [projection.hours_and_minutes(hours) for hours in (15 + 7 / 60, 0.999, 2.0)] == ["15:07", "1:00", "2:00"]


def test_published_rates_are_those_of_distributed_targets() -> None:
    rates = projection.published_rates()
    assert {model: round(rate) for model, rate in rates.triples.items()} == {"distilBERT": 516, "RoBERTa": 265, "MPNet": 240}
    table = projection.implied_rates().set_index(["model", "target", "in_batch"])
    swept = table.loc["distilBERT", "static", False]
    assert swept.triples == 5_180_000 + 11 * 2_560_000
    assert swept.triples_per_second == pytest.approx(swept.triples / (15 * 3600 + 7 * 60))


def test_the_work_of_table_3() -> None:
    table = projection.workload()
    every = table.loc["all"]
    assert every["sweep runs"] == 66 and every["sweep triples"] == 66 * 2_560_000 and every["variants"] == 15
    assert table.loc["distilBERT", "variant triples"] == 21_630_000
    assert every["passages to evaluate"] == 15 * 8_841_823


def test_validations_take_less_than_a_twentieth_of_training() -> None:
    settings = Settings(steps=80, learning_rate=1.0, validate_every=2, patience=4, validation_stride=3)
    assert projection._validations(settings, 20, patient=False) == 4  # after steps 6, 12, 18 and 20
    assert projection._validations(settings, 20, patient=True) == 3
    work = projection.workload()
    trained = (work["sweep triples"] + work["variant triples"]) * 3 * projection.TOKENS_PER_TRIPLE  # backward is twice forward
    share = work["passages to validate"] * projection.TOKENS_PER_PASSAGE / trained
    assert (share > 0.02).all() and (share < 0.05).all()


def test_hours_are_work_over_rates() -> None:
    hours = projection.project(Rates("made up", "a machine", SAME, dict.fromkeys(MODELS, 10_000.0), searching=36.0))
    work = projection.workload()
    for model in MODELS:
        row = hours.loc[model]
        assert row.sweep == pytest.approx(22 * 2_560_000 / 1000 / 3600)
        assert row.validations == pytest.approx(work.loc[model, "validations"] * 43_000 / 10_000 / 3600)
        assert row.encoding == pytest.approx(5 * 8_841_823 / 10_000 / 3600)
        assert row.searching == pytest.approx(5 * 2 * 36 / 3600)
        assert row.total == pytest.approx(row[list(projection.PARTS)].sum())
    assert hours.loc["all", "total"] == pytest.approx(hours.drop("all").total.sum())


def test_unknown_parts_are_missing_and_not_counted() -> None:
    hours = projection.project(Rates("made up", "a machine", SAME, validations_included=True)).loc["all"]
    assert math.isnan(hours.encoding) and math.isnan(hours.validations) and math.isnan(hours.searching)
    assert hours.total == pytest.approx((66 * 2_560_000 + 77_190_000) / 1000 / 3600)
    inside = projection.project(Rates("made up", "a machine", SAME, SAME, validations_included=True)).loc["all"]
    assert math.isnan(inside.validations) and inside.encoding > 0


def test_parameters_are_those_of_the_encoders() -> None:
    layer = 4 * (768 + 1) * 768 + (768 + 1) * 3072 + (3072 + 1) * 768 + 4 * 768  # attention, two products, two norms
    assert projection.non_embedding("distilBERT") == 6 * layer + 2 * 768
    assert projection.non_embedding("RoBERTa") == projection.non_embedding("MPNet") == 12 * layer + 2 * 768 + 769 * 768
    assert projection.flop_per_triple("distilBERT", 100) == 600 * projection.non_embedding("distilBERT")


def test_parameters_and_lengths_are_those_that_the_benchmarks_count() -> None:
    found = load(find(REPOSITORY))
    training = next(each for each in found if each["benchmark"] == "training-speed" and each["settings"]["layers"] == 6)
    gathering = next(each for each in found if each["benchmark"] == "gather-speed")
    assert training["floor"]["non_embedding_parameters"] == projection.non_embedding("distilBERT")
    assert gathering["mean_passage_tokens"] == pytest.approx(projection.TOKENS_PER_PASSAGE, rel=0.01)
    for size in gathering["sizes"]:
        assert size["real_tokens_per_triple"] == pytest.approx(projection.TOKENS_PER_TRIPLE, rel=0.01)


def test_rates_by_arithmetic_reach_their_share_of_the_peak() -> None:
    rates = projection.by_arithmetic("NVIDIA H100 80GB HBM3", 0.4, tokens_per_triple=200)
    table = projection.utilisation(rates, tokens=200)
    assert list(table["share of peak"]) == pytest.approx([0.4] * 3)
    assert rates.triples["distilBERT"] == pytest.approx(0.4 * 989e12 / (6 * projection.non_embedding("distilBERT") * 200))
    assert projection.peak_speed("NVIDIA H100 PCIe") < projection.peak_speed("NVIDIA H100 80GB HBM3")


def test_comparison_names_projections_and_ends_with_the_papers_sum() -> None:
    computed = projection.by_arithmetic("NVIDIA H100 80GB HBM3", 0.4)
    table = projection.comparison([projection.published_rates(), computed])
    assert list(table["rates"]) == ["published (projection)", "arithmetic (projection)", "hours of Table 3 (published)"]
    assert table.total.iloc[-1] == projection.published_hours() and table["of the paper's"].iloc[-1] == 1
    assert table.total[1] == pytest.approx(projection.project(computed).loc["all", "total"])
    assert table["by arithmetic"].tolist() == ["", "training, encoding", ""]


@pytest.mark.parametrize(
    ("triples", "passages", "message"),
    [
        ({**SAME, "BERT": 1.0}, {}, "BERT"),
        ({"distilBERT": 1.0}, {}, "lack triples per second of RoBERTa, MPNet"),
        ({**SAME, "MPNet": 0.0}, {}, "triples per second of MPNet must be more than 0"),
        (SAME, {"distilBERT": 1.0}, "lack passages per second of RoBERTa, MPNet"),
        ({}, SAME, "have no triples per second"),
    ],
)
def test_rates_that_say_too_little_are_refused(triples, passages, message) -> None:
    with pytest.raises(InputError, match=message):
        Rates("made up", "a machine", triples, passages)


def test_unknown_machines_models_and_shares_are_refused() -> None:
    with pytest.raises(InputError, match="abacus"):
        projection.peak_speed("an abacus")
    with pytest.raises(InputError, match="BERT"):
        projection.non_embedding("BERT")
    with pytest.raises(InputError, match="at most 1"):
        projection.by_arithmetic("NVIDIA H100", 1.5)
