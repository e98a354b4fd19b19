"""The embeddings of a whole collection in one memory-mapped file, filled block by block, so that a stopped encoding goes on."""

from __future__ import annotations

import json
import os
import warnings
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

    Returns:
        (N, D) vectors of length 1, in the order of the store, read-only.

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
    _claim(folder, about, rebuild)
    count = -(-len(store) // block)
    for number in range(count):
        rows = np.arange(number * block, min((number + 1) * block, len(store)))
        reason = _missing(folder, about, rows, number)
        if reason is None:
            continue
        if reason:
            warnings.warn(f"block {number} of {folder / VECTORS} is damaged ({reason}); it is encoded again", stacklevel=2)
        progress = f"encoding, block {number + 1} of {count}"
        vectors = encode_rows(encoder, store, rows, max_length, batch_tokens=batch_tokens, device=device, description=progress)
        _write(folder, about, number, rows, vectors.astype(dtype))
    return np.load(folder / VECTORS, mmap_mode="r")


def cached_embeddings(
    encoder: BiEncoder, store: TokenStore, max_length: int, device: str | torch.device | None = None
) -> np.ndarray:
    """`encode_collection` into the cache folder, under a name that changes with encoder, texts and length."""
    key = short_digest(encoder.fingerprint(), store.key, str(max_length))
    return encode_collection(encoder, store, cache_folder() / "embeddings" / key, max_length, device=device)


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


def _missing(folder: Path, about: dict[str, Any], rows: np.ndarray, number: int) -> str | None:
    """None where a block is there and whole; the empty text where nobody has written it; else what is wrong with it."""
    seal = _seal(folder, number)
    if not seal.exists():
        return ""
    vectors = _there(folder)
    if isinstance(vectors, str):
        return f"the file cannot be read: {vectors}"
    whole = vectors.ndim == 2 and len(vectors) == about["texts"]
    with disk_errors(seal, "read"):
        whole = whole and seal.is_file() and seal.read_bytes() == _contents(about, vectors[rows[0] : rows[-1] + 1]).encode()
    return None if whole else "it does not have the contents that were written"


def _there(folder: Path) -> np.ndarray | str:
    """The vectors that a folder holds, or why they cannot be read."""
    try:
        return np.load(folder / VECTORS, mmap_mode="r")
    except Exception as error:  # absent, cut off, or damaged where its shape is written, of which NumPy makes anything
        return str(error) or type(error).__name__


def _write(folder: Path, about: dict[str, Any], number: int, rows: np.ndarray, vectors: np.ndarray) -> None:
    """Write a block into the file, which the first one makes (or makes again, if it cannot be read), and then its seal."""
    path, shape = folder / VECTORS, (about["texts"], vectors.shape[1])
    with disk_errors(path):
        with FileLock(folder / ".lock"):
            there = _there(folder)
            if isinstance(there, str) or there.shape != shape or there.dtype != vectors.dtype or not there.flags.c_contiguous:
                _allocate(path, shape, vectors.dtype)
        with open(path, "r+b") as target:
            # Not through a memory map: a disk that is full then ends the process instead of raising an error.
            target.seek(np.load(path, mmap_mode="r").offset + int(rows[0]) * vectors.shape[1] * vectors.itemsize)
            target.write(np.ascontiguousarray(vectors).data)
            target.flush()
            os.fsync(target.fileno())
    with atomic_file(_seal(folder, number)) as draft:
        draft.write_text(_contents(about, vectors), encoding="utf8")


def _allocate(path: Path, shape: tuple[int, int], dtype: np.dtype) -> None:
    with atomic_file(path) as draft:
        np.lib.format.open_memmap(draft, "w+", dtype, shape)
        if hasattr(os, "posix_fallocate"):  # so that a full disk is known before anything is encoded in vain
            with open(draft, "r+b") as target:
                os.posix_fallocate(target.fileno(), 0, draft.stat().st_size)
