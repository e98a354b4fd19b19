"""The embeddings of a whole collection in one memory-mapped file, filled block by block, so that a stopped encoding goes on."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from jaxtyping import Float

from armlib.data.tokens import TokenStore
from armlib.encoder.bi_encoder import BiEncoder
from armlib.errors import InputError
from armlib.retrieval.encoding import encode_rows
from armlib.storage import atomic_file, cache_folder, digest, disk_errors, read_json, remove, short_digest, write_json

VECTORS, ABOUT = "vectors.npy", "vectors.json"
DTYPES = ("float32", "float16")


def encode_collection(
    encoder: BiEncoder,
    store: TokenStore,
    folder: str | Path,
    max_length: int,
    *,
    key: str | None = None,
    block: int = 100_000,
    dtype: str = "float32",
    batch_tokens: int | None = None,
    device: str | torch.device | None = None,
    rebuild: bool = False,
    unit: bool = True,
    workers: Callable[[Path, list[int]], None] | None = None,
) -> Float[np.ndarray, "N D"]:
    """Encode every text of a store into a file, and read it through a memory map.

    A block is written while the next one is encoded, so that a GPU does not stand still. A call after an interruption encodes the
    blocks that are missing; one that is damaged is encoded again, with a warning.
    Several processes may fill one folder: whoever finds a block missing encodes it. Where the encoder reads a context, the ids of
    its passages are kept beside the vectors.

    Args:
        encoder, store, max_length, batch_tokens, device: as `encode_rows` takes them.
        folder: where the file is; made if need be.
        key: names encoder and texts; None takes the encoder's ``fingerprint()`` and the store's ``key``.
        block: texts encoded between two points from which an interrupted encoding goes on.
        dtype: ``float32``, or ``float16``, which takes half the space and changes cosines by about 1e-5.
        rebuild: encode anew what the folder holds of another key, instead of refusing.
        unit: divide each vector by its length.
        workers: calls `encode_block` for the folder and each of the numbers that it is given, here or on other machines; None
            encodes in this process.

    Returns:
        (N, D) vectors, of length 1 where ``unit`` says so, in the order of the store, read-only.

    Raises:
        InputError: the folder holds other vectors (another key, length, block or type), an embedding is not finite, the store
            is empty, or the disk is full (the blocks that are done stay).
    """
    folder = Path(folder)
    if not len(store):
        raise InputError("there are no texts to encode")
    if dtype not in DTYPES:
        raise InputError(f"vectors are kept as float16 or float32, not {dtype!r}")
    key = key or short_digest(encoder.fingerprint(), store.key)
    about = {"key": key, "texts": len(store), "max_length": max_length, "block": block, "dtype": dtype}
    about |= {} if unit else {"unit": False}
    reader = getattr(encoder, "context", None)
    about |= {"context": list(reader.bound.ids)} if reader is not None and reader.bound else {}
    _claim(folder, about, rebuild)
    # Each is looked at when it is its turn: other processes may fill the folder, too.
    blocks = range(-(-len(store) // block))
    if workers:
        workers(folder, [number for number in blocks if _is_missing(folder, about, number)])
    else:
        _encode_blocks(encoder, store, folder, about, blocks, batch_tokens, device)
    return np.load(folder / VECTORS, mmap_mode="r")


def _encode_blocks(
    encoder: BiEncoder,
    store: TokenStore,
    folder: Path,
    about: dict[str, Any],
    blocks: range,
    batch_tokens: int | None,
    device: str | torch.device | None,
) -> None:
    """Encode the blocks that are missing; each is hashed and written by a thread while the next one is encoded."""
    with ThreadPoolExecutor(1, thread_name_prefix="writing-vectors") as writer:
        writing: Future[None] | None = None
        for number in blocks:
            # Where there is a seal, whether the block is whole depends on the file, which the block before may make anew.
            if writing and _seal(folder, number).exists():
                writing.result()
            if not _is_missing(folder, about, number):
                continue
            vectors, cost = _encoded(encoder, store, about, number, batch_tokens, device)
            if writing:
                writing.result()  # one block waits at most; and none is written behind one that could not be
            writing = writer.submit(_write, folder, about, number, vectors, cost)
        if writing:
            writing.result()


def encode_block(
    encoder: BiEncoder,
    store: TokenStore,
    folder: Path,
    number: int,
    *,
    batch_tokens: int | None = None,
    device: str | torch.device | None = None,
) -> None:
    """Encode a block of a folder that `encode_collection` has begun; one that is there and whole stays.

    Raises:
        InputError: an embedding is not finite, or the disk is full.
    """
    about = read_json(folder / ABOUT, dict)
    if _missing(folder, about, number) is not None:
        _write(folder, about, number, *_encoded(encoder, store, about, number, batch_tokens, device))


def _encoded(
    encoder: BiEncoder,
    store: TokenStore,
    about: dict[str, Any],
    number: int,
    batch_tokens: int | None,
    device: str | torch.device | None,
) -> tuple[np.ndarray, str]:
    """The vectors of a block, (n, D), in the type in which they are kept, and what they cost: seconds and device."""
    progress = f"encoding, block {number + 1} of {-(-len(store) // about['block'])}"
    began, used = time.perf_counter(), device or next(encoder.parameters()).device
    vectors = encode_rows(
        encoder,
        store,
        _rows(about, number),
        about["max_length"],
        batch_tokens=batch_tokens,
        device=device,
        description=progress,
        unit=about.get("unit", True),
    )
    return vectors.astype(about["dtype"], copy=False), f"{time.perf_counter() - began:.3f} {used}"


def encoding_cost(folder: Path) -> dict[str, Any]:
    """The ``seconds`` that the blocks in a folder took to encode, one after the other, and the ``device``."""
    seals = [seal.read_text(encoding="utf8").split() for seal in sorted(folder.glob("block-*.sha256"))]
    return {
        "seconds": sum(float(seconds) for _, seconds, _ in seals),
        "device": ", ".join(sorted({device for _, _, device in seals})),
    }


def embeddings_folder(encoder: BiEncoder, store: TokenStore, max_length: int, unit: bool = True, dtype: str = DTYPES[0]) -> Path:
    """Where the cache keeps the vectors of a store: a name that changes with encoder, texts, length and type."""
    others = (*(() if unit else ("not unit",)), *(() if dtype == DTYPES[0] else (dtype,)))
    return cache_folder() / "embeddings" / short_digest(encoder.fingerprint(), store.key, str(max_length), *others)


def cached_embeddings(
    encoder: BiEncoder, store: TokenStore, max_length: int, device: str | torch.device | None = None, dtype: str = DTYPES[0]
) -> np.ndarray:
    """`encode_collection` into the cache folder, each type into a folder of its own."""
    folder = embeddings_folder(encoder, store, max_length, dtype=dtype)
    return encode_collection(encoder, store, folder, max_length, device=device, dtype=dtype)


def _claim(folder: Path, about: dict[str, Any], rebuild: bool) -> None:
    """See that the folder is for these vectors, or make it so."""
    record = folder / ABOUT
    with disk_errors(record, "read"):
        claimed = record.exists()
    if claimed:
        try:
            there = read_json(record, dict)
        except InputError as error:
            warnings.warn(
                f"{error}; it is written anew, and the vectors beside it are used if they are the right ones", stacklevel=3
            )
        else:
            if there == about:
                return
            if not rebuild:
                differing = [name for name in about if there.get(name) != about[name]]
                found = ", ".join(f"{name} {there.get(name)!r} instead of {about[name]!r}" for name in differing)
                raise InputError(f"{folder} holds other vectors ({found}); name another folder, or have it rebuilt")
            for file in (folder / VECTORS, *folder.glob("block-*")):
                remove(file)
    write_json(record, about)


def _seal(folder: Path, number: int) -> Path:
    return folder / f"block-{number:05d}.sha256"


def _contents(about: dict[str, Any], vectors: np.ndarray) -> str:
    """The SHA-256 of a block of vectors, (n, D), and of all that says what they are."""
    parts = (json.dumps(about, sort_keys=True), f"{vectors.dtype.str} {vectors.shape}", np.ascontiguousarray(vectors).tobytes())
    return digest(*parts)


def _missing(folder: Path, about: dict[str, Any], number: int) -> str | None:
    """None where a block is there and whole; the empty text where nobody has written it; else what is wrong with it."""
    seal = _seal(folder, number)
    if not seal.exists():
        return ""
    vectors = _there(folder)
    if isinstance(vectors, str):
        return f"the file cannot be read: {vectors}"
    whole = vectors.ndim == 2 and len(vectors) == about["texts"]
    with disk_errors(seal, "read"):
        sums = seal.read_bytes().split()[:1] if seal.is_file() else []
        whole = whole and sums == [_contents(about, vectors[_rows(about, number)]).encode()]
    return None if whole else "it does not have the contents that were written"


def _there(folder: Path) -> np.ndarray | str:
    """The vectors that a folder holds, or why they cannot be read."""
    try:
        return np.load(folder / VECTORS, mmap_mode="r")
    except Exception as error:  # absent, cut off, or damaged where its shape is written, of which NumPy makes anything
        return str(error) or type(error).__name__


def _is_missing(folder: Path, about: dict[str, Any], number: int) -> bool:
    reason = _missing(folder, about, number)
    if reason:
        warnings.warn(f"block {number} of {folder / VECTORS} is damaged ({reason}); it is encoded again", stacklevel=4)
    return reason is not None


def _rows(about: dict[str, Any], number: int) -> np.ndarray:
    """The rows of a block."""
    return np.arange(number * about["block"], min((number + 1) * about["block"], about["texts"]))


def _write(folder: Path, about: dict[str, Any], number: int, vectors: np.ndarray, cost: str) -> None:
    """Write a block into the file, which the first one makes (or makes again, if it cannot be read), and then its seal."""
    path, shape = folder / VECTORS, (about["texts"], vectors.shape[1])
    with disk_errors(path):
        with FileLock(folder / ".lock"):
            there = _there(folder)
            if isinstance(there, str) or there.shape != shape or there.dtype != vectors.dtype or not there.flags.c_contiguous:
                _allocate(path, shape, vectors.dtype)
        with open(path, "r+b") as target:
            # Not through a memory map: a disk that is full then ends the process instead of raising an error.
            target.seek(np.load(path, mmap_mode="r").offset + number * about["block"] * vectors.shape[1] * vectors.itemsize)
            target.write(np.ascontiguousarray(vectors).data)
            target.flush()
            os.fsync(target.fileno())
    with atomic_file(_seal(folder, number)) as draft:
        draft.write_text(f"{_contents(about, vectors)} {cost}", encoding="utf8")


def _allocate(path: Path, shape: tuple[int, int], dtype: np.dtype) -> None:
    with atomic_file(path) as draft:
        np.lib.format.open_memmap(draft, "w+", dtype, shape)
        if hasattr(os, "posix_fallocate"):  # so that a full disk is known before anything is encoded in vain
            with open(draft, "r+b") as target:
                os.posix_fallocate(target.fileno(), 0, draft.stat().st_size)
