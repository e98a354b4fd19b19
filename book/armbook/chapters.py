"""What each chapter trains: the experiments that a profile compares, so that chapters share them and machines can split them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from armbook.results import ADAPTIVE, DISTRIBUTED, tuned_targets
from armlib.errors import InputError, unknown
from armlib.experiments.experiment import Experiment
from armlib.experiments.profile import Profile
from armlib.experiments.result import Result

ABLATIONS = (
    {"target": "mean"},
    {"target": "static(0.5, variance=1.0)"},
    {"target": "variance"},
    {"stop_gradient": True},
    {"error": "absolute"},
    {"error": "soft"},
)  # each in what it differs from distributed targets
LEARNING_RATES = (0.5, 2.0)  # times the profile's


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
            encoder=encoder,
            target=DISTRIBUTED,
            batch_size=size,
            steps=base.steps * base.batch_size // size,
            validate_every=base.validate_every * base.batch_size // size,
            seed=seed,
        )
        for encoder in profile.encoders
        for size in sorted({*profile.batch_sizes, base.batch_size})
        for seed in (profile.seeds if size == base.batch_size else profile.sweep_seeds)
    ]


def baselines(profile: Profile) -> list[Experiment]:
    """The profile's first encoder before fine-tuning, with no step of any loss, and with the default static target 1 (Table 4)."""
    base = {"encoder": profile.encoders[0], "target": DISTRIBUTED}
    default = [profile.vary(**{**base, "target": "static(1.0)"}, seed=seed) for seed in profile.sweep_seeds]
    return [profile.vary(**base, steps=0, seed=profile.seeds[0]), *default]


def readings(profile: Profile) -> list[Experiment]:
    """The losses of which the paper and the released code give two readings, in both, with the profile's encoder."""
    losses = (
        {"target": DISTRIBUTED},
        {"target": ADAPTIVE, "in_batch": True},
        {"target": f"static({middle(profile)})", "in_batch": True},
    )
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


def tuned_static(profile: Profile, results: Iterable[Result]) -> list[Experiment]:
    """The tuned static targets of a finished sweep, with the seeds that comparisons have (section 5.4, Table 3)."""
    return [
        profile.vary(encoder=encoder, target=f"static({value})", in_batch=in_batch, seed=seed)
        for (encoder, in_batch), value in tuned_targets(results).items()
        for seed in profile.seeds
    ]


CHAPTERS: dict[str, Callable[[Profile], list[Experiment]]] = {
    chapter.__name__: chapter for chapter in (distributed, adaptive, static_sweep, readings, ablations, batch_sizes, baselines)
}


def first_round(profile: Profile, chapters: Iterable[str] = tuple(CHAPTERS)) -> list[Experiment]:
    """All training runs of the book that can start at once; what remains is `tuned_static` of this round's sweep.

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


def middle(profile: Profile) -> float:
    """The static target of the sweep that is nearest to 0.5, for comparisons that need one and do not tune it."""
    return min(profile.static, key=lambda value: abs(value - 0.5))
