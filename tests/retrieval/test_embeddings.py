"""The embeddings of a collection in one file: filled block by block, gone on with, refused and mended."""

from __future__ import annotations

import json
import re
import resource
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, current_thread, main_thread

import numpy as np
import pytest
from hypothesis import strategies as st

from armlib.data.tokenising import token_store
from armlib.errors import InputError
from armlib.retrieval import embeddings
from armlib.retrieval.embeddings import cached_embeddings, encode_collection
from armlib.retrieval.encoding import encode_rows
from fuzzing import mutated, tried_on
from words import WordEncoder, WordStore


class Interrupted(WordEncoder):
    """Is stopped while it encodes its second block of 200."""

    calls = 0

    def forward(self, input_ids, attention_mask):
        self.calls += 1
        if self.calls > 4:
            raise KeyboardInterrupt
        return super().forward(input_ids, attention_mask)


@pytest.fixture
def whole(stores) -> np.ndarray:
    """The vectors of all passages, (1000, 64), encoded at once."""
    return encode_rows(WordEncoder(), stores[1], np.arange(1000), 60)


@pytest.mark.parametrize(("dtype", "near"), [("float32", 1e-6), ("float16", 1e-3)])
def test_a_collection_is_one_memory_mapped_file(tmp_path, stores, whole, dtype, near):
    vectors = encode_collection(WordEncoder(), stores[1], tmp_path / "v", 60, block=300, dtype=dtype)
    assert isinstance(vectors, np.memmap) and not vectors.flags.writeable
    assert vectors.shape == (1000, 64) and vectors.dtype == np.dtype(dtype)
    np.testing.assert_allclose(vectors.astype(np.float32), whole, atol=near)
    names = [file.name for file in (tmp_path / "v").iterdir() if not file.name.startswith(".")]
    assert sorted(names) == [*(f"block-{number:05d}.sha256" for number in range(4)), "vectors.json", "vectors.npy"]
    about = json.loads((tmp_path / "v" / "vectors.json").read_text())
    assert (about["texts"], about["max_length"], about["block"], about["dtype"]) == (1000, 60, 300, dtype)
    stores[1].gathered.clear()
    again = encode_collection(WordEncoder(), stores[1], tmp_path / "v", 60, block=300, dtype=dtype)
    np.testing.assert_array_equal(again, vectors)
    assert not stores[1].gathered, "what is there is not encoded again"


def test_an_interrupted_encoding_goes_on_at_its_block(tmp_path, stores, whole):
    passages = stores[1]
    with pytest.raises(KeyboardInterrupt):
        encode_collection(Interrupted(), passages, tmp_path / "v", 60, block=200, batch_tokens=4000)
    done = len(list((tmp_path / "v").glob("block-*")))
    assert 0 < done < 5
    passages.gathered.clear()
    vectors = encode_collection(WordEncoder(), passages, tmp_path / "v", 60, block=200)
    assert set(np.concatenate(passages.gathered).tolist()) == set(range(200 * done, 1000))
    np.testing.assert_allclose(vectors, whole, atol=1e-6)


def test_several_processes_may_fill_one_folder(tmp_path, stores, whole):
    def fill(encoder: WordEncoder) -> np.ndarray:
        return np.array(encode_collection(encoder, stores[1], tmp_path / "v", 60, block=90))

    with ThreadPoolExecutor(3) as pool:
        for vectors in pool.map(fill, [WordEncoder() for _ in range(3)]):
            np.testing.assert_allclose(vectors, whole, atol=1e-6)


def test_other_vectors_are_refused_or_replaced(tmp_path, stores):
    passages, encoder, folder = stores[1], WordEncoder(), tmp_path / "v"
    vectors = np.array(encode_collection(encoder, passages, folder, 60, block=400))
    with pytest.raises(InputError, match=r"holds other vectors \(key '.*' instead of '.*'\); name another folder"):
        encode_collection(WordEncoder(1), passages, folder, 60, block=400)
    with pytest.raises(InputError, match=r"\(max_length 60 instead of 50\)"):
        encode_collection(encoder, passages, folder, 50, block=400)
    with pytest.raises(InputError, match=r"\(block 400 instead of 500, dtype 'float32' instead of 'float16'\)"):
        encode_collection(encoder, passages, folder, 60, block=500, dtype="float16")
    with pytest.raises(InputError, match="kept as float16 or float32, not 'int8'"):
        encode_collection(encoder, passages, folder, 60, dtype="int8")
    with pytest.raises(InputError, match="no texts"):
        encode_collection(encoder, WordStore({}), folder, 60)
    other = encode_collection(WordEncoder(1), passages, folder, 60, block=500, rebuild=True)
    assert other.shape == (1000, 64) and not np.allclose(other, vectors)
    assert sorted(file.name for file in folder.glob("block-*")) == ["block-00000.sha256", "block-00001.sha256"]


