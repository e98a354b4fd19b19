"""What a sentence-transformers folder says: everything that changes embeddings is kept as it says, or refused by name."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Dropout, Pooling
from transformers import AutoTokenizer

from armlib.demo.lsa import initial_backbone
from armlib.demo.word_vectors import Semantics, latent_semantics
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.layout import Prompts
from armlib.errors import InputError
from armlib.retrieval.encoding import encode_texts

TEXTS = ["return the sorted unique elements of an array", "compute the mean", "margin", "the margin between the relevance " * 9]
IDENTITY = torch.nn.Identity()


@pytest.fixture(scope="module")
def semantics() -> Semantics:
    words = (
        "query passage return compute the sorted unique elements of an array mean margin between relevance positive negative and"
    )
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.permutation(words.split())[:9]) for _ in range(300)]
    return latent_semantics(texts, dim=16, vocabulary=300)


@pytest.fixture
def plain(semantics: Semantics, tmp_path: Path) -> Path:
    """A Hugging Face encoder with its tokenizer."""
    folder = tmp_path / "plain"
    backbone = initial_backbone(semantics, "distilbert", heads=2, feed_forward=8)
    for parameter in backbone.parameters():
        parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    backbone.save_pretrained(folder)
    semantics.tokenizer.save_pretrained(folder)
    return folder


def write(plain: Path, *modules: torch.nn.Module, name: str = "written", transformer: Any = None, **settings: object) -> Path:
    """A sentence-transformers folder of these modules behind the encoder, as that library writes it."""
    model = SentenceTransformer(modules=[Transformer(str(plain), **(transformer or {})), *modules], device="cpu", **settings)
    folder = plain.parent / name
    model.save(str(folder), create_model_card=False)
    return folder


def edit(file: Path, change: Callable[[Any], Any]) -> None:
    """Change a JSON file."""
    file.write_text(json.dumps(change(json.loads(file.read_text()))))


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def assert_equal(encoder: BiEncoder, folder: Path) -> None:
    """The encoder gives what sentence-transformers gives for queries and for passages."""
    model = SentenceTransformer(str(folder), device="cpu")
    longest = encoder.max_length or 512
    ours = encode_texts(encoder, [encoder.prompts.query + text for text in TEXTS], encoder.lengths["query_length"] or longest)
    np.testing.assert_allclose(ours, unit(model.encode_query(TEXTS)), atol=1e-5)
    ours = encode_texts(encoder, [encoder.prompts.passage + text for text in TEXTS], encoder.lengths["passage_length"] or longest)
    np.testing.assert_allclose(ours, unit(model.encode_document(TEXTS)), atol=1e-5)


MODULES: dict[str, Callable[[], tuple[torch.nn.Module, ...]]] = {
    "cls": lambda: (Pooling(16, "cls"),),
    "mean": lambda: (Pooling(16, "mean"), Normalize()),
    "last": lambda: (Pooling(16, "lasttoken"), Normalize()),
    "cls+linear": lambda: (Pooling(16, "cls"), Dense(16, 5, activation_function=IDENTITY), Normalize()),
    "mean+linear": lambda: (Pooling(16, "mean"), Dense(16, 24, bias=False, activation_function=IDENTITY)),
    "last+linear": lambda: (Pooling(16, ("lasttoken",)), Normalize(), Dense(16, 5, bias=False, activation_function=IDENTITY)),
}


@pytest.mark.parametrize("pooling", MODULES)
def test_modules_are_read_and_written(plain: Path, tmp_path: Path, pooling: str) -> None:
    folder = write(plain, *MODULES[pooling](), transformer={"max_seq_length": 20})
    encoder = BiEncoder.load(folder)
    assert encoder.pooling == pooling and encoder.lengths == {"query_length": 20, "passage_length": 20}
    assert_equal(encoder, folder)
    again = BiEncoder.load(encoder.save(tmp_path / "again", query_length=7, passage_length=20))
    assert again.fingerprint() == encoder.fingerprint() and again.lengths == {"query_length": 7, "passage_length": 20}
    assert_equal(again, tmp_path / "again")


def test_lengths_of_queries_and_passages_are_read(plain: Path) -> None:
    folder = write(plain, Pooling(16, "mean"), transformer={"query_length": 5, "max_seq_length": 12})
    encoder = BiEncoder.load(folder)
    assert encoder.lengths == {"query_length": 5, "passage_length": 12}
    assert_equal(encoder, folder)


@pytest.mark.parametrize("name", ["document", "passage", "corpus"])
def test_prompts_are_read_used_and_written(plain: Path, tmp_path: Path, name: str) -> None:
    folder = write(plain, Pooling(16, "mean"), prompts={"query": "query: ", name: "passage: "})
    encoder = BiEncoder.load(folder)
    assert encoder.prompts == Prompts("query: ", "passage: ")
    model = SentenceTransformer(str(folder), device="cpu")
    expected = model.encode(TEXTS, prompt_name=name, normalize_embeddings=True)
    np.testing.assert_allclose(encode_texts(encoder, [f"passage: {text}" for text in TEXTS], 512), expected, atol=1e-5)
    saved = encoder.save(tmp_path / "again", query_length=30, passage_length=200)
    again = BiEncoder.load(saved)
    assert again.prompts == encoder.prompts
    assert_equal(again, saved)
    again.set_prompts(passage="title: ")
    assert again.prompts == Prompts("query: ", "title: ")


def test_prompts_for_something_else_are_warned_of(plain: Path) -> None:
    folder = write(plain, Pooling(16, "mean"), prompts={"search_query": "search_query: ", "clustering": "clustering: "})
    with pytest.warns(UserWarning, match="belong neither to queries nor to passages.*'search_query: '.*query_prompt and") as caught:
        assert BiEncoder.load(folder).prompts == Prompts()
    assert caught[0].filename == __file__


def test_other_similarities_are_warned_of(plain: Path) -> None:
    folder = write(plain, Pooling(16, "cls"), similarity_fn_name="dot")
    with pytest.warns(UserWarning, match="made for dot similarity; cosine is used here") as caught:
        BiEncoder.load(folder)
    assert caught[0].filename == __file__


def test_dimensions_are_kept(plain: Path, tmp_path: Path) -> None:
    folder = write(plain, Pooling(16, "mean"), Normalize(), truncate_dim=6)
    encoder = BiEncoder.load(folder)
    assert (encoder.dim, encoder.truncate_dim) == (6, 6)
    assert_equal(encoder, folder)
    again = BiEncoder.load(encoder.save(tmp_path / "again", query_length=30, passage_length=200))
    assert again.dim == 6 and again.fingerprint() == encoder.fingerprint()
    assert_equal(again, tmp_path / "again")
    edit(folder / "config_sentence_transformers.json", lambda found: found | {"truncate_dim": None})
    assert BiEncoder.load(folder).fingerprint() != encoder.fingerprint()


def test_lower_case_is_kept(plain: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(plain)
    tokenizer.backend_tokenizer.normalizer = None  # LSA's own lower-cases already
    tokenizer.save_pretrained(plain)
    folder = write(plain, Pooling(16, "mean"))
    cased = BiEncoder.load(folder)
    edit(folder / "sentence_bert_config.json", lambda found: found | {"do_lower_case": True})
    lower = BiEncoder.load(folder)
    model = SentenceTransformer(str(folder), device="cpu")
    shouted = [text.upper() for text in TEXTS]
    np.testing.assert_allclose(encode_texts(lower, shouted, 512), model.encode(shouted, normalize_embeddings=True), atol=1e-5)
    assert np.abs(encode_texts(cased, shouted, 512) - encode_texts(lower, shouted, 512)).max() > 0.01


REFUSED_MODULES: dict[str, Callable[[], tuple[torch.nn.Module, ...]]] = {
    "a Dense module with activation Tanh": lambda: (Pooling(16, "cls"), Dense(16, 16)),
    "a Dense module with a residual": lambda: (Pooling(16, "cls"), Dense(16, 16, activation_function=IDENTITY, use_residual=True)),
    "the pooling max": lambda: (Pooling(16, "max"),),
    "the pooling weightedmean": lambda: (Pooling(16, "weightedmean"),),
    "the pooling cls and mean": lambda: (Pooling(16, ("cls", "mean")),),
    "a pooling without the tokens of the prompt": lambda: (Pooling(16, "mean", include_prompt=False),),
    "the modules Transformer, Pooling, Dropout": lambda: (Pooling(16, "cls"), Dropout(0.1)),
    "the modules Transformer, Pooling, Dense, Dense": lambda: (
        Pooling(16, "cls"),
        *(Dense(16, 16, activation_function=IDENTITY) for _ in range(2)),
    ),
    "a Normalize module in front of a Dense one": lambda: (Pooling(16), Normalize(), Dense(16, 16, activation_function=IDENTITY)),
}


@pytest.mark.parametrize("words", REFUSED_MODULES)
def test_other_modules_are_refused(plain: Path, words: str) -> None:
    with pytest.raises(InputError, match=f"has {words}.*, which armlib cannot represent; expected Transformer"):
        BiEncoder.load(write(plain, *REFUSED_MODULES[words]()))


def listed(change: Callable[[list], Any]) -> tuple[str, Callable[[Any], Any]]:
    return "modules.json", lambda found: change(found) or found


def set_to(file: str, **values: Any) -> tuple[str, Callable[[Any], Any]]:
    return file, lambda found: found | values


TRANSFORMER, MODEL = "sentence_bert_config.json", "config_sentence_transformers.json"
REFUSED_SETTINGS = {
    "the modules mine.Transformer, Pooling": listed(lambda found: found[0].update(type="mine.Transformer")),
    "the modules os.system": listed(lambda found: found.insert(0, {"idx": 9, "name": "x", "path": "", "type": "os.system"})),
    r"the module Pooling with the settings \['task'\]": listed(lambda found: found[1].update(kwargs=["task"])),
    "transformer_task fill-mask": set_to(TRANSFORMER, transformer_task="fill-mask"),
    "processing_kwargs": set_to(TRANSFORMER, processing_kwargs={"text": {"padding": "max_length"}}),
    "config_kwargs": set_to(TRANSFORMER, config_args={"use_bidirectional_attention": True}),
    "processor_kwargs": set_to(TRANSFORMER, tokenizer_args={"truncation_side": "left"}),
    "model_kwargs": set_to(TRANSFORMER, model_args={"torch_dtype": "float16"}),
    "query_expansion": set_to(TRANSFORMER, query_expansion={"length": 32}),
    "something_new": set_to(TRANSFORMER, something_new=1),
    "modality_config": set_to(TRANSFORMER, modality_config={"message": {"method": "forward", "method_output_name": "x"}}),
    "a model of type CrossEncoder": set_to(MODEL, model_type="CrossEncoder"),
}


@pytest.mark.parametrize("words", REFUSED_SETTINGS)
def test_settings_that_change_embeddings_are_refused(plain: Path, words: str) -> None:
    folder = write(plain, Pooling(16, "mean"))
    file, change = REFUSED_SETTINGS[words]
    edit(folder / file, change)
    with pytest.raises(InputError, match=f"has {words}.*which armlib cannot represent"):
        BiEncoder.load(folder)


UNREADABLE = {
    "max_seq_length is 'many'": set_to(TRANSFORMER, max_seq_length="many"),
    "truncate_dim is -3": set_to(MODEL, truncate_dim=-3),
    "cannot be loaded as an encoder": ("modules.json", lambda found: {"not": "a list"}),
    "cannot be loaded as an encoder .*": ("modules.json", lambda found: found[:1] + [{"idx": 1}]),
    "nothing in 1_Pooling/config.json says how it pools": ("1_Pooling/config.json", lambda found: {}),
    "cannot be loaded as an encoder ..*": ("config.json", lambda found: [found]),
    "lists a Pooling module": ("1_Pooling/config.json", lambda found: {"embedding_dimension": 16}),
}


@pytest.mark.parametrize("words", UNREADABLE)
def test_settings_that_make_no_sense_are_refused(plain: Path, words: str) -> None:
    folder = write(plain, Pooling(16, "mean"))
    file, change = UNREADABLE[words]
    edit(folder / file, change)
    with pytest.raises(InputError, match=words):
        BiEncoder.load(folder)


@pytest.mark.parametrize("file", ["modules.json", "config.json", "tokenizer.json", "1_Pooling/config.json", TRANSFORMER, MODEL])
@pytest.mark.parametrize("contents", [b"", b"\xff\xfe\x00", b"[" * 5000, b"{", b"null"])
def test_damaged_files_are_one_sentence(plain: Path, file: str, contents: bytes) -> None:
    folder = write(plain, Pooling(16, "mean"))
    (folder / file).write_bytes(contents)
    if (file, contents) == (TRANSFORMER, b"null"):  # as good as no file, which says nothing
        return assert_equal(BiEncoder.load(folder), folder)
    with pytest.raises(InputError) as caught:
        BiEncoder.load(folder)
    assert str(folder) in str(caught.value) and len(str(caught.value)) < 1200 and "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["1_Pooling/config.json", "config.json", "tokenizer.json", "model.safetensors"])
def test_missing_files_are_one_sentence(plain: Path, file: str) -> None:
    folder = write(plain, Pooling(16, "mean"))
    (folder / file).unlink()
    with pytest.raises(InputError, match=str(folder)):
        BiEncoder.load(folder)


def test_a_tokenizer_that_is_another_ones_is_refused(plain: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(plain)
    tokenizer.add_tokens(["one more"])
    tokenizer.save_pretrained(plain)
    with pytest.raises(
        InputError, match=r"has token ids up to \d+, the encoder embeddings of \d+ tokens; expected a tokenizer that"
    ):
        BiEncoder.load(plain, "mean")


def test_a_tokenizer_that_cuts_the_left_is_refused(plain: Path) -> None:
    edit(plain / "tokenizer_config.json", lambda found: found | {"truncation_side": "left"})
    with pytest.raises(InputError, match="cuts texts at the left; expected one that cuts at the right"):
        BiEncoder.load(plain, "mean")


@pytest.mark.parametrize("length", [-1, 0])
def test_a_tokenizer_that_leaves_no_token_is_refused(plain: Path, length: int) -> None:
    edit(plain / "tokenizer_config.json", lambda found: found | {"model_max_length": length})
    with pytest.raises(InputError, match=rf"cuts texts at {length} tokens \(model_max_length\); expected at least 1"):
        BiEncoder.load(plain, "mean")


class Touch:
    """Leaves a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return Path.touch, (self.file,)


