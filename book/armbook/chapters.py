"""What each chapter trains: the experiments that a profile compares, so that chapters share them and machines can split them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from armbook import factorial
from armbook.evidence import Evidence
from armbook.results import ADAPTIVE, DISTRIBUTED, tuned_targets
from armbook.tuned_losses import Found, Tuning
from armlib.errors import InputError, unknown
from armlib.experiments.experiment import Experiment
from armlib.experiments.profile import Profile
from armlib.experiments.result import Result
from armlib.experiments.store import RunStore
from armlib.experiments.workers import TrainingProcesses

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


def teachers(profile: Profile) -> list[Experiment]:
    """Losses that learn from teachers and those beside them, with the profile's first encoder, in the settings to choose from."""
    return Tuning(profile, {}).experiments()


def contextual(profile: Profile) -> list[Experiment]:
    """Losses in random and in clustered batches, with plain and with contextual encoders, in the settings to choose from."""
    return Tuning(profile, {}, factorial.systems(profile)).experiments()


CHAPTERS: dict[str, Callable[[Profile], list[Experiment]]] = {
    chapter.__name__: chapter
    for chapter in (distributed, adaptive, static_sweep, readings, ablations, batch_sizes, baselines, teachers, contextual)
}
"""By name, the training runs of each chapter that can start at once."""

LATER: dict[str, Callable[[Profile, Found], list[Experiment]]] = {
    "static_sweep": lambda profile, found: tuned_static(profile, found.values()),
    "teachers": lambda profile, found: Tuning(profile, found).experiments(),
    "contextual": lambda profile, found: Tuning(profile, found, factorial.systems(profile)).experiments(),
}
"""By name, what the results of a chapter so far name further, again and again until nothing is new."""


def first_round(profile: Profile, chapters: Iterable[str] = tuple(CHAPTERS)) -> list[Experiment]:
    """All training runs of the book that can start at once.

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
    return _in_order(profile, [CHAPTERS[name](profile) for name in chosen])


def every_round(
    profile: Profile, get: Callable[[Sequence[Experiment]], Found], chapters: Iterable[str] = tuple(CHAPTERS)
) -> dict[str, Found]:
    """The results of all training runs of some chapters, round by round.

    Args:
        profile: the scale.
        get: gives the results of experiments, such as `from_store`; a chapter of which it gives not all has no later rounds.
        chapters: as `first_round` takes them.

    Returns:
        By chapter, what it shows.
    """
    chosen = list(chapters)
    first_round(profile, chosen)  # refuses a chapter that there is not
    wanted = {name: CHAPTERS[name](profile) for name in chosen}
    found: dict[str, dict[Experiment, Result]] = {name: {} for name in chosen}
    while wanted:
        given = get(_in_order(profile, wanted.values()))
        for name, experiments in wanted.items():
            found[name] |= {each: given[each] for each in experiments if each in given}
        further = {name: LATER[name] for name, some in wanted.items() if name in LATER and given.keys() >= set(some)}
        new = {name: [one for one in later(profile, found[name]) if one not in found[name]] for name, later in further.items()}
        wanted = {name: experiments for name, experiments in new.items() if experiments}
    return found


def alone(profile: Profile, chapter: str) -> list[Profile]:
    """The profile with one encoder at a time, of those of which a chapter asks for nothing but what it asks of the whole profile.

    So a chapter can be shown, and its later rounds be known, for the encoders of which all is there.
    """
    asked, singles = set(CHAPTERS[chapter](profile)), [replace(profile, encoders=(encoder,)) for encoder in profile.encoders]
    return [single for single in singles if asked.issuperset(CHAPTERS[chapter](single))]  # a chapter of one takes the first


def wanted(profile: Profile, chapter: str, found: Found) -> list[Experiment]:
    """The training runs that a chapter has asked for so far.

    Args:
        profile: the scale.
        chapter: its name.
        found: results of it; what these name further counts where all that can start at once is among them.
    """
    first = CHAPTERS[chapter](profile)
    complete = chapter in LATER and found.keys() >= set(first)
    return list(dict.fromkeys([*first, *(LATER[chapter](profile, found) if complete else [])]))


def every_round_there(profile: Profile, get: Callable[[Sequence[Experiment]], Found]) -> dict[str, Found]:
    """As `every_round`, of all chapters, where ``get`` trains nothing.

    What the results of one encoder name does not wait for those of others.
    """
    found = every_round(profile, get)
    for name in found:
        for single in alone(profile, name):
            found[name] = {**found[name], **every_round(single, get, [name])[name]}
    return found


@contextmanager
def from_store(store: RunStore | Evidence, jobs: int) -> Iterator[Callable[[Sequence[Experiment]], Found]]:
    """What `every_round` takes as ``get``: results of a store, of which so many processes train those that are missing.

    Results that came with the repository count as an `armbook.evidence.Evidence` has them.

    The processes live over all rounds, and end with the block.
    """
    with TrainingProcesses(jobs) as processes:
        yield lambda experiments: dict(zip(experiments, store.results(experiments, jobs, processes), strict=True))


def _in_order(profile: Profile, lists: Iterable[Sequence[Experiment]]) -> list[Experiment]:
    """Experiments of some chapters, each once, by the profile's encoders; those that start from another one are last."""
    every = dict.fromkeys(experiment for one in lists for experiment in one)
    places = {encoder: place for place, encoder in enumerate(profile.encoders)}
    return sorted(every, key=lambda each: places.get(each.encoder, len(places)))


def middle(profile: Profile) -> float:
    """The static target of the sweep that is nearest to 0.5, for comparisons that need one and do not tune it."""
    return min(profile.static, key=lambda value: abs(value - 0.5))
