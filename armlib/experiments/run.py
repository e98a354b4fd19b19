"""One experiment from beginning to end: data, training, runs, measures, all written into one folder."""

from __future__ import annotations

import os
import shutil
import time
import warnings
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from armlib import storage
from armlib.data.batches import TripleBatches
from armlib.encoder.bi_encoder import BiEncoder
from armlib.evaluation.evaluate import Evaluator
from armlib.evaluation.validation import Validator
from armlib.experiments.model_card import write_card
from armlib.experiments.provenance import provenance
from armlib.experiments.result import Draft
from armlib.experiments.training_data import TrainingData
from armlib.training.loop import train
from armlib.training.tracking import tracking

TRAINED = "trained"
RECORD = "training.json"


def run_experiment(data: TrainingData, folder: Path, work: Path, accelerator: Accelerator, checkpoint_seconds: float) -> None:
    """Train, evaluate, and write ``folder`` whole at the end.

    Whatever can be seen to be wrong is said before training begins. The trained encoder is kept before it is measured, so that a
    measurement that is stopped or fails loses no training.

    Args:
        data: of the experiment to run.
        folder: where the result goes.
        work: where checkpoints and the trained encoder are kept meanwhile; a stopped run goes on from them.
        accelerator: device, precision and processes.
        checkpoint_seconds: time between two checkpoints.

    Raises:
        InputError: the data, the encoder or a value cannot be used, or the disk is full.
    """
    started = time.perf_counter()
    experiment, encoder = data.experiment, data.encoder
    main = accelerator.is_main_process
    again = data.measured_again
    evaluator = _evaluator(data) if main else None
    validator = data.validator()
    batches = data.batches(rank=accelerator.process_index, processes=accelerator.num_processes)
    if main:
        storage.check_writable(work)
    seconds = {"preparing": time.perf_counter() - started}
    found = [_whole(work / TRAINED, data.key) if main else None]
    if accelerator.num_processes > 1:
        broadcast_object_list(found)
    made = found[0]
    if made is None:
        made = _train(data, validator, batches, work, accelerator, checkpoint_seconds)
    elif main:
        # The weights alone, so that it is the same encoder as if it had just been trained.
        encoder.load_state_dict(BiEncoder.load(work / TRAINED / "encoder").state_dict())
        encoder.to(accelerator.device)
    if evaluator is None:
        return
    with storage.atomic_folder(folder) as draft:
        evaluating = time.perf_counter()
        rows, indexes = evaluator(encoder, draft, tag=data.key, work=work / "embeddings")
        seconds |= made["seconds"] | {"evaluating": time.perf_counter() - evaluating}
        shutil.copytree(work / TRAINED / "encoder", draft / "encoder")
        for name in ("trace.csv", "validations.csv"):
            shutil.copyfile(work / TRAINED / name, draft / name)
        about = {
            "variant": experiment.variant(),
            "measures": rows,
            "indexes": indexes,
            "seconds": {**seconds, "total": sum(seconds.values())},
            **made["about"],
            "validated_on": data.validation.name,
            **({"measured_again": again} if again else {}),
            "fingerprints": {each.name: each.fingerprint() for each in (data.collection, *data.evaluations)},
            **provenance(),
        }
        storage.write_json(draft / "experiment.json", asdict(experiment))
        storage.write_json(draft / "result.json", about)
        write_card(Draft(data.key, draft), draft / "encoder")


def _evaluator(data: TrainingData) -> Evaluator:
    asked = data.experiment
    return Evaluator(
        data.encoder,
        data.evaluations,
        query_length=asked.query_length,
        passage_length=asked.passage_length,
        full=asked.full_ranking,
        index=asked.index,
    )


def _train(
    data: TrainingData,
    validator: Validator,
    batches: TripleBatches,
    work: Path,
    accelerator: Accelerator,
    checkpoint_seconds: float,
) -> dict[str, Any]:
    """Train the encoder and keep it, its trace and its validations; gives what `_whole` gives, in the main process."""
    asked = data.experiment
    with tracking(accelerator, data.key, asdict(asked)) if asked.steps else nullcontext():
        done = train(
            data.encoder,
            asked.make_loss(),
            batches,
            replace(asked.settings(), checkpoint_seconds=checkpoint_seconds),
            accelerator=accelerator,
            validate=validator,
            checkpoints=work / "checkpoints",
            name=data.key,
        )
    if not accelerator.is_main_process:
        return {}
    data.encoder.bind(data.context)
    made = {
        "key": data.key,
        "seconds": {
            "training": float(done.trace.seconds.sum()),
            "validating": float(done.validations.seconds.sum()) if len(done.validations) else 0.0,
        },
        "about": {
            "triples": int(done.trace.triples.max()) if len(done.trace) else 0,
            "available_triples": len(batches.triples),
            "examples": f"lists of {batches.triples.shape[1] - 1} passages" if asked.lists else "triples",
            "steps": len(done.trace),
            "kept_step": done.kept_step,
            "stopped_early": done.stopped_early,
            "optimizer": done.optimizer,
            "device": str(accelerator.device),
            "precision": accelerator.mixed_precision,
            "processes": accelerator.num_processes,
            **data.about_teacher(),
        },
    }
    with storage.atomic_folder(work / TRAINED) as draft:
        data.encoder.save(
            draft / "encoder",
            query_length=asked.query_length,
            passage_length=asked.passage_length,
            provenance={"experiment": data.key, **asdict(asked)},
        )
        done.trace.to_csv(draft / "trace.csv", index=False)
        done.validations.to_csv(draft / "validations.csv", index=False)
        storage.write_json(draft / RECORD, made)
    return made


def _whole(folder: Path, key: str) -> dict[str, Any] | None:
    """What an attempt that was not measured says of the encoder that it trained; None where there is none that can be used."""
    if not os.path.lexists(folder):
        return None
    reason = storage.damage(folder)
    if reason is None:
        made = storage.read_json(folder / RECORD, dict)
        if made.get("key") == key:
            return made
        reason = "it is another experiment's"
    warnings.warn(
        f"the trained encoder in {folder} cannot be used ({reason}); training goes on from its last checkpoint", stacklevel=3
    )
    storage.remove(folder)
    return None
