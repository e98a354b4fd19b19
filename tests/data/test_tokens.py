"""The token store gives what the tokenizer gives, and survives being stopped and damaged."""

from __future__ import annotations

import copy
import errno
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from armlib.data import tokenising
from armlib.data.tokenising import token_store, tokenizer_fingerprint
from armlib.data.tokens import TokenStore
from armlib.errors import InputError
from fuzzing import mutated, tried_on

WORDS = [(f"text-{number}", " ".join(f"word{number % 7} margin".split() * (number % 5))) for number in range(60)]
STEP = 20


@pytest.fixture
def tokenizer(minilm: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(minilm)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path))
    return tmp_path


def stopped(tokenizer: PreTrainedTokenizerBase) -> None:
    """Leave in the cache what a build of `WORDS` has done of two of three steps."""

    def breaks_off() -> Iterator[tuple[str, str]]:
        yield from WORDS[: 2 * STEP + 1]
        raise ConnectionError

    with pytest.raises(ConnectionError):
        token_store(breaks_off, tokenizer, "words", "passages")


def contents(store: TokenStore) -> list[np.ndarray]:
    return [store.ids, *store.gather(np.arange(len(store)), 200)]


def same(left: TokenStore, right: TokenStore) -> bool:
    return all(map(np.array_equal, contents(left), contents(right)))


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
    with pytest.warns(UserWarning, match="starts over.*these passages are not those that it read"):
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


@pytest.mark.parametrize("part", [*tokenising.PARTS, tokenising.RECORD])
@pytest.mark.parametrize(
    "harm",
    [lambda data: bytes(len(data)), lambda data: data[:-4], lambda data: b"", lambda data: data[:10] + b"?" + data[11:], None],
    ids=["zeros", "cut", "empty", "changed", "folder"],
)
def test_a_stopped_build_whose_files_are_damaged_starts_over(tmp_path, monkeypatch, part, harm) -> None:
    """Also where the sizes are right, as a loss of power leaves them."""
    monkeypatch.setattr(tokenising, "TEXTS_PER_STEP", STEP)
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path / "whole"))
    whole = token_store(lambda: WORDS, word_tokenizer(), "words", "passages")
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path / "stopped"))
    stopped(word_tokenizer())
    (file,) = tmp_path.glob(f"stopped/tokens/*.building/{part}")
    data = file.read_bytes()
    file.unlink()
    if harm:
        file.write_bytes(harm(data))
    else:
        file.mkdir()
    with pytest.warns(UserWarning, match="tokenising starts over: .* files do not have the contents that were written"):
        assert same(token_store(lambda: WORDS, word_tokenizer(), "words", "passages"), whole)
    assert not list(tmp_path.glob("stopped/tokens/*.building"))


def test_what_was_written_after_the_record_is_written_again(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tokenising, "TEXTS_PER_STEP", STEP)
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path))
    stopped(word_tokenizer())
    for part in tokenising.PARTS:
        (file,) = tmp_path.glob(f"tokens/*.building/{part}")
        file.write_bytes(file.read_bytes() + b"half a step")
    store = token_store(lambda: WORDS, word_tokenizer(), "words", "passages")
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path / "whole"))
    assert same(store, token_store(lambda: WORDS, word_tokenizer(), "words", "passages"))


def _killed_at(point: int, tokenizer: PreTrainedTokenizerBase, cache: Path) -> None:
    """In a process of its own: build a store, and be killed when something is made sure of on the disk, renamed or linked."""
    os.environ["ARMLIB_CACHE"] = str(cache)
    tokenising.TEXTS_PER_STEP = STEP
    passed = 0

    def counting(function):
        def instead(*arguments, **options):
            nonlocal passed
            passed += 1
            if passed == point:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return instead

    for name in ("fsync", "replace", "link"):
        setattr(os, name, counting(getattr(os, name)))
    token_store(lambda: WORDS, tokenizer, "words", "passages")


