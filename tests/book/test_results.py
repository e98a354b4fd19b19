"""Results in the words of the book: which are compared, by what, and how a static target is tuned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from armbook import chapters
from armbook.results import encoder_name, reported_collection, spoken, telling_scores, tuned_targets
from armlib.errors import InputError
from armlib.evaluation.evaluate import FULL_RANKING, RERANKING
from armlib.experiments.experiment import Experiment
from fabricated import (
    LOSSES_PROFILE,
    LOSSES_RECALL,
    Fabricated,
    changed_losses,
    evaluation,
    fabricated,
    tuned_sweep,
    with_experiment,
)


def test_a_target_is_tuned_on_the_kept_weights_and_the_common_seeds() -> None:
    scores = {(0.1, 0): 0.5, (0.3, 0): 0.4, (0.3, 1): 0.99, (1.0, 0): 0.1}
    (first,) = tuned_sweep({(1.0, 0): 1.0})
    other = [with_experiment(first, target=target) for target in ("adaptive", "static(0.5, variance=1.0)")]
    other += tuned_sweep({(1.0, 0): 1.0}, reading="released-code")
    assert tuned_targets(tuned_sweep(scores) + tuned_sweep({(0.3, 0): 0.2}, in_batch=True) + other) == {
        ("lsa/distilbert", False): 0.1,
        ("lsa/distilbert", True): 0.3,
    }
    with pytest.raises(InputError, match="seeds that all targets"):
        tuned_targets(tuned_sweep({(0.1, 0): 0.5, (0.3, 1): 0.4}))


def test_scores_are_those_that_tell_results_apart() -> None:
    found = telling_scores(changed_losses(chapters.readings(LOSSES_PROFILE)))
    for name, recall in LOSSES_RECALL.items():
        assert {score[1:] for score in found if score[0] == name} == {
            (RERANKING, "nDCG@10"),
            (FULL_RANKING, "nDCG@10"),
            (FULL_RANKING, recall),
        }


def measured_on(*collections: str) -> Fabricated:
    measured = evaluation({"nDCG@10": 0.5}, np.zeros(1))
    return fabricated(Experiment(), evaluations={(name, RERANKING): measured for name in collections})


def test_the_collection_is_trec_dl_2019_where_it_is_there():
    results = [measured_on("mini/dev", "mini/trec-dl-2019"), measured_on("mini/trec-dl-2019", "mini/dev", "other")]
    assert reported_collection(results) == "mini/trec-dl-2019" and reported_collection(results, "mini/dev") == "mini/dev"
    with pytest.raises(InputError, match="unknown evaluation collection of these results 'mini/test'"):
        reported_collection(results, "mini/test")
    with pytest.raises(InputError, match="none"):
        reported_collection([])


def test_measures_have_the_papers_names():
    names = ("Success(rel=2)@100", "Success@5", "R@1000", "R(rel=2)@1000", "RR@10", "nDCG@10")
    assert [spoken(name) for name in names] == ["Hits@100", "Hits@5", "Recall@1000", "Recall@1000", "RR@10", "nDCG@10"]


def test_an_encoder_of_another_training_run_is_named_by_its_key() -> None:
    (one,) = tuned_sweep({(0.3, 0): 0.5})
    assert encoder_name(one.experiment) == "lsa/distilbert"
    assert encoder_name(replace(one.experiment, encoder="/somewhere/runs/0123456789ab/encoder")) == "the encoder of 0123456789ab"
    assert encoder_name(replace(one.experiment, encoder="/somewhere/my/encoder")) == "/somewhere/my/encoder"
