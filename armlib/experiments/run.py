"""One experiment from beginning to end: data, training, runs, measures, all written into one folder."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path

from accelerate import Accelerator

from armlib import storage
from armlib.evaluation.evaluate import evaluate_encoder
from armlib.experiments.provenance import provenance
from armlib.experiments.training_data import TrainingData
from armlib.retrieval.indexes import check_index
from armlib.training.loop import train


def run_experiment(data: TrainingData, folder: Path, work: Path, accelerator: Accelerator, checkpoint_seconds: float) -> None:
    """Train, evaluate, and write ``folder`` whole at the end.

    Args:
        data: of the experiment to run.
        folder: where the result goes.
        work: where checkpoints are kept meanwhile; a stopped run goes on from them.
        accelerator: device, precision and processes.
        checkpoint_seconds: time between two checkpoints.

    Raises:
        InputError: the data, the encoder or a value cannot be used, or the disk is full.
    """
    started = time.perf_counter()
    experiment, encoder, evaluations = data.experiment, data.encoder, data.evaluations
    check_index(experiment.index, len(data.passages), encoder.dim)
    validator = data.validator()
    batches = data.batches(rank=accelerator.process_index, processes=accelerator.num_processes)
    seconds = {"preparing": time.perf_counter() - started}
    settings = replace(experiment.settings(), checkpoint_seconds=checkpoint_seconds)
    checkpoints = work / "checkpoints"
    done = train(
        encoder, experiment.make_loss(), batches, settings, accelerator=accelerator, validate=validator, checkpoints=checkpoints
    )
    if not accelerator.is_main_process:
        return
    seconds["training"] = float(done.trace.seconds.sum())
    seconds["validating"] = float(done.validations.seconds.sum()) if len(done.validations) else 0.0
    with storage.atomic_folder(folder) as draft:
        evaluating = time.perf_counter()
        rows, indexes = evaluate_encoder(
            encoder,
            evaluations,
            draft,
            query_length=experiment.query_length,
            passage_length=experiment.passage_length,
            full=experiment.full_ranking,
            index=experiment.index,
            tag=data.key,
            work=work / "embeddings",
        )
        seconds["evaluating"] = time.perf_counter() - evaluating
        seconds["total"] = sum(seconds.values())
        about = {
            "variant": experiment.variant(),
            "measures": rows,
            "indexes": indexes,
            "seconds": seconds,
            "triples": int(done.trace.triples.max()) if len(done.trace) else 0,
            "available_triples": len(batches.triples),
            "examples": f"lists of {batches.triples.shape[1] - 1} passages" if experiment.lists else "triples",
            "steps": len(done.trace),
            "kept_step": done.kept_step,
            "stopped_early": done.stopped_early,
            "optimizer": done.optimizer,
            "device": str(accelerator.device),
            "precision": accelerator.mixed_precision,
            "processes": accelerator.num_processes,
            "validated_on": data.validation.name,
            "fingerprints": {each.name: each.fingerprint() for each in (data.collection, *evaluations)},
            **data.about_teacher(),
            **provenance(),
        }
        encoder.save(
            draft / "encoder",
            query_length=experiment.query_length,
            passage_length=experiment.passage_length,
            provenance={"experiment": data.key, **asdict(experiment)},
        )
        done.trace.to_csv(draft / "trace.csv", index=False)
        done.validations.to_csv(draft / "validations.csv", index=False)
        storage.write_json(draft / "experiment.json", asdict(experiment))
        storage.write_json(draft / "result.json", about)
