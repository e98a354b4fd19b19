"""Trackers are told what the trace holds, are ended whatever happens, and change nothing of a result."""

from __future__ import annotations

import copy
import importlib
import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.tracking import GeneralTracker

from armlib.cli import main
from armlib.data.batches import Shape, TripleBatches
from armlib.data.tokenising import token_store
from armlib.errors import InputError
from armlib.experiments import run
from armlib.experiments.experiment import Experiment
from armlib.experiments.store import RunStore
from armlib.losses import MarginLoss
from armlib.training import loop, tracking
from armlib.training.loop import train
from armlib.training.processes import default_accelerator
from armlib.training.settings import Settings
from armlib.training.tracking import check_trackers

SETTINGS = Settings(steps=12, learning_rate=1e-3, validate_every=4, warmup_steps=3, schedule="linear")


class Recorder(GeneralTracker):
    """A tracker that keeps what it is told."""

    name, requires_logging_directory = "recorder", False

    def __init__(self) -> None:
        super().__init__()
        self.config: dict = {}
        self.told: list[tuple[int, dict]] = []
        self.finished = 0

    @property
    def tracker(self) -> list:
        return self.told

    def store_init_configuration(self, values: dict) -> None:
        self.config = values

    def log(self, values: dict, step: int | None = None, **unused: object) -> None:
        assert isinstance(step, int) and all(type(value) in (int, float) for value in values.values()), "plain numbers"
        self.told.append((step, values))

    def finish(self) -> None:
        self.finished += 1

    def of(self, name: str) -> dict[int, float]:
        """The values of a name by step."""
        return {step: values[name] for step, values in self.told if name in values}


@pytest.fixture
def batches(texts, tiny_encoder) -> TripleBatches:
    store = token_store(lambda: texts, tiny_encoder.tokenizer, "texts", "passages")
    triples = np.random.default_rng(0).integers(0, len(store), (500, 3)).astype(np.int32)
    return TripleBatches(triples, store, store, batch_size=16, shape=Shape(24, 48, chunk_size=7), seed=1)


def tracked(recorder: Recorder, encoder, batches, **options):
    accelerator = default_accelerator("cpu", trackers=[recorder])
    with tracking.tracking(accelerator, "a training run", {"steps": 12, "evaluation": ("a", "b")}):
        return train(encoder, MarginLoss("distributed"), batches, SETTINGS, accelerator=accelerator, **options)


def test_it_is_told_losses_rates_and_validations(tiny_encoder, batches, monkeypatch) -> None:
    monkeypatch.setattr(loop, "STEPS_PER_LOOK", 5)
    recorder, values = Recorder(), iter([0.1, 0.3, 0.2])

    def validate(encoder) -> dict[str, float]:
        return {"nDCG@10": next(values), "Success(rel=2)@5": 0.5}

    trace = tracked(recorder, tiny_encoder, batches, validate=validate).trace
    ends = [4, 5, 8, 10, 12]  # validations after 4, 8 and 12 steps, looks after 5 and 10
    expected = [trace.loss[begin:end].mean() for begin, end in zip([0, *ends], ends, strict=False)]
    assert list(recorder.of("loss")) == ends
    np.testing.assert_allclose(list(recorder.of("loss").values()), expected, rtol=1e-12)
    assert recorder.of("learning_rate") == {end: SETTINGS.rate(end - 1) for end in ends}
    assert recorder.of("validation/nDCG_10") == {4: 0.1, 8: 0.3, 12: 0.2}
    assert recorder.of("validation/Success_rel_2_5") == dict.fromkeys((4, 8, 12), 0.5)
    assert all(seconds > 0 for seconds in recorder.of("validation/seconds").values())
    assert recorder.config == {"steps": 12, "evaluation": "a, b"} and recorder.finished == 1


def test_without_validation_the_last_steps_are_told_at_the_end(tiny_encoder, batches) -> None:
    recorder = Recorder()
    trace = tracked(recorder, tiny_encoder, batches).trace
    assert recorder.of("loss") == {12: pytest.approx(trace.loss.mean())}


