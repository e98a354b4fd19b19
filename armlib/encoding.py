"""Texts to vectors: rows of a token store encoded in length order, and whole collections in shards on disk."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn
from torch.nn.functional import normalize

from armlib.errors import InputError
from armlib.files import atomic_file, digest, file_digest, read_json, write_json
from armlib.progress import bar
from armlib.vectors import ShardedVectors

BATCH_TOKENS = {"cpu": 8_192, "cuda": 65_536}
"""Padded tokens of a batch: on a CPU little enough for its caches, on a GPU enough to fill it."""


class Store(Protocol):
    """What is read of a token store; `armlib.tokens.TokenStore` is one."""

    ids: Sequence[bytes] | Sequence[str]
    lengths: np.ndarray  # (N,) tokens with the special ones, before any cut

    def __len__(self) -> int: ...

    def rows(self, ids: Sequence[str]) -> np.ndarray: ...

    def gather(self, rows: np.ndarray, max_length: int) -> tuple[np.ndarray, np.ndarray]: ...


def encode_rows(
    encoder: nn.Module, store: Store, rows: np.ndarray, max_length: int, *, batch_tokens: int | None = None,
    device: str | torch.device | None = None, description: str = "encoding",
) -> np.ndarray:  # fmt: skip
    """Encode rows of a token store: no gradients, evaluation mode, bfloat16 autocast on CUDA alone.

    Texts are encoded longest first in batches of equal cost and put back into their order: little is padded, and memory
    runs out in the first batch or not at all.

    Args:
        encoder: maps token ids (n, L) and attention mask (n, L), both int64, to embeddings (n, D). Afterwards each of
            its modules is in the mode (training or not) that it was in.
        store: the texts' tokens.
        rows: (n,) row numbers, in any order, repeated where wanted.
        max_length: tokens at which texts are cut, the special ones included.
        batch_tokens: at most so many tokens in a batch, padding included; None takes `BATCH_TOKENS`.
        device: moved to, if the encoder is elsewhere; None: where the encoder is.
        description: of the progress bar.

    Returns:
        (n, D) float32, each row of length 1.

    Raises:
        InputError: an embedding is not finite.
    """
    rows = np.asarray(rows, dtype=np.int64)
    if device is not None:
        encoder.to(device)
    device = next(encoder.parameters()).device
    lengths = np.minimum(store.lengths[rows], max_length)
    order = np.argsort(-lengths, kind="stable")
    vectors = np.empty((len(rows), getattr(encoder, "dim", 0)), np.float32)
    waiting: deque[tuple[np.ndarray, torch.Tensor, torch.cuda.Event | None]] = deque()

    def receive() -> None:
        nonlocal vectors
        places, result, copied = waiting.popleft()
        if copied is not None:
            copied.synchronize()
        found = result.numpy()
        if not np.isfinite(found).all():
            row = int(rows[places[~np.isfinite(found).all(axis=1)][0]])
            raise InputError(f"the encoder gave an embedding that is not finite: row {row}, {text(store.ids[row])!r}")
        if vectors.shape[1] != found.shape[1]:
            vectors = np.empty((len(rows), found.shape[1]), np.float32)
        vectors[places] = found

    budget = batch_tokens or BATCH_TOKENS.get(device.type, BATCH_TOKENS["cpu"])
    autocast = torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()
    with torch.inference_mode(), _evaluating(encoder), autocast, bar(len(rows), description, "texts") as shown:
        for places in _batches(order, lengths, budget):
            waiting.append((places, *_encode(encoder, *store.gather(rows[places], max_length), device)))
            # One batch stays in flight, so that its copy back overlaps the next batch's work.
            if len(waiting) > 1:
                receive()
            shown.update(len(places))
        while waiting:
            receive()
    return vectors


def _batches(order: np.ndarray, lengths: np.ndarray, budget: int) -> Iterator[np.ndarray]:
    """Cut places in descending order of lengths into batches whose padded size is at most ``budget`` tokens."""
    start = 0
    while start < len(order):
        size = max(1, budget // int(lengths[order[start]]))
        yield order[start : start + size]
        start += size


def _encode(
    encoder: nn.Module, input_ids: np.ndarray, lengths: np.ndarray, device: torch.device
) -> tuple[torch.Tensor, torch.cuda.Event | None]:
    """Embeddings of length 1 in host memory; on CUDA they are there once the event has happened."""
    ids, counts = torch.from_numpy(input_ids), torch.from_numpy(np.asarray(lengths, np.int64))
    if device.type == "cuda":
        ids, counts = ids.pin_memory(), counts.pin_memory()
    ids, counts = ids.to(device, non_blocking=True), counts.to(device, non_blocking=True)
    mask = (torch.arange(ids.shape[1], device=device) < counts[:, None]).long()
    result = normalize(encoder(ids, mask).float(), dim=-1)
    if device.type != "cuda":
        return result.cpu(), None
    host = torch.empty(result.shape, dtype=result.dtype, pin_memory=True)
    host.copy_(result, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()
    return host, copied


@contextmanager
def _evaluating(encoder: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in encoder.modules()]
    encoder.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def encode_collection(
    encoder: nn.Module, store: Store, folder: str | Path, max_length: int, *, key: str | None = None,
    shard: int = 100_000, dtype: str = "float32", batch_tokens: int | None = None,
    device: str | torch.device | None = None, rebuild: bool = False,
) -> ShardedVectors:  # fmt: skip
    """Encode every text of a store into ``.npy`` shards in a folder, and read them through memory maps.

    A shard appears whole as soon as it is made. A call after an interruption makes those that are missing; one that is
    damaged is made again, with a warning. Several processes may fill one folder by `encode_shards` first.

    Args:
        encoder, store, max_length, batch_tokens, device: as `encode_rows` takes them.
        folder: where the shards are; made if need be.
        key: names encoder and texts; None takes the encoder's ``fingerprint()`` and the store's ``key``.
        shard: texts in a shard.
        dtype: ``float32``, or ``float16``, which takes half the room and changes cosines by about 1e-5.
        rebuild: delete what the folder holds of another key and encode anew, instead of refusing.

    Returns:
        (N, D) vectors of length 1, in the order of the store.

    Raises:
        InputError: the folder holds other vectors (another key, length, shard size or type), an embedding is not
            finite, the store is empty, or the disk is full (shards made so far stay).
    """
    encode_shards(
        encoder, store, folder, max_length, key=key, shard=shard, dtype=dtype, batch_tokens=batch_tokens, device=device,
        rebuild=rebuild,
    )  # fmt: skip
    return ShardedVectors([Path(folder) / _name(number) for number in range(-(-len(store) // shard))])


def encode_shards(
    encoder: nn.Module, store: Store, folder: str | Path, max_length: int, *, key: str | None = None,
    shard: int = 100_000, dtype: str = "float32", batch_tokens: int | None = None,
    device: str | torch.device | None = None, rebuild: bool = False, part: int = 0, parts: int = 1,
) -> None:  # fmt: skip
    """Make the missing ones of every ``parts``-th shard from number ``part`` on: one process's share of a collection.

    Arguments and errors are those of `encode_collection`.
    """
    folder = Path(folder)
    if not len(store):
        raise InputError("there are no texts to encode")
    if dtype not in ("float16", "float32"):
        raise InputError(f"vectors are kept as float16 or float32, not {dtype!r}")
    key = key or digest(encoder.fingerprint(), store.key)[:16]
    about = {"key": key, "texts": len(store), "max_length": max_length, "shard": shard, "dtype": dtype}
    _claim(folder, about, rebuild)
    for number in range(part, -(-len(store) // shard), parts):
        file = folder / _name(number)
        if file.exists():
            wrong = _damage(file)
            if wrong is None:
                continue
            warnings.warn(f"the shard {file} is damaged ({wrong}); it is made again", stacklevel=3)
        rows = np.arange(number * shard, min((number + 1) * shard, len(store)))
        progress = f"encoding, shard {number + 1} of {-(-len(store) // shard)}"
        settings = {"batch_tokens": batch_tokens, "device": device, "description": progress}
        _write(file, encode_rows(encoder, store, rows, max_length, **settings).astype(dtype))


def _claim(folder: Path, about: dict, rebuild: bool) -> None:
    """See that the folder is for these vectors, or make it so."""
    place = folder / "about.json"
    if place.exists():
        there = read_json(place)
        if there == about:
            return
        if not rebuild:
            differing = [name for name in about if there.get(name) != about[name]]
            found = ", ".join(f"{name} {there.get(name)!r} instead of {about[name]!r}" for name in differing)
            raise InputError(f"{folder} holds other vectors ({found}); name another folder, or have it rebuilt")
        for file in folder.glob("shard-*"):
            file.unlink()
    write_json(place, about)


def _name(number: int) -> str:
    return f"shard-{number:05d}.npy"


def _write(file: Path, vectors: np.ndarray) -> None:
    with atomic_file(file) as draft, open(draft, "wb") as target:
        # numpy's own writing to files loses the error number by which a full disk is told.
        np.lib.format.write_array_header_1_0(target, np.lib.format.header_data_from_array_1_0(vectors))
        target.write(np.ascontiguousarray(vectors).data)
        target.flush()
        seal = {"bytes": draft.stat().st_size, "sha256": file_digest(draft)}
    write_json(file.with_suffix(".json"), seal)


def _damage(file: Path) -> str | None:
    seal = file.with_suffix(".json")
    if not seal.exists():
        return "it has no checksum"
    if file.stat().st_size != read_json(seal)["bytes"]:
        return f"it has {file.stat().st_size} bytes, not {read_json(seal)['bytes']}"
    return None if file_digest(file) == read_json(seal)["sha256"] else "it does not have the contents that were written"


def text(name: str | bytes) -> str:
    """An id as text; stores keep ids as UTF-8 bytes."""
    return name.decode() if isinstance(name, bytes) else str(name)


def encode_texts(encoder: nn.Module, texts: Sequence[str], max_length: int) -> np.ndarray:
    """Encode a few texts, such as questions that somebody types.

    Args:
        encoder: a `BiEncoder`, whose tokenizer is used.
        texts: n texts.
        max_length: tokens at which they are cut, the special ones included.

    Returns:
        (n, D) float32, each row of length 1.
    """
    tokens = encoder.tokenizer(list(texts), truncation=True, max_length=max_length, padding=True, return_tensors="np")
    lengths = tokens["attention_mask"].sum(axis=1)
    with torch.inference_mode(), _evaluating(encoder):
        vectors, copied = _encode(encoder, tokens["input_ids"], lengths, next(encoder.parameters()).device)
    if copied is not None:
        copied.synchronize()
    return vectors.numpy()
