"""Texts as an encoder reads them: prompts in front, as long as it takes them, and the same stores as ever without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from transformers import ModernBertConfig, ModernBertModel

from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.token_stores import passage_tokens, query_tokens
from armlib.names import load_collection
from armlib.retrieval.encoding import encode_rows
from armlib.retrieval.search import Searcher


@pytest.fixture
def encoder(tiny_folder: Path) -> BiEncoder:
    return BiEncoder.load(tiny_folder)


def test_prompts_are_tokenised_in_front_of_texts(encoder: BiEncoder, beir_folder: Path) -> None:
    collection = load_collection(beir_folder)
    plain = query_tokens(collection, encoder), passage_tokens(collection, encoder)
    encoder.set_prompts("return ", "compute the ")
    stores = query_tokens(collection, encoder), passage_tokens(collection, encoder)
    assert len({store.key for store in (*plain, *stores)}) == 4
    sources = collection.queries(), {document.id: document.text for document in collection.documents()}
    for store, texts, prompt in zip(stores, sources, encoder.prompts, strict=True):
        name = next(iter(texts))
        ids, lengths = store.gather(store.rows([name]), 500)
        assert ids[0, : lengths[0]].tolist() == encoder.tokenizer(prompt + texts[name])["input_ids"]
        assert store.ids.tolist() == [name.encode() for name in texts]


def test_a_question_gets_the_prompt_of_queries(encoder: BiEncoder, beir_folder: Path) -> None:
    collection = load_collection(beir_folder)
    bare = Searcher(encoder, collection).search("compute the mean of numbers", 3)
    encoder.set_prompts(query="compute the ")
    assert Searcher(encoder, collection).search("mean of numbers", 3) == bare


def test_passages_may_be_longer_than_usual(encoder: BiEncoder, tmp_path: Path) -> None:
    """As long as the encoder takes them: here one without a table of positions."""
    configuration = ModernBertConfig(
        vocab_size=len(encoder.tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        global_attn_every_n_layers=2,
        local_attention=8,
        pad_token_id=0,
        cls_token_id=2,
        sep_token_id=3,
        bos_token_id=2,
        eos_token_id=3,
    )
    long = BiEncoder(ModernBertModel(configuration).eval(), encoder.tokenizer, "mean")
    saved = long.save(tmp_path / "long", query_length=30, passage_length=1500)
    words = ["return", "the", "sum", "of", "all", "numbers", "in", "a", "list"]
    texts = {f"d{size}": " ".join(words[(number * number) % 9] for number in range(size)) for size in (3, 700, 2000)}
    folder = tmp_path / "collection"
    (folder / "qrels").mkdir(parents=True)
    lines = "".join(f'{{"_id": "{name}", "text": "{text}"}}\n' for name, text in texts.items())
    (folder / "corpus.jsonl").write_text(lines)
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "sum of all numbers"}\n')
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td3\t1\n")
    store = passage_tokens(load_collection(folder), long, 1500)
    ours = encode_rows(long, store, np.arange(3), 1500)
    theirs = SentenceTransformer(str(saved), device="cpu").encode_document(list(texts.values()), normalize_embeddings=True)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