def test_nothing_that_comes_with_an_encoder_is_run(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = tmp_path / "ran"
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    (plain / "evil.py").write_text(f"import pathlib\npathlib.Path({str(ran)!r}).touch()\nclass Model: ...\nclass Config: ...\n")
    weights = (plain / "model.safetensors").read_bytes()
    configuration = (plain / "config.json").read_text()
    calls = {"auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}}

    edit(plain / "config.json", lambda found: found | calls | {"model_type": "mine"})  # a kind that only the folder knows
    with pytest.raises(InputError, match="cannot be loaded as an encoder"):
        BiEncoder.load(plain)
    (plain / "config.json").write_text(configuration)

    edit(plain / "config.json", lambda found: found | {"_attn_implementation": "somebody/attention"})
    with pytest.raises(InputError, match="code from the hub"):
        BiEncoder.load(plain)
    (plain / "config.json").write_text(configuration)

    (plain / "model.safetensors").unlink()
    (plain / "pytorch_model.bin").write_bytes(pickle.dumps({"weights": Touch(ran)}))
    with pytest.raises(InputError, match="cannot be loaded as an encoder"):
        BiEncoder.load(plain)
    torch.save({"weights": Touch(ran)}, plain / "pytorch_model.bin")
    with pytest.raises(InputError, match="cannot be loaded as an encoder"):
        BiEncoder.load(plain)
    (plain / "pytorch_model.bin").unlink()

    (plain.parent / "elsewhere.safetensors").write_bytes(weights)
    index = {"metadata": {}, "weight_map": {"embeddings.word_embeddings.weight": "../elsewhere.safetensors"}}
    (plain / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="names weights outside its folder"):
        BiEncoder.load(plain)
    (plain / "model.safetensors.index.json").unlink()

    (plain / "model.safetensors").write_bytes(weights)
    (plain / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="holds an adapter"):
        BiEncoder.load(plain)
    (plain / "adapter_config.json").unlink()
    assert BiEncoder.load(plain).pooling == "cls" and not ran.exists()
