"""Losses, batches and encoders crossed: does a loss do better in batches of neighbours, and with an encoder that reads a context?

Settings and learning rate of a loss are those that Table 4 has tuned in random batches. In clustered batches the learning rate is
tuned once more; an encoder that reads a context takes it over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from armbook import tuned_losses
from armbook.results import one_measure
from armbook.tables import two_levels, value_text
from armbook.tuned_losses import System, Tuning
from armlib.evaluation.equivalence import DAGGER, compare_pairs
from armlib.evaluation.evaluate import FULL_RANKING
from armlib.evaluation.measures import Evaluation, mean_evaluation
from armlib.experiments.experiment import Experiment
from armlib.experiments.profile import Profile
from armlib.experiments.result import Result
from armlib.experiments.training_data import TrainingData
from armlib.training.settings import MEASURE

LOSSES = ("adaptive, in-batch", "static, tuned, in-batch", "distributed", "InfoNCE")
RANDOM, CLUSTERED = "random", "clustered"
PLAIN, CONTEXTUAL = "plain", "contextual"


@dataclass(frozen=True)
class Cell:
    """A cell of the factorial.

    Attributes:
        loss: one of `LOSSES`.
        batches: ``random`` or ``clustered``.
        encoder: ``plain`` or ``contextual``.
    """

    loss: str
    batches: str
    encoder: str

    def __str__(self) -> str:
        """The name of its system; in random batches and with a plain encoder it is one of Table 4."""
        return self.loss if (self.batches, self.encoder) == (RANDOM, PLAIN) else ", ".join((self.loss, self.batches, self.encoder))


def conditions(profile: Profile) -> list[tuple[str, str]]:
    """Batches and encoder of each condition; without contextual encoders where the profile has no context."""
    encoders = (PLAIN, CONTEXTUAL) if profile.context else (PLAIN,)
    return [(batches, encoder) for encoder in encoders for batches in (RANDOM, CLUSTERED)]


def cells(profile: Profile) -> list[Cell]:
    """All cells, loss by loss."""
    return [Cell(loss, *condition) for loss in LOSSES for condition in conditions(profile)]


def systems(profile: Profile) -> dict[str, System]:
    """What is trained for the factorial, by name."""
    tuned = tuned_losses.systems(profile)
    made = {loss: tuned[loss] for loss in LOSSES}
    neighbours = {"sampler": f"clustered({profile.experiment.batch_size})"}
    for cell in cells(profile):
        change = (neighbours if cell.batches == CLUSTERED else {}) | ({"context": profile.context} if cell.encoder != PLAIN else {})
        like = Cell(cell.loss, cell.batches, PLAIN) if cell.encoder != PLAIN else Cell(cell.loss, RANDOM, PLAIN)
        if change:
            made[str(cell)] = System(
                str(cell),
                tuned[cell.loss].group,
                like=str(like),
                change=lambda values, change=change: values | change,
                own_rate=cell.encoder == PLAIN,
                sampling=cell.batches,
                in_batch=True,
            )
    return made


class Factorial:
    """The results of all cells.

    Args:
        tuning: of `systems`, with all results.

    Attributes:
        cells: all cells.
        results: of each, one a seed.
    """

    def __init__(self, tuning: Tuning) -> None:
        self.profile = tuning.profile
        self.cells = cells(tuning.profile)
        self.results: dict[Cell, list[Result]] = {cell: tuning.results(str(cell)) for cell in self.cells}

    def in_domain(self, collections: Sequence[str]) -> dict[Cell, dict[str, list[Evaluation]]]:
        """Full rankings of the profile's own evaluation collections: by cell and collection, one a seed."""
        return {
            cell: {name: [each.per_query(name, FULL_RANKING) for each in results] for name in collections}
            for cell, results in self.results.items()
        }


Measured = Mapping[Cell, Mapping[str, Sequence[Evaluation]]]


def scores(measured: Measured, collections: Sequence[str], results: Mapping[Cell, Sequence[Result]]) -> pd.DataFrame:
    """nDCG@10 of every cell as text.

    Returns:
        A row for each cell, as text. Columns of two levels: ``system`` with loss, batches and encoder; ``nDCG@10`` by collection,
        means with half the range over seeds; ``training`` with the learning rate.
    """
    rows = []
    for cell, found in measured.items():
        row = {("system", "loss"): cell.loss, ("system", "batches"): cell.batches, ("system", "encoder"): cell.encoder}
        row |= {(MEASURE, name): value_text([each.mean[MEASURE] for each in found[name]]) for name in collections}
        rows.append(row | {("training", "learning rate"): f"{results[cell][0].experiment.learning_rate:g}"})
    return two_levels(rows)


