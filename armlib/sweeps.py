"""The experiments behind each chapter: what a profile compares, so that chapters share trainings and machines can split them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from armlib.errors import InputError, unknown
from armlib.experiments import Experiment, Profile
from armlib.targets import Static, parse_target
from armlib.training import MEASURE

ADAPTIVE, DISTRIBUTED = "adaptive", "distributed"
ABLATIONS = (
    {"target": "mean"},
    {"target": "static(0.5, variance=1.0)"},
    {"target": "variance"},
    {"stop_gradient": True},
    {"error": "absolute"},
    {"error": "soft"},
)  # each in what it differs from distributed targets
LEARNING_RATES = (0.5, 2.0)  # times the profile's

Finished = TypeVar("Finished")  # whatever has an experiment, validations and a kept step, as `armlib.store.Result`


def static_sweep(profile: Profile) -> list[Experiment]:
    """Static targets for each encoder, without and with in-batch negatives (section 5.1, Figure 3), in the profile's sweep."""
    return [
        profile.vary(**{**profile.sweep, "encoder": encoder, "target": f"static({value})", "in_batch": in_batch, "seed": seed})
        for encoder in profile.encoders
        for in_batch in (False, True)
        for value in profile.static
        for seed in profile.sweep_seeds
    ]


def adaptive(profile: Profile) -> list[Experiment]:
    """Adaptive targets for each encoder, without and with in-batch negatives (section 5.2, Figure 4)."""
    return [
        profile.vary(encoder=encoder, target=ADAPTIVE, in_batch=in_batch, seed=seed)
        for encoder in profile.encoders
        for in_batch in (False, True)
        for seed in profile.seeds
    ]


def distributed(profile: Profile) -> list[Experiment]:
    """Distributed targets for each encoder in the profile's own batch size (section 5.3, Figures 5 and 6)."""
    return [profile.vary(encoder=encoder, target=DISTRIBUTED, seed=seed) for encoder in profile.encoders for seed in profile.seeds]


def batch_sizes(profile: Profile) -> list[Experiment]:
    """Distributed targets by batch size; all see equally many triples and are validated at the same points (Figure 5).

    Raises:
        InputError: a batch size does not divide the triples between two validations.
    """
    base = profile.experiment
    for size in profile.batch_sizes:
        for name in ("steps", "validate_every"):
            if getattr(base, name) * base.batch_size % size:
                count = getattr(base, name) * base.batch_size
                raise InputError(f"a batch size of {size} does not divide the {count} triples of {name} of profile {profile.name}")
    return [
        profile.vary(
            encoder=encoder, target=DISTRIBUTED, batch_size=size, steps=base.steps * base.batch_size // size,
            validate_every=base.validate_every * base.batch_size // size, seed=seed,
        )
        for encoder in profile.encoders
        for size in sorted({*profile.batch_sizes, base.batch_size})
        for seed in (profile.seeds if size == base.batch_size else profile.sweep_seeds)
    ]  # fmt: skip


def baselines(profile: Profile) -> list[Experiment]:
    """The profile's first encoder before fine-tuning, with no step of any loss, and with the default static target 1 (Table 4)."""
    base = {"encoder": profile.encoders[0], "target": DISTRIBUTED}
    default = [profile.vary(**{**base, "target": "static(1.0)"}, seed=seed) for seed in profile.sweep_seeds]
    return [profile.vary(**base, steps=0, seed=profile.seeds[0]), *default]


def readings(profile: Profile) -> list[Experiment]:
    """The losses of which the paper and the released code give two readings, in both, with the profile's encoder."""
    losses = (
        {"target": DISTRIBUTED}, {"target": ADAPTIVE, "in_batch": True}, {"target": f"static({middle(profile)})", "in_batch": True}
    )  # fmt: skip
    return [
        profile.vary(encoder=profile.encoders[0], **loss, reading=reading, seed=seed)
        for loss in losses
        for reading in ("paper", "released-code")
        for seed in profile.seeds
    ]


def ablations(profile: Profile) -> list[Experiment]:
    """Distributed targets and what differs from them in one respect, with the profile's encoder."""
    base = {"encoder": profile.encoders[0], "target": DISTRIBUTED}
    rates = [{"learning_rate": factor * profile.experiment.learning_rate} for factor in LEARNING_RATES]
    return [profile.vary(**{**base, **change}, seed=seed) for change in ({}, *ABLATIONS, *rates) for seed in profile.seeds]


