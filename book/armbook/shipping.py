"""What a profile's chapters show, written for readers who have not its data: see `armlib.experiments.shipped`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from armbook.chapters import every_round_there, wanted
from armbook.tuned_losses import Found
from armlib.experiments.experiment import Experiment
from armlib.experiments.profile import Profile
from armlib.experiments.result import Result
from armlib.experiments.shipped import Shipped, ShippedResult
from armlib.experiments.store import RunStore


@dataclass(frozen=True)
class Shipment:
    """What was done.

    Attributes:
        written: how many results were written.
        kept: how many were there.
        missing: by chapter, what is neither finished nor shipped; of later rounds what is known of them.
    """

    written: int
    kept: int
    missing: Mapping[str, Sequence[Experiment]]


def ship(profile: Profile, store: RunStore, shipped: Shipped) -> Shipment:
    """Write what is finished of all rounds of all chapters, and say what is missing. Nothing is trained; the data must be at hand.

    What is there already, by its key, is kept and counts as finished, so that several machines can train a profile between them.

    Raises:
        InputError: the data are not at hand, or as `armlib.experiments.shipped.Shipped.add`.
    """
    there: dict[str, Result] = {}

    def get(experiments: Sequence[Experiment]) -> Found:
        found = {each: result for each in experiments if (result := _finished(each, store, shipped))}
        there.update((result.key, result) for result in found.values())
        return found

    shown = every_round_there(profile, get)
    missing = {name: [each for each in wanted(profile, name, found) if each not in found] for name, found in shown.items()}
    written = sum(shipped.add(result) for result in there.values() if not isinstance(result, ShippedResult))
    return Shipment(written, len(there) - written, {name: experiments for name, experiments in missing.items() if experiments})


def _finished(experiment: Experiment, store: RunStore, shipped: Shipped) -> Result | None:
    before = shipped.find(experiment)
    if before and shipped.start(experiment):
        return before  # its key is known to whoever has the weights of the encoder that it starts from
    key = experiment.key()
    return store.known(experiment, key) or (before if before and before.key == key else None)
