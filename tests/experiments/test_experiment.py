"""Experiments are plain values with a key that follows values and data."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

from armlib.data.samplers import SAMPLERS, RandomSampler
from armlib.errors import InputError
from armlib.experiments.experiment import Experiment
from armlib.experiments.store import RunStore
from armlib.experiments.training_data import TrainingData
from armlib.losses import LOSSES, EmbeddedBatch, Loss, LossValue, MarginLoss
from armlib.parsing import written
from armlib.storage import short_digest


def test_the_key_follows_values_and_data(small_experiment: Experiment, beir_folder: Path, tmp_path: Path) -> None:
    key = small_experiment.key()
    assert Experiment(**asdict(small_experiment)).key() == key
    assert replace(small_experiment, seed=1).key() != key != replace(small_experiment, full_ranking=False).key()
    assert replace(small_experiment, target="static( 0.30 )").key() == replace(small_experiment, target="static(0.3)").key()
    copy = tmp_path / "copy"
    shutil.copytree(beir_folder, copy)
    moved = replace(small_experiment, collection=str(copy), evaluation=(f"{copy}/test",))
    before = moved.key()
    with open(copy / "queries.jsonl", "a") as queries:
        queries.write('{"_id": "more", "text": "one more query"}\n')
    (copy / "qrels" / "test.tsv").write_text((copy / "qrels" / "test.tsv").read_text() + "more\tos.walk\t1\n")
    assert moved.key() != before, "judgments that changed make another experiment"


@pytest.fixture
def places(small_experiment: Experiment, beir_folder: Path, tmp_path: Path, monkeypatch) -> Experiment:
    """The small experiment with a copy of its encoder and of its collection, in the working folder, which is the home folder."""
    shutil.copytree(small_experiment.encoder, tmp_path / "model")
    shutil.copytree(beir_folder, tmp_path / "texts")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "model").symlink_to(tmp_path / "model")
    (tmp_path / "links" / "texts").symlink_to(tmp_path / "texts")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return replace(small_experiment, encoder="model", collection="texts", evaluation=("texts/test",))


WAYS = ("{0}", "./{0}", "links/../{0}", "{home}/{0}", "links/{0}", "~/{0}")


@pytest.mark.parametrize("way", WAYS)
def test_a_path_gives_one_key_however_it_is_written(places: Experiment, tmp_path: Path, way: str) -> None:
    def written(path: str) -> str:
        return way.format(path, home=tmp_path)

    key = places.key()
    assert replace(places, encoder=written("model")).key() == replace(places, encoder=written("model/")).key() == key
    assert replace(places, collection=written("texts")).key() == replace(places, collection=written("texts/train")).key() == key
    assert replace(places, evaluation=(written("texts/test"), "texts/test")).evaluation_names() == (f"{tmp_path}/texts/test",)
    validated = {replace(places, validation=each).key() for each in ("texts/test", written("texts/test"), written("texts/test/"))}
    assert len(validated) == 1 and key not in validated
    assert replace(places, evaluation=(written("texts/test"),)).key() == key


def test_a_file_of_triples_gives_one_key_however_it_is_written(places: Experiment, tmp_path: Path) -> None:
    (tmp_path / "triples.tsv").write_text("query\tpositive\tnegative\n" * 4)
    (tmp_path / "links" / "same.tsv").symlink_to(tmp_path / "triples.tsv")
    ways = ("triples.tsv", "./triples.tsv", "~/triples.tsv", f"{tmp_path}/triples.tsv", "links/same.tsv", "links/../triples.tsv")
    assert len({replace(places, collection=way, evaluation="none").key() for way in ways}) == 1


def test_the_encoder_that_a_sampler_clusters_by_counts_with_the_contents_of_its_folder(
    small_experiment: Experiment, tiny_folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_folder, other)
    clustered = replace(small_experiment, sampler=f"topic-aware(5, encoder={str(other)!r})")
    before = clustered.key()
    (other / "config.json").write_text((other / "config.json").read_text() + " ")
    assert clustered.key() != before


def test_an_encoder_counts_with_the_contents_of_its_folder(places: Experiment, tmp_path: Path) -> None:
    key, model = places.key(), tmp_path / "model"
    shutil.copytree(model, tmp_path / "moved")
    assert replace(places, encoder="moved").key() == key, "the same contents elsewhere"
    for name in ("README.md", "armlib.json", "manifest.json", ".hidden"):
        (model / name).write_text("how it was made")
    assert places.key() == key, "what is not read"
    changed = {key}
    weights = bytearray((model / "model.safetensors").read_bytes())
    weights[-5] ^= 1
    before = (model / "model.safetensors").stat()
    (model / "model.safetensors").write_bytes(weights)
    os.utime(model / "model.safetensors", ns=(before.st_atime_ns, before.st_mtime_ns))
    changed.add(places.key())
    for name in ("config.json", "tokenizer.json", "1_Pooling/config.json", "new.json"):
        with open(model / name, "a") as file:
            file.write("\n")
        changed.add(places.key())
    shutil.copytree(model / "1_Pooling", model / "2_Pooling")
    changed.add(places.key())
    assert len(changed) == 7, "each change is another experiment, also of equal size and time"


def test_links_in_an_encoder_count_as_what_they_point_to(places: Experiment, tmp_path: Path) -> None:
    """As in the hub's cache, where every file is one."""
    key, model = places.key(), tmp_path / "model"
    (tmp_path / "blobs").mkdir()
    for number, file in enumerate(sorted(path for path in model.rglob("*") if path.is_file())):
        shutil.move(file, tmp_path / "blobs" / str(number))
        file.symlink_to(tmp_path / "blobs" / str(number))
    shutil.move(model / "1_Pooling", tmp_path / "pooling")
    (model / "1_Pooling").symlink_to(tmp_path / "pooling")
    (model / "broken").symlink_to("nowhere")
    assert places.key() == key


