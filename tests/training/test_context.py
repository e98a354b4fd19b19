"""Training an encoder that reads a context: exact gradients of both stages, one context a step, exact continuation."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from armlib.data.batches import Shape, TripleBatches
from armlib.data.contexts import context_of_rows
from armlib.data.samplers import Examples
from armlib.data.tokenising import token_store
from armlib.data.tokens import TokenStore
from armlib.errors import InputError
from armlib.losses import InfoNCE, MarginLoss
from armlib.retrieval.encoding import encode_rows
from armlib.training.gradients import batch_gradients
from armlib.training.interrupts import Stopped
from armlib.training.loop import train
from armlib.training.processes import default_accelerator
from armlib.training.settings import Settings

SETTINGS = Settings(steps=12, learning_rate=1e-3, validate_every=4)
SHAPE = Shape(24, 48, chunk_size=3, context=10)


@pytest.fixture
def store(texts, tiny_encoder):
    return token_store(lambda: texts, tiny_encoder.tokenizer, "texts", "passages")


def make_batches(store, shape: Shape = SHAPE, **options: int) -> TripleBatches:
    triples = np.random.default_rng(0).integers(0, len(store), (500, 3)).astype(np.int32)
    return TripleBatches(triples, store, store, batch_size=16, shape=shape, seed=1, **options)


@pytest.fixture
def encoder(tiny_encoder):
    """With dropout everywhere, null vectors among it, and a bias that lets the context count."""
    tiny_encoder.add_context(10, dropout=0.3)
    for module in tiny_encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.2
    nn.init.constant_(tiny_encoder.context.bias, -1.0)
    return tiny_encoder


def gradients(encoder, batch, **settings: object) -> dict[str, torch.Tensor | None]:
    encoder = copy.deepcopy(encoder).train()
    batch_gradients(encoder, MarginLoss("adaptive"), batch, default_accelerator("cpu"), replace(SETTINGS, **settings), step=3)
    return {name: parameter.grad for name, parameter in encoder.named_parameters()}


def assert_close(found: dict, expected: dict) -> None:
    for name, each in expected.items():
        torch.testing.assert_close(found[name], each, rtol=1e-4, atol=1e-7, msg=name)


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("stage", ["trained", "cached"])
def test_cached_gradients_equal_plain_ones_with_dropout(encoder, store, cached: bool, stage: str) -> None:
    """Also those of plain autograd, without a leaf between the stages."""
    batch = make_batches(store, replace(SHAPE, chunk_tokens=500))[3]
    assert len(batch.passages) > 3 and len(batch.context) >= 2
    batch = make_batches(store)[3]
    assert len(batch.context) == 4
    found = gradients(encoder, batch, cached=cached, context_stage=stage)
    assert_close(found, gradients(encoder, batch))
    largest = {name: float(each.abs().max()) for name, each in found.items() if each is not None}
    assert {"context.bias", "context.null", "context.first.backbone.embeddings.word_embeddings.weight"} < largest.keys()
    assert largest["context.bias"] > 1e-5 and largest["context.first.backbone.embeddings.word_embeddings.weight"] > 1e-4
    without = {name for name, each in found.items() if each is None}
    assert without == set()


def test_the_leaf_between_the_stages_changes_no_gradient(encoder, store) -> None:
    """Without dropout, against one graph from the loss through both stages, texts padded otherwise."""
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    encoder.context.set_dropout(0.0)
    batches = make_batches(store)
    found = gradients(encoder, batches[3])
    rows = batches.rows(3)

    def read(model, chosen, length, *context):
        ids, lengths = store.gather(chosen, length)
        mask = torch.from_numpy((np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64))
        return model(torch.from_numpy(ids), mask, None, *context)

    encoder.train()
    context = read(encoder.context.first, batches.context_rows(3), 48)
    queries, positives, negatives = (read(encoder, rows[:, i], length, context) for i, length in enumerate((24, 48, 48)))
    MarginLoss("adaptive")(queries, positives, negatives).backward()
    assert_close(found, {name: each.grad for name, each in encoder.named_parameters() if name != "context.null"})


def test_a_frozen_first_stage_has_no_gradient_and_no_dropout(encoder, store) -> None:
    batch = make_batches(store)[3]
    frozen, trained = gradients(encoder, batch, context_stage="frozen"), gradients(encoder, batch)
    assert {name for name, each in frozen.items() if each is None} == {n for n in trained if n.startswith("context.first")}
    for module in encoder.context.first.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    second = {name: each for name, each in gradients(encoder, batch).items() if not name.startswith("context.first")}
    assert_close(frozen, second)
    before = copy.deepcopy(encoder.context.first.state_dict())
    train(encoder, MarginLoss("adaptive"), make_batches(store), replace(SETTINGS, context_stage="frozen", steps=3))
    assert all(torch.equal(value, before[name]) for name, value in encoder.context.first.state_dict().items())
    assert encoder.context.first.training


FROM_COLLECTION = replace(SHAPE, context_from="collection")


def test_the_context_of_a_step_is_passages_of_its_batch(store) -> None:
    """Of the batch of all processes, so that each reads the same."""
    batches = make_batches(store)
    for step in range(40):
        drawn = batches.context_rows(step).tolist()
        assert len(drawn) == 10 and set(drawn) <= set(batches.triples[batches.positions(step), 1:].reshape(-1).tolist())
    # Positives and negatives alike: 10 of 32 each time.
    positives = np.mean([np.isin(batches.context_rows(k), batches.rows(k)[:, 1]).mean() for k in range(batches.steps_per_epoch)])
    assert 0.4 < positives < 0.65
    for rank in (0, 1):
        shared = make_batches(store, rank=rank, processes=2)
        assert [shared.context_rows(step).tolist() for step in range(9)] == [batches.context_rows(k).tolist() for k in range(9)]
    assert sorted(make_batches(store, replace(SHAPE, context=32)).context_rows(5).tolist()) == sorted(
        batches.triples[batches.positions(5), 1:].reshape(-1).tolist()
    )
    with pytest.raises(InputError, match="a context of 33 passages cannot be chosen among 32"):
        make_batches(store, replace(SHAPE, context=33))
    with pytest.raises(InputError, match="unknown context_from 'queries'"):
        replace(SHAPE, context_from="queries")


def test_a_context_of_the_collection_is_drawn_from_seed_and_step_alone(store) -> None:
    batches, again = make_batches(store, FROM_COLLECTION), make_batches(store, FROM_COLLECTION)
    drawn = [batches.context_rows(step).tolist() for step in range(50)]
    assert [again.context_rows(step).tolist() for step in range(49, -1, -1)] == drawn[::-1]
    assert len({tuple(each) for each in drawn}) == 50 and all(len(set(each)) == 10 for each in drawn)
    counts = np.bincount(np.concatenate([batches.context_rows(step) for step in range(2000)]), minlength=len(store))
    expected = 2000 * 10 / len(store)
    assert abs(counts - expected).max() < 6 * expected**0.5, "uniform over the passages"
    other = TripleBatches(batches.triples, store, store, batch_size=16, shape=FROM_COLLECTION, seed=2)
    assert other.context_rows(0).tolist() != drawn[0]
    for rank in (0, 1):
        shared = make_batches(store, FROM_COLLECTION, rank=rank, processes=2)
        assert shared.context_rows(7).tolist() == drawn[7]
        for mine, theirs in zip(shared[7].context, batches[7].context, strict=True):
            assert torch.equal(mine.input_ids, theirs.input_ids)
    batch = batches[7]
    ids, _ = store.gather(np.array(drawn[7]), 48)
    for chunk in batch.context:
        for row, found, mask in zip(chunk.rows, chunk.input_ids, chunk.attention_mask, strict=True):
            assert found[mask == 1].tolist() == ids[row][: int(mask.sum())].tolist()
    plain = make_batches(store, replace(SHAPE, context=0))[7]
    lengths = np.minimum(store.lengths[drawn[7]], 48)
    assert not plain.context and batch.real_tokens - plain.real_tokens == lengths.sum()
    assert batch.padded_tokens - plain.padded_tokens == sum(chunk.input_ids.numel() for chunk in batch.context)
    with pytest.raises(InputError, match="a context of 5000 passages cannot be chosen"):
        make_batches(store, replace(FROM_COLLECTION, context=5000))


def test_chunks_count_the_context_behind_each_text() -> None:
    lengths = np.full(12, 20)
    assert [len(part) for part in Shape(chunk_tokens=120).cut(lengths)] == [6, 6]
    assert [len(part) for part in Shape(chunk_tokens=120, context=20).cut(lengths)] == [3, 3, 3, 3]


@pytest.mark.parametrize("options", [{}, {"cached": True, "context_stage": "cached"}, {"context_stage": "frozen"}])
def test_a_stopped_training_continues_to_the_same_bits(encoder, store, tmp_path: Path, options: dict) -> None:
    settings = replace(SETTINGS, checkpoint_seconds=0.0, **options)
    context = encoder.context_of(store, 48)

    def validate(model) -> dict[str, float]:
        model.bind(context)
        assert not model.context.vectors.requires_grad
        return {"nDCG@10": 0.5}

    whole = copy.deepcopy(encoder)
    expected = train(whole, MarginLoss("distributed"), make_batches(store), settings, validate=validate)
    stopped = copy.deepcopy(encoder)
    batches = make_batches(store)
    gather = batches.__class__.__getitem__

    class Ending(TripleBatches):
        def __getitem__(self, step: int):
            if step == 7:
                raise Stopped("stopped")
            return gather(self, step)

    batches.__class__ = Ending
    with pytest.raises(Stopped):
        train(stopped, MarginLoss("distributed"), batches, settings, validate=validate, checkpoints=tmp_path)
    again = copy.deepcopy(encoder)
    nn.init.constant_(again.context.bias, 5.0)  # from the checkpoint, not from what is given
    found = train(again, MarginLoss("distributed"), make_batches(store), settings, validate=validate, checkpoints=tmp_path)
    assert found.trace.loss.tolist() == expected.trace.loss.tolist()
    left, right = whole.state_dict(), again.state_dict()
    assert left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
    assert (left["context.bias"] != -1).all() and again.context.vectors is None
    assert torch.equal(left["context.first.backbone.embeddings.LayerNorm.weight"], torch.ones(32)) == ("frozen" in options.values())


def test_batches_and_encoders_that_do_not_go_together_are_refused(encoder, store) -> None:
    plain = make_batches(store, replace(SHAPE, context=0))
    with pytest.raises(InputError, match="the encoder reads a context, and the batches bring none"):
        gradients(encoder, plain[0])
    encoder.context = None
    with pytest.raises(InputError, match="the encoder reads no context, and the batches bring one"):
        gradients(encoder, make_batches(store)[0])
    with pytest.raises(InputError, match="unknown context_stage 'free'"):
        replace(SETTINGS, context_stage="free")


PROCESS = """
import sys
import numpy as np, torch
from pathlib import Path
from armlib.data.batches import Shape, TripleBatches
from armlib.data.tokens import TokenStore
from armlib.encoder.bi_encoder import BiEncoder
from armlib.losses import MarginLoss
from armlib.training.gradients import batch_gradients
from armlib.training.processes import default_accelerator, sum_gradients
from armlib.training.settings import Settings

