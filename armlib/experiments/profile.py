"""Scales at which the book can be run: values that its experiments share, in TOML files."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from armlib.errors import InputError, unknown
from armlib.experiments.defaults import LEARNING_RATES, encoder_kind, own_values
from armlib.experiments.experiment import Experiment
from armlib.losses import parse_loss, parse_target
from armlib.storage import canonical, disk_errors


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
        learning_rates: from which every loss takes its best where losses are tuned alike; empty for the experiment's alone.
        scales: of cosines, from which a loss with a softmax or with a teacher's margins takes its best.
        teacher, pairwise_teacher: of the students that the book distils, as an experiment names them.
        in_batch_teacher: a bi-encoder, which also scores the passages of other queries; empty leaves those students out.
        list_queries: how many training queries get a list of the student's candidates for a teacher to score; 0 for all.
        query_clusters: how many topics queries are put in where batches are about one.
        context: how many passages contextual encoders read beside a text; 0 leaves these encoders out.
        elsewhere: collections out of domain that some encoders are measured on, too.
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
    learning_rates: tuple[float, ...] = ()
    scales: tuple[float, ...] = (20.0,)
    teacher: str = "interaction"
    pairwise_teacher: str = "pairwise-interaction"
    in_batch_teacher: str = ""
    list_queries: int = 0
    query_clusters: int = 50
    context: int = 0
    elsewhere: tuple[str, ...] = ()

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


# Of each value its type, and whether it is a list.
KINDS: dict[str, tuple[type, bool]] = {
    "encoders": (str, True),
    "static": (float, True),
    "batch_sizes": (int, True),
    "seeds": (int, True),
    "sweep_seeds": (int, True),
    "jobs": (int, False),
    "about": (str, False),
    "learning_rates": (float, True),
    "scales": (float, True),
    "teacher": (str, False),
    "pairwise_teacher": (str, False),
    "in_batch_teacher": (str, False),
    "list_queries": (int, False),
    "query_clusters": (int, False),
    "context": (int, False),
    "elsewhere": (str, True),
}
PHRASES = {str: "text", int: "a whole number", float: "a number"}
PROFILE_VALUES = {each.name for each in fields(Profile)} - {"name"}
OPTIONAL = {each.name for each in fields(Profile) if each.default is not MISSING or each.default_factory is not MISSING}


def profile_names() -> list[str]:
    """The names of the profiles that come with the package."""
    return sorted(file.name.removesuffix(".toml") for file in _profiles().iterdir() if file.name.endswith(".toml"))


def load_profile(
    name: str,
    collection: str = "",
    encoder: str = "",
    seeds: Sequence[int] = (),
    learning_rate: float = 0.0,
    steps: int = 0,
    batch_size: int = 0,
    query_length: int = 0,
    passage_length: int = 0,
) -> Profile:
    """A profile by name, or from the path of a TOML file of the same form; with a reader's own data where they are named.

    Args:
        name: ``demo``, ``small``, ``paper`` or a path that ends in ``.toml``.
        collection: what to train on instead of the profile's, as `armlib.names.load_collection` takes it.
        encoder: the only encoder to start from, instead of the profile's.
        seeds: the seeds of all training runs, instead of the profile's.
        learning_rate, steps, batch_size, query_length, passage_length: of all training runs; 0 takes the profile's or, for one's
            own collection or encoder, what `armlib.experiments.defaults` says.

    Raises:
        InputError: there is no such profile, or a value in it is missing, unknown or of the wrong type.

    Examples:
        >>> from armlib import load_profile
        >>> profile = load_profile("demo", collection="my/folder")
        >>> profile.seeds
        (0, 1)
        >>> profile.vary(target="adaptive", seed=1).variant()
        'adaptive'
    """
    if not isinstance(name, str):
        raise InputError(f"a profile is named by text, not by {name!r} (available: {', '.join(profile_names())})")
    if isinstance(seeds, str) or not all(type(seed) is int for seed in (seeds if isinstance(seeds, Sequence) else [None])):
        raise InputError(f"seeds must be a list of whole numbers, such as [0, 1], not {seeds!r}")
    if not isinstance(collection, str) or not isinstance(encoder, str):
        raise InputError(f"a collection and an encoder are named by text, not by {collection!r} and {encoder!r}")
    values = _read(name)
    of_experiment = {each.name for each in fields(Experiment)}
    for table in ("experiment", "sweep"):
        if not isinstance(values.get(table, {}), dict):
            raise InputError(f"profile {name}: expected {table} as a table of values, not {values[table]!r}")
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
    asked = {"learning_rate": learning_rate, "steps": steps, "batch_size": batch_size}
    asked |= {"query_length": query_length, "passage_length": passage_length}
    given = {each: value for each, value in asked.items() if value}
    own |= own_values(values["experiment"], collection, encoder) | given
    plain = {each: _checked(name, each, values[each]) for each in KINDS if each in values}
    plain |= {"encoders": (encoder,)} if encoder else {}
    if "learning_rate" in own:
        plain["learning_rates"] = (own["learning_rate"],) if "learning_rate" in given else LEARNING_RATES[encoder_kind(encoder)]
    plain |= dict.fromkeys(("seeds", "sweep_seeds"), tuple(seeds)) if seeds else {}
    try:
        experiment = Experiment(**{**values["experiment"], **own})
        sweep = {each: value for each, value in values.get("sweep", {}).items() if each not in given}
        # refuse what an experiment refuses now
        replace(experiment, **sweep)
        for seed in (*plain["seeds"], *plain["sweep_seeds"]):
            replace(experiment, seed=seed)
        for size in plain["batch_sizes"]:
            replace(experiment, batch_size=size)
        for target in plain["static"]:
            parse_target(f"static({target!r})")
        for rate in plain.get("learning_rates", ()):
            replace(experiment, learning_rate=rate)
        for scale in plain.get("scales", ()):
            parse_loss(f"infonce({scale!r})")
        _check_teachers(plain)
        replace(experiment, context=plain.get("context", 0))
        for each, least in (("jobs", 1), ("list_queries", 0), ("query_clusters", 1)):
            if plain.get(each, least) < least:
                raise InputError(f"{each} must be at least {least}, not {plain[each]}")
    except InputError as error:
        raise InputError(f"profile {name}: {error}") from error
    return Profile(name=name, experiment=experiment, sweep=sweep, **plain)


def _read(name: str) -> dict[str, Any]:
    """The values of a profile as its file has them."""
    if not name.endswith(".toml"):
        if name not in profile_names():
            raise unknown("profile", name, profile_names())
        return tomllib.loads((_profiles() / f"{name}.toml").read_text(encoding="utf8"))
    path = canonical(name)
    if not path.exists():
        raise InputError(f"there is no profile file {name}")
    with disk_errors(path, "read"):
        data = path.read_bytes()
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(f"{name}:{line}: expected UTF-8 text, found the byte {data[error.start]:#04x}") from error
    except (ValueError, RecursionError) as error:  # TOML's own errors, numbers of thousands of digits, tables without end
        found = re.search(r" \(at line (\d+), column \d+\)$", str(error))
        where = f"{name}:{found[1]}" if found else name
        raise InputError(f"{where}: expected TOML, but: {error}") from error


def _checked(profile: str, name: str, value: object) -> Any:
    """A value of a profile, a list as a tuple, if it is of the kind that it must be."""
    kind, listed = KINDS[name]
    parts = value if listed and isinstance(value, list) else [value]
    # A whole number is a number; yes and no are none.
    right = all(type(part) is kind or (kind is float and type(part) is int) for part in parts)
    if not right or not parts or isinstance(value, list) != listed:
        raise InputError(
            f"profile {profile}: expected {name} as {'a list, each of it ' if listed else ''}{PHRASES[kind]}, not {value!r}"
        )
    return tuple(parts) if listed else value


def _check_teachers(values: Mapping[str, Any]) -> None:
    """Refuse a teacher that there is not, and one in place of a bi-encoder that does not score whole batches."""
    from armlib.teachers.registry import parse_pairwise_teacher, parse_teacher

    if "teacher" in values:
        parse_teacher(values["teacher"])
    if "pairwise_teacher" in values:
        parse_pairwise_teacher(values["pairwise_teacher"])
    if values.get("in_batch_teacher") and "in_batch" not in parse_teacher(values["in_batch_teacher"]).gives:
        raise InputError(f"in_batch_teacher must be a bi-encoder, such as bi-encoder('NAME'), not {values['in_batch_teacher']!r}")


def _profiles() -> Traversable:
    return resources.files("armlib") / "experiments" / "profiles"
