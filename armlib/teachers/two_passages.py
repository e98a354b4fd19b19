"""Models of Hugging Face that read a query and two passages and say which passage is the more relevant one.

Both orders of the passages are asked and averaged: a model prefers a position, and asking one order, as PairDistill does with the
better-ranked passage in front, puts that preference into the target.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from transformers import AutoModelForSeq2SeqLM, PreTrainedModel, PreTrainedTokenizerBase

from armlib.data.collection import Collection
from armlib.data.tokens import special_tokens
from armlib.encoder.sizes import parameter_counts, positions
from armlib.errors import InputError
from armlib.parsing import whole, written
from armlib.retrieval.encoding import BATCH_TOKENS, length_batches
from armlib.storage import short_digest
from armlib.teachers.base import PairwiseTeacher
from armlib.teachers.cross_encoder import load_cross_encoder, logits
from armlib.teachers.device import teacher_device
from armlib.teachers.model_files import architectures, fingerprint_of_model, load_model, model_name

MAX_LENGTH = 512
BARE: dict[str, Any] = {"add_special_tokens": False, "verbose": False}  # says nothing of long texts, which are cut here
QUERY_SHARE = 4  # a query is cut at this part of the maximum length


class TwoPassageModel(PairwiseTeacher):
    """A model that is asked twice, once in each order: P(first) = (m(first, second) + 1 - m(second, first)) / 2.

    Args:
        name: a folder, or a name on the hub.
        max_length: tokens of query and passages together; where they are more, the query is cut at a quarter of them and the
            passages at equal parts of the rest, or a longer one where the other leaves it space.

    Raises:
        InputError: a value is of the wrong type or out of its range.
    """

    kind: str

    def __init__(self, name: str, max_length: int = MAX_LENGTH) -> None:
        super().__init__()
        self.name, self.max_length = model_name(name, self.kind), whole(max_length, f"max_length of {self.kind}", 16)

    def __str__(self) -> str:
        return written(self.kind, self.name, max_length=(self.max_length, MAX_LENGTH))

    def fingerprint(self, collection: Collection) -> str:
        return short_digest(self.kind, fingerprint_of_model(self.name, lambda: self._loaded), str(self.max_length))

    def prepare(self, collection: Collection) -> None:
        self.cost = {"parameters": parameter_counts(self._loaded[0]).total}

    @cached_property
    def _loaded(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        model, tokenizer = self._load()
        return model.to(teacher_device()), tokenizer

    def preferences(
        self, collection: Collection, queries: Sequence[str], firsts: Sequence[str], seconds: Sequence[str]
    ) -> Float[np.ndarray, " n"]:
        return (self._in_order(queries, firsts, seconds) + 1 - self._in_order(queries, seconds, firsts)) / 2

    @property
    def _longest(self) -> int:
        model, tokenizer = self._loaded
        limits = (self.max_length, tokenizer.model_max_length, positions(model))
        return min(limit for limit in limits if limit is not None)

    def _count(self, tokens: int) -> None:
        self.operations += 2 * parameter_counts(self._loaded[0]).non_embedding * tokens

    @abstractmethod
    def _load(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """Model and tokenizer, in evaluation mode."""

    @abstractmethod
    def _in_order(self, queries: Sequence[str], firsts: Sequence[str], seconds: Sequence[str]) -> Float[np.ndarray, " n"]:
        """The model's probability that the passage in front is the more relevant one, (n,) float32."""