COMPARISONS = {
    "clustered batches": ((CLUSTERED, PLAIN), (RANDOM, PLAIN)),
    "context": ((RANDOM, CONTEXTUAL), (RANDOM, PLAIN)),
    "context, in clustered batches": ((CLUSTERED, CONTEXTUAL), (CLUSTERED, PLAIN)),
    "both": ((CLUSTERED, CONTEXTUAL), (RANDOM, PLAIN)),
}
"""By what is added, the condition with it and the one without."""


def effects(measured: Measured, collections: Sequence[str]) -> pd.DataFrame:
    """What clustered batches and a context change in nDCG@10: paired tests of means over seeds, on the queries of each collection.

    Returns:
        A row for each collection, loss and comparison: ``collection``, ``loss``, ``added`` and what
        `armlib.evaluation.equivalence.compare_pairs` says, corrected for the tests of a collection.
    """
    pairs = {
        (str(Cell(loss, *with_it)), str(Cell(loss, *without))): (loss, name)
        for loss in dict.fromkeys(cell.loss for cell in measured)
        for name, (with_it, without) in COMPARISONS.items()
        if Cell(loss, *with_it) in measured
    }
    tables = []
    for collection in collections:
        means = {str(cell): one_measure(mean_evaluation(found[collection])) for cell, found in measured.items()}
        table = compare_pairs(means, list(pairs))
        table.insert(0, "added", [name for _, name in pairs.values()])
        table.insert(0, "loss", [loss for loss, _ in pairs.values()])
        table.insert(0, "collection", collection)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def effects_as_text(tests: pd.DataFrame) -> pd.DataFrame:
    """`effects` for a page: differences with 90% confidence, and a dagger where two are equivalent.

    Returns:
        A row for each loss and comparison, as text. Columns of two levels: ``nDCG@10`` with ``loss`` and ``added``; ``difference``
        by collection.
    """
    rows = []
    for (loss, added), some in tests.groupby(["loss", "added"], sort=False):
        row = {(MEASURE, "loss"): loss, (MEASURE, "added"): added}
        for each in some.itertuples():
            mark = f" {DAGGER}" if each.equivalent else ""
            row["difference", each.collection] = f"{each.difference:+.3f} ({each.low:+.3f} to {each.high:+.3f}){mark}"
        rows.append(row)
    return two_levels(rows)


def answer(measured: Measured, tests: pd.DataFrame, collections: Sequence[str]) -> list[str]:
    """Sentences on the question of section 3 of the paper: do in-batch variants do better in batches of neighbours?

    Returns:
        One for each collection, and one on contexts where encoders read any.
    """
    said = []
    for collection in collections:
        of = tests[(tests.collection == collection) & (tests.added == "clustered batches")].set_index("loss")
        better, worse = [list(of.index[side]) for side in (of.low > 0, of.high < 0)]
        texts = [f"{verb} {_listed(some)}" for verb, some in (("help", better), ("hurt", worse)) if some]
        rest = [loss for loss in of.index if loss not in (*better, *worse)]
        texts += [f"make no clear difference to {_listed(rest)}"] if rest else []
        best = max(measured, key=lambda cell: mean_evaluation(measured[cell][collection]).mean[MEASURE])
        value = mean_evaluation(measured[best][collection]).mean[MEASURE]
        said.append(f"On {collection}, clustered batches {'; '.join(texts)}; best of all is {best} ({value:.3f})")
    read = tests[tests.added.str.startswith("context")]
    if len(read):
        alike, low, high = int(read.equivalent.sum()), read.difference.min(), read.difference.max()
        said.append(f"A context changes nDCG@10 by {low:+.3f} to {high:+.3f}: equivalent in {alike} of {len(read)} comparisons")
    return said


def _listed(names: Sequence[str]) -> str:
    quoted = [f"“{name}”" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def queries_of_a_batch(experiment: Experiment, count: int) -> list[str]:
    """The first queries of the first batch that an experiment trains with, as they are trained on."""
    data = TrainingData(experiment)
    rows = data.batches().rows(0)[:count, 0]
    names = [bytes(data.queries.ids[row]).decode() for row in rows]
    texts = data.collection.queries()
    return [texts[name] for name in names]
