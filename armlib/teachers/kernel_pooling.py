"""How well a passage matches a query, in a dozen numbers: kernel pooling over frozen word vectors, and BM25.

Kernel pooling is K-NRM's (Xiong et al. 2017, arXiv:1706.06613): eleven Gaussian kernels count, softly, how many words of the
passage are how similar to a word of the query. The word vectors are those that latent semantic analysis of the collection gives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from torch import Tensor
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pad_sequence

from armlib.data.bm25 import BM25_RECIPE, word_tokenizer
from armlib.data.collection import Collection
from armlib.demo.word_vectors import MOST_TEXTS, RECIPE, SPECIAL, Semantics, kept_semantics
from armlib.storage import kept, read_json, short_digest, write_json

CENTRES = (1.0, 0.9, 0.7, 0.5, 0.3, 0.1, -0.1, -0.3, -0.5, -0.7, -0.9)
WIDTHS = (0.001, *[0.1] * 10)  # the first kernel counts equal words
QUERY_LENGTH, PASSAGE_LENGTH = 30, 200  # WordPieces that are read
LEAST = 1e-10  # of a soft count, before its logarithm
K1, B = 0.9, 0.4  # of BM25, as in armlib.data.bm25
COMPARISONS = 1 << 17  # pairs of WordPieces that are compared at a time: half a megabyte, which stays in a core's cache
PADDING = SPECIAL.index("[PAD]")
FORMAT = "kernel pooling 2"


class KernelPooling:
    """The words of a collection: vectors, and in how many texts they occur. Made by `kept_pooling`.

    Args:
        semantics: tokenizer and word vectors.
        statistics: ``texts``, ``length`` (mean words of a text), and in how many texts occur ``words`` (by word, as BM25 splits
            them) and ``pieces`` (by token id).

    Attributes:
        operations: arithmetic operations of the kernels so far: four for each kernel and pair of words.
    """

    def __init__(self, semantics: Semantics, statistics: dict) -> None:
        self.operations = 0.0
        self._tokenizer = semantics.tokenizer.backend_tokenizer
        self._pieces: dict[str, Tensor] = {}  # of texts that were read: the same passages come with many queries
        vectors = normalize(torch.from_numpy(semantics.vectors), dim=1)
        # A product of all word vectors once, 256 MB, is looked up faster than each pair's own is computed.
        self._cosines = vectors @ vectors.T  # (V, V)
        self._cosines.fill_diagonal_(1.0)
        count, self._mean_length = statistics["texts"], statistics["length"]
        self._rarity = torch.tensor(statistics["pieces"], dtype=torch.float32).add(0.5).reciprocal().mul(count + 1).log()  # (V,)
        self._words = word_tokenizer()
        self._words.word_to_id = {word: number for number, word in enumerate(statistics["words"])}
        frequency = np.array(list(statistics["words"].values()), np.float64)
        self._idf = np.log1p((count - frequency + 0.5) / (frequency + 0.5))

    def features(self, queries: Sequence[str], passages: Sequence[str]) -> Float[Tensor, "n features"]:
        """Twelve numbers of each query and passage: eleven of kernel pooling, and BM25 in units of the query's own weight."""
        asked = self.pieces(queries, QUERY_LENGTH)
        weights = torch.tensor([self._rarity[each].sum().item() for each in asked])
        pooled = self.pooled(asked, self.pieces(passages, PASSAGE_LENGTH))
        return torch.cat([pooled, (self.bm25(queries, passages) / weights)[:, None]], dim=1)

    def pieces(self, texts: Sequence[str], most: int) -> list[Int[Tensor, " length"]]:
        """The first WordPieces of each text, at least one."""
        if len(self._pieces) > MOST_TEXTS:
            self._pieces.clear()
        new = [text for text in dict.fromkeys(texts) if text not in self._pieces]
        for text, encoded in zip(new, self._tokenizer.encode_batch_fast(new, add_special_tokens=False), strict=True):
            self._pieces[text] = torch.from_numpy(np.array(encoded.ids or [PADDING]))
        return [self._pieces[text][:most] for text in texts]

    def pooled(self, left: list[Int[Tensor, " l"]], right: list[Int[Tensor, " r"]]) -> Float[Tensor, "n kernels"]:
        """What kernel pooling says of n pairs of texts.

        Returns:
            (n, 11), by kernel the logarithm of its soft count of similar words in the right text, in the mean over the words of
            the left text, weighted by their inverse document frequency.
        """
        found = torch.empty(len(left), len(CENTRES))
        for part, words, others in self._parts(left, right):
            weights = normalize(self._rarity[words], p=1, dim=1)  # (n, l)
            for number, near in enumerate(self._near(words, others)):
                found[part, number] = _mean_log(weights, near.sum(dim=2))
        return found

    def mutual(self, left: list[Int[Tensor, " l"]], right: list[Int[Tensor, " r"]]) -> Float[Tensor, "n kernels"]:
        """`pooled` of left and right plus that of right and left, (n, 11), for half the price."""
        found = torch.empty(len(left), len(CENTRES))
        for part, words, others in self._parts(left, right):
            weights = normalize(self._rarity[words], p=1, dim=1)  # (n, l)
            back = normalize(self._rarity[others] * (others != PADDING), p=1, dim=1)  # (n, r)
            for number, near in enumerate(self._near(words, others)):
                found[part, number] = _mean_log(weights, near.sum(dim=2)) + _mean_log(back, near.sum(dim=1))
        return found

    def _parts(
        self, left: list[Int[Tensor, " l"]], right: list[Int[Tensor, " r"]]
    ) -> Iterator[tuple[Int[np.ndarray, " n"], Int[Tensor, "n l"], Int[Tensor, "n r"]]]:
        """Pairs of texts that are compared together: their rows, and their words; only the right texts are padded."""
        for part in _of_like_length(*(np.array(list(map(len, side)), np.int64) for side in (left, right))):
            words, others = torch.stack([left[i] for i in part]), pad_sequence([right[i] for i in part], True, PADDING)
            self.operations += 4 * len(CENTRES) * words.shape[1] * others.numel()
            yield part, words, others

    def _near(self, words: Int[Tensor, "n l"], others: Int[Tensor, "n r"]) -> Iterator[Float[Tensor, "n l r"]]:
        """What each kernel makes of the cosine of each pair of words."""
        cosines = self._cosines[words[:, :, None], others[:, None, :]]
        cosines.masked_fill_((others == PADDING)[:, None, :], 9.0)  # so far off that every kernel counts nothing
        for centre, width in zip(CENTRES, WIDTHS, strict=True):
            yield (cosines - centre).square_().mul_(-0.5 / width**2).exp_()

    def bm25(self, queries: Sequence[str], passages: Sequence[str]) -> Float[Tensor, " n"]:
        """BM25 of n queries and passages, as `armlib.data.bm25.BM25.search` scores them where it indexes the same texts."""
        (asked, query_rows), (read, passage_rows) = _unique(queries), _unique(passages)
        terms, counts = self._counted(asked), self._counted(read)
        length = np.repeat(counts.sum(1), np.diff(counts.indptr))
        terms.data *= self._idf[terms.indices]
        counts.data /= counts.data + K1 * (1 - B + B * length / self._mean_length)
        return torch.from_numpy((terms[query_rows] * counts[passage_rows]).sum(1)).float()

    def _counted(self, texts: list[str]) -> sparse.csr_array:
        """How often each word occurs in each text, (n, words); words that the collection does not have are passed over."""
        rows = list(self._words.streaming_tokenize(texts, update_vocab=False, allow_empty=False))
        numbers = np.array([number for row in rows for number in row], np.int64)
        starts = np.cumsum([0, *map(len, rows)])
        found = sparse.csr_array((np.ones(len(numbers)), numbers, starts), shape=(len(rows), len(self._idf)))
        found.sum_duplicates()
        return found


