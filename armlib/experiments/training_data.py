"""What an experiment reads: its collections, encoder, tokens and triples, each resolved once, when it is first asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from armlib.data.batches import TripleBatches
from armlib.data.collection import Collection
from armlib.data.fingerprints import fingerprint_of_folder
from armlib.data.held_out import HeldOut, hold_out
from armlib.data.tokens import TokenStore
from armlib.data.triple_rows import triple_rows
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.export import RECORD
from armlib.encoder.token_stores import passage_tokens, query_tokens
from armlib.errors import InputError
from armlib.evaluation.validation import Validator
from armlib.experiments.experiment import HELD_OUT, NOTHING, Experiment
from armlib.names import encoder_folder, load_collection, load_encoder
from armlib.storage import MANIFEST, digest

UNREAD = (RECORD, MANIFEST, "README.md")
"""Files of an encoder's folder that say how it was made."""


class TrainingData:
    """The data of an experiment. Making one reads nothing; every part is read when it is asked for, and once.

    Args:
        experiment: whose data these are.
        encoder: instead of the one that the experiment starts from, such as a trained one.

    Raises:
        InputError: by its parts: the data or the encoder cannot be used.
    """

    def __init__(self, experiment: Experiment, encoder: BiEncoder | None = None) -> None:
        self.experiment = experiment
        if encoder is not None:
            self.encoder = encoder

    @cached_property
    def collection(self) -> Collection:
        """What is trained on."""
        return load_collection(self.experiment.collection)

    @cached_property
    def evaluation_names(self) -> tuple[str, ...]:
        """Names of the collections to measure on, as results have them."""
        return tuple(each.name for each in self.evaluations)

    @cached_property
    def evaluations(self) -> tuple[Collection, ...]:
        """The collections to measure on, each once."""
        asked = self.experiment.evaluation
        names = () if asked == NOTHING else asked or self.collection.evaluation
        return tuple({each.name: each for each in map(load_collection, names)}.values())

    @cached_property
    def _named_validation(self) -> Collection | None:
        name = self.experiment.validation or self.collection.validation or HELD_OUT
        return None if name == HELD_OUT else load_collection(name)

    @cached_property
    def validation(self) -> Collection:
        """What decides early stopping: a collection, or queries that are held out from training."""
        return self._named_validation or hold_out(self.collection, self.experiment.validation_queries)

    @cached_property
    def key(self) -> str:
        """12 hexadecimal digits of the experiment's values and of the fingerprints of all data that the result depends on.

        A local encoder counts with the contents of its folder, wherever that is; local collections with their contents and their
        paths, by which results name them, however those are written.
        """
        read = [self.collection, *([self._named_validation] if self._named_validation else []), *self.evaluations]
        prints = [one for each in read for one in (each.name, each.fingerprint(), each.corpus.fingerprint())]
        return digest(json.dumps(self._values(), sort_keys=True), *prints)[:12]

    def _values(self) -> dict[str, Any]:
        """The experiment's values, with what is local named in one way."""
        asked = self.experiment
        values = asked.values() | {"collection": _one_name(asked.collection, self.collection)}
        if self._named_validation and asked.validation:
            values["validation"] = _one_name(asked.validation, self._named_validation)
        if asked.evaluation and asked.evaluation != NOTHING:
            values["evaluation"] = [_one_name(name, load_collection(name)) for name in asked.evaluation]
        if self._encoder_contents:
            values["encoder"] = f"contents {self._encoder_contents}"
        return values

    @cached_property
    def _encoder_contents(self) -> str:
        """A fingerprint of the folder of a local encoder; empty for others."""
        return self._fingerprint_of_encoder()

    def _fingerprint_of_encoder(self) -> str:
        folder = encoder_folder(self.experiment.encoder)
        return fingerprint_of_folder(folder, UNREAD) if folder else ""

    @cached_property
    def encoder(self) -> BiEncoder:
        """The encoder before training; training changes it.

        Raises:
            InputError: there is no such encoder, or its folder has changed since the key was made.
        """
        asked = self.experiment
        before = self._encoder_contents
        encoder = load_encoder(asked.encoder, self.collection, asked.pooling or None)
        if before != self._fingerprint_of_encoder():
            raise InputError(f"the files of the encoder {asked.encoder} have changed since the experiment began; start it again")
        encoder.set_prompts(asked.query_prompt, asked.passage_prompt)
        return encoder

    @cached_property
    def queries(self) -> TokenStore:
        """The token store of the collection's queries."""
        return query_tokens(self.collection, self.encoder, self.experiment.query_length)

    @cached_property
    def passages(self) -> TokenStore:
        """The token store of the collection's documents."""
        return passage_tokens(self.collection, self.encoder, self.experiment.passage_length)

    @cached_property
    def triples(self) -> np.ndarray:
        """Row numbers of query, positive and negative, (T, 3), without the triples of queries that validate."""
        left_out = self.validation.chosen if isinstance(self.validation, HeldOut) else ()
        return triple_rows(self.collection, self.queries, self.passages, left_out)

    def validator(self) -> Validator:
        """What validates an encoder during training."""
        return Validator(
            self.validation,
            self.encoder,
            queries=self.experiment.validation_queries,
            depth=self.experiment.validation_depth,
            query_length=self.experiment.query_length,
            passage_length=self.experiment.passage_length,
        )

    def batches(self, *, rank: int = 0, processes: int = 1, seed: int | None = None, **shape: Any) -> TripleBatches:
        """The batches of the experiment.

        Args:
            rank, processes: this process among how many.
            seed: of the order of the triples; None takes the experiment's.
            shape: values of `armlib.data.batches.Shape` that differ from the experiment's.
        """
        asked = self.experiment
        return TripleBatches(
            self.triples,
            self.queries,
            self.passages,
            batch_size=asked.batch_size,
            shape=replace(asked.shape(), **shape),
            seed=asked.seed if seed is None else seed,
            sampler=asked.sampler,
            rank=rank,
            processes=processes,
        )


def _one_name(given: str, collection: Collection) -> str:
    """The name of a collection in a key: the path of a local one as it is always written, any other as it was given."""
    return collection.name if Path(collection.name).is_absolute() else given
