"""Encoding in length order with a small encoder over real abstracts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

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
