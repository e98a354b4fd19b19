"""The loop: exact gradients, exact continuation, and a record of what happened."""

from __future__ import annotations

import copy
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import strategies as st
from torch import nn

from armlib import storage
from armlib.data.batches import Shape, TripleBatches
from armlib.data.tokenising import token_store
from armlib.errors import InputError
from armlib.losses import MarginLoss
from armlib.training import checkpoints
from armlib.training.gradients import batch_gradients
from armlib.training.interrupts import Stopped
from armlib.training.loop import train
from armlib.training.optimizer import make_optimizer
from armlib.training.processes import default_accelerator
from armlib.training.settings import Settings
from fuzzing import mutated, tried_on

OF = {"name": "a training run", "loss": "adaptive"}
SETTINGS = Settings(steps=12, learning_rate=1e-3, validate_every=4)
SHAPE = Shape(24, 48, chunk_size=7)


@pytest.fixture
def store(texts, tiny_encoder):
    return token_store(lambda: texts, tiny_encoder.tokenizer, "texts", "passages")


@pytest.fixture
def batches(store) -> TripleBatches:
    triples = np.random.default_rng(0).integers(0, len(store), (500, 3)).astype(np.int32)
    return TripleBatches(triples, store, store, batch_size=16, shape=SHAPE, seed=1)


def with_dropout(encoder, probability: float = 0.2):
    """The encoder with dropout in every place that has one."""
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = probability
    return encoder


def weights(encoder) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in encoder.state_dict().items()}


def assert_same_bits(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    assert [name for name in left if not torch.equal(left[name], right[name])] == []


def same_rows(left: pd.DataFrame, right: pd.DataFrame) -> bool:
    """Whether two traces agree in all but time."""
    timed = ["seconds", "waiting_seconds"]
    return left.drop(columns=timed, errors="ignore").equals(right.drop(columns=timed, errors="ignore"))


def rising(values: list[float]):
    """A validation that gives these values in turn."""
    stream = iter(values)
    return lambda encoder: {"nDCG@10": next(stream)}


def test_training_lowers_the_loss_and_records_it(tiny_encoder, batches) -> None:
    training = train(tiny_encoder, MarginLoss("distributed"), batches, replace(SETTINGS, steps=60))
    trace = training.trace
    assert list(trace.step) == list(range(1, 61)) and trace.triples.iloc[-1] == 60 * 16
    assert trace.loss[-10:].mean() < 0.7 * trace.loss[:10].mean()
    assert ((trace.target_minimum <= trace.target_mean) & (trace.target_mean <= trace.target_maximum)).all()
    # Equation 3: distributed targets are the similarities D+ x D-, scaled from -1..1 to 0..1.
    np.testing.assert_allclose(trace.target_mean, (1 + trace.similarity_mean) / 2, atol=1e-6)
    assert (trace.real_tokens <= trace.padded_tokens).all()
    assert training.kept_step == 60 and not training.stopped_early and "Adam" in training.optimizer


@pytest.mark.parametrize("target", ["static(0.3)", "adaptive", "distributed", "variance"])
def test_cached_gradients_equal_plain_ones_with_dropout(tiny_encoder, batches, target: str) -> None:
    batches.shape = Shape(24, 48, chunk_tokens=400)
    assert len(batches[3].passages) > 3
    gradients = []
    for cached in (False, True):
        encoder = with_dropout(copy.deepcopy(tiny_encoder)).train()
        settings = replace(SETTINGS, cached=cached)
        batch_gradients(encoder, MarginLoss(target), batches[3], default_accelerator("cpu"), settings, step=3)
        gradients.append({name: parameter.grad for name, parameter in encoder.named_parameters()})
    for name, plain in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], plain, rtol=1e-4, atol=1e-7, msg=name)
    assert max(float(gradient.abs().max()) for gradient in gradients[0].values()) > 1e-3


def test_dropout_is_on_and_seeded(tiny_encoder, batches) -> None:
    runs = []
    for seed in (0, 0, 1):
        encoder = with_dropout(copy.deepcopy(tiny_encoder))
        runs.append(train(encoder, MarginLoss("adaptive"), batches, replace(SETTINGS, seed=seed)).trace)
    assert same_rows(runs[0], runs[1]) and not same_rows(runs[0], runs[2])


