"""Batches by topic and lists of the student's candidates, from the command line to the trained encoder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from armlib import load_collection
from armlib.cli import main
from armlib.data.collection import Collection
from armlib.encoder.bi_encoder import BiEncoder
from armlib.errors import InputError
from armlib.experiments.experiment import Experiment
from armlib.experiments.store import RunStore
from armlib.experiments.training_data import TrainingData
from armlib.retrieval.encoding import encode_rows
from armlib.retrieval.rankings import full_ranking
from armlib.teachers.base import PairwiseTeacher
from armlib.teachers.registry import PAIRWISE

LISTS = "student(passages=4, depth=12, pairs=20)"


class Longer(PairwiseTeacher):
    """Prefers the longer passage, and the more so the longer it is; counts what it was asked."""

    asked = 0

    def __str__(self) -> str:
        return "longer"

    def fingerprint(self, collection: Collection) -> str:
        return "longer"

    def prepare(self, collection: Collection) -> None:
        pass

    def preferences(
        self, collection: Collection, queries: Sequence[str], firsts: Sequence[str], seconds: Sequence[str]
    ) -> np.ndarray:
        Longer.asked += len(queries)
        lengths = np.array([list(map(len, firsts)), list(map(len, seconds))], np.float32)
        return lengths[0] / lengths.sum(axis=0)


@pytest.fixture
def taught(small_experiment: Experiment, tiny_folder: Path, monkeypatch) -> Experiment:
    """A few steps with a teacher: the student itself, as it is before training, on a scale of 10."""
    monkeypatch.setitem(PAIRWISE, "longer", Longer)
    teacher = f"bi-encoder({str(tiny_folder)!r}, scale=10)"
    return replace(small_experiment, target="", loss="list-kl", teacher=teacher, steps=3, validate_every=3, evaluation="none")


@pytest.mark.parametrize("sampler", ["topic-aware(5)", "balanced(5)", "balanced(5, by='student')"])
def test_batches_are_of_one_topic_and_any_of_them_can_be_asked_for_alone(taught: Experiment, sampler: str) -> None:
    data = TrainingData(replace(taught, sampler=sampler, batch_size=4))
    batches = data.batches()
    clusters = data._clusters(5, "")
    sizes = {cluster: len(np.unique(data.triples[clusters == cluster, 0])) for cluster in set(clusters.tolist())}
    assert len(sizes) == 5
    for step in range(30):
        found = clusters[batches.positions(step)]
        assert len(set(found)) == 1 or min(sizes[cluster] for cluster in found.tolist()) < 4
    again = TrainingData(data.experiment).batches()
    np.testing.assert_array_equal(again.rows(29), batches.rows(29))
    both = [TrainingData(data.experiment).batches(rank=rank, processes=2) for rank in (0, 1)]
    np.testing.assert_array_equal(np.concatenate([each.rows(17) for each in both]), batches.rows(17))
    assert all(torch.equal(each[17].teacher.pointwise, batches[17].teacher.pointwise) for each in both)


def test_margins_are_the_teachers_or_the_students_own(taught: Experiment, tiny_folder: Path) -> None:
    data = TrainingData(taught)
    triples, encoder = data.triples, BiEncoder.load(tiny_folder)
    queries, positives, negatives = (
        encode_rows(encoder, store, triples[:, column], length)
        for column, (store, length) in enumerate([(data.queries, 24), (data.passages, 48), (data.passages, 48)])
    )
    np.testing.assert_allclose(data._margins("student"), (positives * negatives).sum(1), atol=1e-5)
    expected = 10 * ((queries * positives).sum(1) - (queries * negatives).sum(1))
    np.testing.assert_allclose(data._margins("teacher"), expected, atol=1e-4)


def test_clusters_can_be_anothers_and_are_those_before_training(taught: Experiment, tiny_folder: Path) -> None:
    asked = replace(taught, encoder="lsa/distilbert", teacher="", loss="infonce")
    data = TrainingData(replace(asked, sampler=f"topic-aware(5, encoder={str(tiny_folder)!r})"))
    other = TrainingData(replace(asked, encoder=str(tiny_folder), sampler="topic-aware(5)"))
    np.testing.assert_array_equal(data.batches().rows(3), other.batches().rows(3))
    trained = other.encoder
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(torch.randn_like(parameter))
    after = TrainingData(other.experiment, trained)
    np.testing.assert_array_equal(after.batches().rows(3), other.batches().rows(3))


def test_more_clusters_than_queries_are_refused_before_training(taught: Experiment) -> None:
    with pytest.raises(InputError, match=r"^1000 clusters cannot be made of \d+ training queries"):
        TrainingData(replace(taught, sampler="topic-aware(1000)")).batches()


PRINTED = """
import json, sys
from armlib import Experiment
from armlib.experiments.training_data import TrainingData
batches = TrainingData(Experiment(**json.loads(sys.argv[1]))).batches()
print(json.dumps([batches.rows(step).tolist() for step in range(5)]))
"""


@pytest.mark.slow
def test_batches_are_equal_whatever_the_hash_seed(taught: Experiment, tmp_path: Path) -> None:
    experiment = replace(taught, sampler="balanced(5)")
    found = []
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "ARMLIB_CACHE": str(tmp_path / seed)}
        command = [sys.executable, "-c", PRINTED, json.dumps(experiment.values())]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout))
    assert found[0] == found[1]


def test_lists_are_the_students_candidates_in_the_teachers_order(taught: Experiment, beir_folder: Path) -> None:
    data = TrainingData(replace(taught, lists=LISTS, pairwise_teacher="longer"))
    lists, texts = data.lists, dict(load_collection(beir_folder).documents())
    assert lists is not None and lists.rows.shape[1] == 5 and lists.rows is data.examples
    ids = [data.queries.ids[row].decode() for row in lists.rows[:, 0]]
    assert not set(ids) & set(data.validation.chosen), "queries that validate are not trained on"
    assert set(ids) == {query for query, _, _ in data.collection.triples()} - set(data.validation.chosen)
    ranking, _ = full_ranking(data.encoder, data.queries, ids, data.passages, 12, query_length=24, passage_length=48)
    batch = lists(lists.rows)
    for number, (query, row) in enumerate(zip(ids, lists.rows, strict=True)):
        passages = [data.passages.ids[passage].decode() for passage in row[1:]]
        assert set(passages) <= set(ranking[query])
        # The teacher is the student: its scores are the cosines, times its scale.
        scores = [10 * ranking[query][passage] for passage in passages]
        assert batch.pointwise[number].tolist() == pytest.approx(scores, abs=1e-4) and scores == sorted(scores, reverse=True)
        for first, second in np.ndindex(4, 4):
            found = batch.pairwise[number, first, second].item()
            if not np.isnan(found):
                lengths = [len(texts[passages[place]]) for place in (first, second)]
                assert first < second and found == pytest.approx(lengths[0] / sum(lengths), abs=1e-3)
    asked = int((~batch.pairwise.isnan()).sum())
    assert asked == lists.cost["pairwise"]["pairs"] > len(ids)
    before = Longer.asked
    again = TrainingData(data.experiment).lists(lists.rows[[7, 3]])
    assert Longer.asked == before, "the cache has the preferences"
    assert torch.equal(again.pointwise, batch.pointwise[[7, 3]])
    np.testing.assert_array_equal(again.pairwise.numpy(), batch.pairwise[[7, 3]].numpy())


def test_two_rounds(taught: Experiment, tmp_path: Path) -> None:
    """The second round starts from the first one's student, and from its candidates."""
    store = RunStore(tmp_path)
    one = replace(
        taught,
        lists=LISTS,
        pairwise_teacher="longer",
        loss="list-kl(pairs=1, contrast=1)",
        sampler="topic-aware(4)",
        selection="last",
    )
    first = store.result(one)
    assert first.about["examples"] == "lists of 4 passages" and first.about["available_triples"] > 20
    two = replace(one, encoder=str(first.folder / "encoder"))
    second = TrainingData(two)
    assert (
        second.encoder.fingerprint()
        == BiEncoder.load(first.folder / "encoder").fingerprint()
        != TrainingData(one).encoder.fingerprint()
    )
    assert second.lists is not None and not np.array_equal(second.lists.rows, TrainingData(one).lists.rows)
    result = store.result(two)
    assert result.key != first.key and np.isfinite(result.trace.loss).all()


