"""Pooling, saving and loading of bi-encoders, against sentence-transformers and against what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from armlib.demo.lsa import ARCHITECTURES, initial_backbone
from armlib.demo.word_vectors import Semantics, latent_semantics
from armlib.encoder.bi_encoder import POOLINGS, BiEncoder
from armlib.errors import InputError
from armlib.storage import read_json, write_json

TEXTS = [
    "Return the sorted unique elements of an array.",
    "Compute the mean.",
    "The margin between the relevance of a positive and of a negative passage, " * 4,
    "x",
]


@pytest.fixture(scope="module")
def semantics() -> Semantics:
    words = "return compute the sorted unique elements of an array mean margin between relevance positive negative and"
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.permutation(words.split())[:9]) for _ in range(300)]
    return latent_semantics(texts, dim=16, vocabulary=300)


def make(semantics: Semantics, architecture: str, pooling: str) -> BiEncoder:
    backbone = initial_backbone(semantics, architecture, layers=2, heads=2, feed_forward=32, seed=1)
    encoder = BiEncoder(backbone, semantics.tokenizer, pooling)
    torch.manual_seed(0)
    for parameter in encoder.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return encoder


def embed(encoder: BiEncoder, texts: list[str], length: int) -> np.ndarray:
    """Normalised embeddings of texts cut at a length."""
    batch = encoder.tokenizer(texts, truncation=True, max_length=length, padding=True, return_tensors="pt")
    with torch.inference_mode():
        return torch.nn.functional.normalize(encoder(batch["input_ids"], batch["attention_mask"]), dim=-1).numpy()


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_sentence_transformers_gives_the_same_embeddings(
    semantics: Semantics, tmp_path: Path, architecture: str, pooling: str
) -> None:
    encoder = make(semantics, architecture, pooling)
    folder = encoder.save(tmp_path / "encoder", query_length=6, passage_length=20, provenance={"seed": 1})
    model = SentenceTransformer(str(folder), device="cpu")
    passages, queries = embed(encoder, TEXTS, 20), embed(encoder, TEXTS, 6)
    assert model.max_seq_length == 20 and model.similarity_fn_name == "cosine"
    np.testing.assert_allclose(model.encode(TEXTS), passages, atol=1e-5)
    np.testing.assert_allclose(model.encode_document(TEXTS), passages, atol=1e-5)
    np.testing.assert_allclose(model.encode_query(TEXTS), queries, atol=1e-5)
    assert np.abs(passages - queries).max() > 0.01  # the two cuts differ on the longest text

    loaded = BiEncoder.load(folder)
    assert (loaded.pooling, loaded.dim, loaded.cls_only) == (pooling, 16, pooling.startswith("cls"))
    assert loaded.fingerprint() == encoder.fingerprint() == loaded.saved["fingerprint"]
    assert loaded.saved["provenance"] == {"seed": 1} and loaded.saved["query_length"] == 6
    assert (loaded.special_tokens(), loaded.max_length) == (([0], [2]), encoder.max_length)
    np.testing.assert_allclose(embed(loaded, TEXTS, 20), passages, atol=1e-6)

    model.save(str(tmp_path / "again"), create_model_card=False)  # a folder that somebody else wrote
    again = BiEncoder.load(tmp_path / "again")
    assert again.fingerprint() == encoder.fingerprint() and again.pooling == pooling


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_saving_twice_writes_the_same_bytes(semantics: Semantics, tmp_path: Path, architecture: str) -> None:
    encoder = make(semantics, architecture, "cls+linear")
    manifests = [read_json(encoder.save(tmp_path / name, query_length=8, passage_length=16) / "manifest.json") for name in "ab"]
    assert manifests[0] == manifests[1] and "model.safetensors" in manifests[0]


def test_others_load_no_random_weights(semantics: Semantics, tmp_path: Path) -> None:
    """The pooler that MPNet's class would add must not be made up when others load the folder."""
    folder = make(semantics, "mpnet", "cls").save(tmp_path / "encoder", query_length=8, passage_length=16)
    model = SentenceTransformer(str(folder), device="cpu")
    assert not [name for name, _ in model.named_parameters() if "pooler" in name]