@pytest.mark.parametrize("stopped_at", [5, 9])
def test_a_stopped_training_continues_to_the_same_bits(tiny_encoder, batches, tmp_path, stopped_at: int) -> None:
    settings = replace(SETTINGS, checkpoint_seconds=0.0, validate_every=3)
    values = [0.1, 0.3, 0.2, 0.25]
    whole = with_dropout(copy.deepcopy(tiny_encoder))
    expected = train(whole, MarginLoss("distributed"), batches, settings, validate=rising(values))

    class Interrupted:
        """The batches, until the program is stopped."""

        def starting_at(self, step: int, stop: int, **options):
            yield from batches.starting_at(step, stopped_at)
            raise KeyboardInterrupt

    first = with_dropout(copy.deepcopy(tiny_encoder))
    with pytest.raises(KeyboardInterrupt):
        train(first, MarginLoss("distributed"), Interrupted(), settings, validate=rising(values), checkpoints=tmp_path)
    second = with_dropout(copy.deepcopy(tiny_encoder))
    rest = rising(values[stopped_at // 3 :])
    continued = train(second, MarginLoss("distributed"), batches, settings, validate=rest, checkpoints=tmp_path)
    assert_same_bits(weights(whole), weights(second))
    assert same_rows(expected.trace, continued.trace) and same_rows(expected.validations, continued.validations)
    assert continued.kept_step == expected.kept_step == 6


def test_sigterm_leaves_a_checkpoint(tiny_encoder, batches, tmp_path) -> None:
    class Terminated:
        """The batches; the fifth comes with a SIGTERM."""

        def starting_at(self, step: int, stop: int, **options):
            for number, batch in enumerate(batches.starting_at(step, stop)):
                if number == 4:
                    os.kill(os.getpid(), signal.SIGTERM)
                yield batch

    with pytest.raises(Stopped, match="after step 5"):
        train(tiny_encoder, MarginLoss("adaptive"), Terminated(), SETTINGS, checkpoints=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000005"]
    assert train(tiny_encoder, MarginLoss("adaptive"), batches, SETTINGS, checkpoints=tmp_path).trace.step.tolist()[-1] == 12
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path) -> None:
    for step in (1, 2, 3):
        checkpoints.save_checkpoint(tmp_path, step, {"step": step, "weights": torch.ones(3) * step}, OF)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]
    file = tmp_path / "step-00000003" / "state.pt"
    file.write_bytes(file.read_bytes()[:-10] + bytes(10))
    with pytest.warns(UserWarning, match="step-00000003 is damaged .state.pt does not have the contents"):
        state = checkpoints.load_checkpoint(tmp_path, default_accelerator("cpu"), OF)
    assert state["step"] == 2 and state["weights"].tolist() == [2, 2, 2]


def test_a_full_disk_keeps_the_checkpoints_there(tmp_path, monkeypatch) -> None:
    checkpoints.save_checkpoint(tmp_path, 1, {"step": 1}, OF)

    def full(*arguments) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match="No space left on device"):
        checkpoints.save_checkpoint(tmp_path, 2, {"step": 2}, OF)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"] and storage.damage(tmp_path / "step-00000001") is None


def test_a_checkpoint_of_another_training_run_is_refused(tiny_encoder, batches, tmp_path) -> None:
    settings = replace(SETTINGS, checkpoint_seconds=0.0, steps=3)
    started = copy.deepcopy(tiny_encoder)
    train(copy.deepcopy(started), MarginLoss("adaptive"), batches, settings, checkpoints=tmp_path, name="one")
    wider = copy.deepcopy(started)
    wider.backbone.resize_token_embeddings(len(wider.tokenizer) + 8)
    for encoder, loss, name, differing in (
        (started, "adaptive", "other", "name"),
        (started, "distributed", "one", "loss"),
        (wider, "adaptive", "one", "shapes"),
    ):
        with pytest.raises(InputError, match=rf"step-00000003 is of another training run \({differing} differs\); delete it"):
            train(encoder, MarginLoss(loss), batches, settings, checkpoints=tmp_path, name=name)
    assert len(list(tmp_path.iterdir())) == 2, "and it is left where it is"


