"""The run store: trained once, whole, and readable by everything after."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from armlib.errors import InputError
from armlib.evaluation.evaluate import FULL_RANKING, RERANKING, file_name
from armlib.evaluation.measures import default_measures, evaluate
from armlib.experiments import store as store_module
from armlib.experiments.experiment import Experiment
from armlib.experiments.result import measures_as_text
from armlib.experiments.store import RunStore
from armlib.names import load_collection
from armlib.retrieval.encoding import encode_texts


def test_a_result_holds_everything(small_store: RunStore, small_experiment: Experiment) -> None:
    result = small_store.result(small_experiment)
    assert result.experiment == small_experiment and len(result.trace) == 20
    assert result.validations.step.tolist() == [10, 20] and result.about["validated_on"].startswith(small_experiment.collection)
    (name,) = small_experiment.evaluation
    collection = load_collection(name)
    for mode in (RERANKING, FULL_RANKING):
        again = evaluate(result.run(name, mode), collection.qrels(), default_measures(1))
        for measure, value in again.mean.items():
            assert result.value(name, mode, measure) == pytest.approx(value, abs=1e-9)
            assert result.per_query(name, mode).mean[measure] == pytest.approx(value, abs=1e-9)
    assert result.key in result.provenance_line() and result.about["versions"]["torch"]
    assert not result.chosen_on_test_set and "test set" not in result.provenance_line()
    with pytest.raises(InputError, match="has no .* MRR; it has"):
        result.value(name, RERANKING, "MRR")


def test_the_encoder_is_a_sentence_transformers_model(small_store, small_experiment, texts) -> None:
    result = small_store.result(small_experiment)
    sample = [text for _, text in texts[:8]]
    expected = SentenceTransformer(str(result.folder / "encoder"), device="cpu").encode(sample)
    np.testing.assert_allclose(encode_texts(result.encoder(), sample, small_experiment.passage_length), expected, atol=1e-5)


def test_held_out_queries_are_not_trained_on(small_store, small_experiment) -> None:
    about = small_store.result(small_experiment).about
    collection = load_collection(small_experiment.collection)
    triples = list(collection.triples())
    queries = sorted({query for query, _, _ in triples})
    left = len(triples) - about["available_triples"]
    assert 0 < left < len(triples) and len(queries) > small_experiment.validation_queries


def test_a_training_without_measures(small_store, small_experiment) -> None:
    result = small_store.result(replace(small_experiment, evaluation=("none",), steps=2))
    assert result.measures.empty and measures_as_text(result.measures) == "not measured" and result.encoder().dim == 32


def test_a_training_that_is_measured_by_re_ranking_alone(small_store, small_experiment) -> None:
    whole, part = (small_store.result(replace(small_experiment, full_ranking=each)) for each in (True, False))
    expected = whole.measures[whole.measures["mode"] == RERANKING].reset_index(drop=True)
    assert part.measures.equals(expected)
    (name,) = part.experiment.evaluation
    assert [file.name for file in (part.folder / "runs").iterdir()] == [f"{file_name(name, RERANKING)}.run.gz"]


def test_a_step_chosen_on_a_test_set_is_marked(small_store, small_experiment) -> None:
    (tested,) = small_experiment.evaluation
    result = small_store.result(replace(small_experiment, validation=tested, validation_queries=0, steps=4, validate_every=2))
    assert result.provenance_line().endswith(f"step chosen on {tested}, a test set")
    assert result.about["available_triples"] == sum(1 for _ in load_collection(small_experiment.collection).triples())


def test_a_finished_result_is_not_trained_again(small_store, small_experiment, monkeypatch) -> None:
    monkeypatch.setattr(store_module, "run_experiment", lambda *_: pytest.fail("trained again"))
    assert small_store.result(small_experiment).key in [result.key for result in small_store.finished()]


def test_a_damaged_result_is_made_again(small_store, small_experiment, tmp_path) -> None:
    copy = RunStore(tmp_path)
    key = small_experiment.key()
    shutil.copytree(small_store.path / key, tmp_path / key)
    (tmp_path / key / "trace.csv").write_text("step\n")
    with pytest.warns(UserWarning, match="is damaged .trace.csv"):
        result = copy.result(small_experiment)
    original = small_store.result(small_experiment)
    assert result.trace.loss.tolist() == original.trace.loss.tolist(), "the same experiment gives the same bits"
    assert result.encoder().fingerprint() == original.encoder().fingerprint()


def test_looking_for_what_is_missing_changes_nothing(small_store, small_experiment, tmp_path) -> None:
    store, other = RunStore(tmp_path / "runs"), replace(small_experiment, seed=99)
    assert store.missing([small_experiment, other, small_experiment]) == [small_experiment, other]
    assert store.state(other) == "missing" and not (tmp_path / "runs").exists()
    shutil.copytree(small_store.path / small_experiment.key(), store.path / small_experiment.key())
    assert store.missing([small_experiment, other]) == [other] and store.state(small_experiment) == "finished"
    damaged = store.path / small_experiment.key() / "trace.csv"
    damaged.write_text("step\n")
    assert store.missing([small_experiment]) == [small_experiment] and store.state(small_experiment) == "damaged"
    assert damaged.read_text() == "step\n" and [path.name for path in store.path.iterdir()] == [small_experiment.key()]


def test_results_are_whole_by_their_sizes_and_weights_by_their_contents(small_store, small_experiment, tmp_path) -> None:
    copy, key = RunStore(tmp_path), small_experiment.key()
    shutil.copytree(small_store.path / key, tmp_path / key)
    file = tmp_path / key / "encoder" / "model.safetensors"
    weights = bytearray(file.read_bytes())
    weights[-5] ^= 1
    file.write_bytes(weights)
    assert copy.state(small_experiment) == "finished" and copy.missing([small_experiment]) == []
    with pytest.raises(InputError, match=r"damaged: model\.safetensors does not have the contents"):
        copy.result(small_experiment).encoder()


def _ask(path: Path, experiment: Experiment, begin, seen) -> None:
    begin.wait()
    trained = []
    run = store_module.run_experiment
    store_module.run_experiment = lambda *arguments: (trained.append(1), run(*arguments))
    seen.put((RunStore(path).result(experiment).key, len(trained)))


@pytest.mark.slow
def test_two_processes_that_ask_train_once(small_experiment, tmp_path) -> None:
    context = multiprocessing.get_context("spawn")
    begin, seen = context.Event(), context.Queue()
    experiment = replace(small_experiment, seed=5)
    askers = [context.Process(target=_ask, args=(tmp_path, experiment, begin, seen)) for _ in range(2)]
    for asker in askers:
        asker.start()
    begin.set()
    answers = [seen.get(timeout=120) for _ in askers]
    for asker in askers:
        asker.join()
    assert {key for key, _ in answers} == {experiment.key()} and sum(trained for _, trained in answers) == 1


def test_bad_input_leaves_nothing(small_experiment, tmp_path) -> None:
    store = RunStore(tmp_path)
    with pytest.raises(InputError, match="unknown collection"):
        store.result(replace(small_experiment, collection="docstring"))
    with pytest.raises(InputError, match="no-such-encoder"):
        store.result(replace(small_experiment, encoder="no-such-encoder"))
    with pytest.raises(InputError, match="index|factory"):
        store.result(replace(small_experiment, index="IVFX"))
    assert not list(tmp_path.glob("*/result.json"))


@pytest.mark.slow
def test_several_results_by_several_jobs(small_experiment, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    experiments = [replace(small_experiment, seed=seed, steps=4) for seed in (7, 8)]
    results = RunStore(tmp_path).results(experiments, jobs=2)
    assert [result.experiment.seed for result in results] == [7, 8]
    share = max(1, len(os.sched_getaffinity(0)) // 2)
    assert all(result.about["machine"]["threads"] == share for result in results), "whatever the environment said before"
