"""An encoder's folder with any of its JSON files changed: the embeddings are sentence-transformers', or it is refused."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from armlib.encoder.bi_encoder import BiEncoder
from armlib.retrieval.encoding import encode_texts
from fuzzing import mutated, tried_on

TEXTS = ["Return the Sorted unique elements of an array", "sum", "match the string and replace each pattern with another " * 9]
FILES = (
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "tokenizer_config.json",
    "config.json",
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, 2, 7, 32, -1, 0.5, 10**12, "", "x", "cls", "mean", "max", "lasttoken", "left", "right", "relu"),
    *("bert", "distilbert", "Query: ", [], {}, ["cls", "mean"], {"query": "Q: ", "document": "Doc: "}, {"a": 1}),
    *("sentence_transformers.models.Normalize", "sentence_transformers.models.Pooling", "other.Module", "dot", "1_Pooling"),
)
NEW = ("truncate_dim", "do_lower_case", "prompts", "default_prompt_name", "include_prompt", "query_length", "max_seq_length")


def changed(value: Any, data: st.DataObject) -> Any:
    """A JSON value with one of its parts, at any depth, replaced, removed or added."""
    if isinstance(value, dict | list) and value and data.draw(st.booleans()):
        inner = data.draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
        value[inner] = changed(value[inner], data)
        return value
    if isinstance(value, dict) and data.draw(st.integers(0, 2)):
        name = data.draw(st.sampled_from((*sorted(value), *NEW)))
        if data.draw(st.booleans()):
            value.pop(name, None)
        else:
            value[name] = data.draw(st.sampled_from(VALUES))
        return value
    return data.draw(st.sampled_from(VALUES))


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


@pytest.fixture(scope="module", autouse=True)
def quiet() -> None:
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


_FOLDER: list[Path] = []


@pytest.fixture(scope="module", autouse=True)
def original(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The folder of `tiny_encoder` as sentence-transformers wrote it, without armlib's seal."""
    folder = tmp_path_factory.mktemp("any") / "folder"
    shutil.copytree(tiny_folder, folder)
    for name in ("manifest.json", "armlib.json", "README.md"):
        (folder / name).unlink()
    settings = folder / "config_sentence_transformers.json"
    prompts = {"query": "Return the: ", "document": "Doc: "}
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"prompts": prompts}))
    _FOLDER[:] = [folder]


@pytest.mark.slow
@tried_on("encoder folders", st.sampled_from(FILES), st.data())
def test_embeddings_are_what_the_folder_says(tmp_path: Path, name: str, data: st.DataObject) -> None:
    file = _FOLDER[0] / name
    before = file.read_bytes()
    try:
        if data.draw(st.integers(0, 3)):
            file.write_text(json.dumps(changed(json.loads(before), data)))
        else:
            file.write_bytes(data.draw(mutated(before)))
        encoder = BiEncoder.load(_FOLDER[0])
        try:
            model = SentenceTransformer(str(_FOLDER[0]), device="cpu")
        except Exception:  # it is stricter with values that it does not know
            return
        longest = encoder.max_length
        for kind, encode in {"query": model.encode_query, "passage": model.encode_document}.items():
            texts = [getattr(encoder.prompts, kind) + text for text in TEXTS]
            length = min(encoder.lengths[f"{kind}_length"] or 512, longest or 512)
            encoder.check_lengths(**{f"{kind}_length": length})
            np.testing.assert_allclose(encode_texts(encoder, texts, length), unit(encode(TEXTS)), atol=1e-5)
    finally:
        file.write_bytes(before)