def test_a_sealed_file_that_is_no_checkpoint_is_refused_and_not_run(tmp_path) -> None:
    class Harmful:
        """What pickle would run."""

        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    for number, foreign in enumerate(
        (lambda file: torch.save({"step": Harmful()}, file), lambda file: file.write_bytes(bytes(500)))
    ):
        with storage.atomic_folder(tmp_path / str(number) / "step-00000001") as draft:
            foreign(draft / checkpoints.STATE)
        with pytest.raises(InputError, match="is of another training run"):
            checkpoints.load_checkpoint(tmp_path / str(number), default_accelerator("cpu"), OF)
    assert not (tmp_path / "harm").exists()


def test_what_a_killed_process_was_writing_goes_away(tmp_path) -> None:
    checkpoints.save_checkpoint(tmp_path, 1, {"step": 1}, OF)
    shutil.copytree(tmp_path / "step-00000001", tmp_path / ".step-00000002.abcd.part")
    assert checkpoints.load_checkpoint(tmp_path, default_accelerator("cpu"), OF)["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


@tried_on("checkpoints", st.sampled_from((checkpoints.STATE, storage.MANIFEST)), st.data())
def test_whatever_became_of_a_checkpoint_it_is_right_or_the_one_before(folder: Path, file: str, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        for step in (1, 2):
            checkpoints.save_checkpoint(folder, step, {"step": step, "weights": torch.full((4,), float(step))}, OF)
    harmed = folder / "step-00000002" / file
    harmed.write_bytes(data.draw(mutated(harmed.read_bytes())))
    state = checkpoints.load_checkpoint(folder, default_accelerator("cpu"), OF)
    assert state is not None and state["step"] in (1, 2) and state["weights"].tolist() == [state["step"]] * 4


def test_patience_stops_and_the_best_step_is_kept(tiny_encoder, batches) -> None:
    settings = replace(SETTINGS, steps=40, validate_every=2, patience=3)
    training = train(tiny_encoder, MarginLoss("adaptive"), batches, settings, validate=rising([0.1, 0.4, 0.3, 0.2, 0.4, 0.9]))
    assert training.kept_step == 4 and training.stopped_early and len(training.trace) == 10
    assert training.validations["nDCG@10"].tolist() == [0.1, 0.4, 0.3, 0.2, 0.4]
    last = train(tiny_encoder, MarginLoss("adaptive"), batches, replace(settings, selection="last"), validate=rising([0.4] * 20))
    assert last.kept_step == len(last.trace) == 8


def test_far_from_the_patience_only_some_validations_are_made(tiny_encoder, batches) -> None:
    settings = replace(SETTINGS, steps=80, validate_every=2, patience=4, validation_stride=3)
    scores = {6: 0.1, 12: 0.5, 18: 0.4, 20: 0.3}  # after 12, half of the patience is left until step 16
    training = train(tiny_encoder, MarginLoss("adaptive"), batches, settings, validate=rising([*scores.values(), 0.9]))
    assert dict(zip(training.validations.step, training.validations["nDCG@10"], strict=True)) == scores
    assert training.kept_step == 12 and training.stopped_early and len(training.trace) == 20

    every = replace(settings, validation_stride=1)
    assert [step for step in range(1, 81) if every.validates(step, 12)] == list(range(2, 81, 2))
    assert [step for step in range(1, 81) if replace(settings, steps=7).validates(step, 6)][:2] == [6, 7], "the last one is made"
    with pytest.raises(InputError, match="validation_stride >= 1"):
        replace(settings, validation_stride=0)


def test_a_loss_that_is_not_finite_stops(tiny_encoder, batches) -> None:
    with torch.no_grad():
        tiny_encoder.backbone.embeddings.word_embeddings.weight.fill_(float("nan"))
    with pytest.raises(InputError, match="not a finite number at step 1"):
        train(tiny_encoder, MarginLoss("adaptive"), batches, SETTINGS)


def test_the_learning_rate_decays_and_biases_are_not_decayed(tiny_encoder) -> None:
    optimizer, name = make_optimizer(tiny_encoder, "adam", 1e-3, 0.5)
    decayed, kept = optimizer.param_groups
    assert all(p.dim() > 1 for p in decayed["params"]) and all(p.dim() <= 1 for p in kept["params"])
    assert decayed["weight_decay"] == 0.5 and kept["weight_decay"] == 0.0 and name.startswith("torch ")


def test_batches_that_end_at_once_are_refused_and_those_that_end_early_are_not(tiny_encoder, batches) -> None:
    class Few:
        """The first batches, however many are asked for."""

        def __init__(self, count: int) -> None:
            self.count = count

        def starting_at(self, step: int, stop: int, **options):
            return batches.starting_at(step, min(stop, self.count))

    assert len(train(tiny_encoder, MarginLoss("distributed"), Few(5), SETTINGS).trace) == 5
    with pytest.raises(InputError, match="ended before the first step: too few triples for one batch"):
        train(tiny_encoder, MarginLoss("distributed"), Few(0), SETTINGS)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA GPU")
def test_no_cuda_is_one_sentence(tiny_encoder) -> None:
    with pytest.raises(InputError, match="torch finds no CUDA GPU"):
        default_accelerator("cuda")
    with pytest.raises(InputError, match="'adam8bit' needs a CUDA GPU"):
        make_optimizer(tiny_encoder, "adam8bit", 1e-3, 0.0)
    with pytest.raises(InputError, match="unknown optimizer 'adamw'"):
        make_optimizer(tiny_encoder, "adamw", 1e-3, 0.0)
    default_accelerator("cpu")
    with pytest.warns(UserWarning, match="slower than float32"), pytest.raises(InputError, match="start another one"):
        default_accelerator("cpu", "bf16")


@pytest.mark.slow
def test_two_processes_equal_one_with_the_joined_batch(tiny_folder: Path, tmp_path: Path) -> None:
    """Through torchrun and gloo, as a user starts it; every variant, with explicit negatives."""
    script = tmp_path / "two.py"
    script.write_text(TWO.format(encoder=str(tiny_folder)))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path), "ACCELERATE_USE_CPU": "1"}
    for processes, place in ((1, "one.pt"), (2, "two.pt")):
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        done = subprocess.run([*launcher, str(script), str(tmp_path / place)], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    one, two = torch.load(tmp_path / "one.pt"), torch.load(tmp_path / "two.pt")
    assert len(one) == 6
    for variant in one:
        np.testing.assert_allclose(two[variant]["loss"], one[variant]["loss"], rtol=1e-5)
        for name, expected in one[variant]["weights"].items():
            if name.endswith("k_lin.bias"):
                continue  # softmax ignores it: its gradient is rounding alone, which Adam blows up to whole steps
            torch.testing.assert_close(two[variant]["weights"][name], expected, rtol=1e-4, atol=2e-6, msg=f"{variant}: {name}")


TWO = """
import sys

import numpy as np
import torch

from armlib.data.batches import Shape, TripleBatches
from armlib.encoder.bi_encoder import BiEncoder
from armlib.losses.margins import MarginLoss
from armlib.data.tokenising import token_store
from armlib.training.loop import train
from armlib.training.processes import default_accelerator
from armlib.training.settings import Settings

accelerator = default_accelerator("cpu")
words = "margin target query passage negative positive encoder index run triple".split()
texts = [(str(i), " ".join(np.random.default_rng(i).choice(words, 3 + i % 9))) for i in range(80)]
found = {{}}
for target, in_batch, chunk_tokens in (
    ("static(0.3)", False, None), ("static(0.3)", True, None), ("adaptive", False, None), ("adaptive", True, 200),
    ("distributed", False, None), ("mean", False, 200),
):
    encoder = BiEncoder.load({encoder!r})
    store = token_store(lambda: texts, encoder.tokenizer, "words", "passages")
    triples = np.random.default_rng(0).integers(0, 80, (64, 3))
    batches = TripleBatches(
        triples, store, store, batch_size=8, shape=Shape(24, 48, chunk_tokens=chunk_tokens), seed=0,
        rank=accelerator.process_index, processes=accelerator.num_processes,
    )
    settings = Settings(steps=3, learning_rate=1e-4, cached=chunk_tokens is not None)
    training = train(encoder, MarginLoss(target, in_batch=in_batch), batches, settings, accelerator=accelerator)
    found[f"{{target}} {{in_batch}}"] = {{"weights": encoder.state_dict(), "loss": training.trace.loss.tolist()}}
if accelerator.is_main_process:
    torch.save(found, sys.argv[1])
"""