def test_the_command_line(taught: Experiment, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    values = {name: value for name, value in taught.values().items() if name not in ("evaluation", "loss", "teacher", "target")}
    common = [
        part for name, value in values.items() if type(value) is not bool for part in (f"--{name.replace('_', '-')}", f"{value}")
    ]
    common = ["train", *common, "--evaluation", "none", "--runs", str(tmp_path)]
    assert main([*common, "--loss", "infonce", "--sampler", "topic-aware(5)"]) == 0
    assert "infonce, topic-aware(5)" in capsys.readouterr().out
    asked = ["--lists", LISTS, "--pairwise-teacher", "longer", "--teacher", taught.teacher, "--loss", "list-kl(pairs=1)"]
    assert main([*common, *asked]) == 0
    said = capsys.readouterr().out
    assert f"lists of {LISTS}, taught by {taught.teacher}, pairs compared by longer" in said


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"sampler": "balanced(5)"}, "the sampler 'balanced(5)' needs a teacher's margins; expected a teacher, or by='student'"),
        ({"lists": "student"}, "the lists 'student' are in a teacher's order; expected a teacher"),
        ({"lists": "pupil"}, "unknown kind of lists 'pupil'"),
        (
            {"lists": "student", "teacher": "bi-encoder('x')"},
            "the loss 'distributed' takes one negative a query; expected lists of 2",
        ),
        (
            {"lists": "student", "teacher": "bi-encoder('x')", "loss": "list-kl", "sampler": "balanced(5, by='student')"},
            "the sampler \"balanced(5, by='student')\" needs triples, and a query has one list; expected topic-aware",
        ),
        (
            {"teacher": "bi-encoder('x')", "loss": "list-kl", "pairwise_teacher": "longer"},
            "the pairwise teacher 'longer' compares passages of lists; expected lists",
        ),
        (
            {"teacher": "bi-encoder('x')", "loss": "list-kl(pairs=1)"},
            "the loss 'list-kl(pairs=1.0)' learns from pairs; expected lists and a pairwise teacher",
        ),
        ({"lists": "student", "teacher": "bi-encoder('x')", "pairwise_teacher": "no"}, "unknown pairwise teacher 'no'"),
    ],
)
def test_what_does_not_go_together_is_refused(values: dict, sentence: str, monkeypatch) -> None:
    monkeypatch.setitem(PAIRWISE, "longer", Longer)
    values = {"loss": "list-kl" if values.get("pairwise_teacher") else ""} | values
    with pytest.raises(InputError, match=re.escape(sentence)):
        Experiment(**values)


def test_equal_experiments_have_equal_values() -> None:
    asked = {"loss": "list-kl", "teacher": "bi-encoder('x')"}
    spelled = Experiment(**asked, lists="Student( depth=20, passages=4 )", sampler="topic-aware( k=5 )")
    assert spelled == Experiment(**asked, lists="student(passages=4)", sampler="topic-aware(5, 1)")
    assert spelled.variant() == "list-kl, topic-aware(5), lists of student(passages=4), taught by bi-encoder('x')"
