"""ONNX: the same embeddings in ONNX Runtime, of any batch and length, and nothing of this machine in the file."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from armlib.demo.lsa import initial_backbone
from armlib.demo.word_vectors import Semantics, latent_semantics
from armlib.encoder import onnx_export
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.onnx_export import INPUTS, MODEL, OUTPUTS, write_onnx
from armlib.errors import InputError

needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="onnx, onnxscript and onnxruntime (the extra onnx) are not installed",
)
TEXTS = ["return the sorted unique elements of an array", "compute the mean", "margin between relevance " * 15, "an"]


@pytest.fixture(scope="module")
def semantics() -> Semantics:
    words = "return compute the sorted unique elements of an array mean margin between relevance positive negative and"
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.permutation(words.split())[:9]) for _ in range(300)]
    return latent_semantics(texts, dim=16, vocabulary=300)


def make(semantics: Semantics, architecture: str, pooling: str, **options) -> BiEncoder:
    """An encoder of two layers with weights at random."""
    if architecture == "bert":
        shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        backbone = BertModel(BertConfig(vocab_size=len(semantics.tokenizer), **shape), add_pooling_layer=False)
    else:
        backbone = initial_backbone(semantics, architecture, layers=2, heads=2, feed_forward=32, seed=1)
    encoder = BiEncoder(backbone, semantics.tokenizer, pooling, **options)
    torch.manual_seed(0)
    for parameter in encoder.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return encoder.eval()


def session(path: Path) -> Callable[[torch.Tensor, torch.Tensor], dict[str, np.ndarray]]:
    runtime = importlib.import_module("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])

    def outputs(*given: torch.Tensor) -> dict[str, np.ndarray]:
        inputs = dict(zip(INPUTS, (each.numpy() for each in given), strict=True))
        return dict(zip(OUTPUTS, runtime.run(list(OUTPUTS), inputs), strict=True))

    return outputs


def assert_equal(encoder: BiEncoder, path: Path, longest: int = 60) -> None:
    """The embeddings of batches of several sizes, padded and not."""
    outputs = session(path)
    for texts, length in ((TEXTS, longest), (TEXTS[:1], 5), (TEXTS[2:3], longest), (TEXTS * 3, 9)):
        batch = encoder.tokenizer(texts, padding=True, truncation=True, max_length=length, return_tensors="pt")
        given = batch["input_ids"], batch["attention_mask"]
        with torch.inference_mode():
            expected = torch.nn.functional.normalize(encoder(*given), dim=-1).numpy()
        found = outputs(*given)
        np.testing.assert_allclose(found["sentence_embedding"], expected, atol=1e-5)
        assert found["last_hidden_state"].shape[:2] == given[0].shape


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["cls", "mean", "last+linear"])
@pytest.mark.parametrize("architecture", ["bert", "distilbert", "roberta", "mpnet"])
def test_embeddings_are_equal(semantics: Semantics, tmp_path: Path, architecture: str, pooling: str) -> None:
    encoder = make(semantics, architecture, pooling, truncate_dim=12 if pooling.startswith("last") else None).train()
    before = encoder.fingerprint(), encoder.cls_only, type(encoder.backbone)
    path = write_onnx(encoder, tmp_path)
    assert path == tmp_path / MODEL and (encoder.fingerprint(), encoder.cls_only, type(encoder.backbone)) == before
    assert encoder.training and encoder.cls_only == (pooling == "cls")
    assert_equal(encoder.eval(), path)


@needs_onnx
@pytest.mark.slow
def test_real_weights_give_equal_embeddings(minilm: Path, tmp_path: Path) -> None:
    encoder = BiEncoder.load(minilm)
    assert_equal(encoder, write_onnx(encoder, tmp_path), longest=200)


@needs_onnx
@pytest.mark.slow
def test_token_vectors_are_those_that_others_pool(semantics: Semantics, tmp_path: Path) -> None:
    """sentence-transformers' backend takes ``last_hidden_state`` and pools it by the folder's own modules."""
    encoder = make(semantics, "distilbert", "cls")
    batch = encoder.tokenizer(TEXTS, padding=True, return_tensors="pt")
    hidden = session(write_onnx(encoder, tmp_path))(batch["input_ids"], batch["attention_mask"])["last_hidden_state"]
    stock = make(semantics, "distilbert", "cls", cls_only=False).backbone
    with torch.inference_mode():
        expected = stock(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    seen = batch["attention_mask"].bool()
    np.testing.assert_allclose(hidden[seen], expected[seen].numpy(), atol=1e-5)


@needs_onnx
@pytest.mark.slow
def test_the_file_is_the_same_each_time_and_names_no_source(semantics: Semantics, tmp_path: Path) -> None:
    files = [write_onnx(make(semantics, "distilbert", "mean"), tmp_path / name).read_bytes() for name in "ab"]
    assert files[0] == files[1]
    assert not [name for name in (b".py", str(Path.cwd()).encode(), b"site-packages") if name in files[0]]
    model = importlib.import_module("onnx").load_from_string(files[0])
    named = {
        each.name: [size.dim_param or size.dim_value for size in each.type.tensor_type.shape.dim] for each in model.graph.input
    }
    assert named == dict.fromkeys(INPUTS, ["batch", "length"])


@needs_onnx
@pytest.mark.slow
def test_weights_that_are_too_many_for_a_file_lie_beside_it(semantics: Semantics, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(onnx_export, "LARGEST", 1000)
    encoder = make(semantics, "distilbert", "mean")
    path = write_onnx(encoder, tmp_path)
    assert (tmp_path / "onnx" / "model.onnx.data").stat().st_size > 1000
    assert_equal(encoder, path)


@needs_onnx
@pytest.mark.slow
def test_other_embeddings_are_refused(semantics: Semantics, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(onnx_export, "pooled", lambda hidden, mask, pooling: hidden[:, -1])
    with pytest.raises(InputError, match="DistilBertModel as ONNX gives embeddings that differ by .*; expected at most 1e-05"):
        write_onnx(make(semantics, "distilbert", "mean"), tmp_path)


@needs_onnx
@pytest.mark.slow
def test_what_torch_cannot_export_is_one_sentence(semantics: Semantics, tmp_path: Path, monkeypatch) -> None:
    def failing(*_, **options) -> None:
        raise RuntimeError("no such operator\nand much more")

    monkeypatch.setattr(torch.onnx, "export", failing)
    encoder = make(semantics, "distilbert", "cls")
    with pytest.raises(InputError, match=r"^torch cannot export DistilBertModel as ONNX \(no such operator\); expected"):
        write_onnx(encoder, tmp_path)
    assert encoder.cls_only and "FirstToken" in type(encoder.backbone.transformer.layer[-1]).__name__


def test_a_context_is_refused(tiny_encoder: BiEncoder, tmp_path: Path) -> None:
    tiny_encoder.add_context(4)
    with pytest.raises(InputError, match="reads a context is not exported as ONNX; expected a plain encoder"):
        write_onnx(tiny_encoder, tmp_path)
    assert not list(tmp_path.iterdir())