def best_static(results: Mapping[float, Sequence[Finished]]) -> float:
    """The static target with the best validation nDCG@10 of the kept weights, on the mean of the seeds that all targets have.

    Args:
        results: of one encoder and kind of negatives, by static target.

    Raises:
        InputError: no seed is common to all targets.
    """
    seeds = set.intersection(*({each.experiment.seed for each in some} for some in results.values())) if results else set()
    if not seeds:
        raise InputError("a static target is tuned on seeds that all targets of the sweep have, and there are none")

    def score(value: float) -> float:
        kept = [_kept_validation(each) for each in results[value] if each.experiment.seed in seeds]
        return sum(kept) / len(kept)

    return max(results, key=score)


def of_sweep(results: Iterable[Finished]) -> list[Finished]:
    """Those of some results that a profile with a shorter sweep trained for it: with the fewest steps, measured the least."""
    return _of_extent(results, min)


def in_full(results: Iterable[Finished]) -> list[Finished]:
    """Those of some results that are compared with other losses: with the most steps, measured the most."""
    return _of_extent(results, max)


def _of_extent(results: Iterable[Finished], choose: Callable) -> list[Finished]:
    whole = list(results)
    extents = [(each.experiment.steps, each.experiment.full_ranking) for each in whole]
    wanted = choose(extents, default=None)
    return [each for each, extent in zip(whole, extents, strict=True) if extent == wanted]


def trained_again(chosen: Iterable[Finished], swept: Iterable[Finished]) -> bool:
    """Whether results of the tuned target cost time on top of the sweep's: none of them is one of the sweep."""
    return {each.key for each in chosen}.isdisjoint(each.key for each in swept)


def tuned(results: Iterable[Finished]) -> dict[tuple[str, bool], float]:
    """The best static target by (encoder, in-batch); results of other losses among them are left out."""
    sorted_out: dict[tuple[str, bool], dict[float, list[Finished]]] = {}
    for each in of_sweep(each for each in results if is_static(each) and each.experiment.reading == "paper"):
        of_encoder = sorted_out.setdefault((each.experiment.encoder, each.experiment.in_batch), {})
        of_encoder.setdefault(parse_target(each.experiment.target).value, []).append(each)
    return {key: best_static(by_value) for key, by_value in sorted_out.items()}


def tuned_static(profile: Profile, results: Iterable[Finished]) -> list[Experiment]:
    """The tuned static targets of a finished sweep, with the seeds that comparisons have (section 5.4, Table 3)."""
    return [
        profile.vary(encoder=encoder, target=f"static({value})", in_batch=in_batch, seed=seed)
        for (encoder, in_batch), value in tuned(results).items()
        for seed in profile.seeds
    ]


CHAPTERS: dict[str, Callable[[Profile], list[Experiment]]] = {
    chapter.__name__: chapter
    for chapter in (distributed, adaptive, static_sweep, readings, ablations, batch_sizes, baselines)
}  # fmt: skip


def first_round(profile: Profile, chapters: Iterable[str] = tuple(CHAPTERS)) -> list[Experiment]:
    """All trainings of the book that can start at once; what remains is `tuned_static` of this round's sweep.

    In the order of encoders, so that a store that is filled halfway can show whole chapters.

    Args:
        profile: the scale.
        chapters: names of functions of this module; all by default.

    Raises:
        InputError: there is no chapter of that name.
    """
    chosen = list(chapters)
    for name in chosen:
        if name not in CHAPTERS:
            raise unknown("chapter", name, CHAPTERS)
    every = [experiment for name in chosen for experiment in CHAPTERS[name](profile)]
    return sorted(dict.fromkeys(every), key=lambda each: profile.encoders.index(each.encoder))


def is_static(result: Finished) -> bool:
    """Whether a result's target is a static value, without a demand on the variance."""
    target = parse_target(result.experiment.target)
    return isinstance(target, Static) and not target.variance


def middle(profile: Profile) -> float:
    """The static target of the sweep that is nearest to 0.5, for comparisons that need one and do not tune it."""
    return min(profile.static, key=lambda value: abs(value - 0.5))


def _kept_validation(result: Finished) -> float:
    rows = result.validations.set_index("step")[MEASURE]
    kept = result.about["kept_step"]
    return float(rows[kept] if kept in rows.index else rows.iloc[-1])
