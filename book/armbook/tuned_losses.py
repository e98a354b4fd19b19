"""The losses of Table 4 and those beside them: each tuned alike, and what is trained with the settings found.

Settings are tuned in two steps, both by nDCG@10 on validation queries. The first tries the loss's own setting, if it has one, at
the profile's learning rate: the target of a static loss, or the scale of cosines. The second tries the learning rates. What is
built on a loss takes over its settings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from itertools import chain
from typing import Any, TypeVar, cast

from armbook.results import ADAPTIVE, DISTRIBUTED
from armlib.data.candidate_lists import StudentLists
from armlib.errors import InputError
from armlib.experiments.experiment import Experiment
from armlib.experiments.profile import Profile
from armlib.experiments.result import Result

SELF, TEACHER, NONE, BEYOND = "self-distillation", "teacher distillation", "no distillation", "beyond the paper"
RANDOM, TAS_B, BY_STUDENT, LISTS = "random", "TAS-B", "balanced, own similarities", "the student's candidates"
PASSAGES, DEPTH, PAIRS = 8, 20, 16  # of the lists of PairDistill; candidates and pairs as in a script of its authors
IN_BATCH_WEIGHT = 0.75  # of the in-batch term of TAS-Balanced (Hofstätter et al. 2021)
MARGIN, SOFT = 0.1, 0.1  # how much of self-distillation is put into InfoNCE
Found = Mapping[Experiment, Result]
Values = dict[str, Any]


class NotYet(InputError):
    """A training run is named by the results of others, which are not there."""


@dataclass(frozen=True)
class System:
    """A loss with its data, which is trained for Table 4.

    Attributes:
        name: in tables and legends.
        group: ``self-distillation``, ``teacher distillation``, ``no distillation`` or ``beyond the paper``.
        settings: values of an experiment to choose from; none for a system that takes over the settings of another.
        like: the name of that other system.
        change: makes its values of the other's.
        own_rate: whether it tunes the learning rate for itself where it takes over everything else.
        sampling: how examples come into batches.
        in_batch: whether passages of other queries count.
        after: the system whose encoders it starts from; empty for the profile's encoder.
    """

    name: str
    group: str
    settings: tuple[Values, ...] = ()
    like: str = ""
    change: Callable[[Values], Values] = dict
    own_rate: bool = False
    sampling: str = RANDOM
    in_batch: bool = False
    after: str = ""


def systems(profile: Profile) -> dict[str, System]:
    """All systems that a profile trains, by name, in the order of Table 4."""
    made = [*_self_distilled(), *_distilled(profile), *_without_teacher(profile), *_beyond_the_paper(profile)]
    return {system.name: system for system in made}


def _self_distilled() -> list[System]:
    return [
        System("adaptive", SELF, ({"target": ADAPTIVE, "in_batch": False},)),
        System("adaptive, in-batch", SELF, ({"target": ADAPTIVE, "in_batch": True},), in_batch=True),
        System("distributed", SELF, ({"target": DISTRIBUTED, "in_batch": False},), in_batch=True),
    ]


def _distilled(profile: Profile) -> list[System]:
    by_topic = _with(sampler=f"balanced({profile.query_clusters})")
    taught = {"teacher": profile.teacher}
    losses = tuple({**taught, "loss": f"margin-mse({scale})"} for scale in profile.scales)
    made = [
        System("MarginMSE", TEACHER, losses),
        System("MarginMSE, TAS-B", TEACHER, like="MarginMSE", change=by_topic, sampling=TAS_B),
    ]
    if profile.in_batch_teacher:
        taught_in_batch = {"teacher": profile.in_batch_teacher}
        losses = tuple({**taught_in_batch, "loss": f"margin-mse({scale}, {IN_BATCH_WEIGHT})"} for scale in profile.scales)
        one = System("MarginMSE, in-batch", TEACHER, losses, in_batch=True)
        made += [one, System("MarginMSE, in-batch, TAS-B", TEACHER, like=one.name, change=by_topic, sampling=TAS_B, in_batch=True)]
    texts = 3 * profile.experiment.batch_size  # of a batch of triples; a batch of lists has about as many
    drawn = StudentLists(PASSAGES, DEPTH, pairs=PAIRS, queries=profile.list_queries)
    lists = {**taught, "lists": str(drawn), "batch_size": max(2, texts // (1 + PASSAGES))}
    losses = tuple({**lists, "loss": f"list-kl({1 / scale:g}, contrast=1)"} for scale in profile.scales)
    listwise = System("list-wise KL", TEACHER, losses, sampling=LISTS, in_batch=True, after="InfoNCE")

    def compared(values: Values) -> Values:
        return values | {
            "loss": values["loss"].replace("contrast", "pairs=1, contrast"),
            "pairwise_teacher": profile.pairwise_teacher,
        }

    pairs = System("PairDistill", TEACHER, like=listwise.name, change=compared, sampling=LISTS, in_batch=True, after="InfoNCE")
    second = System("PairDistill, second round", TEACHER, like=pairs.name, sampling=LISTS, in_batch=True, after=pairs.name)
    return [*made, listwise, pairs, second]


def _without_teacher(profile: Profile) -> list[System]:
    static = tuple({"target": f"static({value})", "in_batch": False} for value in profile.static)
    return [
        System("static, tuned", NONE, static),
        System("static, tuned, in-batch", NONE, tuple(values | {"in_batch": True} for values in static), in_batch=True),
        System("static(1.0)", NONE, ({"target": "static(1.0)", "in_batch": False},)),
        System("InfoNCE", NONE, tuple({"loss": f"infonce({scale})"} for scale in profile.scales), in_batch=True),
        System("InfoNCE, trained again", NONE, like="InfoNCE", in_batch=True, after="InfoNCE"),
    ]


def _beyond_the_paper(profile: Profile) -> list[System]:
    def softmax(setting: str) -> Callable[[Values], Values]:
        return lambda values: values | {"loss": values["loss"].replace(")", f", {setting})")}

    mined = _with(sampler=f"balanced({profile.query_clusters}, by='student')")
    return [
        System("InfoNCE, adaptive margins", BEYOND, like="InfoNCE", change=softmax(f"margin={MARGIN}"), in_batch=True),
        System("InfoNCE, soft labels", BEYOND, like="InfoNCE", change=softmax(f"soft={SOFT}"), in_batch=True),
        System("static, tuned, balanced", BEYOND, like="static, tuned", change=mined, sampling=BY_STUDENT),
    ]


def _with(**change: Any) -> Callable[[Values], Values]:
    return lambda values: values | change


Method = TypeVar("Method", bound=Callable[["Tuning", str], Any])


def _once(method: Method) -> Method:
    """Keeps what a method gives for a system, since systems are built on one another."""

    @wraps(method)
    def kept(self: Tuning, name: str) -> Any:
        key = (method.__name__, name)
        if key not in self.kept:
            self.kept[key] = method(self, name)
        return self.kept[key]

    return cast(Method, kept)


class Tuning:
    """What results say of the settings of every system, and which training runs they name.

    Args:
        profile: the scale.
        found: results so far.
        chosen: the systems, by name; those of Table 4 by default.

    Attributes:
        systems: by name.
    """

    def __init__(self, profile: Profile, found: Found, chosen: Mapping[str, System] | None = None) -> None:
        self.profile, self.found, self.systems = profile, found, systems(profile) if chosen is None else chosen
        self.kept: dict[tuple[str, str], Any] = {}

    def experiments(self) -> list[Experiment]:
        """All training runs that the results so far name; where these are all there, nothing more is to be trained."""
        made: list[Experiment] = []
        for name in self.systems:
            with suppress(NotYet):
                made += chain.from_iterable(self.own_settings(name))
                made += chain.from_iterable(self.learning_rates(name))
                made += self.trained_as(name)
        return list(dict.fromkeys(made))

    @_once
    def own_settings(self, name: str) -> list[list[Experiment]]:
        """Training runs at the profile's learning rate for each setting of a system, one a seed of sweeps.

        A system that takes over settings has none of its own, and one of its own learning rate has the setting that it takes over.

        Raises:
            NotYet: the system starts from encoders that are not among the results, or takes over what is not tuned yet.
        """
        system = self.systems[name]
        if not system.own_rate:
            return [self._tuning(name, values) for values in system.settings]
        return [self._tuning(name, self._best_setting(name) | {"learning_rate": self.profile.experiment.learning_rate})]

    @_once
    def learning_rates(self, name: str) -> list[list[Experiment]]:
        """Training runs of a system with the best of its settings, for each of the profile's other learning rates.

        Raises:
            NotYet: a training run of `own_settings` is not among the results.
        """
        if self.systems[name].like and not self.systems[name].own_rate:
            return []
        own, values = self.profile.experiment.learning_rate, self._best_setting(name)
        others = [rate for rate in self.profile.learning_rates if rate != own]
        return [self._tuning(name, values | {"learning_rate": rate}) for rate in others]

    @_once
    def trained_as(self, name: str) -> list[Experiment]:
        """The experiments of a system, one a seed, with the settings and the learning rate that were tuned.

        Raises:
            NotYet: a training run that decides them is not among the results.
        """
        values, starts = self._tuned(name), self._starts(name)
        return [self.profile.vary(**values, encoder=starts[seed], seed=seed) for seed in self.profile.seeds]

    def results(self, name: str) -> list[Result]:
        """The results of `trained_as`.

        Raises:
            NotYet: one of them is not there.
        """
        return [self._result(one) for one in self.trained_as(name)]

    def searched(self, name: str) -> list[Result]:
        """The training runs that a system's settings were chosen from, those of the system that it takes them over from."""
        while self.systems[name].like and not self.systems[name].own_rate:
            name = self.systems[name].like
        every = chain.from_iterable([*self.own_settings(name), *self.learning_rates(name)])
        return [self._result(one) for one in dict.fromkeys(every)]

    @_once
    def _tuned(self, name: str) -> Values:
        system, values = self.systems[name], self._best_setting(name)
        if system.like and not system.own_rate:
            return values
        own = self._tuning(name, values | {"learning_rate": self.profile.experiment.learning_rate})
        tried = [own, *self.learning_rates(name)]
        return values | {"learning_rate": tried[self._best(tried)][0].learning_rate}

    def _best_setting(self, name: str) -> Values:
        """The values of a system, which of its own learning rates is not decided by them."""
        system = self.systems[name]
        if system.like:
            return system.change(self._tuned(system.like))
        return system.settings[self._best(self.own_settings(name))]

    def _best(self, tried: Sequence[Sequence[Experiment]]) -> int:
        """The place of the setting whose kept weights validate best by nDCG@10, as a mean over seeds; the first of equals."""
        scores = [sum(self._result(one).kept_validation for one in each) / len(each) for each in tried]
        return max(range(len(tried)), key=scores.__getitem__)

    def _tuning(self, name: str, values: Values) -> list[Experiment]:
        """The training runs that a setting is judged by, one a seed."""
        profile, starts = self.profile, self._starts(name)
        return [profile.vary(**{**profile.sweep, **values, "encoder": starts[seed], "seed": seed}) for seed in profile.sweep_seeds]

    @_once
    def _starts(self, name: str) -> dict[int, str]:
        """The encoder that a system starts from, for each seed that its training runs can have."""
        profile, before = self.profile, self.systems[name].after
        seeds = {*profile.seeds, *profile.sweep_seeds}
        if not before:
            return dict.fromkeys(seeds, profile.encoders[0])
        ended = dict(zip(profile.seeds, self.results(before), strict=True))
        return {seed: str(ended.get(seed, ended[profile.seeds[0]]).folder / "encoder") for seed in seeds}

    def _result(self, experiment: Experiment) -> Result:
        if experiment not in self.found:
            raise NotYet(f"the training run {experiment} is not among the results")
        return self.found[experiment]