def test_pooling_takes_what_it_says(semantics: Semantics) -> None:
    cls, mean, last, linear = (make(semantics, "distilbert", pooling) for pooling in ("cls", "mean", "last", "mean+linear"))
    batch = cls.tokenizer(TEXTS, padding=True, truncation=True, max_length=30, return_tensors="pt")
    ids, mask = batch["input_ids"], batch["attention_mask"]
    with torch.inference_mode():
        hidden = mean.backbone(input_ids=ids, attention_mask=mask).last_hidden_state
        torch.testing.assert_close(cls(ids, mask), hidden[:, 0], atol=2e-6, rtol=1e-5)
        torch.testing.assert_close(mean(ids, mask)[3], hidden[3, : mask[3].sum()].mean(0), atol=2e-6, rtol=1e-5)
        torch.testing.assert_close(last(ids, mask)[3], hidden[3, mask[3].sum() - 1], atol=2e-6, rtol=1e-5)
        expected = mean(ids, mask) @ linear.linear.weight.T + linear.linear.bias
        torch.testing.assert_close(linear(ids, mask), expected, atol=5e-6, rtol=1e-5)


def test_padding_changes_nothing(semantics: Semantics) -> None:
    for architecture in ARCHITECTURES:
        encoder = make(semantics, architecture, "mean")
        alone = np.concatenate([embed(encoder, [text], 30) for text in TEXTS])
        np.testing.assert_allclose(embed(encoder, TEXTS, 30), alone, atol=1e-6)


def test_a_new_linear_layer_is_the_identity(semantics: Semantics) -> None:
    backbone = initial_backbone(semantics, "roberta", heads=2, feed_forward=8)
    before = torch.random.get_rng_state()
    linear = embed(BiEncoder(backbone, semantics.tokenizer, "cls+linear"), TEXTS, 30)
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(linear, embed(BiEncoder(backbone, semantics.tokenizer, "cls"), TEXTS, 30))


def test_switching_to_mean_gives_the_stock_layer_back(semantics: Semantics) -> None:
    backbone = initial_backbone(semantics, "roberta", heads=2, feed_forward=8)
    assert BiEncoder(backbone, semantics.tokenizer, "cls").cls_only
    mean = BiEncoder(backbone, semantics.tokenizer, "mean")
    assert not mean.cls_only and np.isfinite(embed(mean, TEXTS, 30)).all()
    assert not BiEncoder(backbone, semantics.tokenizer, "cls", cls_only=False).cls_only


def test_parameter_counts(semantics: Semantics) -> None:
    encoder = make(semantics, "mpnet", "cls+linear")
    entries, dim, layers = semantics.vectors.shape[0], 16, 2
    attention, feed_forward, norms = 4 * (dim * dim + dim), 2 * dim * 32 + 32 + dim, 4 * dim
    expected = layers * (attention + feed_forward + norms) + 2 * dim + dim * dim + dim
    assert encoder.parameter_counts.non_embedding == expected
    assert encoder.parameter_counts.total == expected + (entries + 514) * dim + 32 * 2


def test_fingerprint_sees_every_weight_and_the_pooling(semantics: Semantics) -> None:
    encoder = make(semantics, "distilbert", "cls")
    before = encoder.fingerprint()
    assert len(before) == 16 and make(semantics, "distilbert", "cls").fingerprint() == before
    assert make(semantics, "distilbert", "mean").fingerprint() != before
    encoder.backbone.transformer.layer[1].ffn.lin2.bias.data[3] += 1e-4
    assert encoder.fingerprint() != before


@pytest.mark.slow
def test_real_minilm_equals_sentence_transformers(minilm: Path, tmp_path: Path) -> None:
    encoder = BiEncoder.load(minilm)
    assert (encoder.pooling, encoder.dim, encoder.max_length) == ("mean", 384, 512)
    assert encoder.special_tokens() == ([101], [102])
    assert encoder.parameter_counts == (22_565_376, 10_647_552)
    # Its tokenizer.json cuts at 128 tokens and pads to 128; the encoder's own tokenizer must not.
    assert len(encoder.tokenizer.backend_tokenizer.encode("word " * 300).ids) == 302
    long = [*TEXTS, "a passage of very many words " * 40]
    stock = SentenceTransformer(str(minilm), device="cpu")
    np.testing.assert_allclose(embed(encoder, long, 256), stock.encode(long), atol=1e-5)
    cls = BiEncoder.load(minilm, pooling="cls")
    assert cls.cls_only
    folder = cls.save(tmp_path / "cls", query_length=30, passage_length=200)
    np.testing.assert_allclose(SentenceTransformer(str(folder)).encode(long), embed(cls, long, 200), atol=1e-5)


