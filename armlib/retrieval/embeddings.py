"""The embeddings of a whole collection in one memory-mapped file, filled block by block, so that a stopped encoding goes on."""

from __future__ import annotations

import hashlib
import os
import time
import warnings
from collections.abc import Callable
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
from armlib.storage import atomic_file, cache_folder, disk_errors, read_json, short_digest, write_json

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

    A call after an interruption encodes the blocks that are missing; one that is damaged is encoded again, with a warning.
    Several processes may fill one folder: whoever finds a block missing encodes it.

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
    _claim(folder, about, rebuild)
    # Each is looked at when it is its turn: other processes may fill the folder, too.
    missing = (number for number in range(-(-len(store) // block)) if _is_missing(folder, number, block))
    if workers:
        workers(folder, list(missing))
    else:
        for number in missing:
            encode_block(encoder, store, folder, number, batch_tokens=batch_tokens, device=device)
    return np.load(folder / VECTORS, mmap_mode="r")


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
    about = read_json(folder / ABOUT)
    block = about["block"]
    if _missing(folder, number, block) is None:
        return
    rows = np.arange(number * block, min((number + 1) * block, len(store)))
    progress = f"encoding, block {number + 1} of {-(-len(store) // block)}"
    began, used = time.perf_counter(), device or next(encoder.parameters()).device
    vectors = encode_rows(
        encoder,
        store,
        rows,
        about["max_length"],
        batch_tokens=batch_tokens,
        device=device,
        description=progress,
        unit=about.get("unit", True),
    )
    _write(folder, number, block, len(store), vectors.astype(about["dtype"]), f"{time.perf_counter() - began:.3f} {used}")


def encoding_cost(folder: Path) -> dict[str, Any]:
    """The ``seconds`` that the blocks in a folder took to encode, one after the other, and the ``device``."""
    seals = [seal.read_text().split() for seal in sorted(folder.glob("block-*.sha256"))]
    known = [seal for seal in seals if len(seal) == 3]  # in older folders the checksum stands alone
    return {
        "seconds": sum(float(seconds) for _, seconds, _ in known),
        "device": ", ".join(sorted({device for _, _, device in known})),
    }


def embeddings_folder(encoder: BiEncoder, store: TokenStore, max_length: int, unit: bool = True) -> Path:
    """Where the cache keeps the vectors of a store: a name that changes with encoder, texts and length."""
    parts = (encoder.fingerprint(), store.key, str(max_length), *(() if unit else ("not unit",)))
    return cache_folder() / "embeddings" / short_digest(*parts)


def cached_embeddings(
    encoder: BiEncoder, store: TokenStore, max_length: int, device: str | torch.device | None = None
) -> np.ndarray:
    """`encode_collection` into the cache folder."""
    return encode_collection(encoder, store, embeddings_folder(encoder, store, max_length), max_length, device=device)


def _claim(folder: Path, about: dict[str, object], rebuild: bool) -> None:
    """See that the folder is for these vectors, or make it so."""
    record = folder / ABOUT
    if record.exists():
        there = read_json(record)
        if there == about:
            return
        if not rebuild:
            differing = [name for name in about if there.get(name) != about[name]]
            found = ", ".join(f"{name} {there.get(name)!r} instead of {about[name]!r}" for name in differing)
            raise InputError(f"{folder} holds other vectors ({found}); name another folder, or have it rebuilt")
        for file in (folder / VECTORS, *folder.glob("block-*")):
            file.unlink(missing_ok=True)
    write_json(record, about)


def _seal(folder: Path, number: int) -> Path:
    return folder / f"block-{number:05d}.sha256"


def _missing(folder: Path, number: int, block: int) -> str | None:
    """None where a block is there and whole; the empty text where nobody has written it; else what is wrong with it."""
    seal = _seal(folder, number)
    if not seal.is_file():
        return ""
    try:
        vectors = np.load(folder / VECTORS, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        return f"the file cannot be read: {error}"
    found = hashlib.sha256(np.ascontiguousarray(vectors[number * block : (number + 1) * block]).data).hexdigest()
    return None if seal.read_text().split()[:1] == [found] else "it does not have the contents that were written"


def _is_missing(folder: Path, number: int, block: int) -> bool:
    reason = _missing(folder, number, block)
    if reason:
        warnings.warn(f"block {number} of {folder / VECTORS} is damaged ({reason}); it is encoded again", stacklevel=3)
    return reason is not None


def _write(folder: Path, number: int, block: int, texts: int, vectors: np.ndarray, cost: str) -> None:
    """Write a block into the file, which the first one makes (or makes again, if it cannot be read), and then its seal."""
    path = folder / VECTORS
    with disk_errors(path):
        with FileLock(folder / ".lock"):
            if not _is_there(path, (texts, vectors.shape[1]), vectors.dtype):
                _allocate(path, (texts, vectors.shape[1]), vectors.dtype)
        with open(path, "r+b") as target:
            # Not through a memory map: a disk that is full then ends the process instead of raising an error.
            target.seek(np.load(path, mmap_mode="r").offset + number * block * vectors.shape[1] * vectors.itemsize)
            target.write(np.ascontiguousarray(vectors).data)
            target.flush()
            os.fsync(target.fileno())
    with atomic_file(_seal(folder, number)) as draft:
        draft.write_text(f"{hashlib.sha256(np.ascontiguousarray(vectors).data).hexdigest()} {cost}")


def _is_there(path: Path, shape: tuple[int, int], dtype: np.dtype) -> bool:
    try:
        vectors = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):  # absent, cut off, or damaged where its shape is written
        return False
    return vectors.shape == shape and vectors.dtype == dtype


def _allocate(path: Path, shape: tuple[int, int], dtype: np.dtype) -> None:
    with atomic_file(path) as draft:
        np.lib.format.open_memmap(draft, "w+", dtype, shape)
        if hasattr(os, "posix_fallocate"):  # so that a full disk is known before anything is encoded in vain
            with open(draft, "r+b") as target:
                os.posix_fallocate(target.fileno(), 0, draft.stat().st_size)
