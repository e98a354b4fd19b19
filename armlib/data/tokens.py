"""Tokenised texts in memory-mapped arrays, from which a batch is a gather; `armlib.data.tokenising` writes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from armlib import storage
from armlib.errors import InputError


class TokenStore:
    """Content tokens of N texts under their ids, memory-mapped from a folder that `armlib.data.tokenising.token_store` has written.

    Attributes:
        ids: the texts' ids, (N,) bytes.
        description: what the texts are, such as ``"passages of docstrings"``.
        key: 16 hexadecimal digits that name texts, tokenizer and format.
    """

    def __init__(self, folder: Path) -> None:
        about = storage.read_json(folder / "about.json")
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
        found = self.find(ids)
        missing = np.flatnonzero(found < 0)
        if len(missing):
            first = ids[missing[0]]
            raise InputError(
                f"{len(missing)} of {len(ids)} ids are not among the {len(self):,} {self.description}, the first is "
                f"{(first.decode() if isinstance(first, bytes) else first)!r}; ids here look like {self.ids[0].decode()!r}"
            )
        return found

    def find(self, ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """Row numbers of the ids, (n,) int64, -1 where there is none."""
        wanted = np.asarray(ids, dtype=bytes) if isinstance(ids, np.ndarray) else np.array([i.encode() for i in ids], bytes)
        if not len(wanted):
            return np.empty(0, np.int64)
        if self._sorted is None:
            self._sorted = self.ids[self._order]
        found = np.minimum(np.searchsorted(self._sorted, wanted), len(self) - 1)
        return np.where(self._sorted[found] == wanted, self._order[found], -1).astype(np.int64)

    def gather(self, rows: np.ndarray, max_length: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows' token ids, cut and padded at the right to the longest of them.

        Args:
            rows: row numbers, (n,).
            max_length: tokens to keep of each text, special tokens included.

        Returns:
            Token ids (n, L) int64 and lengths (n,) int64, where L is the longest length.

        Raises:
            InputError: ``max_length`` leaves no token, or is more than the store kept.
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
        self._check_length(max_length)
        sizes = np.array([len(rows) for rows in chunks], np.int64)
        rows = np.concatenate(chunks)
        lengths = np.minimum(self.lengths_of(rows), max_length)
        widths = np.array([int(part.max(initial=self.specials)) for part in np.split(lengths, np.cumsum(sizes)[:-1])], np.int64)
        # All chunks lie one after the other in one flat array: where each text starts in it.
        padded = np.repeat(widths, sizes)
        begins = np.cumsum(padded) - padded
        ids = self._laid_out(rows, lengths, padded)
        # Up by one where a text starts, down by one where its padding or the next text starts.
        steps = np.bincount(begins, minlength=len(ids) + 1) - np.bincount(begins + lengths, minlength=len(ids) + 1)
        mask = np.cumsum(steps[:-1])
        shapes = list(zip(sizes.tolist(), widths.tolist(), strict=True))
        ends = np.cumsum(sizes * widths).tolist()
        return [
            (ids[end - n * length : end].reshape(n, length), mask[end - n * length : end].reshape(n, length))
            for (n, length), end in zip(shapes, ends, strict=True)
        ]

    def gather_flat(self, rows: np.ndarray, max_length: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows' token ids, cut, one text after the other.

        Args:
            rows: row numbers, (n,).
            max_length: as for `gather`.

        Returns:
            Token ids (T,) int64 and lengths (n,) int64, whose sum is T.

        Raises:
            InputError: as for `gather`.
        """
        self._check_length(max_length)
        lengths = np.minimum(self.lengths_of(rows), max_length)
        return self._laid_out(rows, lengths, lengths), lengths

    def _laid_out(self, rows: np.ndarray, lengths: np.ndarray, slots: np.ndarray) -> np.ndarray:
        """Texts of these lengths in slots of these sizes, (n,) each, one slot after the other, padded at the right."""
        begins, content, starts = np.cumsum(slots) - slots, lengths - self.specials, self._offsets[rows]
        firsts = begins + len(self.prefix)
        ids = np.full(int(slots.sum()), self.padding, np.int64)
        within = np.arange(int(content.sum())) - np.repeat(np.cumsum(content) - content, content)
        ids[np.repeat(firsts, content) + within] = self._tokens[np.repeat(starts, content) + within]
        for offset, token in enumerate(self.prefix):
            ids[begins + offset] = token
        for offset, token in enumerate(self.suffix):
            ids[firsts + content + offset] = token
        return ids

    def _check_length(self, max_length: int) -> None:
        if not 0 < max_length - self.specials <= self.stored_length:
            raise InputError(
                f"a maximum length of {max_length} tokens cannot be gathered: this store has from {self.specials + 1} to "
                f"{self.stored_length + self.specials}"
            )


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The ids that the tokenizer puts before and after a text, for example ``([101], [102])`` for BERT."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a", add_special_tokens=True)["input_ids"]
    start = next(i for i in range(len(full)) if full[i : i + len(bare)] == bare)
    return full[:start], full[start + len(bare) :]
