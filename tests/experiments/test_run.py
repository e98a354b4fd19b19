"""What can be known before training is said before; what is trained is kept before it is measured."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, RobertaConfig, RobertaModel

from armlib.cli import main
from armlib.encoder.bi_encoder import BiEncoder
from armlib.errors import InputError
from armlib.evaluation.evaluate import Evaluator
from armlib.experiments import run
from armlib.experiments.experiment import Experiment
from armlib.experiments.result import Result
from armlib.experiments.store import RunStore


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be trained."""
    monkeypatch.setattr(run, "train", lambda *_, **__: pytest.fail("trained"))


@pytest.fixture
def short(small_experiment: Experiment) -> Experiment:
    return replace(small_experiment, steps=4, validate_every=2)


def changed(folder: Path, to: Path, file: str, there: str, instead: str, count: int = -1) -> str:
    """A copy of a collection in which one file is another one; its name."""
    shutil.copytree(folder, to)
    text = (to / file).read_text()
    assert there in text
    (to / file).write_text(text.replace(there, instead, count))
    return str(to)


def assert_same(left: Result, right: Result) -> None:
    timed = ["seconds", "waiting_seconds"]
    assert left.trace.drop(columns=timed).equals(right.trace.drop(columns=timed)) and left.measures.equals(right.measures)
    one, other = left.encoder().state_dict(), right.encoder().state_dict()
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    apart = ("seconds", "time", "machine", "indexes")  # which hold times
    assert {name: value for name, value in left.about.items() if name not in apart} == {
        name: value for name, value in right.about.items() if name not in apart
    }


@pytest.mark.filterwarnings("ignore:1 of 40 judgments")
@pytest.mark.parametrize(
    ("file", "there", "instead", "complaint"),
    [
        ("corpus.jsonl", '"_id": "os.fspath"', '"_id": "os fspath"', "os fspath"),
        ("corpus.jsonl", '"_id": "os.fspath"', '"_id": "os.mkdir"', "os.mkdir"),
        ("corpus.jsonl", '"_id": "os.fspath"', '"_id": ""', "id"),
        ("queries.jsonl", '"_id": "q-os.fspath"', '"_id": "q os.fspath"', "q os.fspath"),
        ("qrels/test.tsv", "\t1\n", "\t1.5\n", "1.5"),
        ("qrels/test.tsv", "\t1\n", "\t99999999999\n", "99999999999"),
        ("corpus.jsonl", '"text": "', '"text": "\\ud800', "surrogate"),
    ],
)
def test_an_evaluation_that_cannot_be_is_refused_before_training(
    short, untrained, beir_folder, tmp_path, file, there, instead, complaint
) -> None:
    name = changed(beir_folder, tmp_path / "evaluation", file, there, instead)
    with pytest.raises(InputError, match=complaint):
        RunStore(tmp_path / "runs").result(replace(short, evaluation=(f"{name}/test",)))


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"evaluation": ("no-such-collection",)}, "unknown collection"),
        ({"evaluation": ("none", "cranfield-2")}, "unknown collection"),
        ({"index": "HNSW0"}, "index 'HNSW0' cannot be built of vectors of 32 dimensions: FAISS ends the process"),
        ({"index": "PQ7"}, "multiple of the number of subquantizers"),
        ({"index": "IVF8,Flat:nprobe=0"}, "expected nprobe as a whole number from 1"),
        ({"index": "IVF4096,Flat"}, "more lists than there are vectors"),
        ({"passage_length": 9999}, r"passage_length is 9999; this encoder takes 3 to \d+ tokens, its positions"),
        ({"query_length": 2}, r"query_length is 2; this encoder takes 3 to"),
        ({"batch_size": 100_000}, "100.?000"),
        ({"optimizer": "adam8bit"}, "adam8bit"),
        ({"pooling": "cls+lin"}, "unknown pooling 'cls.lin'; did you mean 'cls.linear'"),
    ],
)
def test_values_that_cannot_be_are_refused_before_training(short, monkeypatch, tmp_path, values, complaint) -> None:
    if "optimizer" not in values:  # what an optimiser needs is looked at by the training loop, before its first step
        monkeypatch.setattr(run, "train", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(InputError, match=complaint):
        RunStore(tmp_path / "runs", device="cpu").result(replace(short, **values))


def test_data_that_cannot_train_or_validate_are_refused_before_training(short, untrained, beir_folder, tmp_path) -> None:
    ungraded = changed(beir_folder, tmp_path / "ungraded", "qrels/test.tsv", "\t1\n", "\t0\n")
    with pytest.raises(InputError, match="cannot validate: none of its .* judged queries has both a relevant document"):
        RunStore(tmp_path / "runs").result(replace(short, validation=f"{ungraded}/test"))
    only_tests = changed(beir_folder, tmp_path / "only-tests", "qrels/train.tsv", "\t1\n", "\t0\n")
    with pytest.raises(InputError, match="cannot hold out 20 queries of .*, which has 0 with a relevant document"):
        RunStore(tmp_path / "runs").result(replace(short, collection=only_tests))
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="cannot write"):
            RunStore(place).result(short)
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / ".unfinished").write_text("")
    with pytest.raises(InputError, match="cannot write .*unfinished"):
        RunStore(tmp_path / "blocked").result(short)