def test_an_encoder_that_changes_while_it_is_waited_for_is_refused(places: Experiment, tmp_path: Path) -> None:
    data = TrainingData(places)
    assert data.key
    with open(tmp_path / "model" / "config.json", "a") as file:
        file.write("\n")
    (tmp_path / "model" / "manifest.json").unlink()
    with pytest.raises(InputError, match="the files of the encoder model have changed since"):
        _ = data.encoder


def test_a_result_is_of_the_experiment_that_was_asked_for(places: Experiment, tmp_path: Path) -> None:
    store, quick = RunStore(tmp_path / "runs"), replace(places, steps=1, validate_every=1)
    first = store.result(quick)
    shutil.move(tmp_path / "model", tmp_path / "moved")
    again = store.result(replace(quick, encoder="moved", collection="./texts"))
    assert again == first and again.experiment.encoder == "moved" and first.experiment == quick
    assert set(again.measures.collection) == set(again.experiment.evaluation_names())


def test_a_loss_by_name_is_the_margin_loss_of_its_values(small_experiment: Experiment) -> None:
    by_name = replace(small_experiment, loss="adaptive(in_batch=True, error='soft')", target="")
    by_values = replace(small_experiment, target="adaptive", in_batch=True, error="soft")
    assert by_name == by_values and by_name.loss == "" and by_name.key() == by_values.key()
    assert str(by_name.make_loss()) == "adaptive(in_batch=True, error='soft')"
    assert isinstance(Experiment().make_loss(), MarginLoss) and str(Experiment().make_loss()) == "distributed"


def test_younger_values_are_in_the_key_only_where_they_are_not_the_default(monkeypatch) -> None:
    younger = {
        "filter",
        "loss",
        "sampler",
        "teacher",
        "pairwise_teacher",
        "lists",
        "full_ranking",
        "query_prompt",
        "passage_prompt",
    }
    younger |= {"context", "context_from", "context_dropout", "context_stage"}
    younger |= {"compiled", "relevant_from", "on_training_queries", "warmup_steps", "schedule", "validation_stride"}
    assert {each.name for each in fields(Experiment)} - Experiment().values().keys() == younger
    monkeypatch.setitem(SAMPLERS, "in-order", lambda: RandomSampler)
    changed = Experiment(sampler="in-order", full_ranking=False)
    assert changed.values().items() - Experiment().values().items() == {("sampler", "in-order"), ("full_ranking", False)}
    assert changed.variant() == "distributed, in-order"


