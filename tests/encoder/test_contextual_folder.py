"""The folder of an encoder that reads a context: armlib and sentence-transformers give the same vectors from it, or a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from torch import nn
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

from armlib.data.contexts import Context, collection_context
from armlib.data.tokenising import token_store
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.layout import Prompts
from armlib.errors import InputError
from armlib.retrieval.encoding import encode_texts
from armlib.retrieval.vectors import unit_vectors
from armlib.storage import read_json, write_json

ASKED = ["walk a folder", "Return the sorted list of a folder's entries, " * 6, "x"]
FILE = "modeling_armlib_contextual.py"

PROJECTION = "project.bias, project.weight"


@pytest.fixture
def store(texts, tiny_encoder):
    return token_store(lambda: texts, tiny_encoder.tokenizer, "texts", "passages")


def make(tiny_encoder: BiEncoder, store, kind: str = "distilbert", pooling: str = "cls", **options: object) -> BiEncoder:
    """An encoder with a context of 7 passages that counts, bound to it."""
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 1000}
    others = {"bert": (BertConfig, BertModel), "roberta": (RobertaConfig, RobertaModel)}
    backbone = tiny_encoder.backbone
    if kind in others:
        config, model = others[kind]
        backbone = model(config(**shape, pad_token_id=tiny_encoder.tokenizer.pad_token_id), add_pooling_layer=False)
    encoder = BiEncoder(backbone, tiny_encoder.tokenizer, pooling, **options).eval()
    encoder.add_context(7, dropout=0.25)
    for parameter in encoder.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    nn.init.constant_(encoder.context.bias, 0.3)
    encoder.bind(encoder.context_of(store, 40))
    return encoder


@pytest.mark.parametrize(
    "kind, pooling, options",
    [
        ("distilbert", "cls", {}),
        ("bert", "mean", {"prompts": Prompts("query: ", "passage: ")}),
        ("roberta", "cls+linear", {}),
        ("roberta", "last", {"truncate_dim": 12}),
    ],
)
def test_sentence_transformers_gives_the_same_embeddings(tiny_encoder, store, tmp_path, kind, pooling, options) -> None:
    encoder = make(tiny_encoder, store, kind, pooling, **options)
    folder = encoder.save(tmp_path / "encoder", query_length=6, passage_length=20, provenance={"seed": 1})
    model = SentenceTransformer(str(folder), device="cpu", trust_remote_code=True)
    passages, queries = (
        encode_texts(encoder, [prompt + text for text in ASKED], length)
        for prompt, length in ((encoder.prompts.passage, 20), (encoder.prompts.query, 6))
    )
    # Where dimensions are cut off, sentence-transformers leaves the vectors shorter.
    np.testing.assert_allclose(unit_vectors(model.encode_document(ASKED)), passages, atol=1e-5)
    np.testing.assert_allclose(unit_vectors(model.encode_query(ASKED)), queries, atol=1e-5)
    assert model.max_seq_length == 20 and np.abs(passages - queries).max() > 0.01

    loaded = BiEncoder.load(folder)
    assert loaded.fingerprint() == encoder.fingerprint() == loaded.saved["fingerprint"]
    assert loaded.saved["context"]["passages"] == list(encoder.context.bound.ids) and len(loaded.context.bound.ids) == 7
    assert (loaded.context.dropout, loaded.context_size, loaded.context.training) == (0.25, 7, False)
    np.testing.assert_array_equal(encode_texts(loaded, [loaded.prompts.passage + text for text in ASKED], 20), passages)
    # The same from the passages' texts, not from the vectors that were kept.
    loaded.context.forget()
    loaded.bind(collection_context(store, 7, 40))
    np.testing.assert_allclose(encode_texts(loaded, [loaded.prompts.passage + text for text in ASKED], 20), passages, atol=1e-6)
    assert loaded.fingerprint() == encoder.fingerprint()

    nn.init.constant_(loaded.context.bias, -30.0)
    assert np.abs(encode_texts(loaded, [loaded.prompts.passage + text for text in ASKED], 20) - passages).max() > 0.01

    model.save(str(tmp_path / "again"), create_model_card=False)
    again = SentenceTransformer(str(tmp_path / "again"), device="cpu", trust_remote_code=True)
    np.testing.assert_allclose(unit_vectors(again.encode_document(ASKED)), passages, atol=1e-5)
    with pytest.raises(InputError, match="again lacks the first stage of an encoder that reads a context; expected first_stage"):
        BiEncoder.load(tmp_path / "again")


def test_without_trust_it_is_said_that_code_is_needed(tiny_encoder, store, tmp_path) -> None:
    folder = make(tiny_encoder, store).save(tmp_path / "encoder", query_length=6, passage_length=20)
    with pytest.raises(ValueError, match=r"pass the argument `trust_remote_code=True`"):
        SentenceTransformer(str(folder), device="cpu")
    said = (folder / "README.md").read_text()
    assert 'SentenceTransformer("this folder", trust_remote_code=True)' in said and f"by `{FILE}`" in said
    assert not (folder / "config.json").exists(), "whatever looks for an encoder there must not find one without the context"
    with pytest.raises(OSError):
        BertModel.from_pretrained(folder)


def test_the_file_is_not_run(tiny_encoder, store, tmp_path) -> None:
    encoder = make(tiny_encoder, store)
    folder = encoder.save(tmp_path / "encoder", query_length=6, passage_length=20)
    with open(folder / FILE, "a") as file:
        file.write("\nraise SystemExit('run')\n")
    with pytest.raises(InputError, match=rf"damaged: {FILE}"):
        BiEncoder.load(folder)
    (folder / "manifest.json").unlink()
    assert BiEncoder.load(folder).fingerprint() == encoder.fingerprint()


def test_saving_twice_writes_the_same_bytes(tiny_encoder, store, tmp_path) -> None:
    encoder = make(tiny_encoder, store)
    manifests = [read_json(encoder.save(tmp_path / name, query_length=6, passage_length=20) / "manifest.json") for name in "ab"]
    assert manifests[0] == manifests[1] and {"second_stage/context.safetensors", FILE} < manifests[0].keys()


def test_an_encoder_without_its_context_is_not_saved(tiny_encoder, store, tmp_path) -> None:
    encoder = make(tiny_encoder, store).train()
    with pytest.raises(InputError, match="is saved with it; bind it to one before"):
        encoder.save(tmp_path / "encoder", query_length=6, passage_length=20)
    assert not (tmp_path / "encoder").exists()


def change_record(folder: Path, **values: object) -> None:
    record = read_json(folder / "armlib.json")
    write_json(folder / "armlib.json", record | {"context": record["context"] | values})


def change_tensors(folder: Path, **values: torch.Tensor | None) -> None:
    file = folder / "second_stage" / "context.safetensors"
    save_file({name: value for name, value in (load_file(file) | values).items() if value is not None}, file)


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda folder: (folder / "armlib.json").unlink(), "does not say which context its encoder reads; expected armlib.json"),
        (lambda folder: change_record(folder, passages=None), "does not say which context"),
        (
            lambda folder: change_record(folder, passages=["a", "b"]),
            rf"cannot be used \(it holds bias, null, {PROJECTION} for 2 passages\)",
        ),
        (lambda folder: change_record(folder, dropout="much"), "does not say which context"),
        (lambda folder: (folder / "second_stage" / "context.safetensors").write_bytes(b"no"), "cannot be used"),
        (lambda folder: change_tensors(folder, bias=None), rf"cannot be used \(it holds null, {PROJECTION} for 7 passages\)"),
        (lambda folder: change_tensors(folder, vectors=None), r"cannot be used \('vectors'\)"),
        (lambda folder: change_tensors(folder, vectors=torch.zeros(7, 31)), r"its vectors are of shape \(7, 31\)"),
        (lambda folder: change_tensors(folder, more=torch.zeros(1)), f"it holds bias, more, null, {PROJECTION} for 7 passages"),
        (lambda folder: (folder / "first_stage" / "model.safetensors").unlink(), "first_stage cannot be loaded as an encoder"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(tiny_encoder, store, tmp_path, change, said: str) -> None:
    folder = make(tiny_encoder, store).save(tmp_path / "encoder", query_length=6, passage_length=20)
    (folder / "manifest.json").unlink()
    change(folder)
    with pytest.raises(InputError, match=said):
        BiEncoder.load(folder)


def test_a_context_is_the_same_for_whoever_asks(tiny_encoder, store, texts) -> None:
    one, again, other = collection_context(store, 7, 40), collection_context(store, 7, 40), collection_context(store, 7, 40, seed=1)
    assert one.ids == again.ids and one.key == again.key and len(set(one.ids)) == 7
    assert other.ids != one.ids and len({one.key, other.key, collection_context(store, 7, 39).key}) == 3
    known = dict(texts)
    for name, ids, mask in zip(*one, strict=True):
        found = tiny_encoder.tokenizer(known[name], truncation=True, max_length=40)["input_ids"]
        assert ids[: int(mask.sum())].tolist() == found and not mask[len(found) :].any()
    assert isinstance(one, Context)
    with pytest.raises(InputError, match=rf"passages: a context of 5000 passages cannot be chosen among {len(store)}"):
        collection_context(store, 5000, 40)