def test_table_1_decides_the_pooling_of_plain_encoders(semantics: Semantics, tmp_path: Path) -> None:
    expected = {"distilbert": "cls", "roberta": "cls+linear", "mpnet": "cls+linear", "bert": "mean"}
    for architecture, pooling in expected.items():
        folder = tmp_path / architecture
        if architecture == "bert":
            BertModel(
                BertConfig(
                    vocab_size=400, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, pad_token_id=1
                )
            ).save_pretrained(folder)
        else:
            initial_backbone(semantics, architecture, heads=2, feed_forward=8).save_pretrained(folder)
        semantics.tokenizer.save_pretrained(folder)
        assert BiEncoder.load(folder).pooling == pooling
        assert BiEncoder.load(folder, pooling="mean").pooling == "mean"
        assert not BiEncoder.load(folder).training


def test_damage_is_refused(semantics: Semantics, tmp_path: Path) -> None:
    folder = make(semantics, "distilbert", "cls").save(tmp_path / "encoder", query_length=8, passage_length=16)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-5] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    with pytest.raises(InputError, match=r"damaged: model\.safetensors does not have the contents"):
        BiEncoder.load(folder)
    (folder / "manifest.json").unlink()  # somebody else's folder, then, whose files end too early
    (folder / "model.safetensors").write_bytes(weights[:5000])
    with pytest.raises(InputError, match="cannot be loaded as an encoder"):
        BiEncoder.load(folder)


def test_missing_weights_are_refused(semantics: Semantics, tmp_path: Path) -> None:
    initial_backbone(semantics, "distilbert", layers=1, heads=2, feed_forward=8).save_pretrained(tmp_path)
    semantics.tokenizer.save_pretrained(tmp_path)
    config = read_json(tmp_path / "config.json")
    write_json(tmp_path / "config.json", config | {"n_layers": 2})
    with pytest.raises(InputError, match=r"lack 16 weights of DistilBertModel, transformer\.layer\.1"):
        BiEncoder.load(tmp_path)


def test_a_failed_save_leaves_the_old_folder(semantics: Semantics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = make(semantics, "distilbert", "cls")
    folder = encoder.save(tmp_path / "encoder", query_length=8, passage_length=16)
    before = encoder.fingerprint()
    encoder.backbone.embeddings.word_embeddings.weight.data.add_(1)

    def full(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SentenceTransformer, "save", full)
    with pytest.raises(InputError, match="No space left"):
        encoder.save(folder, query_length=8, passage_length=16)
    assert BiEncoder.load(folder).fingerprint() == before
    assert [path.name for path in tmp_path.iterdir()] == ["encoder"]


@pytest.mark.parametrize("name", ["no-such/encoder", "nosuch", "./nowhere", "one/two/three", "not a name"])
def test_unknown_names_say_what_there_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"expected .*at hand: lsa/distilbert"):
        BiEncoder.load(name)


def test_bad_arguments_are_refused(semantics: Semantics, tmp_path: Path) -> None:
    encoder = make(semantics, "roberta", "cls")
    with pytest.raises(InputError, match="unknown pooling 'max'"):
        BiEncoder.load(tmp_path, pooling="max")
    with pytest.raises(InputError, match="unknown pooling 'cls\\+dense'"):
        BiEncoder(encoder.backbone, semantics.tokenizer, "cls+dense")
    with pytest.raises(InputError, match="passage_length is 513; this encoder takes 3 to 512 tokens, its positions"):
        encoder.save(tmp_path / "e", query_length=8, passage_length=513)
    with pytest.raises(InputError, match="query_length is 2"):
        encoder.save(tmp_path / "e", query_length=2, passage_length=16)
    bare = PreTrainedTokenizerFast(
        tokenizer_object=semantics.tokenizer.backend_tokenizer.__class__.from_str(semantics.tokenizer.backend_tokenizer.to_str())
    )
    with pytest.raises(InputError, match="no padding token"):
        BiEncoder(encoder.backbone, bare)
    bare.pad_token = "[PAD]"
    bare.backend_tokenizer.post_processor = bare.backend_tokenizer.post_processor.__class__("$A")
    with pytest.raises(InputError, match="expected pooling 'mean'"):
        BiEncoder(encoder.backbone, bare)
    assert BiEncoder(encoder.backbone, bare, "mean").special_tokens() == ([], [])
