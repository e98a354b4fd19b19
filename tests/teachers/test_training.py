"""Training with a teacher: what goes together, what it has cost, and that no process or worker changes its scores."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from dask.distributed import Client

from armlib.cli import main
from armlib.data.beir import BeirFolder
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.token_stores import passage_tokens
from armlib.errors import InputError
from armlib.experiments.cluster import workers_here
from armlib.experiments.experiment import Experiment
from armlib.experiments.result import Result
from armlib.experiments.scoring import by_workers
from armlib.experiments.store import RunStore
from armlib.experiments.training_data import TrainingData
from armlib.retrieval.embeddings import encode_collection
from armlib.storage import digest, seal
from armlib.teachers import pair_scores
from armlib.teachers.base import Workers
from armlib.teachers.bi_encoder import BiEncoderTeacher
from armlib.teachers.pair_scores import PairScores


@pytest.fixture
def bi_encoder(tiny_folder: Path) -> str:
    return f"bi-encoder({str(tiny_folder)!r})"


@pytest.fixture
def cross_encoder(cross_encoder_folder: Path) -> str:
    return f"cross-encoder({str(cross_encoder_folder)!r})"


@pytest.fixture
def taught(small_experiment: Experiment, bi_encoder: str) -> Experiment:
    """A few steps with the student's own encoder as teacher."""
    return replace(small_experiment, target="", loss="margin-mse", teacher=bi_encoder, steps=4, validate_every=2)


def flags(experiment: Experiment, *others: str) -> list[str]:
    """The experiment's values as options of the command line."""
    values = {name: value for name, value in vars(experiment).items() if value not in ("", False, True)}
    values["evaluation"] = experiment.evaluation[0]
    return [*others, *(part for name, value in values.items() for part in (f"--{name.replace('_', '-')}", str(value)))]


@pytest.mark.parametrize("loss", ["margin-mse(20)", "margin-mse(20, in_batch=0.75)", "list-kl(contrast=0.1)"])
def test_training_with_a_teacher_from_the_command_line(taught: Experiment, loss: str, tmp_path: Path, capsys) -> None:
    assert main(flags(replace(taught, loss=loss), "train", "--runs", str(tmp_path), "--no-compared")) == 0, capsys.readouterr().err
    (result,) = RunStore(tmp_path).finished()
    assert result.experiment.teacher == taught.teacher and f"taught by {taught.teacher}" in result.about["variant"]
    about = result.about["teacher"]
    assert about["name"] == taught.teacher and about["device"] == "cpu"
    assert about["seconds"] > 0 and about["operations"] > 0 and about["parameters"] > 0 and len(about["fingerprint"]) == 16
    assert np.isfinite(result.trace.loss).all()


def test_the_cost_of_a_cross_encoder_is_that_of_unique_pairs(taught: Experiment, cross_encoder: str, tmp_path: Path) -> None:
    experiment = replace(taught, teacher=cross_encoder)
    about = RunStore(tmp_path).result(experiment).about["teacher"]
    pairs = {pair for q, *both in TrainingData(experiment).triples.tolist() for pair in ((q, both[0]), (q, both[1]))}
    assert about["pairs"] == len(pairs) and about["operations"] > 0 and about["seconds"] > 0


def test_equal_teachers_have_equal_keys_and_other_teachers_others(taught: Experiment, bi_encoder: str, tmp_path: Path) -> None:
    spelled = replace(taught, teacher=bi_encoder.replace("bi-encoder(", "bi-encoder( name=").replace("'", '"'))
    assert spelled == taught and spelled.key() == taught.key()
    assert replace(taught, teacher=bi_encoder.replace(")", ", scale=2)")).key() != taught.key()
    scores = tmp_path / "scores.tsv"
    keys = set()
    for text in ("q\tp\t1\n", "q\tp\t22\n"):
        scores.write_text(text)
        keys.add(replace(taught, teacher=f"scores({str(scores)!r})").key())
    assert len(keys) == 2, "the same name, other contents"


def test_without_a_teacher_the_key_is_of_values_and_collections_alone() -> None:
    experiment = Experiment(validation="held-out")
    data = TrainingData(experiment)
    read = (data.collection, *data.evaluations)
    prints = [part for each in read for part in (each.name, each.fingerprint(), each.corpus.fingerprint())]
    assert experiment.key() == digest(json.dumps(experiment.values(), sort_keys=True), *prints)[:12]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"teacher": ""}, "the loss 'margin-mse' learns from a teacher's scores; expected a teacher"),
        ({"loss": "list-kl", "teacher": ""}, "the loss 'list-kl' learns from a teacher's scores"),
        ({"loss": "infonce"}, "the loss 'infonce' does not use the scores of the teacher"),
        ({"loss": "", "target": "distributed"}, "the loss 'distributed' does not use the scores of the teacher"),
        ({"loss": "margin-mse(in_batch=1)", "teacher": "cross-encoder('a')"}, "scores of every query and every passage of a batch"),
        ({"teacher": "oracle"}, "unknown teacher 'oracle' .available: "),
        ({"teacher": "scores"}, r"the teacher 'scores' cannot be read: expected scores\(path\)"),
        ({"teacher": "scores('a.pkl')"}, "which could run any code"),
    ],
)
def test_what_does_not_go_together_is_refused_before_any_work(taught: Experiment, values: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        replace(taught, **values)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "teacher", ["bi-encoder('/nowhere')", "cross-encoder('/nowhere')", "scores('/nowhere')", "run('/nowhere')"]
)
def test_a_teacher_that_is_not_there_is_refused_before_training(taught: Experiment, teacher: str, tmp_path: Path, capsys) -> None:
    assert main(flags(replace(taught, teacher=teacher), "train", "--runs", str(tmp_path / "runs"))) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "/nowhere" in line and not list(tmp_path.glob("runs/*/result.json"))


