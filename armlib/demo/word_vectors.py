"""Latent semantic analysis of texts: a WordPiece tokenizer, and vectors of its entries from their co-occurrence.

Words that occur near the same words get near vectors: the positive pointwise mutual information of words within ten
tokens of each other, factored by a truncated singular value decomposition (Deerwester et al. 1990; Levy and Goldberg
2014). This is latent semantic analysis (LSA); nothing here is language-model pre-training.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import sparse
from threadpoolctl import threadpool_limits
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from armlib.errors import InputError
from armlib.progress import bar
from armlib.storage import kept, short_digest, write_json

SPECIAL = ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")  # in this order: MPNet's classes hard-code padding as id 1
MOST_TEXTS = 100_000  # word vectors gain little from more, and the whole of MS MARCO would not fit
RECIPE = "1"  # to be changed with anything that changes the vectors; part of the name that they are kept under
# Root mean square of the word vectors. Layer normalisation makes their size irrelevant for what an encoder computes,
# but Adam moves every weight by about the learning rate, so the size decides how fast words can move. Three sizes were
# tried, with one seed each (static(0.3), 800 steps at 5e-4): nDCG@10 on msmarco-mini/dev, re-ranked, was .626 with 1,
# .633 with 0.1 and .622 with 0.05; on TREC-DL 2019 .436, .501 and .500.
SIZE = 0.1


class Semantics(NamedTuple):
    """What the three architectures share: a tokenizer, and a vector for each of its entries."""

    tokenizer: PreTrainedTokenizerFast
    vectors: np.ndarray  # (V, dim) float32


def latent_semantics(texts: Iterable[str], *, dim: int = 128, vocabulary: int = 8000, seed: int = 0) -> Semantics:
    """Train the tokenizer on the texts and factor their word co-occurrences.

    Args:
        texts: any number of texts; the first 100,000 are used.
        dim: dimensions of the vectors.
        vocabulary: the most WordPieces.
        seed: of the singular value decomposition.

    Raises:
        InputError: the texts have fewer different words than the vectors have dimensions.
    """
    normalizer = normalizers.BertNormalizer(lowercase=True)
    with bar(4, "latent semantic analysis", "stages") as shown:
        cleaned = [normalizer.normalize_str(text) for text in islice(texts, MOST_TEXTS)]
        shown.update()
        tokenizer = train_tokenizer(cleaned, vocabulary)
        size = tokenizer.get_vocab_size()
        if size < 2 * dim:
            raise InputError(
                f"latent semantic analysis of {len(cleaned)} texts found {size} WordPieces, too few for vectors "
                f"of {dim} dimensions; expected more text or a smaller dim"
            )
        shown.update()
        tokenizer.normalizer = normalizers.Sequence([])  # the texts are normalised, which is half of the work
        encodings = tokenizer.encode_batch_fast(cleaned, add_special_tokens=False)
        tokenizer.normalizer = normalizer
        shown.update()
        vectors = word_vectors([np.asarray(row.ids, dtype=np.int32) for row in encodings], size, dim, seed=seed)
        shown.update()
    cls, pad, sep, unk, mask = SPECIAL
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        cls_token=cls,
        pad_token=pad,
        sep_token=sep,
        unk_token=unk,
        mask_token=mask,
        model_max_length=512,
        model_input_names=["input_ids", "attention_mask"],
    )
    return Semantics(wrapped, vectors)


def train_tokenizer(cleaned: list[str], vocabulary: int) -> Tokenizer:
    """A lower-casing WordPiece tokenizer; equal texts give equal ids in every process.

    The trainer numbers the continuing characters (``##a``) in the order of a randomly seeded hash table, and breaks
    ties by number. Naming them ahead as special tokens fixes their numbers; the tokenizer is then put together anew
    from the vocabulary alone.

    Args:
        cleaned: normalised texts.
        vocabulary: the most WordPieces.
    """
    words = Counter(word for text in cleaned for word in text.split())
    characters: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            characters[character] += count
    rare = characters.total() * 1e-6
    alphabet = sorted(character for character, count in characters.items() if count >= rare)
    trained = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    trained.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary,
        special_tokens=[*SPECIAL, *("##" + character for character in alphabet)],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    trained.train_from_iterator(cleaned, trainer, length=len(cleaned))
    tokenizer = Tokenizer(models.WordPiece(trained.get_vocab(), unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    ids = {name: tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]")}
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=list(ids.items()))
    return tokenizer


def word_vectors(tokens: list[np.ndarray], vocabulary: int, dim: int, *, window: int = 10, seed: int = 0) -> np.ndarray:
    """Vectors of words from a truncated singular value decomposition of their pointwise mutual information.

    Args:
        tokens: the token ids of each text.
        vocabulary: number V of different ids.
        dim: dimensions of the vectors.
        window: tokens at most this far apart in a text count as occurring together.
        seed: of the randomised decomposition (Halko et al. 2011).

    Returns:
        (V, dim) float32: left singular vectors times the square roots of their singular values, scaled to a root mean
        square of 0.1; rows of ids that do not occur are zero.
    """
    flat = np.concatenate([np.zeros(0, np.int32), *tokens])
    text = np.repeat(np.arange(len(tokens), dtype=np.int32), [len(row) for row in tokens])
    together = sparse.csr_array((vocabulary, vocabulary), dtype=np.float32)
    for distance in range(1, window + 1):
        same = text[distance:] == text[:-distance]
        pair = (flat[:-distance][same], flat[distance:][same])
        together += sparse.coo_array((np.ones(len(pair[0]), np.float32), pair), together.shape).tocsr()
    together = (together + together.T).tocoo()
    total = together.data.sum(dtype=np.float64)
    occurrences = np.asarray(together.sum(axis=0), dtype=np.float64)
    rows, columns = together.coords
    information = np.log(together.data * (total / (occurrences[rows] * occurrences[columns])))
    kept = information > 0
    positive = sparse.csr_array(
        (information[kept].astype(np.float32), (rows[kept], columns[kept])), shape=together.shape, dtype=np.float32
    )
    from sklearn.utils.extmath import randomized_svd  # here: it takes half a second to import, and vectors are kept

    with threadpool_limits(1):  # several threads would add in another order, and give other last digits
        left, values, _ = randomized_svd(positive, n_components=dim, n_iter=2, random_state=seed)
    vectors = (left * np.sqrt(values)).astype(np.float32)
    vectors[occurrences == 0] = 0
    return vectors * np.float32(SIZE / np.sqrt(np.square(vectors[occurrences > 0]).mean()))


def kept_semantics(
    texts: Callable[[], Iterable[str]], corpus_fingerprint: str, *, dim: int = 128, vocabulary: int = 8000, seed: int = 0
) -> Semantics:
    """`latent_semantics`, done once for each corpus and kept in ``cache_folder() / "encoders"``.

    Several processes may ask for the same at once; one does the work. What is damaged is made again, with a warning.

    Args:
        texts: gives the texts; called only when they are needed.
        corpus_fingerprint: names the texts; equal fingerprints must mean equal texts.
        dim: dimensions of the vectors.
        vocabulary: the most WordPieces.
        seed: of the singular value decomposition.
    """
    settings = {"corpus": corpus_fingerprint, "dim": dim, "vocabulary": vocabulary, "seed": seed, "recipe": RECIPE}

    def make(draft: Path) -> None:
        made = latent_semantics(texts(), dim=dim, vocabulary=vocabulary, seed=seed)
        made.tokenizer.save_pretrained(draft)
        np.save(draft / "vectors.npy", made.vectors)
        write_json(draft / "settings.json", settings)

    folder = kept(f"encoders/lsa-{short_digest(json.dumps(settings))}", "word vectors", make)
    # Read back also when just made, so that both ways give the same objects.
    return Semantics(PreTrainedTokenizerFast.from_pretrained(folder), np.load(folder / "vectors.npy"))
