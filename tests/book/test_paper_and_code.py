"""Differences of paper and released code, and of their readings, from fabricated results and from a real one.

All numbers of fabricated results are made up; none was measured.
"""

from __future__ import annotations

from dataclasses import replace

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from armbook import chapters, paper_and_code, reranking
from armbook.miniature import HERE, NAME
from armbook.readings import by_reading, readings_figure, readings_summary, readings_table, readings_text
from armbook.style import colour
from armlib.encoder.bi_encoder import BiEncoder
from armlib.errors import InputError
from armlib.evaluation.equivalence import equivalence
from armlib.evaluation.evaluate import RERANKING
from armlib.experiments.experiment import Experiment
from armlib.experiments.profile import Profile
from armlib.experiments.result import Result
from armlib.experiments.store import RunStore
from drawings import named_lines, smoothed
from fabricated import LOSSES_PROFILE, LOSSES_SHIFTS, Fabricated, changed_losses, of_changed_loss


@pytest.fixture(scope="module")
def readings() -> list[Fabricated]:
    return changed_losses(chapters.readings(LOSSES_PROFILE))


def test_the_list_of_differences_is_whole() -> None:
    table = paper_and_code.differences()
    assert table.index.tolist() == list(range(1, 13)) and not table.isna().any().any()
    known = {*Experiment.__dataclass_fields__, *Profile.__dataclass_fields__, "-"}
    names = {name.strip() for cell in table.parameter for name in cell.replace(" (of a profile)", "").split(",")}
    assert names <= known, "a parameter that no experiment has"


def test_readings_are_compared_at_equal_seeds(readings: list[Fabricated]) -> None:
    table = readings_table(readings)
    assert table.loss.unique().tolist() == ["distributed", "adaptive, in-batch", "static(0.3), in-batch"]
    assert len(table) == 3 * 6
    np.testing.assert_allclose(table.difference[table.measure == "nDCG@10"], 0.03)
    np.testing.assert_allclose(table.spread[table.measure == "nDCG@10"], 0.03)  # half of 0.04 + 0.02
    row = table[(table.loss == "distributed") & (table.collection == "two/test") & (table.measure == "nDCG@10")].iloc[0]
    assert row["mode"] == RERANKING and row.paper == pytest.approx(0.4 + np.mean(LOSSES_SHIFTS))
    both = by_reading(readings)["distributed"]
    means = {
        reading: np.mean([each.per_query("two/test", RERANKING).scores("nDCG@10") for each in some], axis=0)
        for reading, some in both.items()
    }
    test = equivalence(means["released-code"], means["paper"])
    assert row["corrected p"] == pytest.approx(min(1, 3 * test.p)) and row.equivalent
    shown = readings_text(table)
    assert shown.difference[0] == "+0.030 †" and shown["half range of seeds"][0] == "0.030"
    said = readings_summary(table)
    assert said.startswith(
        "The two readings are equivalent in all 18 comparisons; they differ by more than half the range of seeds in "
    )
    both = paper_and_code.answer({NAME: readings, HERE: readings})
    assert both.startswith("We found 12 places") and both.count(said) == 2 and f"**{NAME}.** {said}" in both


def test_a_difference_beyond_the_margin_is_not_equivalent(readings: list[Fabricated]) -> None:
    changed = [of_changed_loss(r.experiment, 0.04) if r.experiment.reading != "paper" else r for r in readings]
    table = readings_table(changed)
    assert not table.equivalent[table.measure == "nDCG@10"].any() and table.equivalent[table.measure != "nDCG@10"].all()


def test_one_seed_has_no_spread(readings: list[Fabricated]) -> None:
    table = readings_table([result for result in readings if result.experiment.seed == 0])
    assert table.spread.isna().all() and "with one seed, nothing can be said" in readings_summary(table)
    assert set(readings_text(table)["half range of seeds"]) == {""}


def test_unequal_seeds_are_refused(readings: list[Fabricated]) -> None:
    with pytest.raises(InputError, match=r"static\(0.3\), in-batch has the seeds \[0, 1, 2\] in the paper reading and \[0, 1\]"):
        readings_table(readings[:-1])
    with pytest.raises(InputError, match="has the seeds"):
        readings_figure({HERE: readings[1:]})


