"""What each chapter trains, and how a static target is tuned."""

from __future__ import annotations

from dataclasses import replace

import pytest

from armbook import chapters, results
from armlib.errors import InputError
from armlib.experiments.experiment import Experiment
from armlib.experiments.profile import load_profile
from armlib.experiments.store import RunStore
from fabricated import TUNED_PROFILE, of_variant, tuned_sweep, tuned_systems

DEMO = load_profile("demo")


def test_the_paper_s_sweep_has_its_66_training_runs() -> None:
    assert len(chapters.static_sweep(load_profile("paper"))) == 66 == len(set(chapters.static_sweep(load_profile("paper"))))


@pytest.mark.parametrize("name", ["demo", "small", "paper"])
def test_the_first_round_is_what_all_chapters_train(name: str) -> None:
    profile = load_profile(name)
    names = ["static_sweep", "adaptive", "distributed", "batch_sizes", "readings", "ablations", "baselines", "teachers"]
    names += ["contextual"]
    every = [experiment for name in names for experiment in getattr(chapters, name)(profile)]
    first = chapters.first_round(profile)
    assert set(first) == set(every) and len(first) == len(set(first)) < len(every)
    encoders = [profile.encoders.index(each.encoder) for each in first]
    assert encoders == sorted(encoders)


def test_the_encoder_before_fine_tuning_is_an_experiment_of_no_steps() -> None:
    only, *default = chapters.baselines(replace(DEMO, seeds=(4, 5)))
    assert [(each.target, each.steps, each.seed) for each in default] == [("static(1.0)", DEMO.experiment.steps, 0)]
    assert (only.encoder, only.steps, only.seed) == (DEMO.encoders[0], 0, 4)
    assert only.variant() == "before fine-tuning" and DEMO.experiment.variant() != only.variant()


def test_an_experiment_of_no_steps_is_measured_but_not_validated(small_experiment: Experiment, small_store: RunStore) -> None:
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


def test_the_tuned_target_is_trained_with_the_seeds_of_a_comparison() -> None:
    wanted = chapters.tuned_static(replace(DEMO, seeds=(0, 4)), tuned_sweep({(0.1, 0): 0.5, (0.3, 0): 0.6}))
    assert [(each.target, each.seed) for each in wanted] == [("static(0.3)", 0), ("static(0.3)", 4)]


def test_a_sweep_may_be_shorter_than_what_is_compared() -> None:
    paper = load_profile("paper")
    swept = {(each.steps, each.full_ranking, each.steps * each.batch_size) for each in chapters.static_sweep(paper)}
    assert swept == {(20_000, False, 2_560_000)} and paper.experiment.full_ranking
    short = {"steps": 60, "full_ranking": False}
    made = tuned_sweep({(0.1, 0): 0.5, (0.3, 0): 0.6}, **short) + tuned_sweep({(0.1, 0): 0.9}, steps=240)
    assert results.of_sweep(made) == made[:2] and results.in_full(made) == made[2:]
    assert results.tuned_targets(made) == {("lsa/distilbert", False): 0.3}
    (wanted,) = chapters.tuned_static(replace(DEMO, seeds=(0,), sweep=short), made)
    assert (wanted.target, wanted.steps, wanted.full_ranking) == ("static(0.3)", DEMO.experiment.steps, True)
    assert results.of_sweep([]) == results.in_full([]) == []


def test_rounds_go_on_until_nothing_new_is_named() -> None:
    asked: list[list[Experiment]] = []
    every = tuned_systems()

    def get(experiments):
        asked.append(list(experiments))
        return {one: every[one] for one in experiments}

    found = chapters.every_round(TUNED_PROFILE, get, ["baselines", "teachers"])
    assert {*found["baselines"], *found["teachers"]} == every.keys()
    assert len(asked) == 7 and sum(map(len, asked)) == len(set().union(*asked)) == len(every)


def test_a_chapter_whose_training_failed_has_no_further_round() -> None:
    every, lost = tuned_systems(), chapters.teachers(TUNED_PROFILE)[0]
    found = chapters.every_round(
        TUNED_PROFILE, lambda some: {one: every[one] for one in some if one != lost}, ["baselines", "teachers"]
    )
    assert set(found["teachers"]) == set(chapters.teachers(TUNED_PROFILE)) - {lost}
    assert set(found["baselines"]) == set(chapters.baselines(TUNED_PROFILE))
    with pytest.raises(InputError, match="unknown chapter 'teacher'; did you mean 'teachers'"):
        chapters.every_round(TUNED_PROFILE, dict, ["teacher"])


def test_a_sweep_and_what_it_tunes_are_one_chapter() -> None:
    sweep = {one: result for one in chapters.static_sweep(TUNED_PROFILE) for result in [of_variant(one, 0.5)]}
    made = dict(sweep)

    def get(experiments):
        made.update({one: of_variant(one, 0.5) for one in experiments if one not in made})
        return {one: made[one] for one in experiments}

    found = chapters.every_round(TUNED_PROFILE, get, ["static_sweep"])["static_sweep"]
    assert set(found) == {*sweep, *chapters.tuned_static(TUNED_PROFILE, sweep.values())} and len(found) > len(sweep)
