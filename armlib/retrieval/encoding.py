"""Texts to vectors: rows of a token store encoded in length order, and a few texts that somebody types."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import nn
from torch.nn.functional import normalize

from armlib.data.flat_texts import FlatTexts
from armlib.data.tokens import TokenStore
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.cudnn import without_cudnn
from armlib.encoder.modes import evaluating
from armlib.errors import InputError
from armlib.progress import bar

BATCH_TOKENS = {"cpu": 8_192, "cuda": 65_536}
"""Tokens of a batch, padding included: on a CPU little enough for its caches, on a GPU enough to fill it."""


def encode_rows(
    encoder: nn.Module,
    store: TokenStore,
    rows: Integer[np.ndarray, " n"],
    max_length: int,
    *,
    batch_tokens: int | None = None,
    device: str | torch.device | None = None,
    description: str = "encoding",
    unit: bool = True,
) -> Float[np.ndarray, "n D"]:
    """Encode rows of a token store: no gradients, evaluation mode, bfloat16 autocast on CUDA alone.

    Texts are encoded longest first in batches of equal cost and put back into their order: little is padded, and memory
    runs out in the first batch or not at all.

    Args:
        encoder: maps token ids (n, L) and attention mask (n, L), both int64, to embeddings (n, D); a `BiEncoder` that ``packs``
            is given its texts without padding. Afterwards each of its modules is in the mode (training or not) that it was in.
        store: the texts' tokens.
        rows: (n,) row numbers, in any order, repeated where wanted.
        max_length: tokens at which texts are cut, the special ones included.
        batch_tokens: at most so many tokens in a batch, padding and the context behind each text included; None takes
            `BATCH_TOKENS`.
        device: moved to, if the encoder is elsewhere; None: where the encoder is.
        description: of the progress bar.
        unit: divide each vector by its length.

    Returns:
        (n, D) float32, each row of length 1 where ``unit`` says so.

    Raises:
        InputError: an embedding is not finite.
    """
    rows = np.asarray(rows, dtype=np.int64)
    if device is not None:
        encoder.to(device)
    device = next(encoder.parameters()).device
    lengths = np.minimum(store.lengths[rows], max_length)
    longest = getattr(encoder, "max_length", None)
    if longest and lengths.max(initial=0) > longest:
        raise InputError(
            f"texts of up to {lengths.max()} tokens are too long for an encoder with {longest} positions; cut them there"
        )
    order = np.argsort(-lengths, kind="stable")
    vectors = np.empty((len(rows), getattr(encoder, "dim", 0)), np.float32)
    waiting: deque[tuple[np.ndarray, torch.Tensor, torch.cuda.Event | None]] = deque()

    def receive() -> None:
        nonlocal vectors
        part, result, copied = waiting.popleft()
        if copied is not None:
            copied.synchronize()
        found = result.numpy()
        if not np.isfinite(found).all():
            row = int(rows[part[~np.isfinite(found).all(axis=1)][0]])
            raise InputError(f"the encoder gave an embedding that is not finite: row {row}, {text(store.ids[row])!r}")
        if vectors.shape[1] != found.shape[1]:
            vectors = np.empty((len(rows), found.shape[1]), np.float32)
        vectors[part] = found

    flat = encoder if isinstance(encoder, BiEncoder) and encoder.packs else None
    budget = batch_tokens or BATCH_TOKENS.get(device.type, BATCH_TOKENS["cpu"])
    autocast = torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()
    with torch.inference_mode(), evaluating(encoder), without_cudnn(), autocast, bar(len(rows), description, "texts") as shown:
        for part in length_batches(order, lengths + getattr(encoder, "context_size", 0), budget):
            if flat:
                result = _encode_flat(flat, *store.gather_flat(rows[part], max_length), device, unit)
            else:
                result = _encode(encoder, *store.gather(rows[part], max_length), device, unit)
            waiting.append((part, *result))
            # One batch stays in flight, so that its copy back overlaps the next batch's work.
            if len(waiting) > 1:
                receive()
            shown.update(len(part))
        while waiting:
            receive()
    return vectors


def length_batches(order: np.ndarray, lengths: np.ndarray, budget: int) -> Iterator[np.ndarray]:
    """Cut positions in descending order of lengths into batches whose padded size is at most ``budget`` tokens."""
    start = 0
    while start < len(order):
        size = max(1, budget // int(lengths[order[start]]))
        yield order[start : start + size]
        start += size


def _encode(
    encoder: nn.Module, input_ids: np.ndarray, lengths: np.ndarray, device: torch.device, unit: bool
) -> tuple[torch.Tensor, torch.cuda.Event | None]:
    """Embeddings in host memory; on CUDA they are there once the event has happened."""
    ids, counts = torch.from_numpy(input_ids), torch.from_numpy(np.asarray(lengths, np.int64))
    if device.type == "cuda":
        ids, counts = ids.pin_memory(), counts.pin_memory()
    ids, counts = ids.to(device, non_blocking=True), counts.to(device, non_blocking=True)
    mask = (torch.arange(ids.shape[1], device=device) < counts[:, None]).long()
    return _received(encoder(ids, mask), device, unit)


def _encode_flat(
    encoder: BiEncoder, input_ids: np.ndarray, lengths: np.ndarray, device: torch.device, unit: bool
) -> tuple[torch.Tensor, torch.cuda.Event | None]:
    """`_encode` for token ids without padding, (T,)."""
    texts = FlatTexts(torch.from_numpy(input_ids), torch.from_numpy(lengths), torch.arange(len(lengths)))
    texts = texts.pin_memory() if device.type == "cuda" else texts
    return _received(encoder.embed_flat(texts.to(device)), device, unit)


def _received(result: torch.Tensor, device: torch.device, unit: bool) -> tuple[torch.Tensor, torch.cuda.Event | None]:
    """The encoder's result on its way to host memory."""
    result = normalize(result.float(), dim=-1) if unit else result.float()
    if device.type != "cuda":
        return result.cpu(), None
    host = torch.empty(result.shape, dtype=result.dtype, pin_memory=True)
    host.copy_(result, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()
    return host, copied


def text(name: str | bytes) -> str:
    """An id as text; stores keep ids as UTF-8 bytes."""
    return name.decode() if isinstance(name, bytes) else str(name)


def encode_texts(encoder: BiEncoder, texts: Sequence[str], max_length: int, unit: bool = True) -> Float[np.ndarray, "n D"]:
    """Encode a few texts, such as questions that somebody types.

    Args:
        encoder: a bi-encoder, whose tokenizer is used.
        texts: n texts.
        max_length: tokens at which they are cut, the special ones included.
        unit: divide each vector by its length.

    Returns:
        (n, D) float32, each row of length 1 where ``unit`` says so.
    """
    tokens = encoder.tokenizer(list(texts), truncation=True, max_length=max_length, padding=True, return_tensors="np")
    lengths = tokens["attention_mask"].sum(axis=1)
    with torch.inference_mode(), evaluating(encoder):
        vectors, copied = _encode(encoder, tokens["input_ids"], lengths, next(encoder.parameters()).device, unit)
    if copied is not None:
        copied.synchronize()
    return vectors.numpy()
