"""A cross-encoder as a teacher: a Hugging Face model that reads query and passage together and gives one number."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from armlib.data.collection import Collection
from armlib.encoder.sizes import parameter_counts, positions
from armlib.errors import InputError
from armlib.parsing import whole, written
from armlib.retrieval.encoding import BATCH_TOKENS, length_batches
from armlib.storage import read_json, short_digest
from armlib.teachers.base import Teacher
from armlib.teachers.device import teacher_device
from armlib.teachers.model_files import architectures, fingerprint_of_model, load_model, model_name

MAX_LENGTH = 512
PROBES = (["a query"] * 2, ["a passage", "a passage that is longer than the other one by some words"])


class CrossEncoderTeacher(Teacher):
    """Scores are the logits of a sequence classifier with one output, before any activation, in float32.

    Args:
        name: a folder, or a name on the hub such as ``cross-encoder/ms-marco-MiniLM-L6-v2``.
        max_length: tokens at which query and passage together are cut, the longer one first; fewer where the model has fewer
            positions.

    Raises:
        InputError: a value is out of its range.
    """

    def __init__(self, name: str, max_length: int = MAX_LENGTH) -> None:
        super().__init__()
        self.name = model_name(name, "cross-encoder")
        self.max_length = whole(max_length, "max_length of cross-encoder", 8)

    def __str__(self) -> str:
        return written("cross-encoder", self.name, max_length=(self.max_length, MAX_LENGTH))

    def fingerprint(self, collection: Collection) -> str:
        model = fingerprint_of_model(self.name, lambda: self._loaded)
        return short_digest("cross-encoder", model, str(self.max_length))

    def prepare(self, collection: Collection) -> None:
        model, _, _ = self._loaded
        self.cost = {"parameters": parameter_counts(model).total}

    @cached_property
    def _loaded(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, int]:
        """Model, tokenizer and the most tokens that the model is given."""
        model, tokenizer = load_cross_encoder(self.name)
        limits = (self.max_length, tokenizer.model_max_length, positions(model))
        longest = min(limit for limit in limits if limit is not None)
        alone = [logits(model, tokenizer, [query], [passage], longest)[0][0] for query, passage in zip(*PROBES, strict=True)]
        beside, _ = logits(model, tokenizer, *PROBES, longest)
        if not np.allclose(alone, beside, rtol=1e-3, atol=1e-3):
            raise InputError(
                f"scores of the cross-encoder {self.name!r} depend on what a pair is batched with ({alone} alone, {beside} "
                "together); expected a model that masks padding"
            )
        return model.to(teacher_device()), tokenizer, longest

    def scores(self, collection: Collection, queries: Sequence[str], passages: Sequence[str]) -> Float[np.ndarray, " n"]:
        model, tokenizer, longest = self._loaded
        found, tokens = logits(model, tokenizer, queries, passages, longest)
        self.operations += 2 * parameter_counts(model).non_embedding * tokens
        return found


@torch.inference_mode()
def logits(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, queries: Sequence[str], passages: Sequence[str], max_length: int
) -> tuple[Float[np.ndarray, " n"], int]:
    """A classifier's one logit of each pair, (n,) float32, and how many tokens it read.

    Pairs are scored longest first in batches of equal cost, so that little is padded and memory runs out at once or not at all.
    """
    tokens = tokenizer(list(queries), list(passages), truncation="longest_first", max_length=max_length)
    lengths = np.array([len(ids) for ids in tokens["input_ids"]])
    if not lengths.all():
        raise InputError(f"{(lengths == 0).sum()} of {len(lengths)} pairs have no token at all, so they cannot be scored")
    found = np.empty(len(lengths), np.float32)
    budget = BATCH_TOKENS.get(model.device.type, BATCH_TOKENS["cpu"])
    for part in length_batches(np.argsort(-lengths, kind="stable"), lengths, budget):
        chosen: dict[str, Any] = {name: [values[i] for i in part] for name, values in tokens.items()}
        batch = tokenizer.pad(chosen, return_tensors="pt").to(model.device)
        found[part] = model(**batch).logits[:, 0].float().cpu().numpy()
    return found, int(lengths.sum())


def load_cross_encoder(name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A classifier with one logit and its tokenizer, in evaluation mode, with nothing run that came with the files.

    Raises:
        InputError: it cannot be loaded, lacks weights, or gives something else than one logit.
    """
    return load_model(name, "cross-encoder", AutoModelForSequenceClassification, partial(_check, name))


def _check(name: str, config: Any) -> None:
    """Refuse by its settings a model whose output is not one logit."""
    kinds = architectures(config)
    expected = "expected a cross-encoder with one logit, such as cross-encoder/ms-marco-MiniLM-L6-v2"
    if config.is_encoder_decoder:
        raise InputError(f"{name} is a sequence-to-sequence model ({kinds}), which gives words and no score; {expected}")
    if not kinds.endswith("ForSequenceClassification"):
        raise InputError(f"{name} is {kinds} and scores no pairs; {expected}")
    if config.num_labels != 1:
        raise InputError(f"{name} has {config.num_labels} logits, and nothing says which of them is the score; {expected}")
    modules = Path(name) / "modules.json"
    if modules.is_file() and len(read_json(modules)) > 1:
        raise InputError(f"{name} has layers behind its classifier (modules.json), which would be left out; {expected}")
