"""Encoding in length order with a small encoder over real abstracts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from armlib.data.tokenising import token_store
from armlib.encoder import packed
from armlib.errors import InputError
from armlib.retrieval.encoding import encode_rows
from words import WordEncoder, one_by_one


@pytest.mark.parametrize("batch_tokens", [1, 700, None])
def test_rows_are_encoded_in_length_order_and_put_back(stores, batch_tokens):
    _, passages = stores
    encoder = WordEncoder().train()
    encoder.frozen.eval()
    rows = np.random.default_rng(0).integers(0, len(passages), 120)
    passages.gathered.clear()
    vectors = encode_rows(encoder, passages, rows, 150, batch_tokens=batch_tokens)
    assert encoder.training and encoder.drop.training and not encoder.frozen.training
    assert vectors.dtype == np.float32 and vectors.shape == (120, 64)
    np.testing.assert_allclose(vectors, one_by_one(encoder, passages, rows, 150), atol=1e-6)
    longest = [min(passages.lengths[batch].max(), 150) for batch in passages.gathered]
    assert longest == sorted(longest, reverse=True)
    sizes = [len(batch) * most for batch, most in zip(passages.gathered, longest, strict=True)]
    assert max(sizes) <= (batch_tokens or 8192) or set(map(len, passages.gathered)) == {1}
    if batch_tokens == 700:
        assert sum(sizes) < 1.05 * np.minimum(passages.lengths[rows], 150).sum()


def test_mode_is_restored_after_a_failure_and_nothing_is_a_fine_input(stores):
    _, passages = stores
    encoder = WordEncoder().train()
    with torch.no_grad():
        encoder.words.weight[passages.tokens[7][3]] = torch.nan
    with pytest.raises(InputError, match="an embedding that is not finite: row"):
        encode_rows(encoder, passages, np.arange(20), 150)
    assert encoder.training
    assert encode_rows(encoder, passages, np.arange(0), 150).shape == (0, 64)


def test_embeddings_without_padding_are_those_of_padded_texts(tiny_encoder, texts, monkeypatch) -> None:
    store = token_store(lambda: texts, tiny_encoder.tokenizer, "texts", "passages")
    rows = np.random.default_rng(0).integers(0, len(store), 90)
    padded = encode_rows(tiny_encoder, store, rows, 48, batch_tokens=500)
    monkeypatch.setattr(packed, "PAYS_FROM", 1)
    seen = []
    embed = tiny_encoder.embed_flat
    monkeypatch.setattr(tiny_encoder, "embed_flat", lambda texts: seen.append(texts) or embed(texts))
    for batch_tokens in (1, 500, None):
        seen.clear()
        flat = encode_rows(tiny_encoder, store, rows, 48, batch_tokens=batch_tokens)
        np.testing.assert_allclose(flat, padded, atol=1e-6)
        assert sum(len(each.input_ids) for each in seen) == np.minimum(store.lengths[rows], 48).sum()
        assert len(seen) == {1: 90, None: 1}.get(batch_tokens, len(seen)) and max(len(each.lengths) for each in seen) <= 90