@pytest.mark.slow
def test_a_build_that_is_killed_at_any_point_goes_on_to_the_same_store(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tokenising, "TEXTS_PER_STEP", STEP)
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path / "whole"))
    whole = token_store(lambda: WORDS, word_tokenizer(), "words", "passages")
    context = multiprocessing.get_context("fork")  # the others would import for seconds at each point
    point, ended = 0, False
    while not ended:
        point += 1
        cache = tmp_path / str(point)
        process = context.Process(target=_killed_at, args=(point, word_tokenizer(), cache))
        process.start()
        process.join()
        ended = process.exitcode == 0
        assert ended or process.exitcode == -signal.SIGKILL
        monkeypatch.setenv("ARMLIB_CACHE", str(cache))
        assert same(token_store(lambda: WORDS, word_tokenizer(), "words", "passages"), whole), point
        assert not [path for path in (cache / "tokens").iterdir() if path.suffix in (".building", ".part", ".old")], point
    print(f"killed at {point - 1} points")
    assert point > 20


def test_a_file_system_without_hard_links_will_do(tokenizer, own_cache, monkeypatch) -> None:
    def link(*_) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    expected = token_store(lambda: WORDS, tokenizer, "linked", "passages")
    monkeypatch.setattr(os, "link", link)
    assert same(token_store(lambda: WORDS, tokenizer, "copied", "passages"), expected)


def test_what_is_no_text_is_refused(tokenizer, own_cache) -> None:
    for pair, complaint in (
        (("a", "half \ud800 of one"), "passages: 'a': the text holds .*ud800"),
        (("\ud800", "b"), "the id holds"),
    ):
        with pytest.raises(InputError, match=complaint):
            token_store(lambda pair=pair: [pair], tokenizer, "surrogates", "passages")


@tried_on("token store records", st.sampled_from((*tokenising.PARTS, tokenising.RECORD)), st.data())
def test_whatever_a_stopped_build_left_it_ends_in_the_same_store(folder: Path, part: str, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenising, "TEXTS_PER_STEP", STEP)
        patch.setattr(os, "fsync", lambda _: None)
        patch.setenv("ARMLIB_CACHE", str(folder / "whole"))
        whole = token_store(lambda: WORDS, word_tokenizer(), "words", "passages")
        patch.setenv("ARMLIB_CACHE", str(folder / "stopped"))
        shutil.rmtree(folder / "stopped", ignore_errors=True)
        stopped(word_tokenizer())
        (file,) = folder.glob(f"stopped/tokens/*.building/{part}")
        file.write_bytes(data.draw(mutated(file.read_bytes())))
        assert same(token_store(lambda: WORDS, word_tokenizer(), "words", "passages"), whole)


@tried_on("token stores", st.sampled_from(("about.json", "ids.npy", "offsets.npy", "tokens.bin", "manifest.json")), st.data())
def test_whatever_became_of_a_store_it_is_healed(folder: Path, part: str, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        patch.setenv("ARMLIB_CACHE", str(folder / "whole"))
        whole = token_store(lambda: WORDS, word_tokenizer(), "words", "passages")
        patch.setenv("ARMLIB_CACHE", str(folder / "harmed"))
        token_store(lambda: WORDS, word_tokenizer(), "words", "passages")
        (file,) = folder.glob(f"harmed/tokens/*/{part}")
        file.write_bytes(data.draw(mutated(file.read_bytes())))
        assert same(token_store(lambda: WORDS, word_tokenizer(), "words", "passages"), whole)


def test_a_tokenizer_s_fingerprint_is_that_of_what_it_is_now() -> None:
    tokenizer = copy.deepcopy(word_tokenizer())
    first = tokenizer_fingerprint(tokenizer)
    tokenizer.backend_tokenizer.enable_truncation(3)
    tokenizer.backend_tokenizer.enable_padding()
    assert tokenizer_fingerprint(tokenizer) == first, "how texts are cut and padded is set for each call"
    tokenizer.add_tokens(["another"])
    changed = tokenizer_fingerprint(tokenizer)
    assert changed != first and changed == tokenizer_fingerprint(copy.deepcopy(tokenizer))
    assert tokenizer_fingerprint(word_tokenizer()) == first


@cache
def word_tokenizer() -> PreTrainedTokenizerBase:
    """A tokenizer of whole words, so small that its fingerprint costs nothing."""
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *(f"word{n}" for n in range(7)), "margin"])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