@pytest.mark.parametrize(
    ("values", "digits"),
    [({}, "80731738269878ae"), ({"target": "static(0.30)", "in_batch": True, "full_ranking": False}, "1df4d0dd4f664ed5")],
)
def test_results_that_are_stored_keep_their_keys(values: dict, digits: str) -> None:
    """The digits are of the values that the first keys were made of; a value that came since is not among them."""
    assert short_digest(json.dumps(Experiment(**values).values(), sort_keys=True)) == digits


class Constant(Loss):
    """The same loss whatever the batch."""

    def __init__(self, value: float = 1.0) -> None:
        super().__init__()
        self.value = value

    def of_batch(self, batch: EmbeddedBatch) -> LossValue:
        return LossValue(batch.queries.sum() * 0 + self.value)

    def __str__(self) -> str:
        return written("constant", value=(self.value, 1.0))


def test_any_loss_of_the_registry_can_be_trained_with(small_experiment: Experiment, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(LOSSES, "constant", Constant)
    experiment = replace(small_experiment, loss=" Constant( value=3.0 )", steps=2, validate_every=2, evaluation="none")
    assert (experiment.loss, experiment.target, experiment.variant()) == ("constant(value=3.0)", "", "constant(value=3.0)")
    assert Experiment(**asdict(experiment)) == experiment and "constant(value=3.0)" in str(experiment)
    assert experiment.values()["loss"] == "constant(value=3.0)" and isinstance(experiment.make_loss(), Constant)
    with pytest.raises(InputError, match=r"'constant\(value=3\.0\)' says all of itself, so in_batch, error cannot be given"):
        replace(experiment, in_batch=True, error="soft")
    result = RunStore(tmp_path).result(experiment)
    assert result.experiment == experiment and result.trace.loss.tolist() == [3.0, 3.0]
    assert not [name for name in result.trace if name.startswith("target")] and result.about["variant"] == "constant(value=3.0)"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"loss": "adaptiv"}, "unknown loss 'adaptiv'; did you mean 'adaptive'"),
        ({"loss": "static"}, "the loss 'static' cannot be read: expected static(value, "),
        ({"loss": "adaptive", "target": "static(0.3)"}, "'adaptive' says all of itself, so target cannot be given beside it"),
        ({"loss": "distributed(in_batch=True)"}, "in_batch is for static and adaptive targets"),
        ({"sampler": "rndom"}, "unknown sampler 'rndom'; did you mean 'random'"),
        ({"target": "adaptiv"}, "unknown target 'adaptiv'; did you mean 'adaptive'"),
        ({"target": "distributed", "in_batch": True}, "in_batch"),
        ({"reading": "theirs"}, "reading"),
        ({"selection": "median"}, "unknown selection 'median'"),
        ({"schedule": "cosine"}, "unknown schedule 'cosine'"),
        ({"schedule": "linear", "decay": 0.9}, "decay is of the exponential schedule; expected its default 0.99999"),
        ({"steps": 20, "warmup_steps": 20}, "warmup_steps from 0 to less than its 20 steps, not 20"),
        ({"batch_size": 0}, "batch_size of an experiment must be at least 1, not 0"),
        ({"steps": "many"}, "steps of an experiment must be int, not 'many'"),
        ({"seed": True}, "seed of an experiment must be int, not True"),
        ({"evaluation": 3}, "evaluation of an experiment must be a list of names, not 3"),
        ({"evaluation": ("docstrings", 3)}, "evaluation of an experiment must be a list of names"),
    ],
)
def test_values_that_cannot_be_are_refused_at_once(values: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        Experiment(**values)


def test_it_prints_as_one_line() -> None:
    line = str(Experiment(target="static(0.3)", in_batch=True, seed=2))
    assert line == "docstrings | lsa/distilbert | static(0.3), in-batch | B=64, 300 steps, learning rate 0.0005 | seed 2"
    warmed = str(Experiment(schedule="linear", warmup_steps=30))
    assert "learning rate 0.0005 after 30 steps of warm-up, linear schedule |" in warmed
