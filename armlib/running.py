"""One experiment from beginning to end: data, encoder, training, runs, measures, all written into one folder."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path

from accelerate import Accelerator

from armlib import files
from armlib.batches import TripleBatches
from armlib.data import Collection, hold_out, load_collection
from armlib.encoder import BiEncoder
from armlib.evaluation import evaluate
from armlib.experiments import HELD_OUT, Experiment
from armlib.indexes import check_index
from armlib.lsa import load_encoder
from armlib.measuring import measure
from armlib.provenance import provenance
from armlib.retrieval import rerank_first_stage
from armlib.runs import ranked
from armlib.stores import passage_store, query_store, triple_rows
from armlib.training import MEASURE, train

HITS = "Success"  # ir_measures' name of the paper's Hits@k


def run_experiment(
    experiment: Experiment, folder: Path, work: Path, accelerator: Accelerator, checkpoint_seconds: float
) -> None:  # fmt: skip
    """Train, evaluate, and write ``folder`` whole at the end.

    Args:
        experiment: what to run.
        folder: where the result goes.
        work: where checkpoints are kept meanwhile; a stopped run goes on from them.
        accelerator: device, precision and processes.
        checkpoint_seconds: time between two checkpoints.

    Raises:
        InputError: the data, the encoder or a value cannot be used, or the disk is full.
    """
    started = time.perf_counter()
    collection = load_collection(experiment.collection)
    evaluations = [load_collection(name) for name in experiment.evaluation_names()]
    encoder = load_encoder(experiment.encoder, collection, experiment.pooling or None)
    queries, passages = query_store(collection, encoder.tokenizer), passage_store(collection, encoder.tokenizer)
    check_index(experiment.index, len(passages), encoder.dim)
    validation, left_out = validation_of(experiment, collection)
    validator = Validator(validation, encoder, experiment)
    batches = TripleBatches(
        triple_rows(collection, queries, passages, left_out), queries, passages, batch_size=experiment.batch_size,
        shape=experiment.shape(), seed=experiment.seed, rank=accelerator.process_index, processes=accelerator.num_processes,
    )  # fmt: skip
    seconds = {"preparing": time.perf_counter() - started}
    settings = replace(experiment.settings(), checkpoint_seconds=checkpoint_seconds)
    training = train(
        encoder, experiment.loss(), batches, settings, accelerator=accelerator, validate=validator, checkpoints=work / "checkpoints"
    )
    if not accelerator.is_main_process:
        return
    seconds["training"] = float(training.trace.seconds.sum())
    seconds["validating"] = float(training.validations.seconds.sum()) if len(training.validations) else 0.0
    with files.atomic_folder(folder) as draft:
        evaluating = time.perf_counter()
        rows, indexes = measure(
            encoder, evaluations, draft, query_length=experiment.query_length, passage_length=experiment.passage_length,
            full=experiment.full_ranking, index=experiment.index, tag=experiment.key(), work=work / "embeddings",
        )  # fmt: skip
        seconds["evaluating"] = time.perf_counter() - evaluating
        seconds["total"] = sum(seconds.values())
        about = {
            "variant": experiment.variant(), "measures": rows, "indexes": indexes, "seconds": seconds,
            "triples": int(training.trace.triples.max()) if len(training.trace) else 0,
            "available_triples": len(batches.triples),
            "steps": len(training.trace), "kept_step": training.kept_step, "stopped_early": training.stopped_early,
            "optimizer": training.optimizer, "device": str(accelerator.device), "precision": accelerator.mixed_precision,
            "processes": accelerator.num_processes, "validated_on": validation.name,
            "fingerprints": {each.name: each.fingerprint() for each in (collection, *evaluations)}, **provenance(),
        }  # fmt: skip
        encoder.save(
            draft / "encoder", query_length=experiment.query_length, passage_length=experiment.passage_length,
            provenance={"experiment": experiment.key(), **asdict(experiment)},
        )  # fmt: skip
        training.trace.to_csv(draft / "trace.csv", index=False)
        training.validations.to_csv(draft / "validations.csv", index=False)
        files.write_json(draft / "experiment.json", asdict(experiment))
        files.write_json(draft / "result.json", about)


def validation_of(experiment: Experiment, collection: Collection) -> tuple[Collection, frozenset[str]]:
    """The collection that decides early stopping, and the ids of training queries that it takes away from training."""
    name = experiment.validation or collection.validation or HELD_OUT
    if name != HELD_OUT:
        return load_collection(name), frozenset()
    held, left_out = hold_out(collection, experiment.validation_queries)
    return held, frozenset(left_out)


class Validator:
    """Re-ranks the first stage of a validation collection; each passage is encoded once.

    Args:
        collection: queries, judgments and first stage.
        encoder: decides the tokenizer; the encoder to validate is given to each call.
        experiment: depth, number of queries, lengths.
    """

    def __init__(self, collection: Collection, encoder: BiEncoder, experiment: Experiment) -> None:
        self.experiment = experiment
        self.queries, self.passages = query_store(collection, encoder.tokenizer), passage_store(collection, encoder.tokenizer)
        judged = {query: grades for query, grades in collection.qrels().items() if max(grades.values()) >= collection.relevant_from}
        first_stage = collection.first_stage()
        chosen = [query for query in first_stage if query in judged]
        if experiment.validation_queries:
            chosen = sorted(chosen, key=lambda query: files.digest(query))[: experiment.validation_queries]
        self.qrels = {query: judged[query] for query in chosen}
        grade = f"(rel={collection.relevant_from})" if collection.relevant_from > 1 else ""
        self.hits = f"{HITS}{grade}@{max(1, experiment.validation_depth // 10)}"
        self.candidates = {query: ranked(first_stage[query], experiment.validation_depth) for query in chosen}

    def __call__(self, encoder: BiEncoder) -> dict[str, float]:
        """nDCG@10 and hits of the re-ranked candidates; hits at a tenth of the depth, as the paper's Hits@100 of 1000."""
        run = rerank_first_stage(
            encoder, self.queries, self.passages, self.candidates,
            query_length=self.experiment.query_length, passage_length=self.experiment.passage_length,
        )  # fmt: skip
        return evaluate(run, self.qrels, [MEASURE, self.hits]).mean
