"""What a tuning compares: losses, learning rates and seeds."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

from armlib.errors import InputError
from armlib.experiments.experiment import MARGIN_VALUES, NOTHING, Experiment
from armlib.losses import parse_loss
from armlib.losses.registry import numbers_of

UNTUNED = "distributed"
LOSSES = ("static(0.1)", "static(0.3)", "static(0.5)", UNTUNED, "adaptive(in_batch=True)", "infonce(20)")
FACTORS = (0.5, 1.0, 2.0)
SEEDS = 3


class Candidate(NamedTuple):
    """A loss and a learning rate to train it at."""

    loss: str
    learning_rate: float

    def __str__(self) -> str:
        return f"{self.loss} at {self.learning_rate!r}"


@dataclass(frozen=True)
class Grid:
    """What is compared: losses, learning rates and seeds.

    Args:
        experiment: what all training runs share. Its learning rate is the default one; its loss is not looked at.
        losses: by name.
        learning_rates: by default half the default one, itself and twice as much.
        seeds: the first of them in the first round, all in the second; by default three from the experiment's.

    Raises:
        InputError: there are none of them, or an experiment refuses one.
    """

    experiment: Experiment
    losses: tuple[str, ...] = LOSSES
    learning_rates: tuple[float, ...] = ()
    seeds: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        default, first = self.experiment.learning_rate, self.experiment.seed
        rates = self.learning_rates or [factor * default for factor in FACTORS]
        settled = {
            "losses": dict.fromkeys(str(parse_loss(loss)) for loss in self.losses),
            "learning_rates": sorted(dict.fromkeys(rates)),
            "seeds": dict.fromkeys(self.seeds or range(first, first + SEEDS)),
        }
        for name, values in settled.items():
            object.__setattr__(self, name, tuple(values))
        if not self.losses:
            raise InputError("there is nothing to tune: expected a loss or more")
        if not self.experiment.steps:
            raise InputError("there is nothing to tune in a training run of 0 steps; expected steps to be at least 1")
        for seed in self.seeds:
            for candidate in self.candidates:
                self.training_run(candidate, seed)  # refuse what an experiment refuses

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Every loss at every learning rate, the default one first, so that this is known if time runs out."""
        default = self.experiment.learning_rate
        rates = sorted(self.learning_rates, key=lambda rate: rate != default)
        return tuple(Candidate(loss, rate) for rate in rates for loss in self.losses)

    @property
    def untuned(self) -> Candidate | None:
        """Distributed targets at the default learning rate; None where they are not among the losses."""
        return Candidate(UNTUNED, self.experiment.learning_rate) if UNTUNED in self.losses else None

    def training_run(self, candidate: Candidate, seed: int) -> Experiment:
        """The training run of a candidate, which is measured on nothing but the validation queries."""
        own: dict[str, Any] = {each.name: each.default for each in fields(Experiment) if each.name in MARGIN_VALUES}
        return replace(
            self.experiment, **own, loss=candidate.loss, learning_rate=candidate.learning_rate, seed=seed, evaluation=NOTHING
        )

    def measured(self, candidate: Candidate) -> Experiment:
        """The same with the first seed, measured as the experiment is that all share."""
        return replace(self.training_run(candidate, self.seeds[0]), evaluation=self.experiment.evaluation)

    def numbers(self, candidate: Candidate) -> int:
        """How many numbers somebody chooses for a candidate: those of its loss, and a learning rate other than the default."""
        return numbers_of(candidate.loss) + (candidate.learning_rate != self.experiment.learning_rate)
