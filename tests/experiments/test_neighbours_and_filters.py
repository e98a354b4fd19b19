"""Batches of neighbours and the filter of false negatives, from the experiment's values to the trained encoder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from armlib.cli import main
from armlib.data.batches import Batch
from armlib.data.pair_clusters import pair_clusters
from armlib.encoder.bi_encoder import BiEncoder
from armlib.errors import InputError
from armlib.experiments.experiment import Experiment
from armlib.experiments.store import RunStore
from armlib.experiments.training_data import TrainingData
from armlib.losses import EmbeddedBatch, InfoNCE, parse_loss
from armlib.retrieval import mining
from armlib.retrieval.encoding import encode_rows
from armlib.training.loop import train

CLUSTERED = "clustered(6)"


@pytest.fixture
def short(small_experiment: Experiment) -> Experiment:
    """A few steps, not measured."""
    return replace(small_experiment, steps=3, validate_every=3, evaluation="none", batch_size=8)


@pytest.mark.parametrize("tour", [False, True])
def test_clusters_are_those_of_the_unique_pairs(short: Experiment, tiny_folder: Path, tour: bool) -> None:
    data, encoder = TrainingData(short), BiEncoder.load(tiny_folder)
    found = data._pair_clusters(6, "", tour)
    pairs = sorted(set(map(tuple, data.triples[:, :2].tolist())))
    assert len(pairs) < len(data.triples)
    rows = np.array(pairs)
    vectors = [
        encode_rows(encoder, store, rows[:, side], length)
        for side, (store, length) in enumerate([(data.queries, 24), (data.passages, 48)])
    ]
    both = np.tile(np.arange(len(pairs), dtype=np.int32)[:, None], 2)
    expected = dict(zip(pairs, pair_clusters(*vectors, both, 6, tour).tolist(), strict=True))
    assert found.tolist() == [expected[query, positive] for query, positive in data.triples[:, :2].tolist()]
    assert len(set(found.tolist())) > 5


def test_batches_of_neighbours_are_nearer_than_random_ones(short: Experiment, tiny_folder: Path) -> None:
    def distance(sampler: str) -> float:
        data = TrainingData(replace(short, sampler=sampler))
        batches, encoder = data.batches(), BiEncoder.load(tiny_folder)
        rows = np.stack([batches.rows(step) for step in range(batches.steps_per_epoch)])  # (steps, B, 3)
        assert len({tuple(row) for row in rows.reshape(-1, 3).tolist()}) == rows.size // 3
        assert all(len(set(queries)) == 8 for queries in rows[:, :, 0].tolist()) or sampler == "random"
        vectors = encode_rows(encoder, data.passages, rows[:, :, 1].ravel(), 48).reshape(*rows.shape[:2], -1)
        return float(1 - np.einsum("sid,sjd->sij", vectors, vectors).mean())

    assert max(distance(CLUSTERED), distance("clustered(16)")) < 0.8 * distance("random")


def test_any_batch_can_be_asked_for_alone_and_by_several_processes(short: Experiment) -> None:
    asked = replace(short, sampler="clustered(6, order='tour')")
    batches = TrainingData(asked).batches()
    later = batches.steps_per_epoch + 2
    both = [TrainingData(asked).batches(rank=rank, processes=2) for rank in (0, 1)]
    np.testing.assert_array_equal(np.concatenate([each.rows(later) for each in both]), batches.rows(later))
    assert not np.array_equal(TrainingData(replace(asked, seed=1)).batches().rows(later), batches.rows(later))
    in_workers = list(TrainingData(asked).batches().starting_at(later - 1, later + 1, workers=1))
    assert torch.equal(in_workers[1].rows, batches[later].rows)


def test_clusters_are_kept_and_are_those_before_training(short: Experiment, tiny_folder: Path, monkeypatch) -> None:
    asked = replace(short, encoder="lsa/distilbert")
    other = TrainingData(replace(asked, encoder=str(tiny_folder), sampler=CLUSTERED))
    named = TrainingData(replace(asked, sampler=f"clustered(6, encoder={str(tiny_folder)!r})"))
    np.testing.assert_array_equal(named.batches().rows(3), other.batches().rows(3))
    assert not np.array_equal(TrainingData(replace(asked, sampler=CLUSTERED)).batches().rows(3), other.batches().rows(3))
    monkeypatch.setattr(mining, "pair_clusters", lambda *asked: pytest.fail("the cache has them"))
    trained = other.encoder
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(torch.randn_like(parameter))
    np.testing.assert_array_equal(TrainingData(other.experiment, trained).batches().rows(3), other.batches().rows(3))


PRINTED = """
import json, sys
from armlib import Experiment
from armlib.experiments.training_data import TrainingData
for sampler in ("clustered(6)", "clustered(6, order='tour')"):
    batches = TrainingData(Experiment(**json.loads(sys.argv[1]) | {"sampler": sampler})).batches()
    print(json.dumps([batches.rows(step).tolist() for step in range(batches.steps_per_epoch)]))
