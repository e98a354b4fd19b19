"""Losses, batches and encoders crossed: does a loss do better in batches of neighbours, and with an encoder that reads a context?

Settings and learning rate of a loss are those that Table 4 has tuned in random batches. In clustered batches the learning rate is
tuned once more; an encoder that reads a context takes it over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from armbook import tuned_losses
from armbook.results import one_measure
from armbook.sentences import listed_in_words, range_in_words
from armbook.tables import value_text
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

    def in_domain(self, collections: Sequence[str] = ()) -> dict[Cell, dict[str, list[Evaluation]]]:
        """Full rankings of the profile's own evaluation collections: by cell and collection, one a seed."""
        collections = collections or list(self.profile.experiment.evaluation_names())
        return {
            cell: {name: [each.per_query(name, FULL_RANKING) for each in results] for name in collections}
            for cell, results in self.results.items()
        }


def of_results(profile: Profile, results: Iterable[Result]) -> Factorial:
    """The factorial of a profile's first encoder.

    Raises:
        NotYet: a training run of it is not among the results.
    """
    one = replace(profile, encoders=profile.encoders[:1])
    return Factorial(Tuning(one, {result.experiment: result for result in results}, systems(one)))


Measured = Mapping[Cell, Mapping[str, Sequence[Evaluation]]]


def scores(measured: Measured, collections: Sequence[str], results: Mapping[Cell, Sequence[Result]]) -> pd.DataFrame:
    """nDCG@10 of every cell as text.

    Returns:
        A row for each cell, as text: ``loss``, ``batches``, ``encoder``; for each collection the mean with half the range over
        seeds; ``learning rate``.
    """
    rows = []
    for cell, found in measured.items():
        row = {"loss": cell.loss, "batches": cell.batches, "encoder": cell.encoder}
        row |= {name: value_text([each.mean[MEASURE] for each in found[name]]) for name in collections}
        rows.append(row | {"learning rate": f"{results[cell][0].experiment.learning_rate:g}"})
    return pd.DataFrame(rows)


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
        A row for each loss and comparison, as text: ``loss``, ``added``, and the difference on each collection.
    """
    rows = []
    for (loss, added), some in tests.groupby(["loss", "added"], sort=False):
        row = {"loss": loss, "added": added}
        for each in some.itertuples():
            mark = f" {DAGGER}" if each.equivalent else ""
            row[each.collection] = f"{each.difference:+.3f} ({each.low:+.3f} to {each.high:+.3f}){mark}"
        rows.append(row)
    return pd.DataFrame(rows)


IN_BATCH = LOSSES[:2]
"""The in-batch variants of which section 3 of the paper speaks."""


def answer(measured: Measured) -> str:
    """Whether in-batch variants do better in batches of neighbours, as section 3 of the paper implies, and what a context adds."""
    collections = list(next(iter(measured.values())))
    tests = effects(measured, collections)
    clustered = tests[tests.added == "clustered batches"]
    asked = clustered[clustered.loss.isin(IN_BATCH)]
    gained, lost = int((asked.low > 0).sum()), int((asked.high < 0).sum())
    clauses = [_batches_said(clustered[clustered.collection == name], name) for name in collections]
    said = [
        f"Clustered batches help the paper's in-batch variants in {gained or 'none'} of {len(asked)} comparisons with random "
        f"batches, and hurt them in {lost or 'none'}.",
        f"In full ranking, they {'; they '.join(clauses)}.",
    ]
    read = tests[tests.added.str.startswith("context")]
    if len(read):
        alike, change = int(read.equivalent.sum()), range_in_words(read.difference, "+.3f")
        said.append(
            f"Reading a context changes {MEASURE} by {change}, and is equivalent to reading none in {alike} of "
            f"{len(read)} comparisons."
        )
    best = {name: max(measured, key=lambda cell: mean_evaluation(measured[cell][name]).mean[MEASURE]).loss for name in collections}
    if len(set(best.values())) == 1:
        everywhere = " on every collection" if len(collections) > 1 else ""
        said.append(f"The best score is that of “{best[collections[0]]}”{everywhere}.")
    else:
        said.append("The best score is that of " + ", ".join(f"“{loss}” on {name}" for name, loss in best.items()) + ".")
    return " ".join(said)


def _batches_said(tests: pd.DataFrame, collection: str) -> str:
    better, worse = tests[tests.low > 0], tests[tests.high < 0]
    texts = []
    for verb, some in (("raise", better), ("lower", worse)):
        if len(some):
            change = range_in_words(some.difference, "+.3f")
            which = "every loss" if len(some) == len(tests) else listed_in_words(f"“{name}”" for name in some.loss)
            texts.append(f"{verb} {MEASURE} of {which} ({change})")
    if not texts:
        return f"make no clear difference on {collection}"
    rest = "" if len(better) + len(worse) == len(tests) else ", without a clear difference to the rest"
    return f"{' and '.join(texts)} on {collection}{rest}"


def queries_of_a_batch(experiment: Experiment, count: int) -> list[str]:
    """The first queries of the first batch that an experiment trains with, as they are trained on."""
    data = TrainingData(experiment)
    rows = data.batches().rows(0)[:count, 0]
    names = [bytes(data.queries.ids[row]).decode() for row in rows]
    texts = data.collection.queries()
    return [texts[name] for name in names]
