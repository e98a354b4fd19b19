"""No step of training waits for the device, and time is the device's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate.tracking import GeneralTracker
from torch.utils._python_dispatch import TorchDispatchMode

from armlib.data.batches import Shape, TripleBatches
from armlib.data.tokenising import token_store
from armlib.demo.lsa import lsa_encoder
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.cudnn import without_cudnn
from armlib.errors import InputError
from armlib.losses import MarginLoss
from armlib.retrieval.encoding import encode_rows
from armlib.training import loop, trace
from armlib.training.loop import train
from armlib.training.processes import default_accelerator
from armlib.training.settings import Settings
from armlib.training.trace import COUNTED, Trace
from armlib.training.tracking import tracking

SETTINGS = Settings(steps=4, learning_rate=1e-3)
# What makes a program wait for CUDA: a value that becomes Python's, and results whose size depends on values.
WAITING = {"_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive"}


class Waits(TorchDispatchMode):
    """Lists the operators that would wait for a device, of forward and backward passes alike."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, operator, types, arguments=(), keywords=None):
        name = operator.overloadpacket.__name__
        # An index of booleans looks for those that are true, in reading and in writing.
        masks = name in ("index", "index_put", "index_put_", "_index_put_impl_") and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in arguments[1]
        )
        if name in WAITING or masks:
            self.found.append(name)
        return operator(*arguments, **(keywords or {}))


@pytest.fixture(scope="module", params=["distilbert", "roberta"])
def encoder(request, texts) -> BiEncoder:
    """A tiny encoder of an architecture whose attention is torch's: transformers' own for MPNet looks for padding."""
    shape = {"dim": 32, "heads": 2, "feed_forward": 64, "vocabulary": 1000}
    return lsa_encoder(lambda: (text for _, text in texts), "documentation", request.param, **shape)


def batches_of(texts, encoder: BiEncoder, shape: Shape = Shape(24, 48, chunk_size=7)) -> TripleBatches:  # noqa: B008 - frozen
    store = token_store(lambda: texts, encoder.tokenizer, "texts", "passages")
    triples = np.random.default_rng(0).integers(0, len(store), (500, 3)).astype(np.int32)
    return TripleBatches(triples, store, store, batch_size=16, shape=shape, seed=1)


class Prepared:
    """Batches that are there before training begins: gathering them is the host's own work."""

    def __init__(self, batches: TripleBatches) -> None:
        self.batches = [batches[step] for step in range(SETTINGS.steps)]

    def starting_at(self, step: int, stop: int, **unused):
        return iter(self.batches[step:stop])


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        (MarginLoss("adaptive"), {}),
        (MarginLoss("distributed"), {"clip_norm": 1.0}),
        (MarginLoss("static(0.3)", in_batch=True), {"cached": True}),
    ],
    ids=str,
)
def test_no_operator_of_a_step_waits_for_the_device(texts, encoder, monkeypatch, loss, options) -> None:
    monkeypatch.setattr(loop, "STEPS_PER_LOOK", 2)
    batches = Prepared(batches_of(texts, encoder))
    with Waits() as waits:
        done = train(encoder, loss, batches, replace(SETTINGS, **options), accelerator=default_accelerator("cpu"))
    assert waits.found == [] and len(done.trace) == SETTINGS.steps


class Listening(GeneralTracker):
    """A tracker that keeps the steps that it is told of."""

    name, requires_logging_directory = "listening", False

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []

    @property
    def tracker(self) -> list[int]:
        return self.steps

    def store_init_configuration(self, values: dict) -> None:
        pass

    def log(self, values: dict, step: int | None = None, **unused: object) -> None:
        self.steps.append(step)


def test_no_step_waits_for_a_tracker(texts, encoder, monkeypatch) -> None:
    monkeypatch.setattr(loop, "STEPS_PER_LOOK", 2)
    batches, tracker = Prepared(batches_of(texts, encoder)), Listening()
    accelerator = default_accelerator("cpu", trackers=[tracker])
    with Waits() as waits, tracking(accelerator, "a training run", {}):
        train(encoder, MarginLoss("adaptive"), batches, SETTINGS, accelerator=accelerator)
    assert waits.found == [] and tracker.steps == [2, 4]