@pytest.mark.parametrize(
    ("harm", "complaints"),
    [
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), ["block 2 .*does not have the contents"]),
        (lambda data: data[:-9], ["block 0 .*cannot be read", "block 1 .*contents", "block 2 .*contents"]),
        (lambda data: b"", ["block 0 .*cannot be read", "block 1 .*contents", "block 2 .*contents"]),
        (lambda data: b"\x00" * 20 + data[20:], ["block 0 .*cannot be read", "block 1 .*contents", "block 2 .*contents"]),
        (None, ["block 0 .*cannot be read", "block 1 .*contents", "block 2 .*contents"]),
    ],
)
def test_damaged_blocks_are_encoded_again(tmp_path, stores, harm, complaints):
    file = tmp_path / "v" / "vectors.npy"
    vectors = np.array(encode_collection(WordEncoder(), stores[1], tmp_path / "v", 60, block=400))
    contents = file.read_bytes()
    file.unlink()
    if harm:
        file.write_bytes(harm(contents))
    with pytest.warns(UserWarning, match="is damaged .*encoded again") as caught:
        mended = encode_collection(WordEncoder(), stores[1], tmp_path / "v", 60, block=400)
    np.testing.assert_array_equal(mended, vectors)
    said = [str(warning.message) for warning in caught]
    assert len(said) == len(complaints)
    for sentence, complaint in zip(said, complaints, strict=True):
        assert re.search(complaint, sentence), sentence
    assert file.read_bytes() == contents


def test_a_block_without_its_seal_is_encoded_again(tmp_path, stores):
    vectors = np.array(encode_collection(WordEncoder(), stores[1], tmp_path / "v", 60, block=400))
    (tmp_path / "v" / "block-00001.sha256").unlink()
    stores[1].gathered.clear()
    np.testing.assert_array_equal(encode_collection(WordEncoder(), stores[1], tmp_path / "v", 60, block=400), vectors)
    assert set(np.concatenate(stores[1].gathered).tolist()) == set(range(400, 800))


def test_a_full_disk_is_told_and_leaves_no_half_file(tmp_path, stores, whole):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(InputError, match=r"cannot write .*vectors\.npy: File too large"):
            encode_collection(WordEncoder(), stores[1], tmp_path / "v", 60, block=400)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [file.name for file in (tmp_path / "v").iterdir() if file.name[0] != "."] == ["vectors.json"]
    np.testing.assert_allclose(encode_collection(WordEncoder(), stores[1], tmp_path / "v", 60, block=400), whole, atol=1e-6)


def test_blocks_that_are_done_stay_when_the_disk_is_full(tmp_path, stores, whole, monkeypatch):
    atomic_file = embeddings.atomic_file

    @contextmanager
    def full_after_two(path):
        with atomic_file(path) as draft:
            if path.name == "block-00002.sha256":
                raise OSError(28, "No space left on device")
            yield draft

    monkeypatch.setattr(embeddings, "atomic_file", full_after_two)
    with pytest.raises(InputError, match="No space left on device"):
        encode_collection(WordEncoder(), stores[1], tmp_path / "v", 60, block=200)
    monkeypatch.undo()
    stores[1].gathered.clear()
    np.testing.assert_allclose(encode_collection(WordEncoder(), stores[1], tmp_path / "v", 60, block=200), whole, atol=1e-6)
    assert set(np.concatenate(stores[1].gathered).tolist()) == set(range(400, 1000))


def test_a_block_is_written_while_the_next_one_is_encoded(tmp_path, stores, whole, monkeypatch):
    """The first block is written for as long as nobody has begun the second one."""
    write, second, writers = embeddings._write, Event(), set()

    class Signalling(WordEncoder):
        calls = 0

        def forward(self, input_ids, attention_mask):
            self.calls += 1
            if self.calls == 2:
                second.set()
            return super().forward(input_ids, attention_mask)

    def slow(folder, about, number, *rest):
        writers.add(current_thread())
        assert number or second.wait(60), "the second block was not begun while the first one was written"
        write(folder, about, number, *rest)

    monkeypatch.setattr(embeddings, "_write", slow)
    vectors = encode_collection(Signalling(), stores[1], tmp_path / "v", 60, block=500, batch_tokens=10**6)
    assert len(writers) == 1 and main_thread() not in writers
    np.testing.assert_allclose(vectors, whole, atol=1e-6)


