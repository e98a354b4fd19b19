"""A made-up world in which every claim of the ledger but one holds, and how to change it; no number here was measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from armbook.claims.evidence import Example, Retriever
from armlib.evaluation.evaluate import FULL_RANKING, RERANKING
from armlib.experiments.experiment import Experiment
from armlib.experiments.profile import Profile
from fabricated import Fabricated, evaluation, fabricated

BASE = Experiment(steps=600, validate_every=60)
PROFILE = Profile(
    "fabricated",
    BASE,
    ("distilbert", "roberta", "mpnet"),
    static=(0.1, 0.3, 1.0),
    batch_sizes=(16, 64),
    seeds=(0, 1),
    sweep_seeds=(0, 1),
    jobs=1,
    about="Made up for tests.",
)
TINY = ("lsa/distilbert", "lsa/roberta", "lsa/mpnet")  # share their word vectors
TEST, YEAR = "docstrings/test", "mine/trec-dl-2019"
COLLECTIONS = (TEST, YEAR)  # the claims are about TREC-DL, and so not about the first
NOISE = np.linspace(-0.02, 0.02, 40)
STATICS = (0.1, 0.3, 0.5, 1.0)
LOSSES = [(f"static({value})", batch) for value in STATICS for batch in (False, True)]
LOSSES += [("adaptive", False), ("adaptive", True), ("distributed", False), ("mean", False)]
BEST_NDCG = {"distilbert": 0.1, "roberta": 0.3, "mpnet": 0.5}
BEST_HITS = {"distilbert": 0.3, "roberta": 0.5, "mpnet": 0.1}
Change = Callable[[str, str, bool], dict]


def facts(encoder: str, target: str, in_batch: bool) -> dict:
    """What is true of one training run where every claim holds but that of the abstract."""
    base = {"settled": 100, "start": 1.0, "end": 0.0, "above": 0.6, "below": 0.2, "stopped": True, "seconds": 100.0}
    base |= {"peak": 480, "noise": 0.0}
    if target.startswith("static"):
        value = float(target[7:-1])
        ndcg = 0.5 if value == 1 else 0.65 - 0.1 * abs(value - BEST_NDCG[encoder.split("/")[-1]])
        hits, recall = 0.85 - 0.1 * abs(value - BEST_HITS[encoder.split("/")[-1]]), 0.60 if value == 1 else 0.78
        drop = 0.03 * in_batch
        found = {"ndcg": ndcg - drop, "hits": hits - drop, "recall": recall - drop, "triples": 4000 if in_batch else 6000}
    elif target == "adaptive":
        found = {"ndcg": 0.55, "hits": 0.90, "recall": 0.70, "triples": 5000, "seconds": 40.0, "peak": 300}
        if in_batch:
            hits = 0.89 if "roberta" in encoder else 0.93
            found |= {"ndcg": 0.53, "hits": hits, "recall": 0.82, "triples": 1400, "peak": 480}
    elif target == "distributed":
        found = {"ndcg": 0.645, "hits": 0.88, "recall": 0.775, "triples": 5000, "peak": 180}
    else:
        found = {"ndcg": 0.40, "hits": 0.50, "recall": 0.50, "triples": 5000}
    return base | found


def of_facts(experiment: Experiment, true: dict) -> Fabricated:
    """A result of which these facts are true; seeds differ by 0.001.

    Facts of one seed alone stand in ``seed 1``. With ``noise`` the scores of queries differ from variant to variant.
    """
    true = true | true.get(f"seed {experiment.seed}", {})
    shift = 0.001 * (experiment.seed - 0.5)
    steps = np.arange(experiment.validate_every, experiment.steps + 1, experiment.validate_every)
    static = experiment.target.startswith("static")
    line = np.full(len(steps), true["ndcg"]) if static else true["ndcg"] - 0.05 * np.abs(steps - true["peak"]) / experiment.steps
    batches = np.arange(1, experiment.steps + 1)
    names = [each.split("/")[-1] for each in PROFILE.encoders]
    start = true["start"] * (0.9 - 0.3 * names.index(experiment.encoder.split("/")[-1]))
    middle = true["end"] + (start - true["end"]) * np.clip(1 - batches / true["settled"], 0, 1)
    trace = {"similarity_mean": middle, "similarity_minimum": middle - true["below"], "similarity_maximum": middle + true["above"]}
    ndcg, recall, hits = (true[name] + shift for name in ("ndcg", "recall", "hits"))
    loss = f"{experiment.encoder}{experiment.variant()}".encode()
    random = np.random.default_rng(list(loss)).normal(0, true["noise"], len(NOISE))
    noise = NOISE + random - random.mean()
    measured = {
        RERANKING: evaluation({"nDCG@10": ndcg, "Success@100": hits, "R@1000": 0.9}, noise),
        FULL_RANKING: evaluation({"nDCG@10": ndcg, "R@1000": recall}, noise),
    }
    return fabricated(
        experiment,
        f"{experiment.encoder}-{experiment.variant()}-{experiment.batch_size}-{experiment.seed}".replace(" ", "").replace("/", "-"),
        about={
            "seconds": {"training": true["seconds"]},
            "triples": true["triples"],
            "available_triples": experiment.steps * experiment.batch_size,
            "kept_step": int(steps[-1]),
            "stopped_early": true["stopped"],
        },
        trace=pd.DataFrame({"step": batches, **trace}),
        validations=pd.DataFrame({"step": steps, "nDCG@10": line + shift}),
        evaluations={(name, mode): each for name in COLLECTIONS for mode, each in measured.items()},
    )


def world(
    change: Change | None = None,
    seeds: tuple[int, ...] = (0, 1),
    base: Experiment = BASE,
    encoders: tuple[str, ...] = PROFILE.encoders,
) -> list[Fabricated]:
    """Results of every encoder, loss and seed, and distributed targets in smaller batches, with some facts changed."""
    made = []
    for encoder in encoders:
        for target, in_batch in LOSSES:
            true = facts(encoder, target, in_batch) | ((change and change(encoder, target, in_batch)) or {})
            experiments = [replace(base, encoder=encoder, target=target, in_batch=in_batch, seed=seed) for seed in seeds]
            made += [of_facts(each, true) for each in experiments]
            if target == "distributed":
                # Half the batch size, best after a quarter of the triples, and slightly better for MPNet alone.
                better = {"peak": 120, "ndcg": true["ndcg"] + (0.002 if "mpnet" in encoder else -0.002)}
                smaller = true | better | true.get("smaller", {})
                made += [of_facts(replace(e, batch_size=32, steps=1200), smaller) for e in experiments]
    return made


def example(sign: int, noise: float = 0.01) -> Example:
    """A batch whose relevance and losses rise (1) or fall (-1) with the targets, but for noise."""
    random = np.random.default_rng(0)
    targets = random.uniform(0.4, 0.7, (16, 16))
    relevance, losses = (sign * targets + random.normal(0, noise, (16, 16)) for _ in range(2))
    return Example("batch", relevance, targets, losses)


def teacher(ndcg: float = 0.66, recall: float = 0.85, triples: int = 12_500, noise: np.ndarray = NOISE) -> Retriever:
    return Retriever("distilled", triples, {YEAR: evaluation({"nDCG@10": ndcg, "R@1000": recall}, noise)})


def of(target: str, in_batch: bool | None = None, encoder: str = "", **values) -> Change:
    """A change of the training runs of one kind of target."""

    def change(each: str, name: str, batch: bool) -> dict:
        wanted = name.startswith(target) and in_batch in (None, batch) and encoder in each
        return values if wanted else {}

    return change
