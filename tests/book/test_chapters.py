"""What each chapter trains, and how a static target is tuned."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd
import pytest
from armbook import chapters, results

from armlib.errors import InputError
from armlib.experiments.experiment import Experiment
from armlib.experiments.profile import load_profile
from armlib.experiments.store import RunStore

DEMO = load_profile("demo")


@dataclass
class Finished:
    """A finished training whose kept weights scored so much in validation."""

    experiment: Experiment
    score: float

    @property
    def validations(self) -> pd.DataFrame:
        return pd.DataFrame({"step": [30, 60], "nDCG@10": [0.9, self.score]})

    @property
    def about(self) -> dict:
        return {"kept_step": 60}


def finished(scores: dict[tuple[float, int], float], **values) -> list[Finished]:
    return [Finished(Experiment(target=f"static({value})", seed=seed, **values), score) for (value, seed), score in scores.items()]


def test_the_paper_s_sweep_has_its_66_trainings() -> None:
    assert len(chapters.static_sweep(load_profile("paper"))) == 66 == len(set(chapters.static_sweep(load_profile("paper"))))


@pytest.mark.parametrize("name", ["demo", "small", "paper"])
def test_the_first_round_is_what_all_chapters_train(name: str) -> None:
    profile = load_profile(name)
    chapters = (
        chapters.static_sweep, chapters.adaptive, chapters.distributed, chapters.batch_sizes, chapters.readings, chapters.ablations,
        chapters.baselines,
    )  # fmt: skip
    every = [experiment for chapter in chapters for experiment in chapter(profile)]
    first = chapters.first_round(profile)
    assert set(first) == set(every) and len(first) == len(set(first)) < len(every)
    encoders = [profile.encoders.index(each.encoder) for each in first]
    assert encoders == sorted(encoders)


def test_the_encoder_before_fine_tuning_is_an_experiment_of_no_steps() -> None:
    only, *default = chapters.baselines(replace(DEMO, seeds=(4, 5)))
    assert [(each.target, each.steps, each.seed) for each in default] == [("static(1.0)", DEMO.experiment.steps, 0)]
    assert (only.encoder, only.steps, only.seed) == (DEMO.encoders[0], 0, 4)
    assert only.variant() == "before fine-tuning" and DEMO.experiment.variant() != only.variant()


def test_an_experiment_of_no_steps_is_measured_and_has_no_course(small_experiment: Experiment, small_store: RunStore) -> None:
    result = small_store.result(replace(small_experiment, steps=0))
    assert len(result.trace) == len(result.validations) == result.about["triples"] == result.about["kept_step"] == 0
    assert result.validations.columns.tolist() == ["step", "nDCG@10", "seconds"]
    trained = small_store.result(small_experiment)
    assert result.measures.drop(columns="value").equals(trained.measures.drop(columns="value"))


def test_a_round_of_some_chapters() -> None:
    some = chapters.first_round(DEMO, ["static_sweep", "distributed"])
    assert set(some) == {*chapters.static_sweep(DEMO), *chapters.distributed(DEMO)}
    with pytest.raises(InputError, match="unknown chapter 'static'; did you mean 'static_sweep'"):
        chapters.first_round(DEMO, ["static"])


def test_every_batch_size_sees_equally_many_triples_between_validations() -> None:
    for each in chapters.batch_sizes(DEMO):
        assert each.steps * each.batch_size == DEMO.experiment.steps * DEMO.experiment.batch_size
        assert each.validate_every * each.batch_size == DEMO.experiment.validate_every * DEMO.experiment.batch_size
    with pytest.raises(InputError, match="batch size of 7 does not divide"):
        chapters.batch_sizes(replace(DEMO, batch_sizes=(7,)))


def test_a_target_is_tuned_on_the_kept_weights_and_the_common_seeds() -> None:
    scores = {(0.1, 0): 0.5, (0.3, 0): 0.4, (0.3, 1): 0.99, (1.0, 0): 0.1}
    other = [Finished(Experiment(target="adaptive"), 1.0), Finished(Experiment(target="static(0.5, variance=1.0)"), 1.0)]
    other += finished({(1.0, 0): 1.0}, reading="released-code")
    assert results.tuned_targets(finished(scores) + finished({(0.3, 0): 0.2}, in_batch=True) + other) == {
        ("lsa/distilbert", False): 0.1, ("lsa/distilbert", True): 0.3,
    }  # fmt: skip
    with pytest.raises(InputError, match="seeds that all targets"):
        results.tuned_targets(finished({(0.1, 0): 0.5, (0.3, 1): 0.4}))


def test_the_tuned_target_is_trained_with_the_seeds_of_a_comparison() -> None:
    wanted = chapters.tuned_static(replace(DEMO, seeds=(0, 4)), finished({(0.1, 0): 0.5, (0.3, 0): 0.6}))
    assert [(each.target, each.seed) for each in wanted] == [("static(0.3)", 0), ("static(0.3)", 4)]


def test_a_sweep_may_be_shorter_than_what_is_compared() -> None:
    paper = load_profile("paper")
    swept = {(each.steps, each.full_ranking, each.steps * each.batch_size) for each in chapters.static_sweep(paper)}
    assert swept == {(20_000, False, 2_560_000)} and paper.experiment.full_ranking
    short = {"steps": 60, "full_ranking": False}
    results = finished({(0.1, 0): 0.5, (0.3, 0): 0.6}, **short) + finished({(0.1, 0): 0.9}, steps=240)
    assert results.of_sweep(results) == results[:2] and results.in_full(results) == results[2:]
    assert results.tuned_targets(results) == {("lsa/distilbert", False): 0.3}
    (wanted,) = chapters.tuned_static(replace(DEMO, seeds=(0,), sweep=short), results)
    assert (wanted.target, wanted.steps, wanted.full_ranking) == ("static(0.3)", DEMO.experiment.steps, True)
    assert results.of_sweep([]) == results.in_full([]) == []