class Curious(MarginLoss):
    """Looks at its value, as is done for a print."""

    def of_batch(self, batch):
        found = super().of_batch(batch)
        assert found.value.item() >= 0 and found.targets[found.targets >= 0].numel()
        return found


def test_a_loss_that_looks_at_its_value_waits(texts, tiny_encoder) -> None:
    batches = Prepared(batches_of(texts, tiny_encoder))
    with Waits() as waits:
        train(tiny_encoder, Curious("adaptive"), batches, SETTINGS, accelerator=default_accelerator("cpu"))
    assert waits.found == ["_local_scalar_dense", "index"] * SETTINGS.steps


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here: that steps do not wait for one is tried on one only")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("cached", [False, True])
def test_no_step_waits_for_a_gpu(texts, tiny_encoder, monkeypatch, cached: bool) -> None:
    monkeypatch.setattr(loop, "STEPS_PER_LOOK", 2)
    settings = replace(SETTINGS, steps=8, clip_norm=1.0, cached=cached)
    batches = batches_of(texts, tiny_encoder)

    class Watched:
        """The batches; from the second one to the last one nothing may wait."""

        def starting_at(self, step: int, stop: int, **options):
            for number, batch in enumerate(batches.starting_at(step, stop, **options), 1):
                torch.cuda.set_sync_debug_mode("error" if 1 < number < settings.steps else "default")
                yield batch

    try:
        train(tiny_encoder, MarginLoss("distributed"), Watched(), settings)
    finally:
        torch.cuda.set_sync_debug_mode("default")


class Event:
    """An event of a device, as torch's: over once the device has come to it."""

    device_at = 0.0  # milliseconds
    waited = 0

    def __init__(self, at: float) -> None:
        self.at = at

    def query(self) -> bool:
        return Event.device_at >= self.at

    def synchronize(self) -> None:
        Event.waited += 1
        Event.device_at = max(Event.device_at, self.at)

    def elapsed_time(self, end: Event) -> float:
        assert self.query() and end.query(), "torch refuses to give the time of what is not over"
        return end.at - self.at


def test_seconds_are_the_devices_and_only_what_is_done_is_looked_at(monkeypatch) -> None:
    ends = iter([40.0, 90.0, 95.0])
    monkeypatch.setattr(trace, "moment", lambda device: Event(next(ends)))
    monkeypatch.setattr(Event, "device_at", 50.0)
    monkeypatch.setattr(Event, "waited", 0)
    recorded, counted = Trace(), dict.fromkeys(COUNTED[1:], 1)
    for value, began in ((1.0, 10.0), (2.0, 40.0), (float("nan"), 90.0)):
        recorded.add({"loss": torch.tensor(value)}, Event(began), **counted)
    recorded.collect()
    assert Event.waited == 0 and len(recorded._waiting) == 2, "two steps are not done"
    Event.device_at = 92.0
    recorded.collect()
    assert recorded._measured[:, 0].tolist() == [1.0, 2.0] and Event.waited == 0
    np.testing.assert_allclose(recorded._counted[:, 0], [0.030, 0.050])
    with pytest.raises(InputError, match="not a finite number at step 3"):
        recorded.flush()
    assert Event.waited == 1


def test_cudnn_is_kept_from_attention_while_training_and_encoding(texts, tiny_encoder, monkeypatch) -> None:
    seen, forward = [], BiEncoder.forward

    def watched(self, *arguments):
        seen.append(torch.backends.cuda.cudnn_sdp_enabled())
        return forward(self, *arguments)

    monkeypatch.setattr(BiEncoder, "forward", watched)
    batches = batches_of(texts, tiny_encoder)
    assert torch.backends.cuda.cudnn_sdp_enabled()
    train(tiny_encoder, MarginLoss("adaptive"), batches, replace(SETTINGS, steps=1), accelerator=default_accelerator("cpu"))
    encode_rows(tiny_encoder, batches.passages, np.arange(9), 48)
    assert seen and not any(seen)
    assert torch.backends.cuda.cudnn_sdp_enabled(), "it is left as it was"


def test_threads_side_by_side_leave_cudnn_as_it_was() -> None:
    first, second = without_cudnn(), without_cudnn()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not torch.backends.cuda.cudnn_sdp_enabled(), "the other one is still at work"
    second.__exit__(None, None, None)
    assert torch.backends.cuda.cudnn_sdp_enabled()
