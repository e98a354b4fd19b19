"""Differences of paper and released code, of their readings and of ablations, from fabricated results and from a real one.

All numbers of fabricated results are made up; none was measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import pytest
import torch
from armbook import ablations, chapters, paper_and_code, reranking, results, tables

from armlib.errors import InputError
from armlib.evaluation.equivalence import equivalence
from armlib.evaluation.evaluate import FULL_RANKING, RERANKING
from armlib.evaluation.measures import Evaluation
from armlib.experiments.experiment import Experiment
from armlib.experiments.profile import Profile
from armlib.experiments.result import Result
from armlib.experiments.store import RunStore
from armlib.losses import MarginLoss

BASE = Experiment(steps=80, validate_every=20, batch_size=64)
PROFILE = Profile(
    "fabricated", BASE, ("lsa/roberta", "lsa/mpnet"), static=(0.3, 1.0), batch_sizes=(64,), seeds=(0, 1, 2), sweep_seeds=(0,),
    jobs=1, about="Made up for tests.",
)  # fmt: skip
COLLECTIONS = {"one/test": "R@1000", "two/test": "R(rel=2)@1000"}
QUERIES = [f"q{number:02d}" for number in range(30)]
SEED_SHIFTS = (-0.02, 0.0, 0.04)


@dataclass
class Fabricated:
    """What tables and figures read of `armlib.experiments.result.Result`."""

    experiment: Experiment
    ndcg: float

    @property
    def key(self) -> str:
        return f"{self.experiment.variant()} {self.experiment.seed}"

    @cached_property
    def trace(self) -> pd.DataFrame:
        steps = np.arange(1, self.experiment.steps + 1)
        mean = np.exp(-steps / 10) + 0.1 * self.ndcg + 0.01 * self.experiment.seed
        columns = {"similarity_mean": mean, "similarity_minimum": mean - 0.2, "similarity_maximum": mean + 0.3 + 0.1 * self.ndcg}
        return pd.DataFrame({"step": steps, "triples": steps * self.experiment.batch_size, **columns})

    @cached_property
    def validations(self) -> pd.DataFrame:
        steps = np.arange(20, self.experiment.steps + 1, 20)
        return pd.DataFrame({"step": steps, "nDCG@10": self.ndcg * steps / self.experiment.steps})

    @cached_property
    def evaluations(self) -> dict[tuple[str, str], Evaluation]:
        noise = np.linspace(-0.01, 0.01, len(QUERIES))
        made = {}
        for number, (name, recall) in enumerate(COLLECTIONS.items()):
            for mode in (RERANKING, FULL_RANKING):
                value = self.ndcg - 0.1 * number - 0.05 * (mode == FULL_RANKING)
                hits = "Success@100" if number == 0 else "Success(rel=2)@100"
                columns = {"nDCG@10": value + noise, recall: value / 2 + noise, hits: 0.9 + 0 * noise}
                made[name, mode] = Evaluation.from_per_query(pd.DataFrame(columns, index=QUERIES))
        return made

    @cached_property
    def measures(self) -> pd.DataFrame:
        rows = [(*at, name, value) for at, each in self.evaluations.items() for name, value in each.mean.items()]
        return pd.DataFrame(rows, columns=["collection", "mode", "measure", "value"])

    def value(self, collection: str, mode: str, measure: str) -> float:
        return self.evaluations[collection, mode].mean[measure]

    def per_query(self, collection: str, mode: str) -> Evaluation:
        return self.evaluations[collection, mode]


def level(experiment: Experiment) -> float:
    """A made-up nDCG@10 that tells every loss, reading and learning rate apart."""
    value = {"distributed": 0.5, "adaptive": 0.45, "mean": 0.4, "variance": 0.2}.get(experiment.target, 0.48)
    value += 0.03 * (experiment.reading != "paper") - 0.07 * experiment.stop_gradient - 0.3 * (experiment.error == "soft")
    return value + 0.01 * (experiment.learning_rate > BASE.learning_rate) + SEED_SHIFTS[experiment.seed]


def fabricate(experiments: list[Experiment]) -> list[Fabricated]:
    return [Fabricated(experiment, level(experiment)) for experiment in experiments]


@pytest.fixture(scope="module")
def readings() -> list[Fabricated]:
    return fabricate(chapters.readings(PROFILE))


@pytest.fixture(scope="module")
def ablations() -> list[Fabricated]:
    return fabricate(chapters.ablations(PROFILE))


def test_the_list_of_differences_is_whole() -> None:
    table = paper_and_code.differences()
    assert table.index.tolist() == list(range(1, 14)) and not table.isna().any().any()
    known = {*Experiment.__dataclass_fields__, *Profile.__dataclass_fields__, "-"}
    names = {name.strip() for cell in table.parameter for name in cell.replace(" (of a profile)", "").split(",")}
    assert names <= known, "a parameter that no experiment has"


def test_scores_are_those_that_tell_results_apart(readings: list[Fabricated]) -> None:
    found = results.telling_scores(readings)
    for name, recall in COLLECTIONS.items():
        assert {score[1:] for score in found if score[0] == name} == {
            (RERANKING, "nDCG@10"), (FULL_RANKING, "nDCG@10"), (FULL_RANKING, recall)
        }  # fmt: skip


def test_readings_are_compared_at_equal_seeds(readings: list[Fabricated]) -> None:
    table = paper_and_code.readings_table(readings)
    assert table.loss.unique().tolist() == ["distributed", "adaptive, in-batch", "static(0.3), in-batch"]
    assert len(table) == 3 * 6
    np.testing.assert_allclose(table.difference[table.measure == "nDCG@10"], 0.03)
    np.testing.assert_allclose(table.spread[table.measure == "nDCG@10"], 0.03)  # half of 0.04 + 0.02
    row = table[(table.loss == "distributed") & (table.collection == "two/test") & (table.measure == "nDCG@10")].iloc[0]
    assert row["mode"] == RERANKING and row.paper == pytest.approx(0.4 + np.mean(SEED_SHIFTS))
    by_reading = paper_and_code.by_reading(readings)["distributed"]
    means = {
        reading: np.mean([each.per_query("two/test", RERANKING).scores("nDCG@10") for each in some], axis=0)
        for reading, some in by_reading.items()
    }
    test = equivalence(means["released-code"], means["paper"])
    assert row["corrected p"] == pytest.approx(min(1, 3 * test.p)) and row.equivalent
    shown = paper_and_code.readings_text(table)
    assert shown.difference[0] == "+0.030 †" and shown["half range of seeds"][0] == "0.030"
    assert "Equivalent in 18 of 18" in paper_and_code.readings_summary(table)


def test_a_difference_beyond_the_margin_is_not_equivalent(readings: list[Fabricated]) -> None:
    changed = [replace(r, ndcg=r.ndcg + 0.04) if r.experiment.reading != "paper" else r for r in readings]
    table = paper_and_code.readings_table(changed)
    assert not table.equivalent[table.measure == "nDCG@10"].any() and table.equivalent[table.measure != "nDCG@10"].all()


def test_one_seed_has_no_spread(readings: list[Fabricated]) -> None:
    table = paper_and_code.readings_table([result for result in readings if result.experiment.seed == 0])
    assert table.spread.isna().all() and "since there is one" in paper_and_code.readings_summary(table)
    assert set(paper_and_code.readings_text(table)["half range of seeds"]) == {""}


def test_unequal_seeds_are_refused(readings: list[Fabricated], ablations: list[Fabricated]) -> None:
    with pytest.raises(InputError, match=r"static\(0.3\), in-batch has the seeds \[0, 1, 2\] in the paper reading and \[0, 1\]"):
        paper_and_code.readings_table(readings[:-1])
    with pytest.raises(InputError, match="expected the same"):
        ablations.by_ablation(ablations[:-1], PROFILE)
    with pytest.raises(InputError, match="compared with distributed targets"):
        ablations.by_ablation(ablations[3:6], PROFILE)


def test_ablations_are_named_by_what_they_change(ablations: list[Fabricated]) -> None:
    assert list(ablations.by_ablation(ablations, PROFILE)) == [
        "distributed", "mean", "static(0.5, variance=1.0)", "variance", "distributed, stopped gradient",
        "distributed, absolute error", "distributed, soft error", "distributed, learning rate × 0.5",
        "distributed, learning rate × 2",
    ]  # fmt: skip


def test_the_table_of_ablations_has_the_results_numbers(ablations: list[Fabricated], tmp_path, monkeypatch) -> None:
    table = ablations.ablations_table(ablations, PROFILE)
    row = table.loc["two/test", "distributed, stopped gradient"]
    some = [result for result in ablations if result.experiment.stop_gradient]
    values = [result.value("two/test", FULL_RANKING, "R(rel=2)@1000") for result in some]
    assert row[FULL_RANKING, "Recall@1000"] == f"{np.mean(values):.3f} ± {np.ptp(values) / 2:.3f}"
    assert row[RERANKING, "nDCG@10, difference"] == "-0.070" and table.loc["two/test", "distributed"].iloc[-1] == ""
    ends = [result.trace.similarity_mean[-32:].mean() for result in some]
    assert row["at the end", "mean D+ x D-"] == f"{np.mean(ends):.3f}"
    monkeypatch.setenv("ARMLIB_FIGURES", str(tmp_path))
    csv, tex = tables.save(table, "ablations")
    assert "-0.070" in csv.read_text() and "learning rate" in tex.read_text()


def test_learning_rates_bound_how_far_a_weight_gets() -> None:
    table = paper_and_code.learning_rates(PROFILE)
    assert table.loc["paper", "learning rate"] == 5e-6 / 128 and table.loc["released code, sweep", "times the paper's"] == 128
    own = table.loc["fabricated profile"]
    assert own.farthest == pytest.approx(sum(BASE.learning_rate * BASE.decay**step for step in range(BASE.steps)))


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


def test_the_loss_is_the_sum_of_its_parts(result: Result) -> None:
    experiment = result.experiment
    table = ablations.loss_parts({"before": reranking.starting_encoder(experiment), "after": result.encoder()}, experiment)
    np.testing.assert_allclose(table["mean"] + table.variance, table.distributed, rtol=1e-5)
    batch = ablations.training_batch(result.encoder(), experiment)
    assert table.loc["after", "distributed"] == pytest.approx(float(MarginLoss("distributed")(*batch)))
    assert 0 <= table["mean target"].min() <= table["mean target"].max() <= 1


def test_an_explicit_mean_reaches_every_negative_unless_it_is_constant() -> None:
    batch = list(torch.randn(3, 8, 16, generator=torch.Generator().manual_seed(0)))
    table = ablations.reach(
        batch,
        {
            "distributed": MarginLoss("distributed"), "mean": MarginLoss("mean"), "static": MarginLoss("static(0.5)"),
            "constant": MarginLoss("distributed", stop_gradient=True), "constant mean": MarginLoss("mean", stop_gradient=True),
        },
    )  # fmt: skip
    assert table["negatives pulled"].to_dict() == {"distributed": 8, "mean": 8, "static": 1, "constant": 1, "constant mean": 1}
    assert table.cosine["distributed"] == pytest.approx(1) and table.cosine["mean"] < 0.9999
    assert table.cosine["constant"] == pytest.approx(table.cosine["constant mean"], abs=1e-12)
    assert not any(embeddings.requires_grad for embeddings in batch)
