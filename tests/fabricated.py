"""Finished experiments whose numbers are made up, so that what is computed of results can be worked out without training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from armbook import chapters, factorial
from armbook.tuned_losses import Tuning
from armlib.evaluation.evaluate import FULL_RANKING, RERANKING
from armlib.evaluation.measures import Evaluation
from armlib.experiments.experiment import Experiment
from armlib.experiments.profile import Profile
from armlib.experiments.result import Result
from armlib.storage import digest

NDCG, RECALL, HITS = "nDCG@10", "R(rel=2)@1000", "Success(rel=2)@100"


@dataclass(frozen=True, eq=False, repr=False)
class Fabricated(Result):
    """A result that has no folder; like any, it equals another of its key.

    Args:
        key, experiment, about, trace, validations: as those of `armlib.experiments.result.Result`.
        evaluations: by collection and mode.
    """

    experiment: Experiment = field()
    about: dict = field(default_factory=dict)
    trace: pd.DataFrame = field(default_factory=pd.DataFrame)
    validations: pd.DataFrame = field(default_factory=pd.DataFrame)
    evaluations: Mapping[tuple[str, str], Evaluation] = field(default_factory=dict)

    @cached_property
    def measures(self) -> pd.DataFrame:
        rows = [(*measured, name, value) for measured, each in self.evaluations.items() for name, value in each.mean.items()]
        return pd.DataFrame(rows, columns=["collection", "mode", "measure", "value"])

    def per_query(self, collection: str, mode: str) -> Evaluation:
        return self.evaluations[collection, mode]


def fabricated(experiment: Experiment, key: str = "", **parts) -> Fabricated:
    """A result of an experiment, of which the ``parts`` are known; its key is by default the experiment in words."""
    return Fabricated(key or str(experiment), Path("nowhere"), experiment, **parts)


def evaluation(means: Mapping[str, float], noise: np.ndarray) -> Evaluation:
    """Measures of as many queries as there are values of noise, which is added to each mean."""
    queries = [f"q{number:02d}" for number in range(len(noise))]
    return Evaluation.from_per_query(pd.DataFrame({name: mean + noise for name, mean in means.items()}, index=queries))


def with_about(result: Fabricated, **values) -> Fabricated:
    """The result with some values of its ``about`` changed."""
    return replace(result, about=result.about | values)


def with_experiment(result: Fabricated, **values) -> Fabricated:
    """The result as if its experiment had other values; its key is that of `fabricated`."""
    experiment = replace(result.experiment, **values)
    return replace(result, key=str(experiment), experiment=experiment)


def tuned_sweep(scores: Mapping[tuple[float, int], float], **values) -> list[Fabricated]:
    """A sweep over static targets whose kept weights scored so much in validation, by target and seed."""
    return [
        fabricated(
            Experiment(target=f"static({target})", seed=seed, **values),
            about={"kept_step": 60},
            validations=pd.DataFrame({"step": [30, 60], NDCG: [0.9, score]}),
        )
        for (target, seed), score in scores.items()
    ]


# The variants of Table 3


VARIANTS_BASE = Experiment(steps=100, validate_every=50, batch_size=10, selection="last")
VARIANTS_COLLECTIONS = ("docstrings/test", "msmarco-mini/dev")
# nDCG@10 of full ranking on the first collection by encoder, target and in-batch; on the second it is 0.1 lower.
VARIANTS_NDCG = {
    ("lsa/distilbert", "static(0.1)", False): 0.50,
    ("lsa/distilbert", "static(0.3)", False): 0.60,
    ("lsa/distilbert", "static(0.1)", True): 0.58,
    ("lsa/distilbert", "static(0.3)", True): 0.40,
    ("lsa/distilbert", "adaptive", False): 0.45,
    ("lsa/distilbert", "adaptive", True): 0.50,
    ("lsa/distilbert", "distributed", False): 0.57,
}
VARIANTS_NDCG |= {("mine", target, in_batch): 1 - value for (_, target, in_batch), value in VARIANTS_NDCG.items()}


def five_variants(
    encoders: Iterable[str] = ("lsa/distilbert", "mine"),
    seeds: tuple[int, ...] = (0, 1),
    collections: tuple[str, ...] = VARIANTS_COLLECTIONS,
    best_step: int = 50,
    others: Mapping[tuple[str, str, bool], float] = {},
) -> list[Fabricated]:
    """The variants of Table 3 by `VARIANTS_NDCG`, static ones with two targets; seed 0 is 0.01 below, seed 1 0.01 above.

    Args:
        encoders, seeds, collections: what there is of each.
        best_step: 50 or 100, where validation is best.
        others: nDCG@10 of further ones.
    """
    made = []
    for (encoder, target, in_batch), level in (VARIANTS_NDCG | others).items():
        for seed in seeds if encoder in encoders else ():
            experiment = replace(VARIANTS_BASE, encoder=encoder, target=target, in_batch=in_batch, seed=seed)
            shift = 0.02 * seed - 0.01 if len(seeds) > 1 else 0.0
            made.append(of_variant(experiment, level + shift, collections, best_step))
    return made


def of_variant(
    experiment: Experiment, ndcg: float, collections: tuple[str, ...] = VARIANTS_COLLECTIONS, best_step: int = 50
) -> Fabricated:
    """A training run of 1,000 triples, in 5 seconds with adaptive targets, 8 with distributed, 10 with static, 11 of seed 1."""
    seconds = {"adaptive": 5.0, "distributed": 8.0}.get(experiment.target, 10.0 + experiment.seed)
    measured = {name: _of_queries(ndcg - 0.1 * number, len(experiment.target)) for number, name in enumerate(collections)}
    return fabricated(
        experiment,
        about={"seconds": {"training": seconds}, "triples": 1000, "kept_step": 100, "validated_on": "held out"},
        validations=pd.DataFrame({"step": [50, 100], NDCG: [ndcg, ndcg - (0.1 if best_step == 50 else -0.1)]}),
        evaluations={(name, mode): each for name, each in measured.items() for mode in (RERANKING, FULL_RANKING)},
    )


@cache
def _of_queries(ndcg: float, seed: int) -> Evaluation:
    noise = np.random.default_rng(seed).normal(0, 0.02, 40)
    return evaluation({NDCG: ndcg, RECALL: 0.9 - ndcg, HITS: 0.8}, noise - noise.mean())


# Readings and ablations


LOSSES_BASE = Experiment(steps=80, validate_every=20, batch_size=64)
LOSSES_PROFILE = Profile(
    "fabricated",
    LOSSES_BASE,
    ("lsa/roberta", "lsa/mpnet"),
    static=(0.3, 1.0),
    batch_sizes=(64,),
    seeds=(0, 1, 2),
    sweep_seeds=(0,),
    jobs=1,
    about="Made up for tests.",
)
LOSSES_RECALL = {"one/test": "R@1000", "two/test": "R(rel=2)@1000"}  # what recall is called on each collection
LOSSES_SHIFTS = (-0.02, 0.0, 0.04)  # of nDCG@10, by seed


def changed_losses(experiments: Iterable[Experiment]) -> list[Fabricated]:
    """Training runs whose nDCG@10 tell every loss, reading and learning rate apart."""
    return [of_changed_loss(each) for each in experiments]


def of_changed_loss(experiment: Experiment, more: float = 0.0) -> Fabricated:
    """One of `changed_losses`, with so much more nDCG@10."""
    ndcg = {"distributed": 0.5, "adaptive": 0.45, "mean": 0.4, "variance": 0.2}.get(experiment.target, 0.48)
    ndcg += 0.03 * (experiment.reading != "paper") - 0.07 * experiment.stop_gradient - 0.3 * (experiment.error == "soft")
    ndcg += 0.01 * (experiment.learning_rate > LOSSES_BASE.learning_rate) + LOSSES_SHIFTS[experiment.seed] + more
    steps, validated = np.arange(1, experiment.steps + 1), np.arange(20, experiment.steps + 1, 20)
    mean = np.exp(-steps / 10) + 0.1 * ndcg + 0.01 * experiment.seed
    similarities = {"similarity_mean": mean, "similarity_minimum": mean - 0.2, "similarity_maximum": mean + 0.3 + 0.1 * ndcg}
    measured = {}
    for number, (name, recall) in enumerate(LOSSES_RECALL.items()):
        for mode in (RERANKING, FULL_RANKING):
            value, hits = ndcg - 0.1 * number - 0.05 * (mode == FULL_RANKING), "Success@100" if number == 0 else HITS
            measured[name, mode] = evaluation({NDCG: value, recall: value / 2, hits: 0.9}, np.linspace(-0.01, 0.01, 30))
    return fabricated(
        experiment,
        trace=pd.DataFrame({"step": steps, "triples": steps * experiment.batch_size, **similarities}),
        validations=pd.DataFrame({"step": validated, NDCG: ndcg * validated / experiment.steps}),
        evaluations=measured,
    )


# Table 4


TUNED_PROFILE = Profile(
    "fabricated",
    VARIANTS_BASE,
    ("lsa/distilbert",),
    static=(0.3, 1.0),
    batch_sizes=(10,),
    seeds=(0, 1),
    sweep_seeds=(0,),
    jobs=1,
    about="Made up for tests.",
    learning_rates=(5e-4, 1e-3),
    scales=(10.0, 20.0),
    query_clusters=4,
)


def tuned_systems(
    profile: Profile = TUNED_PROFILE, ndcg: Callable[[Experiment], float] = lambda _: 0.5
) -> dict[Experiment, Fabricated]:
    """Results of all rounds of the chapters on baselines and teachers; each has the nDCG@10 that is given for it."""
    return _all_rounds(lambda found: [*chapters.baselines(profile), *Tuning(profile, found).experiments()], ndcg)


def crossed_systems(profile: Profile, ndcg: Callable[[Experiment], float] = lambda _: 0.5) -> dict[Experiment, Fabricated]:
    """As `tuned_systems`, of the chapter that crosses losses, batches and encoders."""
    return _all_rounds(lambda found: Tuning(profile, found, factorial.systems(profile)).experiments(), ndcg)


def _all_rounds(
    named: Callable[[Mapping[Experiment, Fabricated]], list[Experiment]], ndcg: Callable[[Experiment], float]
) -> dict[Experiment, Fabricated]:
    found: dict[Experiment, Fabricated] = {}
    while missing := [one for one in named(found) if one not in found]:
        found |= {one: _of_system(one, ndcg(one)) for one in missing}
    return found


def _of_system(experiment: Experiment, ndcg: float) -> Fabricated:
    """A training run of 10 seconds; a teacher took 40 to train and 20 to score, one of two passages 4 and 2 for each run."""
    key = digest(str(experiment))[:12]
    teacher = {"name": experiment.teacher, "fingerprint": "t", "seconds": 20.0, "training_seconds": 40.0}
    if experiment.pairwise_teacher:
        pairs = {"name": experiment.pairwise_teacher, "fingerprint": "p", "seconds": 2.0, "training_seconds": 4.0, "of": key}
        teacher["pairwise"] = pairs
    result = of_variant(experiment, ndcg + 0.01 * experiment.seed, best_step=100)
    about = {"stopped_early": False, **({"teacher": teacher} if experiment.teacher else {})}
    about |= {"seconds": {"training": 10.0, "total": 16.0}, "triples": experiment.steps * experiment.batch_size}
    steps = np.arange(1, experiment.steps + 1)
    trace = pd.DataFrame({"step": steps, "seconds": np.full(len(steps), 0.1)})
    return replace(with_about(result, **about), key=key, folder=Path("/runs") / key, trace=trace)
