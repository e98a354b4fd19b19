"""Scales at which the book can be run: values that its experiments share, in TOML files."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from armlib.errors import InputError, unknown
from armlib.experiments.experiment import Experiment


@dataclass(frozen=True)
class Profile:
    """A scale at which the book can be run.

    Attributes:
        name: ``demo``, ``small`` or ``paper``.
        experiment: the values that all its experiments share.
        encoders: encoders that the book compares; ablations take the first.
        static: static targets of the sweep.
        batch_sizes: of distributed targets; each training run sees equally many triples.
        seeds: seeds of every comparison.
        sweep_seeds: seeds of the sweeps over static targets and batch sizes.
        sweep: values in which the sweep over static targets differs from the profile's experiment, such as fewer steps.
        jobs: training runs at a time on one machine.
        about: one sentence on what its numbers are, and are not.
    """

    name: str
    experiment: Experiment
    encoders: tuple[str, ...]
    static: tuple[float, ...]
    batch_sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    sweep_seeds: tuple[int, ...]
    jobs: int
    about: str
    sweep: Mapping[str, object] = field(default_factory=dict)

    def vary(self, **values: Any) -> Experiment:
        """The profile's experiment with some values changed.

        Raises:
            InputError: a value has a name that an experiment does not know.
        """
        known = [each.name for each in fields(Experiment)]
        for name in values:
            if name not in known:
                raise unknown("value of an experiment", name, known)
        return replace(self.experiment, **values)


PROFILE_VALUES = {each.name for each in fields(Profile)} - {"name"}
OPTIONAL = {"sweep"}


def profile_names() -> list[str]:
    """The names of the profiles that come with the package."""
    return sorted(file.name.removesuffix(".toml") for file in _profiles().iterdir() if file.name.endswith(".toml"))


def load_profile(name: str, collection: str = "", encoder: str = "", seeds: Sequence[int] = ()) -> Profile:
    """A profile by name, or from the path of a TOML file of the same form; with a reader's own data where they are named.

    Args:
        name: ``demo``, ``small``, ``paper`` or a path that ends in ``.toml``.
        collection: what to train on instead of the profile's, as `armlib.names.load_collection` takes it.
        encoder: the only encoder to start from, instead of the profile's.
        seeds: the seeds of all training runs, instead of the profile's.

    Raises:
        InputError: there is no such profile, or a value in it is missing, unknown or of the wrong type.
    """
    if not isinstance(name, str):
        raise InputError(f"a profile is named by text, not by {name!r} (available: {', '.join(profile_names())})")
    if isinstance(seeds, str) or not all(type(seed) is int for seed in (seeds if isinstance(seeds, Sequence) else [None])):
        raise InputError(f"seeds must be a list of whole numbers, such as [0, 1], not {seeds!r}")
    if name.endswith(".toml"):
        try:
            with open(name, "rb") as source:
                text = source.read().decode()
        except FileNotFoundError:
            raise InputError(f"there is no profile file {name}") from None
    elif name in profile_names():
        text = (_profiles() / f"{name}.toml").read_text(encoding="utf8")
    else:
        raise unknown("profile", name, profile_names())
    values = tomllib.loads(text)
    of_experiment = {each.name for each in fields(Experiment)}
    for kind, found, wanted in (
        ("value of profile", values, PROFILE_VALUES),
        ("value of an experiment in profile", values.get("experiment", {}), of_experiment),
        ("value of the sweep in profile", values.get("sweep", {}), of_experiment),
    ):
        for each in found:
            if each not in wanted:
                raise unknown(f"{kind} {name}", each, sorted(wanted))
    missing = sorted(PROFILE_VALUES - OPTIONAL - set(values))
    if missing:
        raise InputError(f"profile {name} lacks {', '.join(missing)}")
    own: dict[str, Any] = {key: value for key, value in {"collection": collection, "encoder": encoder}.items() if value}
    if collection and collection != values["experiment"].get("collection"):
        own |= {"validation": "", "evaluation": ()}  # the collection's own
    listed = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    listed |= {"encoders": (encoder,)} if encoder else {}
    listed |= dict.fromkeys(("seeds", "sweep_seeds"), tuple(seeds)) if seeds else {}
    experiment, sweep = Experiment(**{**values["experiment"], **own}), values.get("sweep", {})
    replace(experiment, **sweep)  # refuse what an experiment refuses now
    return Profile(name=name, experiment=experiment, jobs=values["jobs"], about=values["about"], sweep=sweep, **listed)


def _profiles() -> Traversable:
    return resources.files("armlib") / "experiments" / "profiles"