def test_two_processes_have_the_scores_of_one(taught: Experiment) -> None:
    experiment = replace(taught, loss="margin-mse(in_batch=1)")
    (whole,) = TrainingData(experiment).batches().starting_at(3, 4)
    for rank in (0, 1):
        batches = TrainingData(experiment).batches(rank=rank, processes=2)
        for workers in (0, 1):
            (share,) = batches.starting_at(3, 4, workers=workers)
            assert share.size == whole.size // 2
            torch.testing.assert_close(share.teacher.pointwise, whole.teacher.pointwise, rtol=0, atol=0)
            torch.testing.assert_close(share.teacher.in_batch, whole.teacher.in_batch, rtol=0, atol=0)


def test_scoring_ahead_leaves_nothing_to_score(
    taught: Experiment, cross_encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path / "cache"))
    experiment = replace(taught, teacher=cross_encoder)
    assert main(flags(experiment, "score")) == 0
    said = capsys.readouterr().out
    assert f"scored by {cross_encoder}; kept in {tmp_path / 'cache'}" in said and "operations: " in said
    monkeypatch.setattr(pair_scores, "score_shard", lambda *_: pytest.fail("scored again"))
    assert TrainingData(experiment).batches()[0].teacher.pointwise.shape == (16, 2)
    assert main(["score", "--collection", str(experiment.collection)]) == 2
    assert main(flags(experiment, "score", "--workers", "1", "--scheduler", "tcp://nowhere:1")) == 2
    assert all("expected" in line or "needs" in line or "--workers" in line for line in capsys.readouterr().err.splitlines())


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Two workers of this machine."""
    with workers_here(2) as client:
        yield client


def scored(experiment: Experiment, workers: Workers | None = None) -> np.ndarray:
    data = TrainingData(experiment, workers=workers)
    assert isinstance(data.scores, PairScores)
    return data.scores(data.triples).pointwise.numpy()


@pytest.mark.slow
def test_the_shards_of_a_lost_worker_are_taken_up_by_another(
    client: Client, taught: Experiment, cross_encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two workers one is killed at work; the scores are those of one undisturbed process to the bit."""
    monkeypatch.setattr(pair_scores, "SHARD", 32)
    experiment = replace(taught, teacher=cross_encoder)
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path / "undisturbed"))
    expected = scored(experiment)
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path / "cache"))
    killed: list[int] = []

    def kill(workers: list[int]) -> None:
        while not list(tmp_path.glob("cache/teacher-scores/*.scoring/shard-*")):
            time.sleep(0.01)
        os.kill(workers[0], 9)
        killed.append(len(list(tmp_path.glob("cache/teacher-scores/*.scoring/shard-*"))))

    pids = list(client.run(os.getpid).values())
    killer = threading.Thread(target=kill, args=(pids,), daemon=True)
    killer.start()
    found = scored(experiment, by_workers(client))
    killer.join()
    assert not psutil.pid_exists(pids[0])
    assert 0 < killed[0] < len(np.unique(TrainingData(experiment).triples[:, 1])), "it was killed before the end"
    assert found.tobytes() == expected.tobytes()


@pytest.mark.slow
def test_workers_encode_blocks_and_say_what_is_wrong(
    client: Client, taught: Experiment, tiny_folder: Path, tiny_encoder: BiEncoder, tmp_path: Path
) -> None:
    collection = BeirFolder(Path(taught.collection), None)
    store, teacher = passage_tokens(collection, tiny_encoder, 48), BiEncoderTeacher(str(tiny_folder))
    expected = encode_collection(tiny_encoder, store, tmp_path / "here", 48, block=50)
    work = by_workers(client)
    found = encode_collection(
        tiny_encoder, store, tmp_path / "there", 48, block=50, workers=lambda *asked: work(teacher, collection, *asked)
    )
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(InputError, match="/nowhere"):
        work(BiEncoderTeacher("/nowhere"), collection, tmp_path / "there", [0])


def test_results_with_a_teacher_are_read_when_the_teacher_is_gone(taught: Experiment, tmp_path: Path) -> None:
    result = RunStore(tmp_path).result(taught)
    experiment = (result.folder / "experiment.json").read_text().replace("encoders", "gone")
    (result.folder / "experiment.json").write_text(experiment)
    seal(result.folder)
    assert "gone" in Result(result.key, result.folder).experiment.teacher
