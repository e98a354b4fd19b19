"""From a folder with any encoder to a trained one that is measured: by the command line, in the form that others read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    MistralConfig,
    MistralModel,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from armlib.cli import main
from armlib.encoder.bi_encoder import BiEncoder
from armlib.experiments.store import RunStore
from armlib.retrieval.encoding import encode_texts

SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
SPECIAL = {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<cls>", "sep_token": "<sep>"}


def words_of(texts: list[tuple[str, str]]) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words that adds no special tokens."""
    words = sorted({word for _, text in texts for word in text.split()})[:2000]
    vocabulary = {word: number for number, word in enumerate([*SPECIAL.values(), *words])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=8192, **SPECIAL)


def modernbert(size: int) -> ModernBertModel:
    special = {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
    return ModernBertModel(ModernBertConfig(vocab_size=size, max_position_embeddings=8192, local_attention=8, **SHAPE, **special))


def t5(size: int) -> T5EncoderModel:
    return T5EncoderModel(T5Config(vocab_size=size, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2, pad_token_id=0))


def mistral(size: int) -> MistralModel:
    special = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    return MistralModel(MistralConfig(vocab_size=size, max_position_embeddings=4096, num_key_value_heads=1, **SHAPE, **special))


@pytest.mark.slow
@pytest.mark.parametrize(("make", "pooling"), [(modernbert, "mean"), (t5, "mean"), (mistral, "last")])
def test_it_is_trained_and_measured_with_passages_beyond_512_tokens(
    beir_folder: Path, texts: list[tuple[str, str]], tmp_path: Path, capsys, make, pooling: str
) -> None:
    tokenizer = words_of(texts)
    make(len(tokenizer)).save_pretrained(tmp_path / "encoder")
    tokenizer.save_pretrained(tmp_path / "encoder")
    values = {"collection": beir_folder, "encoder": tmp_path / "encoder", "pooling": pooling, "passage-length": 900, "steps": 4}
    values |= {
        "query-length": 600,
        "batch-size": 8,
        "validate-every": 2,
        "validation-queries": 10,
        "evaluation": f"{beir_folder}/test",
    }
    options = [part for name, value in values.items() for part in (f"--{name}", str(value))]
    store = ["--runs", str(tmp_path / "runs"), "--device", "cpu", "--no-compared"]
    assert main(["train", *options, *store]) in (None, 0), capsys.readouterr().err
    (result,) = RunStore(tmp_path / "runs").finished()
    assert result.measures.value.between(0, 1).all() and len(result.trace) == 4

    encoder, theirs = BiEncoder.load(result.folder / "encoder"), SentenceTransformer(str(result.folder / "encoder"), device="cpu")
    sample = [" ".join(text for _, text in texts)[: 40 * length] for length in (1, 20, 150, 400)]
    lengths = encoder.tokenizer(sample)["input_ids"]
    assert len(lengths[0]) < 20 and len(lengths[-1]) > 900
    np.testing.assert_allclose(encode_texts(encoder, sample, 900), theirs.encode(sample), atol=1e-5)

    measured = tmp_path / "measured"
    assert main(["evaluate", result.key, "--output", str(measured), *store]) in (None, 0), capsys.readouterr().err
    again = pd.read_csv(measured / "measures.csv").sort_values(["mode", "measure"])
    np.testing.assert_allclose(again["value"], result.measures.sort_values(["mode", "measure"])["value"], atol=1e-6)
