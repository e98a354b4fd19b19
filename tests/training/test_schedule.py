"""Learning rates: transformers' own step by step, and the same where a stopped training run goes on."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from transformers import get_constant_schedule_with_warmup, get_linear_schedule_with_warmup

from armlib.data.batches import Shape, TripleBatches
from armlib.data.tokenising import token_store
from armlib.errors import InputError
from armlib.losses import MarginLoss
from armlib.training import loop
from armlib.training.loop import train
from armlib.training.settings import Settings

RATE = 1e-3


def theirs(schedule: Callable, steps: int, *given: int) -> list[float]:
    """The learning rate of every step by a schedule of transformers."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE)
    scheduler, rates = schedule(optimizer, *given), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("warmup", [0, 1, 4, 29])
def test_the_linear_schedule_is_that_of_transformers(warmup: int) -> None:
    settings = Settings(steps=30, learning_rate=RATE, warmup_steps=warmup, schedule="linear")
    rates = [settings.rate(step) for step in range(30)]
    assert rates == theirs(get_linear_schedule_with_warmup, 30, warmup, 30)
    assert max(rates) == RATE == rates[warmup] and (rates[0] == 0) == (warmup > 0)
    assert settings.rate(30) == 0, "behind the last step"


def test_a_schedule_without_decay_is_constant_after_its_warmup() -> None:
    settings = Settings(steps=30, learning_rate=RATE, warmup_steps=7, decay=1.0)
    assert [settings.rate(step) for step in range(30)] == theirs(get_constant_schedule_with_warmup, 30, 7)


def test_the_exponential_schedule_decays_after_its_warmup() -> None:
    plain, warmed = Settings(steps=30, learning_rate=RATE), Settings(steps=30, learning_rate=RATE, warmup_steps=7)
    assert [plain.rate(step) for step in range(30)] == [RATE * 0.99999**step for step in range(30)]
    assert [warmed.rate(step) for step in range(7, 30)] == [plain.rate(step) for step in range(23)]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"warmup_steps": 12}, "warmup_steps from 0 to less than its 12 steps, not 12"),
        ({"warmup_steps": -1}, "warmup_steps from 0 to less than its 12 steps, not -1"),
        ({"schedule": "liner"}, "unknown schedule 'liner'; did you mean 'linear'"),
        ({"schedule": "linear", "decay": 0.9}, "decay is of the exponential schedule"),
    ],
)
def test_schedules_that_cannot_be_are_refused(values: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Settings(steps=12, learning_rate=RATE, **values)
    assert Settings(steps=0, learning_rate=RATE, warmup_steps=12), "an encoder before training is of the same settings"


def test_training_goes_on_with_the_rates_it_would_have_had(texts, tiny_encoder, tmp_path, monkeypatch) -> None:
    """What the optimiser is given at every step, and the weights that it leaves, to the bit."""
    store = token_store(lambda: texts, tiny_encoder.tokenizer, "texts", "passages")
    triples = np.random.default_rng(0).integers(0, len(store), (500, 3)).astype(np.int32)
    batches = TripleBatches(triples, store, store, batch_size=16, shape=Shape(24, 48, chunk_size=7), seed=1)
    settings = Settings(steps=12, learning_rate=RATE, warmup_steps=3, schedule="linear", checkpoint_seconds=0.0)
    rates: list[float] = []
    make = loop.make_optimizer

    def watched(*arguments):
        optimizer, name = make(*arguments)
        optimizer.register_step_pre_hook(lambda given, *_: rates.extend({group["lr"] for group in given.param_groups}))
        return optimizer, name

    monkeypatch.setattr(loop, "make_optimizer", watched)

    class Interrupted:
        """The batches, until the program is stopped."""

        def starting_at(self, step: int, stop: int, **options):
            yield from batches.starting_at(step, 5)
            raise KeyboardInterrupt

    whole, parts = copy.deepcopy(tiny_encoder), copy.deepcopy(tiny_encoder)
    train(whole, MarginLoss("distributed"), batches, settings)
    expected = theirs(get_linear_schedule_with_warmup, 12, 3, 12)
    assert rates == expected
    rates.clear()
    with pytest.raises(KeyboardInterrupt):
        train(copy.deepcopy(tiny_encoder), MarginLoss("distributed"), Interrupted(), settings, checkpoints=tmp_path)
    assert rates == expected[:5]
    train(parts, MarginLoss("distributed"), batches, settings, checkpoints=tmp_path)
    assert rates == expected
    assert all(
        torch.equal(left, right) for left, right in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True)
    )
