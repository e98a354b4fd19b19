"""The run store: trained once, whole, and readable by everything after."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from sentence_transformers import SentenceTransformer

from armlib import storage
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


def test_a_store_that_may_not_be_written_is_read_without_a_lock(small_store, small_experiment, tmp_path, monkeypatch) -> None:
    shutil.copytree(small_store.path / small_experiment.key(), tmp_path / small_experiment.key())
    monkeypatch.setattr(storage.locks, "FileLock", lambda *_, **__: pytest.fail("a lock where nothing may be written"))
    monkeypatch.setattr(storage, "check_writable", lambda *_: pytest.fail("nothing may be written"))
    store = RunStore(tmp_path)
    assert store.result(small_experiment).measures.equals(small_store.result(small_experiment).measures)
    assert store.results([small_experiment]) == store.finished() and store.missing([small_experiment]) == []
    assert [path.name for path in tmp_path.iterdir()] == [small_experiment.key()]


@pytest.mark.parametrize("place", ["file", "file/runs", "x" * 300])
def test_a_store_that_cannot_be_made_is_refused_before_anything_is_trained(small_experiment, tmp_path, monkeypatch, place) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(store_module, "run_experiment", lambda *_: pytest.fail("trained"))
    store = RunStore(tmp_path / place)
    with pytest.raises(InputError, match="^cannot (write|read) "):
        store.result(small_experiment)


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("result.json", b"{}"),
        ("result.json", b"\xff\xfe"),
        ("result.json", b"[" * 100_000),
        ("result.json", b'{"time": 3, "measures": []}'),
        ("result.json", b'{"time": "2024-01-01", "measures": [[1, 2, 3, 4]]}'),
        ("result.json", None),
        ("experiment.json", b"{}x"),
        ("experiment.json", b'{"colour": "blue"}'),
        ("experiment.json", b'{"evaluation": 3}'),
        ("manifest.json", b"{}"),
    ],
)
@pytest.mark.parametrize("sealed", [True, False])
def test_a_folder_that_holds_no_result_stops_nobody(small_store, small_experiment, tmp_path, name, contents, sealed) -> None:
    key = small_experiment.key()
    for place in (key, "foreign"):
        shutil.copytree(small_store.path / key, tmp_path / place)
    file = tmp_path / "foreign" / name
    file.unlink()
    file.mkdir() if contents is None else file.write_bytes(contents)
    if sealed and name != "manifest.json":
        storage.seal(tmp_path / "foreign")
    with pytest.warns(UserWarning, match="a folder of .* holds no whole result and is passed over, foreign: ") as said:
        assert [result.key for result in RunStore(tmp_path).finished()] == [key]
    assert len(said) == 1


def test_damage_is_looked_at_again_before_anything_is_deleted(small_store, small_experiment, tmp_path, monkeypatch) -> None:
    """Another process may have made the result again while this one waited for the lock."""
    key, store = small_experiment.key(), RunStore(tmp_path)
    shutil.copytree(small_store.path / key, tmp_path / key)
    (tmp_path / key / "trace.csv").write_text("step\n")
    locked = store._locked

    def mended(*arguments):
        shutil.copy(small_store.path / key / "trace.csv", tmp_path / key / "trace.csv")
        return locked(*arguments)

    monkeypatch.setattr(store, "_locked", mended)
    monkeypatch.setattr(store_module, "run_experiment", lambda *_: pytest.fail("trained again"))
    assert store.result(small_experiment).key == key


def test_a_result_that_was_being_replaced_is_put_back(small_store, small_experiment, tmp_path, monkeypatch) -> None:
    key = small_experiment.key()
    shutil.copytree(small_store.path / key, tmp_path / f".{key}.0123abcd.old")
    monkeypatch.setattr(store_module, "run_experiment", lambda *_: pytest.fail("trained again"))
    assert RunStore(tmp_path).result(small_experiment).key == key
    assert sorted(path.name for path in tmp_path.iterdir()) == [".locks", key]


def test_what_was_left_when_all_was_done_goes_away(small_store, small_experiment, tmp_path) -> None:
    key = small_experiment.key()
    shutil.copytree(small_store.path / key, tmp_path / key)
    for left in (f".{key}.0123abcd.part", f".{key}.0123abcd.old", f".unfinished/{key}"):
        (tmp_path / left).mkdir(parents=True)
    RunStore(tmp_path).result(small_experiment)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_dir() and key in path.name) == [key]


def test_a_changed_encoder_does_not_go_on_from_the_checkpoint_of_the_former(small_experiment, tmp_path, monkeypatch) -> None:
    shutil.copytree(small_experiment.encoder, tmp_path / "model")
    experiment, seen = replace(small_experiment, encoder=str(tmp_path / "model")), []
    monkeypatch.setattr(store_module, "run_experiment", lambda data, folder, work, *_: seen.append(work))
    for _ in range(2):
        RunStore(tmp_path / "runs").result(experiment)
        with open(tmp_path / "model" / "config.json", "a") as file:
            file.write("\n")
    assert len(set(seen)) == 2


def test_collections_never_share_a_file_name() -> None:
    assert file_name("docstrings/test", RERANKING) == "docstrings_test-re-ranking"
    assert file_name("a b/c", FULL_RANKING, ["a b/c", "other"]) == "a_b_c-full_ranking"
    alike = ["a/b", "a_b", "A/b", "/a/b", "a b", "\u00e9/\u00c9", "e\u0301/\u00c9"]
    names = [file_name(each, mode, alike) for each in alike for mode in (RERANKING, FULL_RANKING)]
    assert len({name.casefold() for name in names}) == len(names)
    long = ["/" + "x/" * 200 + end for end in ("a", "b")] + ["\u00e9" * 200]
    names = [file_name(each, RERANKING, long) for each in long]
    assert len(set(names)) == 3 and all(len(f".{name}.run.gz.01234567.part".encode()) <= 255 for name in names)


def test_two_collections_of_nearly_the_same_name_are_both_kept(small_store, small_experiment, beir_folder, tmp_path) -> None:
    for name in ("x/y", "x_y"):
        shutil.copytree(beir_folder, tmp_path / name)
    tests = tmp_path / "x_y" / "qrels" / "test.tsv"
    tests.write_text("".join(tests.read_text().splitlines(keepends=True)[:2]))
    [only] = load_collection(f"{tmp_path}/x_y/test").qrels()
    names = (f"{tmp_path}/x/y/test", f"{tmp_path}/x_y/test")
    result = small_store.result(replace(small_experiment, steps=1, validate_every=1, evaluation=names))
    first, second = (result.per_query(name, RERANKING).per_query for name in names)
    assert len(first) > 1 and second.index.tolist() == [only] and set(result.run(names[1], RERANKING)) == {only}


@pytest.mark.slow
def test_a_process_that_is_killed_is_told_with_its_experiment(small_experiment, tmp_path) -> None:
    experiments = [replace(small_experiment, seed=seed, steps=3_000, validate_every=3_000) for seed in (7, 8)]
    store = RunStore(tmp_path, checkpoint_seconds=0.0)

    def kill() -> None:
        while True:
            time.sleep(0.1)
            for child in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    if any(file.path.startswith(str(tmp_path / ".locks")) for file in child.open_files()):
                        return child.kill()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with pytest.raises(InputError, match=r"a process was killed before .*seed [78] was finished \([0-9a-f]{12}\)"):
        store.results(experiments, jobs=2)
    killer.join()