def test_readings_are_the_means_of_their_seeds(readings: list[Fabricated]) -> None:
    figure = readings_figure({HERE: readings})
    for number, (name, both) in enumerate(by_reading(readings).items()):
        above, below = figure.axes[number], figure.axes[number + 3]
        assert above.get_title() == name and set(named_lines(above)) == set(named_lines(below)) == {"paper", "released-code"}
        for reading, some in both.items():
            assert len(some) == 3
            expected = np.mean([result.validations["nDCG@10"] for result in some], axis=0)
            np.testing.assert_allclose(named_lines(above)[reading], np.column_stack([some[0].validations.step * 64, expected]))
            expected = np.mean([smoothed(result.trace.similarity_mean) for result in some], axis=0)
            np.testing.assert_allclose(named_lines(below)[reading], np.column_stack([some[0].trace.triples, expected]))
        assert {line.get_color() for line in above.lines} == {colour(name)}
        assert {line.get_linestyle() for line in above.lines} == {"-", "--"}, "the readings look alike in grey"
    alone = readings_figure({HERE: [result for result in readings if result.experiment.seed == 0]})
    assert not alone.axes[0].collections and len(named_lines(alone.axes[0])) == 2
    two = readings_figure({NAME: readings, HERE: readings})
    assert len(two.axes) == 12 and two.axes[6].get_title() == f"{HERE}\ndistributed"
    plt.close("all")


def test_learning_rates_bound_how_far_a_weight_gets() -> None:
    table = paper_and_code.learning_rates(LOSSES_PROFILE)
    assert table.loc["paper", "learning rate"] == 5e-6 / 128 and table.loc["released code, sweep", "times the paper's"] == 128
    text = paper_and_code.rates_text(table)
    assert text["times the paper's"].tolist()[:3] == ["1", "128", "12.8"] and text["learning rate"][0] == "3.9e-08"
    own, base = table.loc["fabricated profile"], LOSSES_PROFILE.experiment
    assert own.farthest == pytest.approx(sum(base.learning_rate * base.decay**step for step in range(base.steps)))


def test_the_encoder_says_the_same_of_the_paper_s_learning_rate() -> None:
    paper = paper_and_code.learning_rates(LOSSES_PROFILE).loc["paper"]
    said = " ".join((BiEncoder.__doc__ or "").split())
    assert paper.farthest == pytest.approx(sum(5e-6 / 128 * paper_and_code.DECAY**step for step in range(int(paper.steps))))
    assert f"3.9e-8, multiplied by {paper_and_code.DECAY} after each of {int(paper.steps):,} steps" in said
    assert f"moves a weight by about {paper.farthest:.2g} at most" in said


# With a trained encoder


@pytest.fixture(scope="module")
def result(small_store: RunStore, small_experiment: Experiment) -> Result:
    return small_store.result(small_experiment)


def test_queries_cut_where_training_cut_them_score_as_before(result: Result) -> None:
    table = paper_and_code.query_lengths(result, (4, 24, 10_000))
    (name,) = result.experiment.evaluation_names()
    assert table["cut at"].tolist() == [4, 24, result.encoder().max_length] and set(table.collection) == {name}
    own = table.set_index("cut at").loc[24]
    assert own.difference == 0 and own["nDCG@10"] == pytest.approx(result.value(name, RERANKING, "nDCG@10"), abs=1e-9)
    assert (
        table["queries cut"].is_monotonic_decreasing and table["queries cut"].iloc[0] > 0.2 and table["queries cut"].iloc[-1] == 0
    )
    assert table.difference.iloc[0] != 0, "nothing changed where most queries were cut to two words"
    with pytest.raises(InputError, match="cut at 3 tokens at least, not at 2"):
        paper_and_code.query_lengths(result, (2,))


def test_random_weights_rank_worse(result: Result) -> None:
    (row,) = paper_and_code.weights([result], (0, 1)).to_dict("records")
    assert row["trained"] == pytest.approx(result.value(*result.measures.iloc[0][["collection", "mode"]], "nDCG@10"))
    assert row["random weights"] < row["before training"]
    assert 0 < row["first stage"] <= 1
    encoder = reranking.starting_encoder(result.experiment)
    same, again, other = (reranking.random_weights(encoder, seed).fingerprint() for seed in (0, 0, 1))
    assert same == again != other and same != encoder.fingerprint()


def test_only_some_outputs_have_the_class_that_is_tested_for(small_experiment: Experiment, result: Result) -> None:
    table = paper_and_code.poolings([small_experiment.encoder], small_experiment, (0,))
    assert table["output class"].tolist() == ["BaseModelOutput"] and table["released code"].tolist() == ["[CLS]"]
    assert (table["own pooling"] == table["released pooling"]).all()
    roberta = replace(small_experiment, encoder="lsa/roberta")
    (row,) = paper_and_code.poolings(["lsa/roberta"], roberta, (0,)).to_dict("records")
    assert row["output class"].endswith("WithPoolingAndCrossAttentions") and "tanh" in row["released code"]
    assert row["own pooling"] != row["released pooling"]


def test_kept_queries_are_counted(small_experiment: Experiment) -> None:
    table = paper_and_code.kept_queries(small_experiment, (1, 2, 1000))
    assert table.loc[1, "queries"] == table.loc["all", "queries"] and table.loc[1, "triples"] == table.loc[1, "queries"]
    assert table.loc[1000].tolist() == [0, 0, 0, 0]
    assert table.loc["all", "triples"] >= table.loc[2, "triples"] == 2 * table.loc[2, "queries"] > 0
