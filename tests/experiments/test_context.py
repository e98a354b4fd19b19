"""Experiments whose encoder reads a context: from their values to measures, search, and what is kept in caches."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from armlib.cli import main
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.token_stores import passage_tokens
from armlib.errors import InputError
from armlib.evaluation.evaluate import Evaluator
from armlib.experiments.experiment import Experiment
from armlib.experiments.result import Result
from armlib.experiments.store import RunStore
from armlib.experiments.training_data import TrainingData
from armlib.names import load_collection
from armlib.retrieval.embeddings import cached_embeddings, embeddings_folder, encode_collection
from armlib.retrieval.search import Searcher
from armlib.storage import read_json
from armlib.training import loop
from armlib.training.interrupts import Stopped

LENGTHS = {"query_length": 24, "passage_length": 48}


@pytest.fixture(scope="module")
def asked(small_experiment: Experiment) -> Experiment:
    return replace(small_experiment, context=6, context_dropout=0.1)


@pytest.fixture(scope="module")
def result(asked: Experiment, tmp_path_factory) -> Result:
    return RunStore(tmp_path_factory.mktemp("runs")).result(asked)


@pytest.fixture
def half_folder(beir_folder: Path, tmp_path: Path) -> Path:
    """The collection with every other passage that no test query is about."""
    folder = tmp_path / "half"
    (folder / "qrels").mkdir(parents=True)
    judged = (beir_folder / "qrels" / "test.tsv").read_text()
    lines = (beir_folder / "corpus.jsonl").read_text().splitlines(keepends=True)
    kept = [line for number, line in enumerate(lines) if number % 2 or f"\t{json.loads(line)['_id']}\t" in judged]
    (folder / "corpus.jsonl").write_text("".join(kept))
    (folder / "queries.jsonl").write_text((beir_folder / "queries.jsonl").read_text())
    (folder / "qrels" / "test.tsv").write_text(judged)
    return folder


def test_values_of_a_context_are_in_the_key_where_there_is_one(small_experiment: Experiment) -> None:
    plain = small_experiment
    assert not {"context", "context_from", "context_dropout", "context_stage"} & plain.values().keys()
    others = [replace(plain, context=6), replace(plain, context=7), replace(plain, context=6, context_from="collection")]
    others += [replace(others[0], context_dropout=0.1), replace(others[0], context_stage="frozen")]
    assert len({each.key() for each in (plain, *others)}) == 6 and others[0].values()["context_from"] == "batch"
    assert replace(others[3], context_stage="cached").variant() == "distributed, context of 6, null vectors 0.1, cached first stage"
    assert others[2].variant() == "distributed, context of 6, from the collection"
    assert others[0].settings().context_stage == "trained" and others[0].shape().context == 6 and plain.shape().context == 0


@pytest.mark.parametrize(
    "values, said",
    [
        ({"context_dropout": 0.1}, "context_from, context_dropout, context_stage are of a context"),
        ({"context_from": "collection"}, "expected context to be at least 1 passage beside them"),
        ({"context": 6, "context_from": "queries"}, "unknown context_from 'queries'"),
        ({"context_stage": "frozen"}, "expected context to be at least 1 passage beside them"),
        ({"context": 6, "context_stage": "free"}, "unknown context_stage 'free'"),
        ({"context": 6, "context_dropout": 1.0}, "context_dropout of an experiment must be from 0 to less than 1, not 1.0"),
        ({"context": 2.5}, "context of an experiment must be int"),
    ],
)
def test_what_cannot_be_is_refused(small_experiment: Experiment, values: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        replace(small_experiment, **values)


def test_what_can_be_known_to_fail_fails_before_training(small_experiment: Experiment, result: Result, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"passages of .*: a context of 5000 passages cannot be chosen among \d+"):
        RunStore(tmp_path).result(replace(small_experiment, context=5000))
    with pytest.raises(InputError, match="a context of 33 passages cannot be chosen among 32"):
        RunStore(tmp_path).result(replace(small_experiment, batch_size=16, context=33))
    with pytest.raises(InputError, match="reads a context; expected context to be at least 1"):
        RunStore(tmp_path).result(replace(small_experiment, encoder=str(result.folder / "encoder")))
    with pytest.raises(InputError, match="MPNetModel cannot read a context: its attention depends on relative positions"):
        RunStore(tmp_path).result(replace(small_experiment, encoder="lsa/mpnet", context=6))


def test_a_trained_encoder_is_bound_to_its_collection(result: Result, asked: Experiment) -> None:
    encoder, collection = result.encoder(), load_collection(asked.collection)
    expected = encoder.context_of(passage_tokens(collection, encoder, 48), 48)
    assert encoder.context.bound.key == expected.key and len(expected.ids) == 6
    assert encoder.saved["context"]["passages"] == list(expected.ids) and set(expected.ids) <= collection.corpus.ids
    assert encoder.context.bias.tolist() != [-3.0] and encoder.context.dropout == 0.1
    assert encoder.context.first.fingerprint() != BiEncoder.load(asked.encoder).fingerprint(), "the first stage was trained, too"
    found = encoder.context.vectors.clone()
    encoder.context.forget()
    encoder.bind(expected)
    np.testing.assert_allclose(encoder.context.vectors, found, atol=1e-6)


def test_it_is_measured_again_to_the_same_values(result: Result, asked: Experiment, tmp_path: Path, capsys) -> None:
    collections = [load_collection(name) for name in asked.evaluation]
    encoder = result.encoder()
    rows, _ = Evaluator(encoder, collections, **LENGTHS)(encoder, tmp_path / "again")
    stored = {(row["mode"], row["measure"]): row["value"] for row in result.about["measures"]}
    assert {(row["mode"], row["measure"]): row["value"] for row in rows} == stored and stored
    main(["evaluate", result.key, "--runs", str(result.folder.parent), "--output", str(tmp_path / "measured"), "--device", "cpu"])
    assert f"{stored['re-ranking', 'nDCG@10']:.4f}" in capsys.readouterr().out


def test_search_binds_to_what_is_searched(result: Result, asked: Experiment, half_folder: Path) -> None:
    encoder = result.encoder()
    one = Searcher(encoder, load_collection(asked.collection), **LENGTHS)
    before = [(hit.id, hit.score) for hit in one.search("shuffle a list", 5)]
    other = Searcher(encoder, load_collection(half_folder), **LENGTHS)
    assert encoder.context.bound.ids == other.context.ids != one.context.ids
    assert set(other.context.ids) <= other.collection.corpus.ids
    other.search("shuffle a list", 2)
    assert [(hit.id, hit.score) for hit in one.search("shuffle a list", 5)] == before
    again = Searcher(result.encoder(), load_collection(asked.collection), **LENGTHS)
    assert [(hit.id, hit.score) for hit in again.search("shuffle a list", 5)] == before


def test_each_evaluated_collection_has_its_own_context(result: Result, asked, half_folder: Path, tmp_path: Path) -> None:
    """The same measures with other collections beside and with each alone."""
    half, whole = load_collection(half_folder / "test"), load_collection(asked.evaluation[0])
    encoder = result.encoder()

    def measured(work: str, *collections) -> dict:
        rows, _ = Evaluator(encoder, list(collections), **LENGTHS)(encoder, tmp_path / "m", work=tmp_path / work)
        return {(row["collection"], row["mode"], row["measure"]): row["value"] for row in rows}

    both = measured("both", half, whole)
    assert measured("whole", whole) | measured("half", half) == both
    contexts = {tuple(read_json(file)["context"]) for file in (tmp_path / "both").rglob("vectors.json")}
    assert len(contexts) == 2 and all(len(each) == 6 for each in contexts)


def test_vectors_of_different_contexts_are_kept_apart(result: Result, asked: Experiment, tmp_path: Path) -> None:
    encoder, collection = result.encoder(), load_collection(asked.collection)
    passages = passage_tokens(collection, encoder, 48)
    folders, vectors = [], []
    for size in (6, 5, 6):
        encoder.context.passages = size
        encoder.bind(encoder.context_of(passages, 48))
        folders.append(embeddings_folder(encoder, passages, 48))
        vectors.append(np.array(cached_embeddings(encoder, passages, 48)))
        assert read_json(folders[-1] / "vectors.json")["context"] == list(encoder.context.bound.ids)
    assert folders[0] == folders[2] != folders[1]
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-5
    np.testing.assert_array_equal(vectors[0], vectors[2])
    plain = BiEncoder.load(asked.encoder)
    cached_embeddings(plain, passages, 48)
    assert "context" not in read_json(embeddings_folder(plain, passages, 48) / "vectors.json")
    # One folder, another context under the same name: refused, not mixed.
    encode_collection(encoder, passages, tmp_path / "vectors", 48, key="mine")
    encoder.context.passages = 5
    encoder.bind(encoder.context_of(passages, 48))
    with pytest.raises(InputError, match="holds other vectors"):
        encode_collection(encoder, passages, tmp_path / "vectors", 48, key="mine")
    # What is bound to nothing cannot be encoded, so nothing is kept under its name.
    encoder.train().eval()
    with pytest.raises(InputError, match="is bound to none"):
        cached_embeddings(encoder, passages, 48)
    assert embeddings_folder(encoder, passages, 48) not in folders


def test_a_stopped_experiment_has_the_same_result(asked: Experiment, result: Result, tmp_path: Path, monkeypatch) -> None:
    store, gradients = RunStore(tmp_path, checkpoint_seconds=0.0), loop.batch_gradients

    def ending(*arguments):
        if arguments[-1] == 13:
            raise Stopped("stopped")
        return gradients(*arguments)

    monkeypatch.setattr(loop, "batch_gradients", ending)
    with pytest.raises(Stopped):
        store.result(asked)
    monkeypatch.setattr(loop, "batch_gradients", gradients)
    measure = Evaluator.__call__
    monkeypatch.setattr(Evaluator, "__call__", lambda *_, **__: ending(13))  # when it is trained, and not measured yet
    with pytest.raises(Stopped):
        store.result(asked)
    monkeypatch.setattr(Evaluator, "__call__", measure)
    again = store.result(asked)
    assert again.encoder().fingerprint() == result.encoder().fingerprint()
    assert again.about["measures"] == result.about["measures"]


def test_training_goes_on_from_a_folder_that_reads_a_context(asked: Experiment, result: Result) -> None:
    later = replace(asked, encoder=str(result.folder / "encoder"), context=4, context_dropout=0.0)
    encoder = TrainingData(later).encoder
    assert (encoder.context_size, encoder.context.dropout, encoder.context.bound) == (4, 0.0, None)
    assert encoder.context.bias.tolist() == result.encoder().context.bias.tolist()


def test_it_trains_from_the_command_line(asked: Experiment, tmp_path: Path, capsys) -> None:
    options = ["--context", "3", "--context-dropout", "0.2", "--context-stage", "cached", "--steps", "2", "--evaluation", "none"]
    given = ["--collection", asked.collection, "--encoder", asked.encoder, "--batch-size", "8", "--passage-length", "48"]
    main(["train", *given, *options, "--runs", str(tmp_path), "--device", "cpu"])
    assert "distributed, context of 3, null vectors 0.2, cached first stage" in capsys.readouterr().out
    (record,) = tmp_path.glob("[!.]*/experiment.json")
    assert json.loads(record.read_text())["context"] == 3
    assert BiEncoder.load(record.parent / "encoder").context_size == 3
