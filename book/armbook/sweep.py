"""All that some chapters show, trained by the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from armbook.chapters import every_round
from armbook.tuned_losses import Found
from armlib.experiments.cluster import Outcome, fill
from armlib.experiments.experiment import Experiment
from armlib.experiments.profile import Profile
from armlib.experiments.store import RunStore

if TYPE_CHECKING:
    from dask.distributed import Client


def sweep(
    client: Client, store: RunStore, profile: Profile, chapters: Sequence[str], report: Callable[[str], None]
) -> list[Outcome]:
    """Fill the store with the experiments of some chapters, round by round, as `armbook.chapters.every_round` has them.

    Args:
        client: connected to Dask's scheduler, as `armlib.experiments.cluster.workers_here` and `workers_of` give it.
        store: where results go; a folder that all workers see.
        profile: the scale.
        chapters: names as `armbook.chapters.first_round` takes them.
        report: is given a line for each experiment that ended.

    Returns:
        The outcome of each experiment that was missing. One that fails does not keep the others from running.

    Raises:
        InputError: there is no chapter of a name, the data are not there, or a worker cannot be used.
    """
    outcomes: list[Outcome] = []

    def get(experiments: Sequence[Experiment]) -> Found:
        ended = fill(client, store, experiments, report)
        outcomes.extend(ended)
        failed = {outcome.experiment for outcome in ended if outcome.error}
        if failed:
            report("chapters whose training runs failed have no further rounds")
        finished = [experiment for experiment in experiments if experiment not in failed]
        return dict(zip(finished, store.results(finished), strict=True))

    every_round(profile, get, chapters)
    return outcomes
