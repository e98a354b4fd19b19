"""Latent semantic analysis: its vectors, the encoders that start from it, and how they are kept."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from armlib.demo.lsa import ARCHITECTURES, initial_backbone, lsa_encoder
from armlib.demo.word_vectors import SIZE, SPECIAL, Semantics, kept_semantics, latent_semantics, word_vectors
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.layer_parts import layers
from armlib.errors import InputError
from armlib.names import load_collection, load_encoder
from armlib.storage import short_digest

TOPICS = ("sun moon star planet orbit comet", "bread flour oven yeast dough crust", "goal match referee ball kick team")


def topic_texts(count: int = 600, seed: int = 0) -> list[str]:
    """Texts of eight words, each about one of three topics, with words that belong to none."""
    generator = np.random.default_rng(seed)
    return [
        " ".join([*generator.choice(TOPICS[number % 3].split(), 5), *generator.choice("the of and a to".split(), 3)])
        for number in range(count)
    ]


def encoder_of(texts: list[str], architecture: str, **settings) -> BiEncoder:
    """`lsa_encoder` of a list of texts."""
    return lsa_encoder(lambda: texts, short_digest(*texts), architecture, **settings)


@pytest.fixture(scope="module")
def semantics() -> Semantics:
    return latent_semantics(topic_texts(), dim=16, vocabulary=200)


def embed(encoder: BiEncoder, texts: list[str], length: int = 32) -> np.ndarray:
    batch = encoder.tokenizer(texts, padding=True, truncation=True, max_length=length, return_tensors="pt")
    with torch.inference_mode():
        return torch.nn.functional.normalize(encoder(batch["input_ids"], batch["attention_mask"]), dim=-1).numpy()


def test_vectors_factor_the_pointwise_mutual_information() -> None:
    """Against the definition, computed pair by pair; with all dimensions the factors give the matrix back."""
    generator = np.random.default_rng(1)
    tokens = [generator.integers(0, 12, size=size).astype(np.int32) for size in (9, 30, 1, 0, 14)]
    counts: Counter[tuple[int, int]] = Counter()
    for row in tokens:
        for first, second in itertools.permutations(range(len(row)), 2):
            if abs(first - second) <= 3:
                counts[row[first], row[second]] += 1
    total = sum(counts.values())
    alone = Counter()
    for (first, _), count in counts.items():
        alone[first] += count
    expected = np.zeros((13, 13))
    for (first, second), count in counts.items():
        expected[first, second] = max(0, np.log(count * total / (alone[first] * alone[second])))
    vectors = word_vectors(tokens, 13, 12, window=3).astype(float)
    assert np.sqrt(np.square(vectors[:12]).mean()) == pytest.approx(SIZE, rel=1e-5)
    assert not vectors[12].any()  # a word that does not occur
    # V = U sqrt(S) up to one scale, so V V^T = |M| for the symmetric M: compare with its absolute value.
    values, basis = np.linalg.eigh(expected)
    absolute = (basis * np.abs(values)) @ basis.T
    gram = vectors @ vectors.T
    np.testing.assert_allclose(gram * (absolute.trace() / gram.trace()), absolute, atol=2e-3)


def test_words_of_a_topic_are_near(semantics: Semantics) -> None:
    ids = [[semantics.tokenizer.convert_tokens_to_ids(word) for word in topic.split()] for topic in TOPICS]
    assert semantics.tokenizer.unk_token_id not in sum(ids, [])
    unit = semantics.vectors / np.linalg.norm(semantics.vectors, axis=1, keepdims=True).clip(1e-9)
    same = np.mean([(unit[group] @ unit[group].T).mean() for group in ids])
    other = np.mean([(unit[a] @ unit[b].T).mean() for a, b in itertools.combinations(ids, 2)])
    assert same > 0.8 and abs(other) < 0.2


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_cls_starts_as_the_mean_of_the_word_vectors(semantics: Semantics, architecture: str) -> None:
    encoder = BiEncoder(initial_backbone(semantics, architecture, heads=2, feed_forward=32), semantics.tokenizer)
    assert encoder.cls_only and encoder.dim == 16 and not encoder.training
    assert not any(module.p for module in encoder.modules() if isinstance(module, torch.nn.Dropout))
    texts = topic_texts(60, seed=9)
    ours = embed(encoder, texts)
    ids = encoder.tokenizer(texts, add_special_tokens=False)["input_ids"]
    words = semantics.vectors - semantics.vectors.mean(1, keepdims=True)
    words /= words.std(1, keepdims=True).clip(1e-9)
    means = np.stack([words[row].mean(0) for row in ids])
    # What differs between texts is the mean of their words: compare after taking away what all share.
    left, right = (x - x.mean(0) for x in (ours, means))
    cosine = (left * right).sum(1) / (np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1))
    assert np.median(cosine) > 0.85
    similarity = ours @ ours.T
    topic = np.arange(60) % 3
    same = topic[:, None] == topic[None]
    assert similarity[same].mean() > similarity[~same].mean() + 0.02


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_classes_are_the_stock_ones(semantics: Semantics, architecture: str) -> None:
    backbone = initial_backbone(semantics, architecture, layers=2, heads=2, feed_forward=32)
    assert type(backbone).__name__.lower() == f"{architecture}model" and len(layers(backbone)) == 2
    assert (
        torch.equal(backbone.embeddings.word_embeddings.weight[5:9], torch.from_numpy(semantics.vectors[5:9]))
        or not semantics.vectors[5:9].any(1).all()
    )
    assert backbone.config.pad_token_id == semantics.tokenizer.pad_token_id == 1


def test_the_tokenizer(semantics: Semantics) -> None:
    tokenizer = semantics.tokenizer
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL)) == [0, 1, 2, 3, 4]
    assert (tokenizer.cls_token_id, tokenizer.pad_token_id, tokenizer.sep_token_id) == (0, 1, 2)
    assert (tokenizer.unk_token_id, tokenizer.mask_token_id) == (3, 4)
    assert tokenizer("The MÖON")["input_ids"] == tokenizer("the moon")["input_ids"]
    assert tokenizer.decode(tokenizer("bread dough")["input_ids"], skip_special_tokens=True) == "bread dough"
    assert tokenizer("漢")["input_ids"] == [0, 3, 2] and tokenizer("")["input_ids"] == [0, 2]
    assert set(tokenizer("sun")) == {"input_ids", "attention_mask"}
    # Names of special tokens and of continuing characters in a text are text.
    assert "##" not in tokenizer.all_special_tokens and tokenizer("##t")["input_ids"][1] != tokenizer.vocab.get("##t")


@pytest.mark.slow
def test_another_process_gets_the_same_bytes(tmp_path: Path) -> None:
    """Hash tables are seeded anew in each process, and another number of threads adds in another order."""
    texts, shape = topic_texts(300), {"dim": 16, "heads": 2, "vocabulary": 150}
    (tmp_path / "input.json").write_text(json.dumps([texts, shape, ARCHITECTURES]))
    program = (
        "import json, sys; from armlib.demo.lsa import lsa_encoder; texts, shape, names = json.load(open(sys.argv[1]));"
        "made = [lsa_encoder(lambda: texts, 'the texts', name, **shape) for name in names];"
        "print(json.dumps([[e.fingerprint(), sorted(e.tokenizer.get_vocab().items())] for e in made]))"
    )
    threads = "2" if torch.get_num_threads() == 1 else "1"
    printed = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "input.json")],
        # In a cache of its own, so that it does not read what this process keeps there.
        env=os.environ
        | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "RAYON_NUM_THREADS": threads}
        | {"ARMLIB_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name, (fingerprint, entries) in zip(ARCHITECTURES, json.loads(printed), strict=True):
        here = encoder_of(texts, name, **shape)
        assert here.fingerprint() == fingerprint
        assert sorted(here.tokenizer.get_vocab().items()) == [tuple(entry) for entry in entries]
        assert encoder_of(texts, name, **shape, seed=1).fingerprint() != fingerprint


def test_making_one_leaves_the_random_state_alone(semantics: Semantics) -> None:
    before = torch.random.get_rng_state()
    initial_backbone(semantics, "roberta", heads=2)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_word_vectors_are_kept_once_for_all_architectures(cache: Path) -> None:
    asked = []

    def texts() -> Iterator[str]:
        asked.append(1)
        return iter(topic_texts(300))

    first = kept_semantics(texts, "fingerprint-a", dim=16, vocabulary=150)
    again = kept_semantics(texts, "fingerprint-a", dim=16, vocabulary=150)
    assert len(asked) == 1 and np.array_equal(first.vectors, again.vectors)
    made = latent_semantics(topic_texts(300), dim=16, vocabulary=150)
    assert np.array_equal(first.vectors, made.vectors) and first.tokenizer.get_vocab() == made.tokenizer.get_vocab()
    texts_of_both = [tokenizer(TOPICS[0])["input_ids"] for tokenizer in (first.tokenizer, made.tokenizer)]
    assert texts_of_both[0] == texts_of_both[1]
    kept_semantics(texts, "fingerprint-b", dim=16, vocabulary=150)
    kept_semantics(texts, "fingerprint-a", dim=8, vocabulary=150)
    assert len(asked) == 3


def test_damaged_vectors_are_made_again(cache: Path) -> None:
    def texts() -> list[str]:
        return topic_texts(200)

    expected = kept_semantics(texts, "to-be-damaged", dim=8, vocabulary=100).vectors
    newest = max((cache / "encoders").glob("lsa-*/vectors.npy"), key=lambda path: path.stat().st_mtime_ns)
    contents = bytearray(newest.read_bytes())
    contents[-1] ^= 64
    newest.write_bytes(contents)
    with pytest.warns(UserWarning, match=r"damaged \(vectors\.npy does not have the contents.*made again"):
        assert np.array_equal(kept_semantics(texts, "to-be-damaged", dim=8, vocabulary=100).vectors, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept_semantics(texts, "to-be-damaged", dim=8, vocabulary=100)


def test_load_encoder_by_name(cache: Path, tmp_path: Path) -> None:
    words = [f"word{number} {topic}" for number in range(300) for topic in TOPICS]
    lines = [f"a query\t{positive}\t{negative}\n" for positive, negative in zip(words[::2], words[1::2], strict=True)]
    (tmp_path / "words.tsv").write_text("".join(lines))
    collection = load_collection(tmp_path / "words.tsv")
    encoders = {name: load_encoder(f"lsa/{name}", collection) for name in ARCHITECTURES}
    assert {encoder.pooling for encoder in encoders.values()} == {"cls"}
    assert len({repr(sorted(encoder.tokenizer.get_vocab().items())) for encoder in encoders.values()}) == 1
    assert len({encoder.fingerprint() for encoder in encoders.values()}) == 3
    linear = load_encoder("lsa/roberta", collection, pooling="cls+linear")
    np.testing.assert_array_equal(embed(linear, ["word7 sun"]), embed(encoders["roberta"], ["word7 sun"]))
    folder = encoders["mpnet"].save(tmp_path / "saved", query_length=8, passage_length=16)
    assert load_encoder(str(folder), collection).fingerprint() == encoders["mpnet"].fingerprint()
    with pytest.raises(InputError, match=r"unknown LSA encoder 'lsa/bert'.*lsa/distilbert, lsa/mpnet, lsa/roberta"):
        load_encoder("lsa/bert", collection)
    with pytest.raises(InputError, match="unknown LSA architecture 'bert'"):
        encoder_of(words, "bert")


def test_too_little_text_is_refused() -> None:
    with pytest.raises(InputError, match="1 texts found .* WordPieces, too few for vectors of 128 dimensions"):
        encoder_of(["one short text"], "distilbert")
    with pytest.raises(InputError, match="3 heads cannot share 16 dimensions"):
        encoder_of(topic_texts(100), "distilbert", dim=16, heads=3, vocabulary=100)


@pytest.mark.slow
def test_real_passages_start_well_above_chance(shared_data: Path) -> None:
    """Before fine-tuning, the positive of a MS MARCO query is nearer than its BM25 negative four times of five."""
    folder = shared_data / "msmarco-mini"
    with gzip.open(folder / "triples.train.tsv.gz", "rt") as lines:
        triples = [line.split() for line in itertools.islice(lines, 0, 15_000, 10)]
    wanted = {passage for triple in triples for passage in triple[1:]}
    with gzip.open(folder / "corpus.jsonl.gz", "rt") as lines:
        corpus = {row["_id"]: row["text"] for row in map(json.loads, lines) if row["_id"] in wanted}
    with open(folder / "queries.jsonl") as lines:
        queries = {row["_id"]: row["text"] for row in map(json.loads, lines)}
    encoder = encoder_of(list(corpus.values()), "distilbert")
    query, positive, negative = (
        embed(encoder, texts, length)
        for texts, length in (
            ([queries[q] for q, _, _ in triples], 24),
            ([corpus[p] for _, p, _ in triples], 96),
            ([corpus[n] for _, _, n in triples], 96),
        )
    )
    wins = ((query * positive).sum(1) > (query * negative).sum(1)).mean()
    assert wins > 0.8
    assert 0.9 < (positive @ negative.T).mean() < 0.98