def test_what_goes_on_is_told_once(tiny_encoder, batches, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(loop, "STEPS_PER_LOOK", 2)
    monkeypatch.setattr(f"{__name__}.SETTINGS", replace(SETTINGS, checkpoint_seconds=0.0))

    class Interrupted:
        """The batches, until the program is stopped."""

        def starting_at(self, step: int, stop: int, **options):
            yield from batches.starting_at(step, 5)
            raise KeyboardInterrupt

    first, second = Recorder(), Recorder()
    with pytest.raises(KeyboardInterrupt):
        tracked(first, copy.deepcopy(tiny_encoder), Interrupted(), checkpoints=tmp_path)
    assert first.finished == 1, "whatever happens"
    trace = tracked(second, tiny_encoder, batches, checkpoints=tmp_path).trace
    told = first.of("loss") | second.of("loss")
    assert list(told) == list(range(1, 13)) and max(first.of("loss")) == 5 and min(second.of("loss")) == 6
    np.testing.assert_allclose(list(told.values()), trace.loss, rtol=1e-12)


def test_a_result_is_the_same_with_a_tracker(small_experiment: Experiment, tmp_path: Path) -> None:
    short, recorder = replace(small_experiment, steps=4, validate_every=2), Recorder()
    plain = RunStore(tmp_path / "plain", device="cpu").result(short)
    told = RunStore(tmp_path / "told", device="cpu", trackers=[recorder]).result(short)
    assert told.key == plain.key and told.measures.equals(plain.measures)
    left, right = told.encoder().state_dict(), plain.encoder().state_dict()
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert recorder.config["learning_rate"] == 1e-3 and recorder.config["collection"] == short.collection
    assert recorder.of("validation/nDCG_10") == dict(zip(told.validations.step, told.validations["nDCG@10"], strict=True))
    assert recorder.finished == 1 and not (tmp_path / "told" / "trackers").exists()


def test_an_encoder_that_is_not_trained_is_nothing_to_tell_of(small_experiment: Experiment, tmp_path: Path) -> None:
    recorder = Recorder()
    RunStore(tmp_path, device="cpu", trackers=[recorder]).result(replace(small_experiment, steps=0))
    assert not recorder.config and not recorder.told and not recorder.finished


def test_trackers_are_ended_where_training_fails(small_experiment: Experiment, tmp_path: Path, monkeypatch) -> None:
    recorder = Recorder()

    def failing(*_, **options) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(run, "train", failing)
    with pytest.raises(RuntimeError):
        RunStore(tmp_path, device="cpu", trackers=[recorder]).result(small_experiment)
    assert recorder.finished == 1


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("tensorbord", "unknown tracker 'tensorbord'; did you mean 'tensorboard'"),
        ("wandb", "the tracker 'wandb' is not installed; install it with: pip install wandb"),
        ("comet_ml", "the tracker 'comet_ml' is not installed; install it with: pip install comet-ml"),
    ],
)
def test_trackers_that_are_not_there_are_named_before_training(tmp_path, monkeypatch, capsys, name: str, sentence: str) -> None:
    monkeypatch.setattr(tracking, "get_available_trackers", list)
    with pytest.raises(InputError, match=sentence):
        check_trackers([name])
    with pytest.raises(InputError, match=sentence):
        default_accelerator("cpu", trackers=[Recorder(), name])
    monkeypatch.setattr("armlib.experiments.store.run_experiment", lambda *_: pytest.fail("trained"))
    assert main(["train", "--tracker", name, "--runs", str(tmp_path), "--device", "cpu"]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_tensorboard_is_told(small_experiment: Experiment, tmp_path: Path) -> None:
    short = replace(small_experiment, steps=4, validate_every=2, evaluation="none")
    result = RunStore(tmp_path, device="cpu", trackers=["tensorboard"]).result(short)
    reader = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(tmp_path / "trackers" / result.key / "armlib"))
    events.Reload()
    found = {tag: [(each.step, each.value) for each in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    measured = result.validations["nDCG@10"].tolist()
    assert found["validation/nDCG_10"] == [(2, pytest.approx(measured[0])), (4, pytest.approx(measured[1]))]
    losses = result.trace.loss
    assert found["loss"] == [(2, pytest.approx(losses[:2].mean())), (4, pytest.approx(losses[2:].mean()))]
    assert RunStore(tmp_path).keys() == [result.key], "and nobody takes its folder for a result"
