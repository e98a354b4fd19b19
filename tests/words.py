"""A token store and an encoder of words, so small that what retrieval does with them can be computed one text at a time."""

from __future__ import annotations

import re
import zlib

import numpy as np
import torch
from torch import nn

from armlib.errors import InputError


class WordStore:
    """A token store with a word for a token, numbered by its checksum."""

    def __init__(self, texts: dict[str, str]) -> None:
        self.ids = np.array([name.encode() for name in texts])
        self.tokens = [[1] + [2 + zlib.crc32(w.encode()) % 4000 for w in re.findall(r"\w+", t.lower())] for t in texts.values()]
        self.lengths = np.array(list(map(len, self.tokens)))
        self.key = f"{zlib.crc32(repr(texts).encode()):08x}"
        self.gathered: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, ids):
        place = {name.decode(): row for row, name in enumerate(self.ids)}
        missing = [name for name in ids if name not in place]
        if missing:
            raise InputError(f"{len(missing)} of {len(ids)} ids are not in the store, the first is {missing[0]!r}")
        return np.array([place[name] for name in ids])

    def gather(self, rows, max_length):
        self.gathered.append(rows)
        lengths = np.minimum(self.lengths[rows], max_length)
        ids = np.zeros((len(rows), lengths.max()), np.int64)
        for i, row in enumerate(rows):
            ids[i, : lengths[i]] = self.tokens[row][: lengths[i]]
        return ids, lengths


class WordEncoder(nn.Module):
    """The mean of word vectors, with dropout to show whether it is on."""

    dim = 64

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.words = nn.Embedding(4002, self.dim)
        self.seed, self.drop, self.frozen = seed, nn.Dropout(0.5), nn.Dropout(0.1).eval()

    def fingerprint(self) -> str:
        return f"words-{self.seed}"

    def forward(self, input_ids, attention_mask):
        assert not torch.is_grad_enabled() and input_ids.dtype == attention_mask.dtype == torch.int64
        weights = attention_mask.unsqueeze(-1).float()
        return self.drop((self.words(input_ids) * weights).sum(1) / weights.sum(1))


def one_by_one(encoder: nn.Module, store: WordStore, rows, max_length: int) -> np.ndarray:
    """The rows' vectors of length 1, each encoded alone."""
    vectors = []
    encoder.eval()
    for row in rows:
        tokens = torch.tensor([store.tokens[row][:max_length]])
        with torch.no_grad():
            vectors.append(nn.functional.normalize(encoder(tokens, torch.ones_like(tokens)))[0].numpy())
    return np.stack(vectors)
