"""An encoder for others: a plain folder that loads elsewhere, and what is sent to the hub; nothing is sent in these tests."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from unittest.mock import create_autospec

import numpy as np
import pytest
from huggingface_hub import HfApi, ModelCard
from sentence_transformers import SentenceTransformer

from armlib import storage
from armlib.cli import main
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.onnx_export import MODEL
from armlib.errors import InputError
from armlib.evaluation.evaluate import FULL_RANKING, RERANKING
from armlib.evaluation.measures import default_measures, evaluate
from armlib.experiments import sharing
from armlib.experiments.experiment import Experiment
from armlib.experiments.model_card import model_card
from armlib.experiments.outcome import BEFORE, BM25, before_training
from armlib.experiments.public_names import public_name
from armlib.experiments.result import Result
from armlib.experiments.sharing import compared, export_encoder, push_to_hub
from armlib.experiments.store import RunStore
from armlib.names import load_collection
from armlib.retrieval.encoding import encode_texts

needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="onnx, onnxscript and onnxruntime (the extra onnx) are not installed",
)
TEXTS = ["shuffle a list in place", "Return the absolute value of a number, or of a sequence of numbers."]


@pytest.fixture(scope="module")
def result(small_store: RunStore, small_experiment: Experiment) -> Result:
    return small_store.result(small_experiment)


def run(store: RunStore, *arguments: object) -> int:
    return main(["export", *map(str, arguments), "--runs", str(store.path)])


def test_the_command_writes_a_folder_that_loads_elsewhere(small_store, result, tmp_path, capsys) -> None:
    folder = tmp_path / "mine"
    assert run(small_store, result.key[:5], folder) == 0
    assert capsys.readouterr().out == f"{result.key}: {folder}, card: {folder}/README.md\n"
    moved = shutil.move(folder, tmp_path / "elsewhere")
    expected = encode_texts(result.encoder(), TEXTS, 48)
    np.testing.assert_allclose(SentenceTransformer(str(moved), device="cpu").encode_document(TEXTS), expected, atol=1e-6)
    encoder = BiEncoder.load(moved)
    assert encoder.fingerprint() == result.encoder().fingerprint() and encoder.lengths == result.encoder().lengths
    card = (moved / "README.md").read_text()
    assert card == model_card(result, baselines=compared(result, small_store))
    (moved / "README.md").write_text(card + "\nA word of my own.\n")
    assert BiEncoder.load(moved).dim == 32, "a card may be edited"


def test_the_card_compares_with_bm25_and_the_encoder_before(small_store, small_experiment, tmp_path, capsys) -> None:
    own = RunStore(tmp_path / "runs")
    shutil.copytree(small_store.path / small_experiment.key(), own.path / small_experiment.key())
    result = own.find(small_experiment.key())
    (name,) = small_experiment.evaluation
    found = compared(result, own)
    assert list(found) == [BM25] and list(found[BM25]) == [(name, FULL_RANKING)], "nothing is encoded for a card"
    collection = load_collection(name)
    expected = evaluate(collection.bm25_run(1000), collection.qrels(), default_measures())
    assert found[BM25][name, FULL_RANKING].per_query.equals(expected.per_query)
    before = own.result(before_training(small_experiment))
    both = compared(result, own)
    assert {mode: each.mean for (_, mode), each in both[BEFORE].items()} == {
        mode: before.per_query(name, mode).mean for mode in (RERANKING, FULL_RANKING)
    }
    assert run(own, result.key, tmp_path / "mine") == 0 and run(own, result.key, tmp_path / "alone", "--no-compared") == 0
    card, alone = ((tmp_path / folder / "README.md").read_text() for folder in ("mine", "alone"))
    assert card.count("| nDCG@10, before training |") == 2 and card.count("| nDCG@10, BM25 |") == 1
    assert "Nothing was measured beside it" in alone and "BM25 |" not in alone
    assert compared(before, own).keys() == {BM25}, "an encoder before training is not compared with itself"


@pytest.mark.filterwarnings("always:the card compares the encoder with nothing")
def test_where_a_collection_is_gone_the_card_says_that_it_compares_with_nothing(result, tmp_path, capsys) -> None:
    own = RunStore(tmp_path / "runs")
    gone = f"{tmp_path}/gone"
    with storage.atomic_folder(own.path / result.key) as draft:
        shutil.copytree(result.folder, draft, dirs_exist_ok=True)
        values = json.loads((draft / "experiment.json").read_text())
        (draft / "experiment.json").write_text(json.dumps(values | {"evaluation": [gone]}))
    assert run(own, result.key, tmp_path / "mine") == 0
    assert "armlib: warning: the card compares the encoder with nothing: no collection at" in capsys.readouterr().err
    assert "Nothing was measured beside it" in (tmp_path / "mine" / "README.md").read_text()


def test_it_tells_no_paths_of_the_machine(result, tmp_path) -> None:
    folder = export_encoder(result, tmp_path / "mine")
    places = {str(Path(name).parent) for name in (result.experiment.collection, result.experiment.encoder, str(result.folder))}
    for file in folder.rglob("*.*"):
        text = file.read_bytes() if file.is_file() else b""
        assert not [place for place in places if place.encode() in text], file.name
    told = json.loads((folder / "armlib.json").read_text())["provenance"]
    values = told["values"]
    assert told["experiment"] == result.key and values["encoder"] == "tiny" and values["steps"] == 20
    assert values["evaluation"] == [f"{Path(result.experiment.collection).name}/test"]
    assert Experiment.of_record(told) is None, "nobody takes 'tiny' for the name of an encoder"


def test_names_that_others_know_stay_an_experiment(result, tmp_path) -> None:
    public = {"collection": "beir/scifact/train", "encoder": "org/model", "evaluation": ["beir/scifact/test"]}
    provenance = {"experiment": result.key, **asdict(result.experiment), **public}
    assert sharing._public(provenance) == provenance
    assert Experiment.of_record(sharing._public(provenance)) == replace(result.experiment, **public)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("bi-encoder('/home/me/model')", "bi-encoder('model')"),
        ("bi-encoder('org/model')", "bi-encoder('org/model')"),
        ('topic-aware(5, encoder="~/model/")', 'topic-aware(5, encoder="model")'),
        ("/home/me/scifact/test", "scifact/test"),
        ("/home/me/triples.tsv.gz", "triples.tsv.gz"),
        ("beir/scifact/test", "beir/scifact/test"),
    ],
)
def test_names_are_shown_without_their_paths(name: str, shown: str) -> None:
    assert public_name(name) == shown


def test_prompts_and_contexts_are_exported(small_store, small_experiment, tmp_path) -> None:
    short = replace(small_experiment, steps=2, validate_every=2, evaluation="none")
    prompted = export_encoder(small_store.result(replace(short, query_prompt="query: ")), tmp_path / "prompted")
    assert SentenceTransformer(str(prompted), device="cpu").prompts["query"] == "query: "
    result = small_store.result(replace(short, context=4))
    contextual = export_encoder(result, tmp_path / "contextual")
    assert BiEncoder.load(contextual).fingerprint() == result.encoder().fingerprint()
    with pytest.raises(InputError, match="an encoder that reads a context is not exported as ONNX"):
        export_encoder(result, tmp_path / "onnx", onnx=True)
    assert not (tmp_path / "onnx").exists()


@needs_onnx
@pytest.mark.slow
def test_onnx_is_loaded_as_the_card_says(small_store, result, tmp_path) -> None:
    folder = tmp_path / "mine"
    assert run(small_store, result.key, folder, "--onnx") == 0
    assert (folder / MODEL).is_file() and "huggingface_hub" not in (folder / "README.md").read_text()
    card = model_card(result, place=str(folder), onnx=True)
    code = next(code for code in re.findall(r"```python\n(.+?)```", card, re.DOTALL) if "onnxruntime" in code)
    names: dict = {}
    exec(code.replace('["a passage"]', json.dumps(TEXTS)), names)
    np.testing.assert_allclose(names["vectors"], encode_texts(result.encoder(), TEXTS, 48), atol=1e-5)
    assert BiEncoder.load(folder).fingerprint() == result.encoder().fingerprint()
    on_hub = model_card(result, place="me/mine", onnx=True)
    assert 'hf_hub_download("me/mine", "onnx/model.onnx")' in on_hub and 'SentenceTransformer("me/mine")' in on_hub


def test_a_folder_is_uploaded_where_the_user_asks(result, tmp_path) -> None:
    """By a stand-in, which takes no other arguments than the real one."""
    hub = create_autospec(HfApi, instance=True)
    hub.create_repo.return_value = "https://huggingface.co/me/mine"
    folder = export_encoder(result, tmp_path / "mine", place="me/mine", licence="mit")
    assert push_to_hub(folder, "me/mine", private=True, api=hub) == "https://huggingface.co/me/mine"
    hub.create_repo.assert_called_once_with("me/mine", private=True, exist_ok=True)
    hub.upload_folder.assert_called_once_with(folder_path=folder, repo_id="me/mine", commit_message="The encoder and its card")
    assert [name for name, *_ in hub.mock_calls] == ["create_repo", "upload_folder"]
    assert not (folder / "manifest.json").exists(), "whose card the hub lets everybody edit"
    card = ModelCard.load(folder / "README.md")
    assert card.data.license == "mit" and 'SentenceTransformer("me/mine")' in card.content


def test_the_command_uploads_only_when_asked(small_store, result, tmp_path, monkeypatch, capsys) -> None:
    hub = create_autospec(HfApi, instance=True)
    hub.create_repo.return_value = "https://huggingface.co/me/mine"
    monkeypatch.setattr(sharing, "HfApi", lambda: hub)
    assert run(small_store, result.key, tmp_path / "one", "--license", "mit") == 0 and not hub.mock_calls
    assert run(small_store, result.key, tmp_path / "two", "--push-to-hub", "me/mine") == 0
    assert hub.create_repo.call_args.kwargs["private"] is False and hub.upload_folder.call_count == 1
    assert capsys.readouterr().out.endswith("https://huggingface.co/me/mine\n")
    hub.upload_folder.side_effect = ConnectionError("no route to host.\nmore")
    assert run(small_store, result.key, tmp_path / "three", "--push-to-hub", "me/mine", "--private") == 2
    said = capsys.readouterr().err
    assert "three was written, but not uploaded to me/mine (no route to host); 'hf auth login' gives a token" in said
    assert BiEncoder.load(tmp_path / "three").dim == 32


def test_without_the_hub_it_is_one_sentence(small_store, result, tmp_path, capsys) -> None:
    """With the real client, which the tests keep offline."""
    assert run(small_store, result.key, tmp_path / "mine", "--push-to-hub", "me/mine") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "was written, but not uploaded to me/mine" in line and "offline" in line.lower()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["{key}", "{full}"], "full is there already; expected a new folder to export to"),
        (["{key}", "{file}"], "file is there already; expected a new folder to export to"),
        (["zz", "{new}"], "unknown key in"),
        (["{key}", "{new}", "--private"], "--private is of a repository on the hub; expected --push-to-hub"),
        (["{key}", "{new}", "--push-to-hub", "a/b/c"], "'a/b/c' cannot be the name of a repository on the hub"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(small_store, result, tmp_path, capsys, arguments, sentence) -> None:
    (tmp_path / "full" / "below").mkdir(parents=True)
    (tmp_path / "file").touch()
    places = {name: tmp_path / name for name in ("full", "file", "new")} | {"key": result.key}
    assert run(small_store, *(argument.format(**places) for argument in arguments)) == 2
    assert sentence in capsys.readouterr().err and not (tmp_path / "new").exists()


def test_a_key_is_found_by_its_first_digits(small_store, result, tmp_path) -> None:
    store = RunStore(tmp_path)
    for key in ("aaaaaaaaaaa1", "aaaaaaaaaaa2"):
        (tmp_path / ".unfinished" / key).mkdir(parents=True)
    shutil.copytree(result.folder, tmp_path / result.key)
    assert store.find(result.key[:3]) == Result(result.key, store.path / result.key)
    for start, said in (("a" * 11, "2 keys begin with"), ("aaaaaaaaaaa1", "aaaaaaaaaaa1 is unfinished"), ("", "unknown key in")):
        with pytest.raises(InputError, match=said):
            store.find(start)
    (tmp_path / result.key / "trace.csv").write_text("")
    with pytest.raises(InputError, match=f"{result.key} is damaged; expected a finished result"):
        store.find(result.key)


def test_damaged_weights_are_not_exported(result, tmp_path) -> None:
    copy = Result(result.key, tmp_path / result.key)
    shutil.copytree(result.folder, copy.folder)
    weights = copy.folder / "encoder" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 1
    weights.write_bytes(data)
    with pytest.raises(InputError, match="encoder is damaged: model.safetensors does not have the contents"):
        export_encoder(copy, tmp_path / "mine")
    assert not (tmp_path / "mine").exists()