def test_positions_of_another_encoder_are_counted_and_named(short, untrained, minilm, tmp_path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(minilm)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    RobertaModel(RobertaConfig(vocab_size=len(tokenizer), max_position_embeddings=130, **shape)).save_pretrained(tmp_path / "short")
    tokenizer.save_pretrained(tmp_path / "short")
    with pytest.raises(InputError, match=r"passage_length is 200; this encoder takes 3 to 128 tokens, its positions"):
        RunStore(tmp_path / "runs").result(replace(short, encoder=str(tmp_path / "short"), passage_length=200))


def test_nothing_is_trained_in_vain_where_the_measuring_fails(short, tmp_path, monkeypatch) -> None:
    """Whatever it fails with, the next attempt measures the encoder that there is, with the same outcome."""
    whole, store = RunStore(tmp_path / "whole"), RunStore(tmp_path / "failed")
    expected = whole.result(short)
    measure, trained = Evaluator.__call__, run.train
    trainings = []
    monkeypatch.setattr(run, "train", lambda *given, **options: (trainings.append(1), trained(*given, **options))[1])
    for error in (RuntimeError("out of memory"), KeyboardInterrupt(), InputError("no space")):

        def failing(*_, error=error, **__) -> None:
            raise error

        monkeypatch.setattr(Evaluator, "__call__", failing)
        with pytest.raises(type(error)):
            store.result(short)
    monkeypatch.setattr(Evaluator, "__call__", measure)
    (kept,) = store.path.glob(f".unfinished/*/{run.TRAINED}/encoder")
    assert BiEncoder.load(kept).fingerprint() == expected.encoder().fingerprint(), "and it can be used meanwhile"
    assert_same(store.result(short), expected)
    assert len(trainings) == 1 and not list(store.path.glob(".unfinished/*"))


@pytest.mark.parametrize("harm", ["weights", "record", "key"])
def test_a_trained_encoder_that_is_damaged_is_trained_again(short, tmp_path, monkeypatch, harm) -> None:
    store = RunStore(tmp_path / "runs")
    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, "__call__", lambda *_, **__: (_ for _ in ()).throw(RuntimeError()))
        with pytest.raises(RuntimeError):
            store.result(short)
    (kept,) = store.path.glob(f".unfinished/*/{run.TRAINED}")
    file = kept / {"weights": "encoder/model.safetensors", "record": run.RECORD, "key": run.RECORD}[harm]
    if harm == "key":
        with run.storage.atomic_folder(tmp_path / "other") as other:
            shutil.copytree(kept, other, dirs_exist_ok=True)
            (other / run.RECORD).write_text(json.dumps(json.loads(file.read_text()) | {"key": "another"}))
        shutil.rmtree(kept)
        shutil.move(tmp_path / "other", kept)
    else:
        file.write_bytes(bytes(file.stat().st_size))
    with pytest.warns(UserWarning, match="the trained encoder in .* cannot be used .*training goes on from its last checkpoint"):
        result = store.result(short)
    assert_same(result, RunStore(tmp_path / "whole").result(short))


def test_the_shared_case_is_refused_by_the_command(shared: Path, tmp_path, untrained, tiny_folder, capsys) -> None:
    case = shared / "cases" / "training-lost"
    if not case.is_dir():
        pytest.skip("the case is not there")
    command = ["train", "--collection", str(case / "train-on"), "--encoder", str(tiny_folder), "--evaluation", str(case / "folder")]
    options = ["--runs", str(tmp_path), "--batch-size", "1", "--steps", "2"]
    assert main([*command, *options]) == 2
    assert "white space" in capsys.readouterr().err and not list(tmp_path.glob("*/result.json"))
