"""Tokenise once: the token ids of a set of texts in memory-mapped arrays, from which a batch is a gather.

A store holds content tokens only; the special tokens are put around them as rows are gathered, so one store serves every
maximum length up to its own. MS MARCO's 8.8 million passages take about 1.3 GB (two bytes a token).
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from armlib import storage
from armlib.data.tokens import TokenStore, special_tokens
from armlib.errors import InputError
from armlib.progress import bar

FORMAT = "tokens-1"
STORED_LENGTH = 512  # content tokens kept of each text, unless a longer cut is asked for
TEXTS_PER_STEP = 20_000  # texts between two points from which a stopped build goes on
Texts = Callable[[], Iterable[tuple[str, str]]]


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """16 hexadecimal digits of everything that decides the tokens of a text: vocabulary, normalisation, special tokens."""
    state = json.loads(_backend(tokenizer).to_str())
    state.pop("truncation", None), state.pop("padding", None)  # set by whoever used the tokenizer last
    return storage.short_digest(json.dumps(state, sort_keys=True), str(tokenizer.pad_token_id))


def token_store(
    texts: Texts, tokenizer: PreTrainedTokenizerBase, source: str, description: str, *, max_length: int = STORED_LENGTH
) -> TokenStore:
    """The token store of the texts, built in the cache on first use; a stopped build goes on, a damaged one is made anew.

    Args:
        texts: called to stream (id, text) pairs, in the same order each time.
        tokenizer: a fast Hugging Face tokenizer.
        source: fingerprint of the texts; together with the tokenizer it names the store.
        description: what the texts are, for progress and messages, such as ``"passages of docstrings"``.
        max_length: the longest maximum length to be gathered, in tokens.

    Raises:
        InputError: two texts share an id, an id holds a line break, the tokenizer is not a fast one, or the disk is full.
    """
    stored = max(STORED_LENGTH, max_length)
    key = storage.short_digest(FORMAT, source, tokenizer_fingerprint(tokenizer), str(stored))
    # Outside the folder that is sealed at the end, so that a build that is stopped goes on.
    unfinished = storage.cache_folder() / "tokens" / f"{key}.building"

    def make(draft: Path) -> None:
        _tokenise(texts, tokenizer, unfinished, description, stored)
        _finish(unfinished, draft, tokenizer, key, stored, description)

    folder = storage.kept(f"tokens/{key}", f"token store of the {description}", make)
    shutil.rmtree(unfinished, ignore_errors=True)
    return TokenStore(folder)


def _backend(tokenizer: PreTrainedTokenizerBase) -> Any:
    if not tokenizer.is_fast:
        raise InputError(f"{tokenizer.__class__.__name__} is a slow tokenizer; a fast one (with tokenizer.json) is needed")
    return tokenizer.backend_tokenizer


def _dtype(tokenizer: PreTrainedTokenizerBase) -> str:
    return "uint16" if len(tokenizer) <= 1 << 16 else "uint32"


def _tokenise(texts: Texts, tokenizer: PreTrainedTokenizerBase, draft: Path, description: str, stored: int) -> None:
    """Append tokens, lengths and ids of the texts to three files, recording after each step how far they are good."""
    draft.mkdir(exist_ok=True)
    backend = type(_backend(tokenizer)).from_str(_backend(tokenizer).to_str())  # a copy: the caller's cut stays as it is
    backend.enable_truncation(stored)
    backend.no_padding()
    parts = {name: open(draft / name, "ab") for name in ("tokens.bin", "lengths.bin", "ids.bin")}
    try:
        stream, state = _resume(texts, draft, description)
        for name, part in parts.items():
            part.truncate(state["bytes"].get(name, 0))
        with bar(None, f"tokenising {description}", "texts", initial=state["texts"]) as shown:
            for step in stream:
                encodings = backend.encode_batch_fast([text for _, text in step], add_special_tokens=False)
                lengths = np.array([len(e) for e in encodings], np.int32)
                tokens = np.concatenate([np.array(e.ids, _dtype(tokenizer)) for e in encodings])
                tokens.tofile(parts["tokens.bin"])
                lengths.tofile(parts["lengths.bin"])
                parts["ids.bin"].write(b"".join(_id_line(name) for name, _ in step))
                for part in parts.values():
                    part.flush()
                state = {
                    "texts": state["texts"] + len(step),
                    "chain": _chained(state["chain"], step),
                    "bytes": {name: part.tell() for name, part in parts.items()},
                }
                storage.write_json(draft / "progress.json", state)
                shown.update(len(step))
    finally:
        for part in parts.values():
            part.close()


def _resume(texts: Texts, draft: Path, description: str) -> tuple[Iterator[list[tuple[str, str]]], dict[str, Any]]:
    """Where a build starts: the stream of steps still to do, and the state after those done.

    The texts already done are read again, without being tokenised, to see that they are the same ones.
    """
    fresh: dict[str, Any] = {"texts": 0, "chain": "", "bytes": {}}
    if not (draft / "progress.json").exists():
        return _steps(texts), fresh
    state = storage.read_json(draft / "progress.json")
    stream, done, chain = _steps(texts), 0, ""
    while done < state["texts"]:
        step = next(stream, [])
        done, chain = done + len(step), _chained(chain, step)
        if not step:
            break
    intact = all((draft / name).stat().st_size >= size for name, size in state["bytes"].items())
    if chain == state["chain"] and intact:
        return stream, state
    warnings.warn(f"the {description} are not those that tokenising was stopped at, so it starts over", stacklevel=4)
    return _steps(texts), fresh


def _steps(texts: Texts) -> Iterator[list[tuple[str, str]]]:
    stream = iter(texts())
    while step := list(islice(stream, TEXTS_PER_STEP)):
        yield step


def _chained(chain: str, step: Iterable[tuple[str, str]]) -> str:
    return storage.digest(chain, *(part for pair in step for part in pair))


def _id_line(name: str) -> bytes:
    if not name or "\n" in name or "\0" in name:
        raise InputError(f"the id {name!r} cannot be used: an id needs at least one character, and no line break")
    return name.encode() + b"\n"


def _finish(draft: Path, final: Path, tokenizer: PreTrainedTokenizerBase, key: str, stored: int, description: str) -> None:
    lengths = np.fromfile(draft / "lengths.bin", np.int32)
    if not len(lengths):
        raise InputError(f"there are no {description} to tokenise")
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    ids = np.array((draft / "ids.bin").read_bytes().split(b"\n")[:-1])
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(twice):
        shutil.rmtree(draft)
        raise InputError(f"the id {ordered[twice[0]].decode()!r} occurs more than once among the {description}")
    np.save(final / "offsets.npy", offsets)
    np.save(final / "ids.npy", ids)
    np.save(final / "order.npy", order.astype(np.int32))
    os.link(draft / "tokens.bin", final / "tokens.bin")  # the draft stays whole until the store has its name
    prefix, suffix = special_tokens(tokenizer)
    storage.write_json(
        final / "about.json",
        {
            "key": key,
            "description": description,
            "dtype": _dtype(tokenizer),
            "padding": tokenizer.pad_token_id,
            "prefix": prefix,
            "suffix": suffix,
            "stored_length": stored,
        },
    )
