"""All that some chapters show, trained by the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dask.distributed import Client

from armbook.chapters import first_round, static_sweep, tuned_static
from armlib.experiments.cluster import Outcome, fill
from armlib.experiments.profile import Profile
from armlib.experiments.store import RunStore


def sweep(
    client: Client, store: RunStore, profile: Profile, chapters: Sequence[str], report: Callable[[str], None]
) -> list[Outcome]:
    """Fill the store with the experiments of some chapters, and then with the static targets that their sweep tunes.

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
    first = first_round(profile, chapters)
    outcomes = fill(client, store, first, report)
    if static_sweep.__name__ not in chapters:
        return outcomes
    swept = static_sweep(profile)
    if {outcome.experiment for outcome in outcomes if outcome.error} & set(swept):
        report("no static target is tuned, since training runs of the sweep over them failed")
        return outcomes
    return outcomes + fill(client, store, tuned_static(profile, store.results(swept)), report)
