"""The token store gives what the tokenizer gives, and survives being stopped and damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from armlib.data import tokenising
from armlib.data.tokenising import token_store
from armlib.errors import InputError


@pytest.fixture
def tokenizer(minilm: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(minilm)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("max_length", [3, 12, 30, 200])
def test_gather_equals_the_tokenizer(texts, tokenizer, max_length: int) -> None:
    store = token_store(lambda: texts, tokenizer, "texts", "passages")
    rows = np.array([5, 0, 17, 5])
    ids, lengths = store.gather(rows, max_length)
    expected = tokenizer([texts[row][1] for row in rows], truncation=True, max_length=max_length, padding=True, return_tensors="np")
    np.testing.assert_array_equal(ids, expected["input_ids"])
    np.testing.assert_array_equal(lengths, expected["attention_mask"].sum(1))


def test_rows_are_found_by_id_and_missing_ones_named(texts, tokenizer) -> None:
    store = token_store(lambda: texts, tokenizer, "texts", "passages")
    assert store.rows([texts[3][0], texts[0][0]]).tolist() == [3, 0]
    assert len(store.rows([])) == 0
    with pytest.raises(InputError, match="1 of 2 ids are not among the .* passages, the first is 'os.nowhere'"):
        store.rows([texts[3][0], "os.nowhere"])


def test_an_empty_text_has_its_special_tokens_only(tokenizer, own_cache) -> None:
    store = token_store(lambda: [("a", ""), ("b", "two words")], tokenizer, "empty", "passages")
    ids, lengths = store.gather(np.array([0, 1]), 200)
    assert lengths.tolist() == [2, 4] and ids[0].tolist() == [101, 102, 0, 0]


def test_ids_that_cannot_be_used_are_refused(tokenizer, own_cache) -> None:
    with pytest.raises(InputError, match="'a' occurs more than once"):
        token_store(lambda: [("a", "x"), ("b", "y"), ("a", "z")], tokenizer, "twice", "passages")
    with pytest.raises(InputError, match="no line break"):
        token_store(lambda: [("a\nb", "x")], tokenizer, "line break", "passages")
    with pytest.raises(InputError, match="no passages"):
        token_store(list, tokenizer, "none", "passages")


def test_lengths_that_cannot_be_gathered_are_refused(texts, tokenizer) -> None:
    store = token_store(lambda: texts, tokenizer, "texts", "passages")
    for length in (2, 515):
        with pytest.raises(InputError, match=f"maximum length of {length} tokens"):
            store.gather(np.array([0]), length)


def test_a_stopped_build_goes_on(texts, tokenizer, own_cache, monkeypatch) -> None:
    monkeypatch.setattr(tokenising, "TEXTS_PER_STEP", 50)
    whole = token_store(lambda: texts, tokenizer, "texts", "passages")
    expected = whole.gather(np.arange(len(texts)), 200)
    shutil.rmtree(own_cache / "tokens")

    def breaks_off():
        yield from texts[:120]
        raise ConnectionError

    with pytest.raises(ConnectionError):
        token_store(breaks_off, tokenizer, "texts", "passages")
    tokenised = []
    backend = type(tokenizer.backend_tokenizer)

    class Counting:
        """The backend tokenizer, counting what it is given."""

        @staticmethod
        def from_str(text: str):
            inner = backend.from_str(text)

            class Counted:
                enable_truncation, no_padding = inner.enable_truncation, inner.no_padding

                def encode_batch_fast(self, given, **options):
                    tokenised.extend(given)
                    return inner.encode_batch_fast(given, **options)

            return Counted()

        def to_str(self) -> str:
            return tokenizer.backend_tokenizer.to_str()

    monkeypatch.setattr(tokenising, "_backend", lambda _: Counting())
    again = token_store(lambda: texts, tokenizer, "texts", "passages")
    assert len(tokenised) == len(texts) - 100, "the first two steps are not done again"
    for left, right in zip(expected, again.gather(np.arange(len(texts)), 200), strict=True):
        np.testing.assert_array_equal(left, right)


def test_a_stopped_build_starts_over_when_the_texts_changed(texts, tokenizer, own_cache, monkeypatch) -> None:
    monkeypatch.setattr(tokenising, "TEXTS_PER_STEP", 50)

    def breaks_off():
        yield from texts[:120]
        raise ConnectionError

    with pytest.raises(ConnectionError):
        token_store(breaks_off, tokenizer, "texts", "passages")
    changed = [(texts[0][0], "another text"), *texts[1:]]
    with pytest.warns(UserWarning, match="not those that tokenising was stopped at"):
        store = token_store(lambda: changed, tokenizer, "texts", "passages")
    assert store.gather(np.array([0]), 30)[0].tolist() == [tokenizer("another text")["input_ids"]]


def test_a_damaged_store_is_made_again(texts, tokenizer, own_cache) -> None:
    token_store(lambda: texts, tokenizer, "texts", "passages")
    (file,) = own_cache.glob("tokens/*/tokens.bin")
    damaged = bytearray(file.read_bytes())
    damaged[100] ^= 1
    file.write_bytes(damaged)
    with pytest.warns(UserWarning, match="damaged .tokens.bin does not have the contents"):
        store = token_store(lambda: texts, tokenizer, "texts", "passages")
    assert store.gather(np.array([0]), 200)[0].tolist() == [tokenizer(texts[0][1], truncation=True, max_length=200)["input_ids"]]
