"""What a training run was good for: BM25, before and after, tested; and the signs of one that went wrong."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.weightstats import DescrStatsW

from armlib.cli import main
from armlib.encoder.token_stores import passage_tokens
from armlib.evaluation.measures import Evaluation, evaluate
from armlib.experiments import collapse
from armlib.experiments.collapse import mean_cosine, troubles
from armlib.experiments.cut_tokens import cut_share, length_for
from armlib.experiments.experiment import Experiment
from armlib.experiments.outcome import AFTER, BEFORE, BM25, Comparison, before_training, bm25, comparisons, measured_in, outcome
from armlib.experiments.store import RunStore
from armlib.experiments.training_data import TrainingData
from armlib.names import load_collection
from armlib.retrieval.encoding import encode_rows


@pytest.fixture
def compared(small_experiment: Experiment, small_store: RunStore) -> Comparison:
    [found] = outcome(small_store.result(small_experiment), small_store)
    return found


def test_bm25_before_and_after_are_side_by_side(compared: Comparison, small_experiment, small_store) -> None:
    assert list(compared.systems) == [BM25, BEFORE, AFTER] and compared.mode == "full ranking"
    result = small_store.result(small_experiment)
    table = compared.table
    for measure in ("nDCG@10", "R@1000"):
        assert table.loc[AFTER, measure] == pytest.approx(result.value(compared.collection, compared.mode, measure), abs=1e-12)
    untrained = small_store.result(replace(small_experiment, steps=0))
    assert table.loc[BEFORE, "nDCG@10"] == pytest.approx(untrained.value(compared.collection, compared.mode, "nDCG@10"), abs=1e-12)
    collection = load_collection(compared.collection)
    expected = evaluate(collection.bm25_run(1000), collection.qrels(), ["nDCG@10"])
    assert table.loc[BM25, "nDCG@10"] == pytest.approx(expected.mean["nDCG@10"], abs=1e-12)
    assert bm25(collection, ["nDCG@10"]).per_query.equals(expected.per_query)
    differences = compared.systems[AFTER].scores("nDCG@10") - compared.systems[BM25].scores("nDCG@10")
    low, high = DescrStatsW(differences).tconfint_mean(alpha=0.1)
    assert table.loc[BM25, ["trained is ahead by", "low", "high"]].tolist() == pytest.approx([differences.mean(), low, high])


def test_the_encoder_before_training_is_measured_once_for_all_ways_of_training(small_experiment: Experiment) -> None:
    others = (replace(small_experiment, steps=7, learning_rate=1e-4, seed=3, target="static(1.0)", batch_size=4), small_experiment)
    assert before_training(others[0]) == before_training(others[1])
    assert before_training(replace(small_experiment, passage_length=40)) != before_training(small_experiment)


@pytest.mark.parametrize(
    ("shift", "spread", "said"),
    [
        (0.001, 0.01, "trained: equivalent to BM25 within 0.05"),
        (0.3, 0.01, "trained: ahead of BM25"),
        (-0.3, 0.01, "trained: behind BM25"),
        (0.02, 0.5, "trained: not told apart from BM25"),
    ],
)
def test_what_is_said_is_what_the_test_found(shift: float, spread: float, said: str) -> None:
    drawn = np.random.default_rng(0).normal(0, spread, 40)
    names = [f"q{number}" for number in range(40)]
    frames = [np.full(40, 0.5), 0.5 + shift + drawn - drawn.mean()]
    systems = {
        name: Evaluation.from_per_query(pd.DataFrame({"nDCG@10": values}, index=names))
        for name, values in zip((BM25, AFTER), frames, strict=True)
    }
    [sentence] = Comparison("mine", "full ranking", systems).sentences()
    assert sentence.startswith(said) and f"({shift:+.3f}, 90% from" in sentence


def test_the_share_of_tokens_that_is_cut_is_counted(small_experiment: Experiment) -> None:
    data = TrainingData(replace(small_experiment, passage_length=20))
    lengths = [len(ids) for ids in data.encoder.tokenizer([each.text for each in data.collection.documents()])["input_ids"]]
    tokens = np.minimum(np.array(lengths) - 2, 512)
    expected = np.maximum(tokens - 18, 0).sum() / tokens.sum()
    assert cut_share(data)["passages"] == pytest.approx(expected, abs=1e-12) and expected > 0.05
    longer = length_for(data, 0.05)
    assert cut_share(TrainingData(replace(small_experiment, passage_length=longer)))["passages"] <= 0.05
    assert cut_share(TrainingData(replace(small_experiment, passage_length=longer - 10)))["passages"] > 0.05


def test_the_mean_cosine_is_that_of_all_pairs(small_experiment: Experiment, small_store: RunStore) -> None:
    result = small_store.result(small_experiment)
    encoder, collection = result.encoder(), load_collection(small_experiment.collection)
    passages = passage_tokens(collection, encoder, 48)
    vectors = encode_rows(encoder, passages, np.arange(len(passages)), 48).astype(float)
    cosines = vectors @ vectors.T
    expected = cosines[np.triu_indices(len(vectors), 1)].mean()
    assert mean_cosine(encoder, collection, 48) == pytest.approx(expected, abs=1e-6)


def test_a_collapse_is_told_with_what_to_try(small_experiment: Experiment, small_store: RunStore, tmp_path, monkeypatch) -> None:
    assert troubles(small_store.result(small_experiment)) == []
    ruined = RunStore(tmp_path / "runs").result(
        replace(small_experiment, learning_rate=0.5, selection="last", evaluation=("none",))
    )
    said = troubles(ruined)
    assert any(
        sentence.startswith("on validation queries nDCG@10 was 0.") and "made the encoder worse" in sentence for sentence in said
    )
    assert all("--learning-rate 2e-05 in place of 0.5" in sentence and "--selection best" in sentence for sentence in said)
    monkeypatch.setattr(collapse, "mean_cosine", lambda *_: 0.996)
    assert troubles(small_store.result(small_experiment))[0].startswith("two passages have a mean cosine of 0.996")


@pytest.mark.filterwarnings("always:.*tokens are cut off")
def test_the_command_ends_with_the_comparison(small_experiment: Experiment, small_store: RunStore, capsys) -> None:
    values = {"collection": small_experiment.collection, "encoder": small_experiment.encoder, "runs": small_store.path}
    values |= {name: getattr(small_experiment, name) for name in ("batch_size", "steps", "learning_rate", "query_length")}
    values |= {name: getattr(small_experiment, name) for name in ("passage_length", "validation_queries", "validate_every")}
    flags = [text for name, value in values.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    assert main(["train", *flags, "--selection", "best"]) == 0
    shown = capsys.readouterr()
    assert re.search(r"\d\d% of the passages' tokens are cut off at 48; --passage-length \d+0 would cut 5% or less", shown.err)
    assert "cut off:" in shown.out and "40 queries\n" in shown.out and "before training" in shown.out
    assert main(["train", *flags, "--selection", "best", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    [compared] = found["compared"]
    assert list(compared["systems"]) == [BM25, BEFORE, AFTER] and compared["systems"][AFTER]["low"] is None
    assert len(compared["sentences"]) == 2 and found["troubles"] == []


def test_evaluate_knows_what_a_model_was_trained_on(small_experiment, small_store, tmp_path, capsys) -> None:
    result = small_store.result(small_experiment)
    asked = ["evaluate", str(result.folder / "encoder"), "--output", str(tmp_path / "out"), "--collection"]
    assert main([*asked, small_experiment.collection]) == 2
    said = capsys.readouterr().err
    assert "the model was trained on" in said and "--on-training-queries" in said and not list((tmp_path / "out").rglob("*.csv"))
    assert main([*asked, f"{small_experiment.collection}/test"]) == 0
    shown = capsys.readouterr().out
    [expected] = outcome(result, small_store)
    assert all(f"{value:.4f}" in shown for value in expected.table["nDCG@10"])
    assert main([*asked, small_experiment.collection, "--on-training-queries", "--no-compared"]) == 0
    assert "before training" not in capsys.readouterr().out


def test_search_takes_what_was_trained_and_not_what_was_before(small_experiment, tmp_path, capsys) -> None:
    store = RunStore(tmp_path / "runs")
    result = store.result(replace(small_experiment, learning_rate=0.01))
    asked = ["search", "copy a file", "--collection", small_experiment.collection, "--runs", str(store.path)]
    assert main(asked) == 0
    shown = capsys.readouterr().out
    outcome(result, store)
    assert sorted(each.experiment.steps for each in store.finished()) == [0, 20]
    assert main(asked) == 0 and capsys.readouterr().out == shown


def test_bm25_is_left_out_of_large_collections_and_a_single_query_is_not_tested(small_experiment, small_store) -> None:
    result = small_store.result(small_experiment)
    measured = measured_in(result.folder, result.measures)
    [collection] = TrainingData(small_experiment).evaluations
    assert comparisons({collection: 1_000_001}, {AFTER: measured}) == []
    [without] = comparisons({collection: 1_000_001}, {BEFORE: measured, AFTER: measured})
    assert list(without.systems) == [BEFORE, AFTER]
    single = {mode: Evaluation(each.per_query.iloc[:1]) for mode, each in measured[collection.name].items()}
    assert comparisons({collection: 1_000_001}, {BEFORE: {collection.name: single}, AFTER: {collection.name: single}}) == []