def kept_pooling(collection: Collection) -> KernelPooling:
    """The words of the collection's first 100,000 documents; vectors and statistics are kept in the cache."""

    def texts() -> Iterator[str]:
        return (document.text for document in collection.documents())

    semantics = kept_semantics(texts, collection.corpus.fingerprint())

    def make(draft: Path) -> None:
        backend, splitter = semantics.tokenizer.backend_tokenizer, word_tokenizer()
        pieces, words, length, count = Counter[int](), Counter[int](), 0, 0
        stream = islice(texts(), MOST_TEXTS)
        while step := list(islice(stream, 10_000)):
            for each in backend.encode_batch_fast(step, add_special_tokens=False):
                pieces.update(set(each.ids))
            for row in splitter.streaming_tokenize(step, allow_empty=False):
                words.update(set(row))
                length += len(row)
            count += len(step)
        statistics = {
            "texts": count,
            "length": length / count,
            "pieces": [pieces[number] for number in range(len(semantics.vectors))],
            "words": {word: words[number] for word, number in splitter.word_to_id.items()},
        }
        write_json(draft / "statistics.json", statistics)

    folder = kept(f"teachers/words-{short_digest(pooling_fingerprint(collection))}", "word statistics", make)
    return KernelPooling(semantics, read_json(folder / "statistics.json"))


def pooling_fingerprint(collection: Collection) -> str:
    """16 hexadecimal digits of all that `kept_pooling` depends on."""
    return short_digest(FORMAT, RECIPE, BM25_RECIPE, collection.corpus.fingerprint())


def _unique(texts: Sequence[str]) -> tuple[list[str], list[int]]:
    """The different texts, and which of them stands at each place."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    return list(numbers), [numbers[text] for text in texts]


def _mean_log(weights: Float[Tensor, "n l"], counts: Float[Tensor, "n l"]) -> Float[Tensor, " n"]:
    return (weights * counts.clamp_min(LEAST).log()).sum(dim=1)


def _of_like_length(left: Int[np.ndarray, " n"], right: Int[np.ndarray, " n"]) -> Iterator[Int[np.ndarray, " part"]]:
    """Rows of pairs of texts of these lengths, in parts with equally long left texts and at most `COMPARISONS` pairs of words."""
    for length in np.unique(left):
        rows = np.flatnonzero(left == length)
        rows = rows[np.argsort(right[rows], kind="stable")]
        while len(rows):
            # The longest text of a part is its last one.
            most = np.searchsorted(np.arange(1, len(rows) + 1) * length * right[rows], COMPARISONS, "right")
            part, rows = np.split(rows, [max(1, int(most))])
            yield part