folder, store, stage, out = sys.argv[1:]
accelerator = default_accelerator("cpu")
encoder = BiEncoder.load(folder)
encoder.add_context(10)
torch.nn.init.constant_(encoder.context.bias, -1.0)
for module in encoder.context.first.modules():
    if isinstance(module, torch.nn.Dropout):
        module.p = 0.2
encoder.train()
store = TokenStore(Path(store))
triples = np.random.default_rng(0).integers(0, len(store), (500, 3)).astype(np.int32)
batches = TripleBatches(triples, store, store, batch_size=16, shape=Shape(24, 48, chunk_size=3, context=10), seed=1,
                        rank=accelerator.process_index, processes=accelerator.num_processes)
settings = Settings(steps=1, learning_rate=1e-3, context_stage=stage, cached=stage == "cached")
batch_gradients(encoder, MarginLoss("adaptive", in_batch=True), batches[3], accelerator, settings, 3)
sum_gradients(encoder.parameters())
if accelerator.is_main_process:
    torch.save({name: each.grad for name, each in encoder.named_parameters()}, out)
"""


@pytest.mark.slow
def test_two_processes_have_the_gradients_of_one(tiny_folder, tiny_encoder, texts, store, tmp_path: Path) -> None:
    """With dropout in the first stage, which both draw alike, three or more chunks, and both ways of training it."""
    (folder,) = [each.parent for each in Path(os.environ["ARMLIB_CACHE"]).rglob("about.json") if store.key in each.read_text()]
    script = tmp_path / "process.py"
    script.write_text(PROCESS)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path), "ACCELERATE_USE_CPU": "1"}
    for stage in ("trained", "cached"):
        for count in (1, 2):
            launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}", str(script)]
            arguments = [str(tiny_folder), str(folder), stage, str(tmp_path / f"{stage}{count}.pt")]
            done = subprocess.run([*launcher, *arguments], env=environment, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr
    expected = torch.load(tmp_path / "trained1.pt")
    for name in ("trained2", "cached1", "cached2"):
        for parameter, found in torch.load(tmp_path / f"{name}.pt").items():
            torch.testing.assert_close(found, expected[parameter], rtol=1e-4, atol=1e-6, msg=f"{name}: {parameter}")
    assert float(expected["context.first.backbone.embeddings.word_embeddings.weight"].abs().max()) > 1e-4


SUBJECTS = 8  # of each of two topics


@pytest.fixture
def two_topics(tiny_encoder) -> tuple[TripleBatches, TokenStore]:
    """Batches of one of two topics: query i is about passage i on the first topic, about passage i + 1 on the second.

    A text does not say which topic it is of; the negatives of its batch do, and so does a context that is drawn from the batch.
    """
    words = [f"{kind} {letter}" for kind in ("ask", "tell") for letter in "abcdefgh"] + ["here", "there"]
    store = token_store(lambda: [(str(row), word) for row, word in enumerate(words)], tiny_encoder.tokenizer, "topics", "passages")
    subjects, topics = np.tile(np.arange(SUBJECTS), 2), np.repeat(np.arange(2, dtype=np.int32), SUBJECTS)
    columns = (subjects, SUBJECTS + (subjects + topics) % SUBJECTS, 2 * SUBJECTS + topics)
    triples = np.stack(columns, axis=1).astype(np.int32)
    known = Examples(np.arange(len(triples)), pair_clusters=lambda size, encoder, tour: topics)
    asked = {"sampler": f"clustered({SUBJECTS})", "known": known, "seed": 0}
    shape = Shape(8, 8, context=2 * SUBJECTS)
    return TripleBatches(triples, store, store, batch_size=SUBJECTS, shape=shape, **asked), store


def test_two_contexts_change_embeddings_after_training(tiny_encoder, two_topics) -> None:
    """By a cosine that is .05 smaller, on average, where a text means another thing in each; and each finds what is meant."""
    batches, store = two_topics
    tiny_encoder.add_context(2 * SUBJECTS)
    train(tiny_encoder, InfoNCE(), batches, Settings(steps=400, learning_rate=5e-3))
    embedded = {}
    for step in (0, 1):
        rows = batches.rows(step)
        tiny_encoder.bind(context_of_rows(store, batches.context_rows(step), 8))
        queries, passages = (encode_rows(tiny_encoder, store, np.sort(column), 8) for column in rows.T[:2])
        topic = rows[0, 2] - 2 * SUBJECTS
        assert ((queries @ passages.T).argmax(axis=1) == (np.arange(SUBJECTS) + topic) % SUBJECTS).all()
        embedded[topic] = queries
    assert (embedded[0] * embedded[1]).sum(axis=1).mean() < 0.95
