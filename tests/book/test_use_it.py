"""Chapter 14's own collection: the sample that it writes and reads, and what it says of the losses trained on it."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pandas as pd
import pytest

from armbook.use_it import answer, collections, compared, write_sample
from armlib.errors import InputError
from armlib.evaluation.measures import Evaluation
from armlib.experiments.outcome import Comparison
from armlib.names import load_collection


def test_a_sample_holds_what_its_queries_are_judged_by(beir_folder, tmp_path):
    source = load_collection(beir_folder)
    write_sample(source, tmp_path / "part", train=5, test=3)
    train, test = load_collection(tmp_path / "part"), load_collection(f"{tmp_path / 'part'}/test")
    judged = dict(islice(source.qrels().items(), 8))
    assert train.qrels() | test.qrels() == judged and (len(train.qrels()), len(test.qrels())) == (5, 3)
    assert train.queries().items() <= source.queries().items()
    assert {document.id for document in train.documents()} == {document for grades in judged.values() for document in grades}
    with pytest.raises(InputError, match="judged queries, fewer than the 1000000 asked for"):
        write_sample(source, tmp_path / "too-many", train=1_000_000)


def comparison(distributed: float, before: float, bm25: float | None, noise: float = 0.001) -> Comparison:
    """Made-up nDCG@10 of forty queries; static targets are 0.1 above distributed ones."""

    def of(value: float, shift: int = 0) -> Evaluation:
        values = value + noise * np.roll(np.tile([-1.0, 1.0], 20), shift)
        return Evaluation.from_per_query(pd.DataFrame({"nDCG@10": values}, index=[f"q{number}" for number in range(40)]))

    systems = {} if bm25 is None else {"BM25": of(bm25)}
    systems |= {"before training": of(before, 1), "static(0.3)": of(distributed + 0.1), "distributed": of(distributed)}
    return Comparison("mine/test", "full ranking", systems)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            (0.4, 0.3, 0.6),
            "Training with distributed targets helps (+0.100). BM25, which needs no training, reaches 0.600 and is ahead of all",
        ),
        (
            (0.3, 0.4, 0.1),
            "Training with distributed targets does harm (-0.100). BM25, which needs no training, reaches 0.100 and is behind",
        ),
        ((0.3, 0.301, 0.35, 0.2), "The 40 test queries cannot tell whether distributed targets helped (-0.001). BM25, which "),
    ],
)
def test_the_answer_says_whether_training_helped(values: tuple, said: str) -> None:
    text = answer([comparison(*values)], 30)
    assert text.startswith(
        f"After 30 steps, nDCG@10 on mine/test (full ranking) is {values[0] + 0.1:.3f} with static(0.3) targets and "
        f"{values[0]:.3f} with distributed targets; before training it was {values[1]:.3f}. {said}"
    )
    assert text.endswith(("them.", "lies between them."))


def test_without_bm25_or_test_queries_less_is_said() -> None:
    assert answer([comparison(0.4, 0.3, None)], 30).endswith("helps (+0.100).")
    assert answer([], 30) == "This collection has no test queries to compare on."


def test_losses_are_compared_with_what_there_was_before(small_store, small_experiment) -> None:
    (found,) = compared(small_store, small_experiment, [small_experiment.target])
    assert list(found.systems) == ["BM25", "before training", small_experiment.target]
    result = small_store.result(small_experiment)
    assert found.systems[small_experiment.target].mean["nDCG@10"] == pytest.approx(
        result.value(found.collection, found.mode, "nDCG@10")
    )


def test_grades_are_those_of_training_and_of_evaluation() -> None:
    known = collections(["msmarco-passage/train/triples-small", "docstrings", "docstrings/test"]).set_index("train on")
    small = known.loc["msmarco-passage/train/triples-small"]
    assert "trec-dl-2019" in small["measured on"] and (small["relevant in training"], small["relevant in evaluation"]) == ("1", "2")
    assert known.loc["docstrings/train", "relevant in evaluation"] == "2"
    assert known.loc["docstrings/test", ["measured on", "relevant in evaluation"]].tolist() == ["–", "–"]
