"""Where chapters look for results: among the reader's own training runs, then among those that came with the repository."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from armbook.tuned_losses import Found
from armlib.experiments.experiment import Experiment
from armlib.experiments.profile import Profile
from armlib.experiments.result import Result
from armlib.experiments.shipped import Shipped
from armlib.experiments.store import RunStore
from armlib.experiments.workers import TrainingProcesses

FOLDER = Path("results")
PLAIN = re.compile(r"\w[\w.-]*")
"""The name of a collection that can be that of a folder."""


def find(collection: str, start: Path | None = None) -> Shipped | None:
    """The results that came with the repository, of experiments that were trained on a collection.

    Args:
        collection: its name as experiments have it; ``msmarco-mini`` is looked for in ``results/msmarco-mini``.
        start: the folder to look in, and in those above it; default: the working folder.

    Returns:
        None where there are none.
    """
    start = (start or Path.cwd()).resolve()
    folders = [above / FOLDER / collection for above in (start, *start.parents)] if PLAIN.fullmatch(collection) else []
    return next((Shipped(folder) for folder in folders if folder.is_dir()), None)


@dataclass(frozen=True)
class Evidence:
    """A run store, and what came with the repository.

    An experiment is known to be a shipped one by its values; the reader's own result counts before it, and is known by the key that
    the shipped one has. So no collection is read for either.

    Attributes:
        store: the reader's own training runs.
        shipped: the others; None without any.
    """

    store: RunStore
    shipped: Shipped | None

    def there(self, experiments: Sequence[Experiment]) -> Found:
        """The results of those experiments that are shipped; nothing is trained, and no collection is read.

        So it can be what `armbook.chapters.every_round` takes as ``get`` where MS MARCO is not at hand.

        Raises:
            InputError: a shipped file is damaged.
        """
        found: dict[Experiment, Result] = {}
        for experiment in dict.fromkeys(experiments):
            shipped = self.shipped and self.shipped.find(experiment)
            if shipped:
                found[experiment] = self.store.known(experiment, shipped.key) or shipped
        return found

    def results(self, experiments: Sequence[Experiment], jobs: int = 1, processes: TrainingProcesses | None = None) -> list[Result]:
        """The results of experiments, those that are not shipped as `armlib.experiments.store.RunStore.results` gives them.

        Where one of those starts from the encoder of a shipped result, which has no weights, that one is trained again first.

        Raises:
            InputError: as `there`, and as that of the store.
        """
        found = dict(self.there(experiments))
        missing = {each: self._with_weights(each) for each in dict.fromkeys(experiments) if each not in found}
        trained = self.store.results(list(missing.values()), jobs, processes) if missing else []
        found |= zip(missing, trained, strict=True)
        return [found[each] for each in experiments]

    def _with_weights(self, experiment: Experiment) -> Experiment:
        """The experiment, whose encoder is looked for in the store if it is a shipped result's."""
        first = self.shipped and self.shipped.start(experiment)
        if not first:
            return experiment
        trained = self.store.result(self._with_weights(first.experiment))
        return replace(experiment, encoder=str(trained.folder / "encoder"))


def of_profile(profile: Profile, store: RunStore | None = None) -> Evidence:
    """What there is for the chapters of a profile.

    Args:
        profile: the scale.
        store: the reader's own training runs; default: those of `armlib.experiments.store.RunStore`.
    """
    return Evidence(store or RunStore(), find(profile.experiment.collection))
