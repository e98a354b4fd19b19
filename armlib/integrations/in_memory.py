"""Fine-tuning in one call, from triples that are in memory."""

from __future__ import annotations

from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

from accelerate import Accelerator

from armlib.data.in_memory import InMemory
from armlib.encoder.bi_encoder import BiEncoder
from armlib.errors import InputError, unknown
from armlib.experiments.defaults import own_values
from armlib.experiments.experiment import HELD_OUT, Experiment
from armlib.experiments.training_data import TrainingData
from armlib.losses import Loss
from armlib.training.loop import TrainingRun, Validate, train
from armlib.training.processes import default_accelerator
from armlib.training.settings import MEASURE

DECIDED = frozenset({"collection", "encoder", "loss", "validation", "validation_queries", "evaluation", "full_ranking", "index"})
"""Values of an experiment that cannot be given: the call itself decides them."""


class FineTuned(NamedTuple):
    """A fine-tuned encoder, and what its training left behind.

    Attributes:
        encoder: with its trained weights, on the device that it was trained on.
        run: losses and validations of its training.
    """

    encoder: BiEncoder
    run: TrainingRun


def fine_tune(
    triples: Any,
    encoder: str | Path,
    loss: str | Loss = "distributed",
    *,
    validate: Validate | None = None,
    held_out: int = 0,
    steps: int | None = None,
    accelerator: Accelerator | None = None,
    checkpoints: Path | None = None,
    **values: Any,
) -> FineTuned:
    """Fine-tune an encoder on triples of texts.

    Training is that of an experiment on a file of the same triples, to the same bits; without evaluation, and nothing is written
    but what the cache keeps. Without ``validate`` and ``held_out`` nothing is validated, and the last step's weights are kept.

    Args:
        triples: what `armlib.data.in_memory.text_triples` reads: a `datasets.Dataset`, a pandas data frame, or rows of a query,
            a positive and a negative text.
        encoder: the name or folder of the encoder to start from.
        loss: by name, such as ``adaptive(in_batch=True)`` or ``infonce(20)``, or an object of `armlib.losses`.
        validate: called with the encoder after every ``validate_every`` steps, gives measures, nDCG@10 among them.
        held_out: so many queries are not trained on, but validated with: BM25's best passages, re-ranked.
        steps: optimiser steps at most; None makes one pass over the triples.
        accelerator, checkpoints: as `armlib.training.loop.train` takes them.
        values: any other value of `armlib.experiments.experiment.Experiment`, such as ``batch_size``, ``learning_rate`` (2e-5 by
            default for a pre-trained encoder), ``query_length``, ``passage_length``, ``sampler`` or ``seed``.

    Returns:
        The encoder, whose ``save`` writes a sentence-transformers folder, and its training run.

    Raises:
        InputError: the triples, the encoder or a value cannot be used, or training fails.
    """
    if validate and held_out:
        raise InputError("both validate and held_out say how to validate; expected one of them")
    if refused := sorted(values.keys() & DECIDED or values.keys() - Experiment.__dataclass_fields__.keys()):
        raise unknown("value of fine_tune", refused[0], Experiment.__dataclass_fields__.keys() - DECIDED)
    values = own_values({}, encoder=str(encoder)) | values
    collection = InMemory.of_triples(triples)
    values |= {"validation": HELD_OUT, "validation_queries": held_out} if held_out else {}
    values |= {} if steps is None else {"steps": steps}
    asked = Experiment(collection=collection.name, encoder=str(encoder), loss=str(loss), **values)
    data = TrainingData(asked)
    data.collection = collection
    if not held_out:
        data.validation = collection  # no queries are left out
    accelerator = accelerator or default_accelerator()
    batches = data.batches(rank=accelerator.process_index, processes=accelerator.num_processes)
    if steps is None:
        data.experiment = asked = replace(asked, steps=batches.steps_per_epoch)
    run = train(
        data.encoder,
        asked.make_loss(),
        batches,
        asked.settings(),
        accelerator=accelerator,
        validate=data.validator() if held_out else _checked(validate) if validate else None,
        checkpoints=checkpoints,
        name=data.key if checkpoints else "",
    )
    data.encoder.bind(data.context)
    data.encoder.lengths = {"query_length": asked.query_length, "passage_length": asked.passage_length}
    return FineTuned(data.encoder.eval(), run)


def _checked(validate: Validate) -> Validate:
    def measures(encoder: BiEncoder) -> dict[str, float]:
        found = validate(encoder)
        if not isinstance(found, dict) or not isinstance(found.get(MEASURE), Real):
            raise InputError(f"validate gave {str(found)[:200]}; expected a dictionary of measures with a number for {MEASURE}")
        return found

    return measures
