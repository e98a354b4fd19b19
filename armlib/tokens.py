"""Tokenise once: the token ids of a set of texts in memory-mapped arrays, from which a batch is a gather.

A store holds content tokens only; the special tokens are put around them as rows are gathered, so one store serves every
maximum length up to its own. MS MARCO's 8.8 million passages take about 1.3 GB (two bytes a token).
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from filelock import FileLock
from transformers import PreTrainedTokenizerBase

from armlib import files
from armlib.errors import InputError
from armlib.progress import bar

FORMAT = "tokens-1"
STORED_LENGTH = 512  # content tokens kept of each text, unless a longer cut is asked for
TEXTS_PER_STEP = 20_000  # texts between two places from which a stopped build goes on

Texts = Callable[[], Iterable[tuple[str, str]]]


class TokenStore:
    """Content tokens of N texts under their ids, memory-mapped from a folder that `token_store` has written.

    Attributes:
        ids: the texts' ids, (N,) bytes.
        description: what the texts are, such as ``"passages of docstrings"``.
        key: 16 hexadecimal digits that name texts, tokenizer and format.
    """

    def __init__(self, folder: Path) -> None:
        about = files.read_json(folder / "about.json")
        self.key: str = about["key"]
        self.description: str = about["description"]
        self.prefix, self.suffix = np.array(about["prefix"], np.int64), np.array(about["suffix"], np.int64)
        self.padding: int = about["padding"]
        self.stored_length: int = about["stored_length"]
        self.ids = np.load(folder / "ids.npy", mmap_mode="r")
        self._order = np.load(folder / "order.npy", mmap_mode="r")
        self._sorted: np.ndarray | None = None
        # Plain views of the mapped files: indexing a memmap object costs several times as much.
        self._offsets = np.asarray(np.load(folder / "offsets.npy", mmap_mode="r"))
        # A store of empty texts only has an empty file, which cannot be mapped.
        tokens = folder / "tokens.bin"
        self._tokens = np.asarray(np.memmap(tokens, about["dtype"], "r")) if tokens.stat().st_size else np.empty(0, about["dtype"])

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def specials(self) -> int:
        """How many special tokens stand around a text."""
        return len(self.prefix) + len(self.suffix)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text with its special tokens, before any cut, (N,) int64."""
        return np.diff(self._offsets) + self.specials

    def lengths_of(self, rows: np.ndarray) -> np.ndarray:
        """Tokens of the rows with their special tokens, before any cut, (n,) int64."""
        return self._offsets[rows + 1] - self._offsets[rows] + self.specials

    def rows(self, ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """Row numbers of the ids, (n,) int64.

        Raises:
            InputError: an id is not in the store; the first one is named.
        """
        wanted = np.asarray(ids, dtype=bytes) if isinstance(ids, np.ndarray) else np.array([i.encode() for i in ids], bytes)
        if not len(wanted):
            return np.empty(0, np.int64)
        if self._sorted is None:
            self._sorted = self.ids[self._order]
        places = np.minimum(np.searchsorted(self._sorted, wanted), len(self) - 1)
        missing = np.flatnonzero(self._sorted[places] != wanted)
        if len(missing):
            raise InputError(
                f"{len(missing)} of {len(wanted)} ids are not among the {len(self):,} {self.description}, the first is "
                f"{wanted[missing[0]].decode()!r}; ids here look like {self.ids[0].decode()!r}"
            )
        return self._order[places].astype(np.int64)

    def gather(self, rows: np.ndarray, max_length: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows' token ids, cut and padded at the right to the longest of them.

        Args:
            rows: row numbers, (n,).
            max_length: tokens to keep of each text, special tokens included.

        Returns:
            Token ids (n, L) int64 and lengths (n,) int64, where L is the longest length.

        Raises:
            InputError: ``max_length`` leaves no room for a token, or is more than the store kept.
        """
        [(ids, mask)] = self.gather_chunks([rows], max_length)
        return ids, mask.sum(1)

    def gather_chunks(self, chunks: Sequence[np.ndarray], max_length: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """`gather` for several lists of rows at once, each padded to its own longest: one large copy in place of many small ones.

        Args:
            chunks: row numbers of each chunk, (n,).
            max_length: as for `gather`.

        Returns:
            For each chunk token ids (n, L) int64 and the mask (n, L) int64, 1 where a token stands.

        Raises:
            InputError: as for `gather`.
        """
        room = max_length - self.specials
        if not 0 < room <= self.stored_length:
            raise InputError(
                f"a maximum length of {max_length} tokens cannot be gathered: this store has from {self.specials + 1} to "
                f"{self.stored_length + self.specials}"
            )
        sizes = np.array([len(rows) for rows in chunks], np.int64)
        rows = np.concatenate(chunks)
        starts = self._offsets[rows]
        content = np.minimum(self._offsets[rows + 1] - starts, room)
        lengths = content + self.specials
        widths = np.array([int(part.max(initial=self.specials)) for part in np.split(lengths, np.cumsum(sizes)[:-1])], np.int64)
        # All chunks lie one after the other in one flat array: where each text starts in it, and where its suffix does.
        padded = np.repeat(widths, sizes)
        places = np.cumsum(padded) - padded
        firsts = places + len(self.prefix)
        ids = np.full(int(padded.sum()), self.padding, np.int64)
        within = np.arange(int(content.sum())) - np.repeat(np.cumsum(content) - content, content)
        ids[np.repeat(firsts, content) + within] = self._tokens[np.repeat(starts, content) + within]
        for place, token in enumerate(self.prefix):
            ids[places + place] = token
        for place, token in enumerate(self.suffix):
            ids[firsts + content + place] = token
        # Up by one where a text starts, down by one where its padding or the next text starts.
        steps = np.bincount(places, minlength=len(ids) + 1) - np.bincount(places + lengths, minlength=len(ids) + 1)
        mask = np.cumsum(steps[:-1])
        shapes = list(zip(sizes.tolist(), widths.tolist(), strict=True))
        ends = np.cumsum(sizes * widths).tolist()
        return [
            (ids[end - n * length : end].reshape(n, length), mask[end - n * length : end].reshape(n, length))
            for (n, length), end in zip(shapes, ends, strict=True)
        ]


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The ids that the tokenizer puts before and after a text, for example ``([101], [102])`` for BERT."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a", add_special_tokens=True)["input_ids"]
    start = next(i for i in range(len(full)) if full[i : i + len(bare)] == bare)
    return full[:start], full[start + len(bare) :]


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """16 hexadecimal digits of everything that decides the tokens of a text: vocabulary, normalisation, special tokens."""
    state = json.loads(_backend(tokenizer).to_str())
    state.pop("truncation", None), state.pop("padding", None)  # set by whoever used the tokenizer last
    return files.digest(json.dumps(state, sort_keys=True), str(tokenizer.pad_token_id))[:16]


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
    key = files.digest(FORMAT, source, tokenizer_fingerprint(tokenizer), str(stored))[:16]
    folder = files.cache_folder() / "tokens" / key
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if folder.exists():
            harm = files.damage(folder)
            if harm is None:
                return TokenStore(folder)
            warnings.warn(f"the token store of the {description} is damaged ({harm}); it is made again", stacklevel=2)
            shutil.rmtree(folder)
        draft = folder.with_suffix(".building")
        with files.disk_errors(folder):
            _tokenise(texts, tokenizer, draft, description, stored)
            with files.atomic_folder(folder) as final:
                _finish(draft, final, tokenizer, key, stored, description)
            shutil.rmtree(draft)
    return TokenStore(folder)


def _backend(tokenizer: PreTrainedTokenizerBase):
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
                tokens.tofile(parts["tokens.bin"]), lengths.tofile(parts["lengths.bin"])
                parts["ids.bin"].write(b"".join(_id_line(name) for name, _ in step))
                for part in parts.values():
                    part.flush()
                state = {
                    "texts": state["texts"] + len(step),
                    "chain": _chained(state["chain"], step),
                    "bytes": {name: part.tell() for name, part in parts.items()},
                }
                files.write_json(draft / "progress.json", state)
                shown.update(len(step))
    finally:
        for part in parts.values():
            part.close()


def _resume(texts: Texts, draft: Path, description: str) -> tuple[Iterator[tuple], dict]:
    """Where a build starts: the stream of steps still to do, and the state after those done.

    The texts already done are read again, without being tokenised, to see that they are the same ones.
    """
    fresh = {"texts": 0, "chain": "", "bytes": {}}
    if not (draft / "progress.json").exists():
        return _steps(texts), fresh
    state = files.read_json(draft / "progress.json")
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
    return files.digest(chain, *(part for pair in step for part in pair))


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
    os.link(draft / "tokens.bin", final / "tokens.bin")  # the draft stays whole until the store is in its place
    prefix, suffix = special_tokens(tokenizer)
    files.write_json(
        final / "about.json",
        {
            "key": key, "description": description, "dtype": _dtype(tokenizer), "padding": tokenizer.pad_token_id,
            "prefix": prefix, "suffix": suffix, "stored_length": stored,
        },
    )  # fmt: skip