class PairwiseCrossEncoder(TwoPassageModel):
    """A sequence classifier with one logit, fed "query [SEP] first [SEP] second"; its sigmoid is the probability of the first."""

    kind = "pairwise-cross-encoder"

    def _load(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        return load_cross_encoder(self.name)

    def _in_order(self, queries: Sequence[str], firsts: Sequence[str], seconds: Sequence[str]) -> Float[np.ndarray, " n"]:
        model, tokenizer = self._loaded
        if tokenizer.sep_token is None:
            raise InputError(f"the tokenizer of {self.name!r} has no token to separate passages with; expected one that has")
        room = self._longest - tokenizer.num_special_tokens_to_add(pair=True) - 1
        asked, joined = [], []
        for texts in zip(queries, firsts, seconds, strict=True):
            query, first, second = _cut(
                [tokenizer(text, **BARE, return_offsets_mapping=True)["offset_mapping"] for text in texts], room
            )
            asked.append(texts[0][: _end(query)])
            joined.append(f"{texts[1][: _end(first)]} {tokenizer.sep_token} {texts[2][: _end(second)]}")
        found, tokens = logits(model, tokenizer, asked, joined, self._longest)
        self._count(tokens)
        return torch.from_numpy(found).sigmoid().numpy()


class DuoT5(TwoPassageModel):
    """A sequence-to-sequence model with duoT5's prompt (Pradeep et al. 2021, arXiv:2101.05667).

    After "Query: .. Document0: .. Document1: .. Relevant:" the probability is the softmax over the logits of "true" and "false".
    """

    kind = "duo-t5"

    def _load(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        return load_sequence_to_sequence(self.name)

    def prepare(self, collection: Collection) -> None:
        super().prepare(collection)
        self._answers, self.prompts([""], [""], [""])  # to say now what is wrong with the tokenizer or the maximum length

    @cached_property
    def _answers(self) -> list[int]:
        """The tokens of "true" and "false"."""
        _, tokenizer = self._loaded
        found = []
        for word in ("true", "false"):
            ids = tokenizer(word, **BARE)["input_ids"]
            if len(ids) != 1 or ids[0] == tokenizer.unk_token_id:
                raise InputError(
                    f"the tokenizer of {self.name!r} has no token {word!r} (it gives {len(ids)}: "
                    f"{', '.join(tokenizer.convert_ids_to_tokens(ids))}); expected one that has true and false"
                )
            found += ids
        return found

    def prompts(self, queries: Sequence[str], firsts: Sequence[str], seconds: Sequence[str]) -> list[list[int]]:
        """Token ids of the prompts; what is too long is cut out of query and passages, never off the end.

        Raises:
            InputError: the maximum length leaves no token of a passage.
        """
        _, tokenizer = self._loaded

        def ids(text: str) -> list[int]:
            return tokenizer(text, **BARE)["input_ids"]

        before, after = special_tokens(tokenizer)
        words = [ids("Query:"), ids(" Document0:"), ids(" Document1:"), ids(" Relevant:")]
        room = self._longest - sum(map(len, (before, *words, after)))
        if room < 4:
            raise InputError(
                f"{self._longest} tokens leave no room for passages in the prompt of duo-t5; expected a larger max_length"
            )
        found = []
        for texts in zip(queries, firsts, seconds, strict=True):
            parts = [*_cut([ids(f" {text}") for text in texts], room), []]
            found.append([*before, *chain(*(part for pair in zip(words, parts, strict=True) for part in pair)), *after])
        return found

    @torch.inference_mode()
    def _in_order(self, queries: Sequence[str], firsts: Sequence[str], seconds: Sequence[str]) -> Float[np.ndarray, " n"]:
        model, tokenizer = self._loaded
        prompts = self.prompts(queries, firsts, seconds)
        lengths = np.array(list(map(len, prompts)))
        found = np.empty(len(prompts), np.float32)
        budget = BATCH_TOKENS.get(model.device.type, BATCH_TOKENS["cpu"])
        for part in length_batches(np.argsort(-lengths, kind="stable"), lengths, budget):
            batch = tokenizer.pad({"input_ids": [prompts[i] for i in part]}, return_tensors="pt").to(model.device)
            start = torch.full((len(part), 1), model.config.decoder_start_token_id, device=model.device)
            scores = model(**batch, decoder_input_ids=start).logits[:, 0, self._answers]
            found[part] = scores.float().softmax(dim=1)[:, 0].cpu().numpy()
        self._count(int(lengths.sum()))
        return found


def _cut(parts: list[list], room: int) -> list[list]:
    """The tokens of a query and two passages, cut where they are more than ``room`` together."""
    query, first, second = parts
    if sum(map(len, parts)) > room:
        query = query[: max(1, room // QUERY_SHARE)]
    rest = room - len(query)
    most = [max(rest // 2, rest - len(other)) for other in (second, first)]
    return [query, first[: most[0]], second[: most[1]]]


def _end(offsets: list[tuple[int, int]]) -> int:
    """Where in a text its last token ends."""
    return offsets[-1][1] if offsets else 0


def load_sequence_to_sequence(name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A sequence-to-sequence model and its tokenizer, in evaluation mode, with nothing run that came with the files.

    Raises:
        InputError: it cannot be loaded, lacks weights, or is of another kind.
    """

    def check(config: Any) -> None:
        if not config.is_encoder_decoder:
            raise InputError(
                f"{name} is {architectures(config)}; expected a sequence-to-sequence model, such as castorini/duot5-base-msmarco"
            )

    model, tokenizer = load_model(name, "sequence-to-sequence model", AutoModelForSeq2SeqLM, check)
    if model.config.decoder_start_token_id is None:
        raise InputError(f"{name} names no token to start the answer with; expected a model that does")
    return model, tokenizer
