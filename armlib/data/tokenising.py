"""Tokenise once: the token ids of a set of texts in memory-mapped arrays, from which a batch is a gather.

A store holds content tokens only; the special tokens are put around them as rows are gathered, so one store serves every
maximum length up to its own. MS MARCO's 8.8 million passages take about 1.3 GB (two bytes a token).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from armlib import storage
from armlib.data.characters import check_text
from armlib.data.tokens import TokenStore, special_tokens
from armlib.errors import InputError
from armlib.progress import bar

FORMAT = "tokens-1"
STORED_LENGTH = 512  # content tokens kept of each text, unless a longer cut is asked for
PARTS = ("tokens.bin", "lengths.bin", "ids.bin")
RECORD = "progress.json"
TEXTS_PER_STEP = 20_000  # texts between two points from which a stopped build goes on
Texts = Callable[[], Iterable[tuple[str, str]]]
_FINGERPRINTS: dict[str, str] = {}  # of tokenizers, by a digest of how they write themselves: putting that in order takes longer


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """16 hexadecimal digits of everything that decides the tokens of a text: vocabulary, normalisation, special tokens."""
    written, padding = _backend(tokenizer).to_str(), str(tokenizer.pad_token_id)
    seen = storage.digest(written, padding)
    if seen not in _FINGERPRINTS:
        state = json.loads(written)
        state.pop("truncation", None), state.pop("padding", None)  # set by whoever used the tokenizer last
        _FINGERPRINTS[seen] = storage.short_digest(json.dumps(state, sort_keys=True), padding)
    return _FINGERPRINTS[seen]


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
    backend = type(_backend(tokenizer)).from_str(_backend(tokenizer).to_str())  # a copy: the caller's cut stays as it is
    backend.enable_truncation(stored)
    backend.no_padding()
    stream, done = _resume(texts, draft, description)
    draft.mkdir(exist_ok=True)
    with ExitStack() as files, bar(None, f"tokenising {description}", "texts", initial=done.texts) as shown:
        parts = {name: files.enter_context(open(draft / name, "ab")) for name in PARTS}
        for name, part in parts.items():
            part.truncate(done.sizes[name])
        for step in stream:
            done.read(step)
            try:
                encodings = backend.encode_batch_fast([text for _, text in step], add_special_tokens=False)
            except TypeError:  # what tokenizers make of a text that UTF-8 cannot hold
                for name, text in step:
                    check_text(text, "text", f"{description}: {name!r}")
                raise
            tokens = np.concatenate([np.array(e.ids, _dtype(tokenizer)) for e in encodings])
            lengths = np.array([len(e) for e in encodings], np.int32)
            ids = b"".join(_id_line(name) for name, _ in step)
            for (name, part), data in zip(parts.items(), (tokens.tobytes(), lengths.tobytes(), ids), strict=True):
                part.write(data)
                part.flush()
                os.fsync(part.fileno())  # before the record says that it is there
                done.sizes[name] += len(data)
                done.sums[name].update(data)
            storage.write_json(draft / RECORD, done.record())
            shown.update(len(step))


@dataclass
class _Done:
    """How far a build is: so many texts, a digest of them, and of each file its size and running SHA-256."""

    texts: int = 0
    chain: str = ""
    sizes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))
    sums: dict[str, Any] = field(default_factory=lambda: {name: hashlib.sha256() for name in PARTS})

    def read(self, step: Sequence[tuple[str, str]]) -> None:
        """Take in the texts of a step."""
        self.texts, self.chain = self.texts + len(step), storage.digest(self.chain, *(part for pair in step for part in pair))

    def record(self) -> dict[str, Any]:
        """What a later build needs to go on."""
        parts = {name: {"bytes": self.sizes[name], "sha256": self.sums[name].hexdigest()} for name in PARTS}
        return {"texts": self.texts, "chain": self.chain, "parts": parts}


def _resume(texts: Texts, draft: Path, description: str) -> tuple[Iterator[list[tuple[str, str]]], _Done]:
    """Where a build starts: the stream of steps still to do, and what is done.

    What a stopped build left is gone on with if its files have the contents that were written and the texts are those that it
    read; to see that they are read again, without being tokenised.
    """
    done, stream = _Done(), _steps(texts)
    if not (draft / RECORD).exists():
        return stream, done
    try:
        chain = _checked(draft, done)
    except (InputError, OSError, LookupError, TypeError, ValueError):  # a record or files that are not as they were written
        reason = "its files do not have the contents that were written"
    else:
        for step in stream:
            done.read(step)
            if done.chain == chain:
                return stream, done
        reason = f"these {description} are not those that it read"
    warnings.warn(f"tokenising starts over: a build that was stopped cannot go on, for {reason}", stacklevel=5)
    storage.remove(draft)
    return _steps(texts), _Done()


def _checked(draft: Path, done: _Done) -> str:
    """Take in the files of a stopped build, as far as its record says that they are good; gives the digest of the texts read."""
    record = storage.read_json(draft / RECORD)
    for name in PARTS:
        size, expected = record["parts"][name]["bytes"], record["parts"][name]["sha256"]
        with open(draft / name, "rb") as source:
            while done.sizes[name] < size and (block := source.read(min(size - done.sizes[name], 1 << 20))):
                done.sizes[name] += len(block)
                done.sums[name].update(block)
        if done.sizes[name] != size or done.sums[name].hexdigest() != expected:
            raise ValueError(name)
    return record["chain"]


def _steps(texts: Texts) -> Iterator[list[tuple[str, str]]]:
    stream = iter(texts())
    while step := list(islice(stream, TEXTS_PER_STEP)):
        yield step


def _id_line(name: str) -> bytes:
    if not name or "\n" in name or "\0" in name:
        raise InputError(f"the id {name!r} cannot be used: an id needs at least one character, and no line break")
    check_text(name, "id", repr(name))
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
        storage.remove(draft)
        raise InputError(f"the id {ordered[twice[0]].decode()!r} occurs more than once among the {description}")
    np.save(final / "offsets.npy", offsets)
    np.save(final / "ids.npy", ids)
    np.save(final / "order.npy", order.astype(np.int32))
    storage.link_or_copy(draft / "tokens.bin", final / "tokens.bin")  # the draft stays whole until the store has its name
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
