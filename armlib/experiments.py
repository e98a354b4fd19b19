"""An experiment as plain values: what to train on, with which margins, how long, and what to measure it on."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from importlib import resources

from armlib import files
from armlib.batches import Shape
from armlib.data import load_collection
from armlib.errors import InputError, unknown
from armlib.losses import MarginLoss, parse_target
from armlib.training import Settings

HELD_OUT = "held-out"
NOTHING = ("none",)


@dataclass(frozen=True)
class Experiment:
    """One training and its evaluation. Two experiments with equal values and equal data have the same key.

    Attributes:
        collection: what to train on, as `armlib.data.load_collection` takes it.
        encoder: ``lsa/distilbert``, ``lsa/roberta``, ``lsa/mpnet``, a Hugging Face name or a folder.
        pooling: ``cls``, ``cls+linear``, ``mean``; empty takes the encoder's own.
        target, in_batch, error, reading, stop_gradient: the loss, as `armlib.losses.MarginLoss` takes them.
        batch_size: triples a step (over all processes).
        steps, learning_rate, decay, weight_decay, clip_norm, optimizer: as `armlib.training.Settings`; a clip_norm of 0 is none.
        query_length, passage_length: maximum lengths in tokens.
        chunk_size: texts encoded together; chunk_tokens: where not 0, gradient caching with at most so many padded tokens at once.
        validation: a collection's name, or ``held-out`` for training queries kept from training; empty takes the collection's own.
        validation_queries: how many training queries are held out, where they are, and of a collection at most so many; 0 for all.
        validation_depth: how many first-stage candidates of each are re-ranked to validate.
        validate_every, patience, selection: early stopping, as `armlib.training.Settings`.
        evaluation: collections to measure on; empty takes the collection's own, ``none`` measures later or not at all.
        full_ranking: whether evaluation ranks the whole collection, too; without, it re-ranks and encodes candidates alone.
        index: ``exact``, ``paper`` or a FAISS factory string, as `armlib.indexes.build_index` takes it.
        seed: decides the order of the triples and dropout.
    """

    collection: str = "docstrings"
    encoder: str = "lsa/distilbert"
    pooling: str = ""
    target: str = "distributed"
    in_batch: bool = False
    error: str = "squared"
    reading: str = "paper"
    stop_gradient: bool = False
    batch_size: int = 64
    steps: int = 300
    learning_rate: float = 5e-4
    decay: float = 0.99999
    weight_decay: float = 1e-6
    clip_norm: float = 0.0
    optimizer: str = "auto"
    query_length: int = 30
    passage_length: int = 200
    chunk_size: int = 16
    chunk_tokens: int = 0
    validation: str = ""
    validation_queries: int = 200
    validation_depth: int = 50
    validate_every: int = 100
    patience: int = 16
    selection: str = "best"
    evaluation: tuple[str, ...] = ()
    full_ranking: bool = True
    index: str = "exact"
    seed: int = 0

    def __post_init__(self) -> None:
        for each in fields(self):
            value, kind = getattr(self, each.name), type(each.default)
            if kind is float and type(value) is int:
                object.__setattr__(self, each.name, float(value))
            elif kind is tuple:
                object.__setattr__(self, each.name, (value,) if isinstance(value, str) else tuple(value))
            elif type(value) is not kind:
                raise InputError(f"{each.name} of an experiment must be {kind.__name__}, not {value!r}")
        object.__setattr__(self, "target", str(parse_target(self.target)))
        for name in ("batch_size", "query_length", "passage_length", "chunk_size", "validation_depth"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} of an experiment must be at least 1, not {getattr(self, name)}")
        self.loss(), self.settings()  # refuse what they refuse now, before any work

    def loss(self) -> MarginLoss:
        """The loss to train with."""
        return MarginLoss(
            self.target, in_batch=self.in_batch, error=self.error, reading=self.reading, stop_gradient=self.stop_gradient
        )

    def settings(self) -> Settings:
        """The trainer's settings."""
        return Settings(
            steps=self.steps, learning_rate=self.learning_rate, decay=self.decay, weight_decay=self.weight_decay,
            clip_norm=self.clip_norm or None, optimizer=self.optimizer, validate_every=self.validate_every,
            patience=self.patience, selection=self.selection, cached=self.chunk_tokens > 0, seed=self.seed,
        )  # fmt: skip

    def shape(self) -> Shape:
        """How texts are cut and chunked."""
        return Shape(self.query_length, self.passage_length, self.chunk_size, self.chunk_tokens or None)

    def evaluation_names(self) -> tuple[str, ...]:
        """The collections to measure on."""
        return () if self.evaluation == NOTHING else self.evaluation or load_collection(self.collection).evaluation

    def key(self) -> str:
        """12 hexadecimal digits of the values and of the fingerprints of all data that the result depends on."""
        values = asdict(self)
        if self.full_ranking:
            del values["full_ranking"]  # keys are older than this value
        training = load_collection(self.collection)
        named = [training.validation if not self.validation else self.validation, *self.evaluation_names()]
        data = [load_collection(name) for name in named if name and name != HELD_OUT]
        prints = [one for each in (training, *data) for one in (each.name, each.fingerprint(), each.corpus_fingerprint())]
        return files.digest(json.dumps(values, sort_keys=True), *prints)[:12]

    def variant(self) -> str:
        """The loss in a few words, such as ``static(0.3), in-batch``: what a legend or a table row calls it."""
        if not self.steps:
            return "before fine-tuning"
        parts = [self.target]
        parts += ["in-batch"] if self.in_batch else []
        parts += [f"{self.error} error"] if self.error != "squared" else []
        parts += [f"{self.reading} reading"] if self.reading != "paper" else []
        parts += ["stopped gradient"] if self.stop_gradient else []
        return ", ".join(parts)

    def __str__(self) -> str:
        return (
            f"{self.collection} | {self.encoder} | {self.variant()} | B={self.batch_size}, {self.steps} steps, "
            f"learning rate {self.learning_rate:g} | seed {self.seed}"
        )


@dataclass(frozen=True)
class Profile:
    """A scale at which the book can be run.

    Attributes:
        name: ``demo``, ``small`` or ``paper``.
        experiment: the values that all its experiments share.
        encoders: encoders that the book compares; ablations take the first.
        static: static targets of the sweep.
        batch_sizes: of distributed targets; each training sees equally many triples.
        seeds: seeds of every comparison.
        sweep_seeds: seeds of the sweeps over static targets and batch sizes.
        sweep: values in which trainings of the sweep over static targets differ from the profile's experiment, such as fewer steps.
        jobs: trainings at a time on one machine.
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

    def vary(self, **values) -> Experiment:
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
        collection: what to train on instead of the profile's, as `armlib.data.load_collection` takes it.
        encoder: the only encoder to start from, instead of the profile's.
        seeds: the seeds of all trainings, instead of the profile's.

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
    own = {key: value for key, value in {"collection": collection, "encoder": encoder}.items() if value}
    if collection and collection != values["experiment"].get("collection"):
        own |= {"validation": "", "evaluation": ()}  # the collection's own
    listed = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    listed |= {"encoders": (encoder,)} if encoder else {}
    listed |= dict.fromkeys(("seeds", "sweep_seeds"), tuple(seeds)) if seeds else {}
    experiment, sweep = Experiment(**{**values["experiment"], **own}), values.get("sweep", {})
    replace(experiment, **sweep)  # refuse what an experiment refuses now
    return Profile(name=name, experiment=experiment, jobs=values["jobs"], about=values["about"], sweep=sweep, **listed)


def _profiles():
    return resources.files("armlib") / "profiles"