"""


@pytest.mark.slow
def test_batches_are_equal_whatever_the_hash_seed(short: Experiment, tmp_path: Path) -> None:
    found = []
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "ARMLIB_CACHE": str(tmp_path / seed)}
        command = [sys.executable, "-c", PRINTED, json.dumps(short.values())]
        found.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert found[0] == found[1] and len(found[0]) > 1000


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["distributed", "adaptive(in_batch=True, filter=True)", "infonce(filter=True)"])
def test_a_stopped_training_goes_on_to_the_same_bits(short: Experiment, tiny_folder: Path, tmp_path: Path, loss: str) -> None:
    teacher = f"bi-encoder({str(tiny_folder)!r})" if "filter" in loss else ""
    asked = replace(short, target="", loss=loss, teacher=teacher, sampler=CLUSTERED, batch_size=40)
    steps = TrainingData(asked).batches().steps_per_epoch + 4  # into the second epoch
    settings = replace(asked.settings(), steps=steps, checkpoint_seconds=0.0)

    class Interrupted:
        def starting_at(self, step: int, stop: int, **how: object) -> Iterator[Batch]:
            for number, batch in enumerate(TrainingData(asked).batches().starting_at(step, stop), step):
                if number == steps - 2:
                    raise KeyboardInterrupt
                yield batch

    whole, half = (BiEncoder.load(tiny_folder) for _ in range(2))
    expected = train(whole, asked.make_loss(), TrainingData(asked).batches(), settings)
    with pytest.raises(KeyboardInterrupt):
        train(half, asked.make_loss(), Interrupted(), settings, checkpoints=tmp_path)
    rest = BiEncoder.load(tiny_folder)
    found = train(rest, asked.make_loss(), TrainingData(asked).batches(), settings, checkpoints=tmp_path)
    assert found.trace.loss.equals(expected.trace.loss)
    assert all(torch.equal(one, other) for one, other in zip(rest.parameters(), whole.parameters(), strict=True))


def test_the_helper_is_the_teacher(short: Experiment, tiny_folder: Path) -> None:
    """The first batch of an epoch, by the vectors of texts alone; the helper is the student itself, so that scores are cosines."""
    asked = replace(short, target="", loss="infonce(filter=True)", teacher=f"bi-encoder({str(tiny_folder)!r})", sampler=CLUSTERED)
    data, encoder = TrainingData(asked), BiEncoder.load(tiny_folder)
    batches = data.batches()
    rows = batches.rows(0)
    vectors = [
        torch.from_numpy(encode_rows(encoder, store, rows[:, side], length))
        for side, (store, length) in enumerate([(data.queries, 24), (data.passages, 48), (data.passages, 48)])
    ]
    batch = batches[0]
    found = asked.make_loss().of_batch(EmbeddedBatch(*vectors[:2], vectors[2][:, None], batch.rows, batch.teacher)).value
    terms, masked, close, passages = [], 0, 0, torch.from_numpy(rows[:, 1:].T.ravel())
    for i in range(8):
        cosines = torch.cat([vectors[1], vectors[2]]) @ vectors[0][i]
        same = passages == passages[i]
        keep = (cosines < cosines[i]) & ~same
        keep[[i, 8 + i]] = True
        masked += int((~keep).sum())
        close += int((((cosines - cosines[i]).abs() < 1e-5) & ~same).sum())
        terms.append(torch.logsumexp(20 * cosines[keep], 0) - 20 * cosines[i])
    assert masked > 0 and close == 0
    assert found.item() == pytest.approx(torch.stack(terms).mean().item(), abs=1e-5)
    assert found < InfoNCE().of_batch(EmbeddedBatch(*vectors[:2], vectors[2][:, None])).value


@pytest.mark.parametrize("loss", ["infonce(filter=True)", "adaptive(in_batch=True, filter=True)"])
def test_it_trains(short: Experiment, tiny_folder: Path, tmp_path: Path, loss: str) -> None:
    plain = replace(short, target="", loss=loss.replace(", filter=True", "").replace("filter=True", ""), sampler=CLUSTERED)
    filtered = replace(plain, loss=loss, target="", in_batch=False, teacher=f"bi-encoder({str(tiny_folder)!r})")
    store = RunStore(tmp_path)
    results = [store.result(each) for each in (plain, filtered)]
    assert results[0].key != results[1].key and results[1].about["teacher"]["name"] == filtered.teacher
    losses = [result.trace.loss.to_numpy() for result in results]
    assert np.isfinite(losses[1]).all() and losses[0][0] != losses[1][0]


def test_the_command_line(short: Experiment, tiny_folder: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    values = {name: value for name, value in short.values().items() if type(value) in (int, float, str) and name != "target"}
    common = [part for name, value in values.items() for part in (f"--{name.replace('_', '-')}", f"{value}")]
    asked = ["--target", "adaptive", "--in-batch", "--filter", "--teacher", f"bi-encoder({str(tiny_folder)!r})"]
    assert main(["train", *common, *asked, "--evaluation", "none", "--runs", str(tmp_path), "--sampler", CLUSTERED]) == 0
    assert f"adaptive, in-batch, clustered(6), filtered by bi-encoder({str(tiny_folder)!r})" in capsys.readouterr().out


HELPED = {"loss": "adaptive(in_batch=True, filter=True)", "teacher": "bi-encoder('x')"}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"loss": "infonce(filter=True)"},
            "the loss 'infonce(filter=True)' filters by a teacher's scores; expected a teacher, such as",
        ),
        ({"target": "adaptive", "filter": True}, "filter is for in-batch margins, which 'adaptive' has not without in_batch=True"),
        ({"filter": True}, "filter is for in-batch margins, which 'distributed' has not"),
        (
            {"target": "adaptive", "in_batch": True, "filter": True},
            "the loss 'adaptive(in_batch=True, filter=True)' filters by a teacher's scores; expected a teacher, such as bi-encoder",
        ),
        (
            HELPED | {"teacher": "cross-encoder('x')"},
            "the loss 'adaptive(in_batch=True, filter=True)' needs scores of every query and every passage of a batch of triples, "
            "which \"cross-encoder('x')\" does not give; expected a teacher that is a bi-encoder",
        ),
        (HELPED | {"lists": "student(passages=2)"}, "which 'lists of student(passages=2)' does not give"),
        (HELPED | {"filter": True}, "says all of itself, so filter cannot be given beside it"),
        ({"teacher": "bi-encoder('x')"}, "or filters by one, such as infonce(filter=True)"),
        (
            {"sampler": "clustered", "lists": "student", "teacher": "bi-encoder('x')", "loss": "list-kl"},
            "the sampler 'clustered(256)' needs triples, whose judged positives it clusters with their queries, and lists",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(values: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        Experiment(**values)


def test_equal_experiments_have_equal_values_and_others_do_not_move() -> None:
    spelled = Experiment(**HELPED, sampler="Clustered( 256 , order='random')")
    assert spelled == Experiment(
        target="adaptive", in_batch=True, filter=True, teacher="bi-encoder('x')", sampler="clustered"
    ) and spelled.make_loss().needs == {"in_batch"}
    assert spelled.values()["filter"] is True and "filter" not in Experiment().values()
    assert str(spelled.make_loss()) == HELPED["loss"] == str(parse_loss(HELPED["loss"]))
    assert spelled.variant() == "adaptive, in-batch, clustered(256), filtered by bi-encoder('x')"


def test_more_triples_of_a_query_than_batches_are_refused_before_anything_is_encoded(short: Experiment, monkeypatch) -> None:
    monkeypatch.setattr(mining, "encode_rows", lambda *asked, **how: pytest.fail("it was known before"))
    data = TrainingData(replace(short, sampler="clustered(5)"))
    most = int(np.bincount(data.triples[:, 0]).max())
    size = len(data.triples) // most + 1
    with pytest.raises(InputError, match=rf"^a query has {most} of the {len(data.triples)} triples, and can be in each of the "):
        TrainingData(replace(data.experiment, batch_size=size)).batches()
