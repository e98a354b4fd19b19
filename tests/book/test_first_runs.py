"""Three targets side by side: which runs are compared, what is said of their courses, and what is drawn; results are made up."""

from __future__ import annotations

from dataclasses import replace

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from armbook import first_runs
from armbook.first_runs import answer, compared, learning, outcome
from armbook.style import colour
from armlib.experiments.profile import load_profile
from drawings import smoothed
from fabricated import LOSSES_PROFILE, Fabricated, changed_losses, fabricated

TARGETS = ["static(0.3)", "adaptive", "distributed"]


def runs(targets: list[str] = TARGETS, seeds: tuple[int, ...] = (0, 1)) -> list[Fabricated]:
    first = LOSSES_PROFILE.encoders[0]
    return changed_losses(LOSSES_PROFILE.vary(encoder=first, target=each, seed=seed) for each in targets for seed in seeds)


def course(target: str, *scores: float) -> Fabricated:
    steps = 20 * np.arange(1, len(scores) + 1)
    experiment = LOSSES_PROFILE.vary(target=target)
    return fabricated(experiment, validations=pd.DataFrame({"step": steps, "nDCG@10": scores}))


def test_runs_that_differ_in_target_and_seed_alone_are_compared() -> None:
    first, second = LOSSES_PROFILE.encoders
    others = [{"target": "adaptive", "in_batch": True}, {"target": "adaptive", "encoder": second}, {"target": "mean"}]
    others.append({"target": "adaptive", "learning_rate": 1.0})
    mixed = changed_losses(LOSSES_PROFILE.vary(**{"encoder": first, **values}) for values in others) + runs()
    found = compared(mixed, LOSSES_PROFILE, TARGETS)
    assert [(each.experiment.target, each.experiment.seed) for each in found] == [(t, s) for t in TARGETS for s in (0, 1)]
    assert all(each.experiment.encoder == first and each.experiment.learning_rate != 1 for each in found)


def test_only_seeds_that_all_targets_have_are_compared() -> None:
    some = [*runs(["static(0.3)"], (0,)), *runs(["adaptive", "distributed"], (0, 1))]
    assert {each.experiment.seed for each in compared(some, LOSSES_PROFILE, TARGETS)} == {0}
    assert compared(runs(["adaptive"]), LOSSES_PROFILE, TARGETS) == [] == compared([], LOSSES_PROFILE, TARGETS)


def test_the_answer_ranks_targets_and_tells_how_adaptive_ones_went() -> None:
    told = answer({"this copy": [course("static(0.3)", 0.4, 0.5), course("adaptive", 0.3, 0.2), course("distributed", 0.4, 0.45)]})
    assert told == (
        "**This copy.** After 2.56k triples, validation nDCG@10 is, from best to worst: static(0.3) 0.500, distributed 0.450, "
        "adaptive 0.200. Adaptive targets fall from the first validation on (0.300 → 0.200)."
    )


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        ((0.2, 0.3), "Adaptive targets are still rising at the end."),
        ((0.2, 0.3, 0.25), "Adaptive targets peak after 2.56k triples and end 0.050 lower."),
        ((0.2, 0.3, 0.299), "Adaptive targets level off."),
    ],
)
def test_every_course_of_adaptive_targets_is_told(scores: tuple[float, ...], told: str) -> None:
    assert answer({"this copy": [course("adaptive", *scores)]}).endswith(f": adaptive {scores[-1]:.3f}. {told}")


def test_another_target_that_falls_is_told_too() -> None:
    told = answer({"this copy": [course("static(0.3)", 0.4, 0.3), course("distributed", 0.4, 0.3)]})
    assert "With static(0.3), validation falls from the first" in told and "Distributed targets fall from the first" in told
    alone = answer({"this copy": [course("distributed", 0.3)]})
    assert alone == "**This copy.** After 1.28k triples, validation nDCG@10 is, from best to worst: distributed 0.300."


def test_lines_are_means_of_validations_and_similarities() -> None:
    shown = {"MS MARCO in miniature": runs(), "this copy": runs(["adaptive", "distributed"], (0,))}
    figure = learning(shown)
    for column, found in enumerate(shown.values()):
        scores, similarities = figure.axes[column], figure.axes[2 + column]
        for number, (variant, some) in enumerate(first_runs.by_variant(found).items()):
            expected = np.mean([each.validations["nDCG@10"] for each in some], axis=0)
            np.testing.assert_allclose(scores.lines[number].get_ydata(), expected)
            assert scores.lines[number].get_xdata().tolist() == [1280, 2560, 3840, 5120]
            traces = np.mean([smoothed(each.trace.similarity_mean) for each in some], axis=0)
            np.testing.assert_allclose(similarities.lines[number].get_ydata(), traces)
            assert scores.lines[number].get_color() == colour(variant) and scores.lines[number].get_label() == variant
    broad, dashed = (next(line for line in figure.axes[0].lines if line.get_label() == name) for name in TARGETS[:0:-1])
    assert broad.get_linewidth() > 2 * dashed.get_linewidth() and dashed.get_linestyle() == "--" and dashed.zorder > broad.zorder
    plt.close(figure)


def test_published_rows_stand_above_measured_ones() -> None:
    table = outcome({"this copy": runs()})
    assert table.source.tolist() == ["published"] * 6 + ["this copy"] * 6
    assert table.iloc[1].tolist() == ["published", "TREC-DL 2019", "adaptive", "–", "0.537", "0.664"]
    mine = table.iloc[6:].set_index(["collection", "target"])
    assert mine.loc[("one/test", "adaptive")].tolist()[1:] == ["0.440 ± 0.010", "0.390 ± 0.010", "0.195 ± 0.005"]
    ranked_alone = [
        replace(one, evaluations={key: each for key, each in one.evaluations.items() if key[1] == "re-ranking"}) for one in runs()
    ]
    assert outcome({"this copy": ranked_alone}).iloc[6:]["R@1000"].tolist() == ["–"] * 6


def test_a_page_of_the_same_collection_shows_its_own_results_alone() -> None:
    own = runs()
    assert first_runs.sources(own, load_profile("small"), TARGETS) == {"this copy": own}


def test_what_is_shipped_stands_beside_this_copy() -> None:
    beside = first_runs.sources(runs(), load_profile("demo"), ["static(0.5)", "adaptive", "distributed"])
    shipped = beside["MS MARCO in miniature"]
    assert {each.experiment.variant() for each in shipped} == {"static(0.5)", "adaptive", "distributed"}
    assert len({each.experiment.seed for each in shipped}) * 3 == len(shipped)
