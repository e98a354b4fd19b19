"""Any cross-encoder with one logit scores as sentence-transformers has it; others are refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder
from transformers import T5Config, T5ForConditionalGeneration

from armlib.data.beir import BeirFolder
from armlib.errors import InputError
from armlib.teachers.cross_encoder import CrossEncoderTeacher
from armlib.teachers.registry import parse_teacher


@pytest.fixture
def pairs(texts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Pairs of very different lengths, some beyond the model's positions."""
    return [(f"what is {name}", text * (1 + 5 * (number % 17 == 0))) for number, (name, text) in enumerate(texts[:120])] + [
        ("", "")
    ]


def scores(teacher: CrossEncoderTeacher, pairs: list[tuple[str, str]], beir_folder: Path) -> np.ndarray:
    collection = BeirFolder(beir_folder, None)
    teacher.prepare(collection)
    return teacher.scores(collection, *zip(*pairs, strict=True))


@pytest.mark.parametrize("max_length", [512, 40])
def test_scores_are_the_logits_of_sentence_transformers(
    cross_encoder_folder: Path, beir_folder: Path, pairs: list[tuple[str, str]], max_length: int
) -> None:
    theirs = CrossEncoder(
        str(cross_encoder_folder), max_length=min(max_length, 128), device="cpu", activation_fn=torch.nn.Identity()
    )
    expected = theirs.predict(pairs, convert_to_numpy=True)
    assert expected.std() > 0.05
    teacher = CrossEncoderTeacher(str(cross_encoder_folder), max_length)
    np.testing.assert_allclose(scores(teacher, pairs, beir_folder), expected, atol=1e-5)
    assert teacher.operations > 0 and teacher.cost["parameters"] == sum(p.numel() for p in theirs.parameters())


def test_padding_changes_no_score(cross_encoder_folder: Path, beir_folder: Path, pairs: list[tuple[str, str]]) -> None:
    teacher = CrossEncoderTeacher(str(cross_encoder_folder))
    together = scores(teacher, pairs, beir_folder)
    alone = np.concatenate([scores(teacher, [pair], beir_folder) for pair in pairs])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_the_name_is_what_it_is_read_from(cross_encoder_folder: Path, beir_folder: Path) -> None:
    text = f"cross-encoder({str(cross_encoder_folder)!r}, max_length=64)"
    assert str(parse_teacher(text)) == text
    with pytest.raises(InputError, match="max_length of cross-encoder must be a whole number of at least 8"):
        parse_teacher("cross-encoder('a', max_length=0)")
    with pytest.raises(InputError, match="not 64.5"):
        parse_teacher("cross-encoder('a', max_length=64.5)")
    with pytest.raises(InputError, match="named by a folder or a name on the hub"):
        parse_teacher("cross-encoder(3)")


def test_the_fingerprint_is_that_of_weights_settings_and_vocabulary(
    cross_encoder_folder: Path, beir_folder: Path, tmp_path: Path
) -> None:
    copy, collection = shutil.copytree(cross_encoder_folder, tmp_path / "copy"), BeirFolder(beir_folder, None)
    one = CrossEncoderTeacher(str(cross_encoder_folder)).fingerprint(collection)
    (copy / "README.md").write_text("a model")
    assert CrossEncoderTeacher(str(copy)).fingerprint(collection) == one
    assert CrossEncoderTeacher(str(copy), 64).fingerprint(collection) != one
    with open(copy / "model.safetensors", "r+b") as weights:
        weights.seek(-4, 2)
        weights.write(bytes(4))
    assert CrossEncoderTeacher(str(copy)).fingerprint(collection) != one


def changed_settings(folder: Path, target: Path, **values: object) -> Path:
    shutil.copytree(folder, target)
    settings = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(settings | values))
    return target


def test_models_that_give_no_single_score_are_refused(
    cross_encoder_folder: Path, two_logits_folder: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    T5ForConditionalGeneration(T5Config(vocab_size=50, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)).save_pretrained(
        tmp_path / "t5"
    )
    headless = changed_settings(
        tiny_folder, tmp_path / "headless", architectures=["DistilBertForSequenceClassification"], num_labels=1
    )
    for name in ("manifest.json", "modules.json"):
        (headless / name).unlink()
    layers = shutil.copytree(cross_encoder_folder, tmp_path / "layers")
    (layers / "modules.json").write_text('[{"type": "a"}, {"type": "b"}]')
    code = changed_settings(cross_encoder_folder, tmp_path / "code", model_type="own", auto_map={"AutoConfig": "code.Config"})
    (code / "code.py").write_text("raise SystemExit('ran')")
    empty = shutil.copytree(cross_encoder_folder, tmp_path / "empty")
    settings = json.loads((empty / "tokenizer_config.json").read_text())
    (empty / "tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": -1}))
    for folder, said in {
        empty: "cuts texts at -1 tokens",
        two_logits_folder: "has 2 logits, and nothing says which of them is the score",
        tmp_path / "t5": "is a sequence-to-sequence model .T5ForConditionalGeneration",
        tiny_folder: "is DistilBertModel and scores no pairs",
        headless: "lacks [0-9]+ weights of DistilBertForSequenceClassification",
        layers: "has layers behind its classifier",
        code: "cannot be loaded",
        tmp_path / "nothing": "cannot be loaded",
    }.items():
        with pytest.raises(InputError, match=said) as refused:
            CrossEncoderTeacher(str(folder)).prepare(None)
        assert "\n" not in str(refused.value) and "expected" in str(refused.value)
