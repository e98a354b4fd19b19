"""How every loss of Table 4 is tuned alike, and what is trained with the settings found; results are made up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from armbook.tuned_losses import BEYOND, SELF, TEACHER, NotYet, Tuning, systems
from fabricated import TUNED_PROFILE, tuned_systems

PROFILE = TUNED_PROFILE


def better(loss: str, rate: float):
    """nDCG@10 that is best for one loss and one learning rate."""
    return lambda one: 0.5 + 0.1 * (loss in (one.loss, one.target)) + 0.05 * (one.learning_rate == rate)


def test_the_first_round_is_every_setting_at_the_profiles_learning_rate() -> None:
    first = Tuning(PROFILE, {}).experiments()
    losses = [one.loss or f"{one.target}{' in batch' if one.in_batch else ''}" for one in first]
    assert losses == [
        "adaptive",
        "adaptive in batch",
        "distributed",
        "margin-mse(scale=10.0)",
        "margin-mse",
        "static(0.3)",
        "static(1.0)",
        "static(0.3) in batch",
        "static(1.0) in batch",
        "infonce(scale=10.0)",
        "infonce",
    ]
    assert {(one.learning_rate, one.seed, one.encoder) for one in first} == {(5e-4, 0, "lsa/distilbert")}


@pytest.mark.parametrize(("loss", "rate"), [("infonce(scale=10.0)", 5e-4), ("infonce", 1e-3)])
def test_a_setting_is_chosen_before_the_learning_rate(loss: str, rate: float) -> None:
    found = tuned_systems(ndcg=better(loss, rate))
    ours = Tuning(PROFILE, found).trained_as("InfoNCE")
    assert [(one.loss, one.learning_rate, one.seed) for one in ours] == [(loss, rate, 0), (loss, rate, 1)]
    ((tried,),) = Tuning(PROFILE, found).learning_rates("InfoNCE")
    assert (tried.loss, tried.learning_rate) == (loss, 1e-3)
    assert Tuning(PROFILE, found).searched("InfoNCE") == [
        *(found[one] for (one,) in Tuning(PROFILE, found).own_settings("InfoNCE")),
        found[tried],
    ]


def test_what_is_built_on_a_loss_takes_over_its_settings() -> None:
    found = tuned_systems(ndcg=better("infonce(scale=10.0)", 1e-3))

    def values(name: str) -> set[tuple]:
        return {(one.loss or one.target, one.sampler, one.learning_rate) for one in Tuning(PROFILE, found).trained_as(name)}

    assert values("InfoNCE, adaptive margins") == {("infonce(scale=10.0, margin=0.1)", "random", 1e-3)}
    assert values("InfoNCE, soft labels") == {("infonce(scale=10.0, soft=0.1)", "random", 1e-3)}
    assert values("MarginMSE, TAS-B") == {("margin-mse(scale=10.0)", "balanced(4)", 1e-3)}
    assert values("static, tuned, balanced") == {("static(0.3)", "balanced(4, by='student')", 1e-3)}
    assert Tuning(PROFILE, found).searched("MarginMSE, TAS-B") == Tuning(PROFILE, found).searched("MarginMSE")


def test_pairdistill_goes_on_from_a_trained_student_seed_by_seed() -> None:
    found = tuned_systems(ndcg=better("infonce(scale=10.0)", 1e-3))
    students = [str(found[one].folder / "encoder") for one in Tuning(PROFILE, found).trained_as("InfoNCE")]
    first, second = Tuning(PROFILE, found).trained_as("PairDistill"), Tuning(PROFILE, found).trained_as("PairDistill, second round")
    assert [one.encoder for one in first] == students
    assert [one.encoder for one in second] == [str(found[one].folder / "encoder") for one in first]
    assert {one.loss for one in (*first, *second)} == {"list-kl(temperature=0.1, pairs=1.0, contrast=1.0)"}
    assert {one.batch_size for one in first} == {3}  # 3 lists of a query and 8 passages are about the texts of 10 triples
    (candidates, *_) = Tuning(PROFILE, found).own_settings("list-wise KL")
    assert [one.encoder for one in candidates] == students[:1] and candidates[0].evaluation == PROFILE.experiment.evaluation


def test_a_seed_that_a_student_was_not_trained_with_takes_the_first_one() -> None:
    profile = replace(PROFILE, seeds=(3, 4))
    found = tuned_systems(profile)
    (candidates, *_) = Tuning(profile, found).own_settings("list-wise KL")
    assert [one.seed for one in candidates] == [0]
    assert candidates[0].encoder == str(found[Tuning(profile, found).trained_as("InfoNCE")[0]].folder / "encoder")


def test_a_bi_encoder_adds_students_that_look_at_the_whole_batch() -> None:
    name = "bi-encoder('org/model')"
    profile = replace(PROFILE, in_batch_teacher=name)
    found = tuned_systems(profile)
    added = [each for each in systems(profile) if each not in systems(PROFILE)]
    assert added == ["MarginMSE, in-batch", "MarginMSE, in-batch, TAS-B"]
    for each in added:
        assert {(one.loss, one.teacher) for one in Tuning(profile, found).trained_as(each)} == {
            ("margin-mse(scale=10.0, in_batch=0.75)", name)
        }


def test_a_shorter_sweep_tunes_and_a_whole_training_is_compared() -> None:
    profile = replace(PROFILE, sweep={"steps": 50, "full_ranking": False})
    found = tuned_systems(profile)
    tried = [result.experiment for result in Tuning(profile, found).searched("InfoNCE")]
    assert {(one.steps, one.full_ranking) for one in tried} == {(50, False)}
    assert {(one.steps, one.full_ranking) for one in Tuning(profile, found).trained_as("InfoNCE")} == {(100, True)}


def test_what_is_not_yet_there_is_said() -> None:
    found = tuned_systems()
    chosen = Tuning(PROFILE, found).trained_as("InfoNCE")[0]
    lacking = {one: result for one, result in found.items() if one != chosen}
    with pytest.raises(NotYet, match="is not among the results"):
        Tuning(PROFILE, lacking).trained_as("PairDistill")
    assert set(Tuning(PROFILE, found).experiments()) <= found.keys() and chosen in Tuning(PROFILE, lacking).experiments()


def test_every_system_is_in_a_group_of_the_table() -> None:
    groups = [each.group for each in systems(PROFILE).values()]
    assert groups.count(SELF) == 3 and groups.count(TEACHER) == 5 and groups.count(BEYOND) == 3
