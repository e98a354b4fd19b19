"""Losses compared on validation queries within a budget of time: is there anything to tune on these data?

The paper's promise is that distributed targets have nothing to tune. Here every loss is trained at every learning rate with one
seed, and then at its best rate with all seeds. Only validation queries are looked at, never the collections that the recommended
encoder is measured on in the end.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import pandas as pd

from armlib.data.training_queries import trained_on
from armlib.errors import InputError
from armlib.evaluation.equivalence import check_levels
from armlib.evaluation.validation import Validator
from armlib.experiments.experiment import Experiment
from armlib.experiments.result import Result
from armlib.experiments.store import RunStore
from armlib.experiments.training_data import TrainingData
from armlib.experiments.tuning_grid import Candidate, Grid
from armlib.experiments.tuning_result import DIVERGED, FINISHED, LEFT_OUT, Tuning, compared_table
from armlib.experiments.workers import TrainingProcesses
from armlib.names import written_here
from armlib.training.processes import default_accelerator
from armlib.training.settings import MEASURE
from armlib.training.trace import NotFinite

LATEST = 3  # times of training runs, the longest of which says how long the next one will take


def tune(
    store: RunStore,
    grid: Grid,
    *,
    minutes: float = math.inf,
    jobs: int = 1,
    margin: float = 0.05,
    alpha: float = 0.05,
    report: Callable[[str], None] = lambda line: None,
) -> Tuning:
    """Train and compare what a grid names, as far as there is time; what the store has is not trained again.

    In the first round every loss is trained at every learning rate with the first seed. In the second, every loss is trained at the
    learning rate with the highest validation nDCG@10, and distributed targets at the default one, too, with all seeds. Time is
    spent evenly: a learning rate or a seed is begun where there is time for it with all losses, the default learning rate where
    there is time for one.

    Args:
        store: where training runs are kept.
        grid: what to compare.
        minutes: after which no training run should go on: none is begun that would, by the longest of the last three. What follows
            the last one, validation query by query, takes some time more.
        jobs: training runs at the same time.
        margin, alpha: as for `armlib.evaluation.equivalence.equivalence`; the level of all tests together.
        report: is given a line for each training run.

    Raises:
        InputError: a value is out of range; the validation queries are also what is measured in the end; there are several
            processes; a training run fails otherwise than by running away; or none is finished in time.
    """
    deadline = time.monotonic() + 60 * minutes
    check_levels(margin, alpha)
    if not minutes > 0 or jobs < 1:
        raise InputError(f"expected minutes above 0 and jobs of at least 1, found {minutes:g} and {jobs}")
    accelerator = default_accelerator(store.device, store.precision)
    if accelerator.num_processes > 1:
        raise InputError("tuning runs in one process; expected no launcher, and jobs for several training runs at a time")
    data, validator = _prepared(grid)
    before = validator(data.encoder.to(accelerator.device))[MEASURE]
    with TrainingProcesses(jobs) if jobs > 1 else nullcontext() as processes:
        runs = _Runs(store, deadline, jobs, processes, report)
        # First round.
        first = grid.seeds[0]
        tried = {each: grid.training_run(each, first) for each in grid.candidates}
        for rate in dict.fromkeys(each.learning_rate for each in tried):
            runs.make([run for each, run in tried.items() if each.learning_rate == rate], together=rate != grid.candidates[0][1])
        best = [_best_rate(loss, tried, runs.results) for loss in grid.losses]
        # Second round.
        compared = list(dict.fromkeys(each for each in (*best, grid.untuned) if each is not None))
        for seed in grid.seeds:
            runs.make([grid.training_run(each, seed) for each in compared], together=True)

    def result(candidate: Candidate, seed: int) -> Result | None:
        return runs.results.get(grid.training_run(candidate, seed))

    ran_away = {each for each in compared for seed in grid.seeds if grid.training_run(each, seed) in runs.diverged}
    compared = [each for each in compared if result(each, first) and each not in ran_away]
    if not compared:
        raise InputError(next(iter(runs.diverged.values()), "no training run was finished in time; expected more minutes"))
    seeds = tuple(seed for seed in grid.seeds if all(result(each, seed) for each in compared))
    found = {}
    for each in compared:
        results = [run for seed in seeds if (run := result(each, seed))]
        found[each] = [validator.per_query(run.encoder().to(accelerator.device)) for run in results]
    table = compared_table(found, margin, alpha)
    return Tuning(grid, table, runs.table(), seeds, data.validation.name, len(validator.qrels), before, margin, alpha)


class _Runs:
    """Training runs, begun as long as there is time for them."""

    def __init__(
        self, store: RunStore, deadline: float, jobs: int, processes: TrainingProcesses | None, report: Callable[[str], None]
    ) -> None:
        self.store, self.deadline, self.jobs, self.processes, self.report = store, deadline, jobs, processes, report
        self.results: dict[Experiment, Result] = {}
        self.diverged: dict[Experiment, str] = {}
        self.left_out: list[Experiment] = []
        self.took: list[float] = []

    def make(self, group: Sequence[Experiment], *, together: bool) -> None:
        """Train those of a group that are missing; with ``together`` only where there is time for all of them."""
        new = [each for each in group if each not in self.results and each not in self.diverged and each not in self.left_out]
        missing = self.store.missing(new)
        for each in new:
            if each not in missing:
                self._take(each, ", was there")
        if together and not self._fits(len(missing)):
            self.left_out += missing
            return
        for start in range(0, len(missing), self.jobs):
            some = missing[start : start + self.jobs]
            if self._fits(len(some)):
                self._train(some)
            else:
                self.left_out += some

    def table(self) -> pd.DataFrame:
        """See `Tuning.runs`."""
        rows = [
            {"state": FINISHED, "value": run.kept_validation, "seconds": _seconds(run), "key": run.key} | _named(each)
            for each, run in self.results.items()
        ]
        for state, experiments in ((DIVERGED, self.diverged), (LEFT_OUT, self.left_out)):
            rows += [{"state": state, "value": math.nan, "seconds": math.nan, "key": None} | _named(each) for each in experiments]
        return pd.DataFrame(rows, columns=["loss", "learning_rate", "seed", "state", "value", "seconds", "key"])

    def _fits(self, count: int) -> bool:
        # What was there already says how long it took, until there are times of this call, with the start of processes in them.
        took = self.took or [_seconds(run) for run in self.results.values()]
        return time.monotonic() + math.ceil(count / self.jobs) * max(took[-LATEST:], default=0.0) <= self.deadline

    def _train(self, some: Sequence[Experiment]) -> None:
        began = time.monotonic()
        try:
            self.store.results(some, self.jobs, self.processes)
        except NotFinite as error:
            if len(some) > 1:  # which of them? The others are finished, or go on.
                for each in some:
                    self._train([each])
                return
            self.diverged[some[0]] = str(error)
            self.report(f"{_line(some[0])}: {error}")
            return
        self.took.append(time.monotonic() - began)
        for each in some:
            self._take(each)

    def _take(self, experiment: Experiment, how: str = "") -> None:
        run = self.results[experiment] = self.store.result(experiment)
        self.report(f"{_line(experiment)}: {MEASURE} {run.kept_validation:.4f} on validation queries, {_seconds(run):.0f} s{how}")


def _prepared(grid: Grid) -> tuple[TrainingData, Validator]:
    """The data of a training run, and what validates it. Whatever can be seen to be wrong is said before anything is trained."""
    candidate = grid.candidates[0]
    data, measured = TrainingData(grid.training_run(candidate, grid.seeds[0])), TrainingData(grid.measured(candidate))
    _ = measured.measured_again  # refuses and warns of what the recommended training run would
    for each in measured.evaluations:
        if again := len(trained_on(data.validation, each)):
            raise InputError(
                f"{again} of the validation queries are also of {written_here(each.name)}, which the encoder is measured on in the "
                "end; measures of queries that it was tuned on would be no test: expected another validation, such as held-out"
            )
    validator = data.validator()
    if len(validator.qrels) < 2:
        raise InputError(f"{data.validation.name} has one query to validate with; expected two or more")
    return data, validator


def _best_rate(loss: str, tried: Mapping[Candidate, Experiment], results: Mapping[Experiment, Result]) -> Candidate | None:
    """A loss at the learning rate that validates best, the first of equals; None where no training run of it is finished."""
    finished = [each for each, run in tried.items() if each.loss == loss and run in results]
    return max(finished, key=lambda each: results[tried[each]].kept_validation, default=None)


def _seconds(run: Result) -> float:
    return float(run.about["seconds"]["total"])


def _named(experiment: Experiment) -> dict[str, Any]:
    return {"loss": str(experiment.make_loss()), "learning_rate": experiment.learning_rate, "seed": experiment.seed}


def _line(experiment: Experiment) -> str:
    return f"{experiment.make_loss()}, learning rate {experiment.learning_rate:g}, seed {experiment.seed}"