def test_an_embedding_that_is_not_finite_is_refused(tmp_path, stores):
    encoder = WordEncoder()
    encoder.words.weight.data[stores[1].tokens[7][3]] = float("nan")
    with pytest.raises(InputError, match="an embedding that is not finite"):
        encode_collection(encoder, stores[1], tmp_path / "v", 60)


def test_cached_embeddings_are_named_by_encoder_texts_and_length(texts, tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path))
    store = token_store(lambda: texts, tiny_encoder.tokenizer, "texts", "passages")
    first = cached_embeddings(tiny_encoder, store, 48)
    assert first.shape == (len(texts), 32) and np.array_equal(cached_embeddings(tiny_encoder, store, 48), first)
    assert len(list((tmp_path / "embeddings").iterdir())) == 1
    cached_embeddings(tiny_encoder, store, 24)
    tiny_encoder.backbone.embeddings.word_embeddings.weight.data[:, 0] += 1
    assert not np.array_equal(cached_embeddings(tiny_encoder, store, 48), first)
    assert len(list((tmp_path / "embeddings").iterdir())) == 3
    exact, half = (cached_embeddings(tiny_encoder, store, 48, dtype=dtype) for dtype in ("float32", "float16"))
    assert half.dtype == np.float16 and len(list((tmp_path / "embeddings").iterdir())) == 4
    np.testing.assert_array_equal(half, exact.astype(np.float16))


@pytest.mark.parametrize("there", ["'<f4'", "'fortran_order': False", "(1000, 64)"])
def test_vectors_read_in_another_way_are_damaged(tmp_path, stores, there):
    """The bytes of the vectors are those that were written; what says how to read them is not."""
    instead = {"'<f4'": "'<i4'", "'fortran_order': False": "'fortran_order': True ", "(1000, 64)": "(64, 1000)"}[there]
    vectors = np.array(encode_collection(WordEncoder(), stores[1], tmp_path, 60))
    contents = (tmp_path / "vectors.npy").read_bytes()
    (tmp_path / "vectors.npy").write_bytes(contents.replace(there.encode(), instead.encode(), 1))
    with pytest.warns(UserWarning, match="block 0 .*is damaged"):
        again = encode_collection(WordEncoder(), stores[1], tmp_path, 60)
    np.testing.assert_array_equal(again, vectors)
    assert (tmp_path / "vectors.npy").read_bytes() == contents


def test_a_record_that_cannot_be_read_loses_no_vectors(tmp_path, stores):
    vectors = np.array(encode_collection(WordEncoder(), stores[1], tmp_path, 60, block=400))
    record = (tmp_path / "vectors.json").read_bytes()
    (tmp_path / "vectors.json").write_bytes(bytes(len(record)))
    stores[1].gathered.clear()
    with pytest.warns(UserWarning, match="vectors.json is damaged: .*written anew"):
        np.testing.assert_array_equal(encode_collection(WordEncoder(), stores[1], tmp_path, 60, block=400), vectors)
    assert not stores[1].gathered and (tmp_path / "vectors.json").read_bytes() == record
    (tmp_path / "vectors.json").write_bytes(b"{")
    with pytest.warns(UserWarning, match="written anew|block . .*is damaged"):
        other = encode_collection(WordEncoder(1), stores[1], tmp_path, 60, block=400)
    np.testing.assert_array_equal(other, encode_collection(WordEncoder(1), stores[1], tmp_path / "other", 60, block=400))


SMALL = WordStore({str(number): f"margin of query {number}" for number in range(20)})
FILES = ("vectors.npy", "vectors.json", "block-00000.sha256", "block-00001.sha256")


@tried_on("embeddings", st.sampled_from(FILES), st.data())
def test_whatever_became_of_embeddings_they_are_healed_or_refused(folder, file, data):
    expected = np.array(encode_collection(WordEncoder(), SMALL, folder / "whole", 60, block=12, rebuild=True))
    encode_collection(WordEncoder(), SMALL, folder / "harmed", 60, block=12, rebuild=True)
    whole = (folder / "harmed" / file).read_bytes()
    (folder / "harmed" / file).write_bytes(data.draw(mutated(whole)))
    try:
        np.testing.assert_array_equal(encode_collection(WordEncoder(), SMALL, folder / "harmed", 60, block=12), expected)
    finally:
        (folder / "harmed" / file).write_bytes(whole)
