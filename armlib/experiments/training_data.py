"""What an experiment reads: its collections, encoder, tokens and triples, each resolved once, when it is first asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from armlib.data.batches import TripleBatches
from armlib.data.collection import Collection
from armlib.data.held_out import HeldOut, hold_out
from armlib.data.tokens import TokenStore
from armlib.data.triple_rows import triple_rows
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.token_stores import passage_tokens, query_tokens
from armlib.evaluation.validation import Validator
from armlib.experiments.experiment import HELD_OUT, NOTHING, Experiment
from armlib.names import load_collection, load_encoder
from armlib.storage import digest


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
        """Names of the collections to measure on."""
        asked = self.experiment.evaluation
        return () if asked == NOTHING else asked or self.collection.evaluation

    @cached_property
    def evaluations(self) -> tuple[Collection, ...]:
        """The collections to measure on."""
        return tuple(map(load_collection, self.evaluation_names))

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
        """12 hexadecimal digits of the experiment's values and of the fingerprints of all data that the result depends on."""
        read = [self.collection, *([self._named_validation] if self._named_validation else []), *self.evaluations]
        prints = [one for each in read for one in (each.name, each.fingerprint(), each.corpus.fingerprint())]
        return digest(json.dumps(self.experiment.values(), sort_keys=True), *prints)[:12]

    @cached_property
    def encoder(self) -> BiEncoder:
        """The encoder before training; training changes it."""
        asked = self.experiment
        encoder = load_encoder(asked.encoder, self.collection, asked.pooling or None)
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
