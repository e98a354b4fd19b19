"""Tables of differences: paper against released code, their two readings trained, and ablations of distributed targets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from armlib.claims_scores import over_seeds
from armlib.errors import InputError
from armlib.evaluation import DAGGER, equivalence
from armlib.experiments import Experiment, Profile
from armlib.losses import READINGS
from armlib.measuring import FULL_RANKING, RERANKING
from armlib.published_tables import TRIPLES
from armlib.reported import HITS, RECALL, spoken
from armlib.store import Result
from armlib.tables_marked import cell
from armlib.training import MEASURE
from armlib.verdicts import MARGIN

PAPER, RELEASED = READINGS
REFERENCE = "distributed"  # what every ablation changes in one respect
REPORTED = {RERANKING: (MEASURE, HITS), FULL_RANKING: (MEASURE, RECALL)}  # what the paper reports in each mode (section 4)
AT_THE_END = 32  # steps, as many as the paper's figure 6 smooths over
BATCH_SIZE = 128  # of the paper's main experiments
RATES = {"paper": 5e-6 / BATCH_SIZE, "released code, sweep": 5e-6, "released code, other experiments": 5e-7}
DECAY = 0.99999  # of the learning rate, a step

Score = tuple[str, str, str]  # collection, mode, measure


def differences() -> pd.DataFrame:
    """Where the paper and its released code (commit 76fc0d9) disagree, in our words.

    Index ``number``; columns ``subject``, ``paper``, ``released code``, ``changes numbers`` (``yes``, ``no`` or when), ``armlib``
    (what it does), ``parameter`` (of an experiment, that chooses it) and ``here`` (where the book measures it).
    """
    with (resources.files("armlib") / "published" / "differences.csv").open(encoding="utf8") as source:
        return pd.read_csv(source, dtype=str).astype({"number": int}).set_index("number")


def scores(results: Sequence[Result]) -> list[Score]:
    """What the paper reports in each mode, as far as it tells these results apart: the same value everywhere says nothing.

    So the hits of a re-ranked first stage are left out where they are cut as deep as the first stage is.

    Raises:
        InputError: the results were not measured on the same collections.
    """
    values: dict[Score, list[float]] = {}
    for result in results:
        for row in result.measures.itertuples(index=False):
            if any(re.fullmatch(pattern, row.measure) for pattern in REPORTED[row.mode]):
                values.setdefault((row.collection, row.mode, row.measure), []).append(row.value)
    partial = [score for score, found in values.items() if len(found) < len(results)]
    if partial:
        raise InputError(f"not every result was measured by {', '.join(partial[0])}; compare results of one profile")
    return [score for score, found in values.items() if len(results) == 1 or np.ptp(found) > 1e-12]


def by_reading(results: Iterable[Result]) -> dict[str, dict[str, list[Result]]]:
    """Results by loss (its name without the reading) and reading, in the order of their seeds; losses in the order given.

    Raises:
        InputError: a loss was not trained with the same seeds in both readings.
    """
    found: dict[str, dict[str, list[Result]]] = {}
    for result in results:
        made = result.experiment
        name = f"{made.target}, in-batch" if made.in_batch else made.target
        found.setdefault(name, {reading: [] for reading in READINGS})[made.reading].append(result)
    for name, both in found.items():
        for some in both.values():
            some.sort(key=lambda result: result.experiment.seed)
        first, second = (_seeds(both[reading]) for reading in READINGS)
        if first != second:
            raise InputError(f"{name} has the seeds {first} in the {PAPER} reading and {second} in the other; expected the same")
    return found


def readings(results: Sequence[Result]) -> pd.DataFrame:
    """The two readings of each loss, trained and compared: what the difference comes to.

    Paired TOST within 0.05 of the queries' means over seeds (`armlib.evaluation.equivalence`), Bonferroni-corrected for the losses
    that are tested on one measure, as the paper corrects a group of tests.

    Args:
        results: such as those of `armlib.sweeps.readings`.

    Returns:
        A row for each loss, collection, mode and measure; columns ``loss``, ``collection``, ``mode``, ``measure``, ``paper`` and
        ``released code`` (means over seeds), ``difference`` (released code minus paper), ``spread`` (half the range over seeds,
        the larger of the two; missing for one seed), ``low`` and ``high`` (90 % interval of the difference, over queries),
        ``corrected p`` and ``equivalent`` (bool).

    Raises:
        InputError: as `by_reading` and `scores`.
    """
    rows = []
    for score in scores(results):
        tested = []
        for loss, both in by_reading(results).items():
            values = {reading: [result.value(*score) for result in some] for reading, some in both.items()}
            perquery = {reading: over_seeds(some, *score[:2]).scores(score[2]) for reading, some in both.items()}
            test = equivalence(perquery[RELEASED], perquery[PAPER], MARGIN)
            spread = max(half_range(some) for some in values.values())
            tested.append(
                {
                    "loss": loss, **dict(zip(("collection", "mode", "measure"), score, strict=True)),
                    "paper": np.mean(values[PAPER]), "released code": np.mean(values[RELEASED]),
                    "difference": np.mean(values[RELEASED]) - np.mean(values[PAPER]), "spread": spread,
                    "low": test.low, "high": test.high, "corrected p": test.p,
                }
            )  # fmt: skip
        corrected = multipletests([row["corrected p"] for row in tested], method="bonferroni")[1]
        rows += [row | {"corrected p": p, "equivalent": bool(p < 0.05)} for row, p in zip(tested, corrected, strict=True)]
    order = {loss: number for number, loss in enumerate(by_reading(results))}
    table = pd.DataFrame(rows)
    return table.sort_values("loss", key=lambda names: names.map(order), kind="stable", ignore_index=True)


def readings_text(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `readings` as text for a page: three decimals, an interval, a dagger where the readings are equivalent."""
    shown = table[["loss", "collection", "mode", "measure"]].copy()
    shown["measure"] = shown.measure.map(spoken)
    for column in ("paper", "released code"):
        shown[column] = table[column].map("{:.3f}".format)
    marks = table.equivalent.map({True: f" {DAGGER}", False: ""})
    shown["difference"] = table.difference.map("{:+.3f}".format) + marks
    shown["half range of seeds"] = ["" if np.isnan(spread) else f"{spread:.3f}" for spread in table.spread]
    shown["90 % interval"] = [f"{low:+.3f} to {high:+.3f}" for low, high in zip(table.low, table.high, strict=True)]
    shown["corrected p"] = table["corrected p"].map("{:.2g}".format)
    return shown


def readings_summary(table: pd.DataFrame) -> str:
    """What the table of `readings` comes to, in two sentences."""
    size = table.difference.abs()
    widest = table.loc[size.idxmax()]
    where = f"{widest.loss} in {spoken(widest.measure)} ({widest['mode']}, {widest.collection})"
    beyond = f"larger than half the range of seeds in {(size > table.spread).sum()}"
    seeds = "how far seeds differ is not known, since there is one" if table.spread.isna().all() else beyond
    return (
        f"Equivalent in {table.equivalent.sum()} of {len(table)} comparisons; {seeds}. "
        f"The largest difference, {widest.difference:+.3f}, is that of {where}."
    )


def ablation_name(experiment: Experiment, profile: Profile) -> str:
    """What an ablation changes, in a few words: its variant, or a learning rate as a multiple of the profile's."""
    factor = experiment.learning_rate / profile.experiment.learning_rate
    return experiment.variant() if abs(factor - 1) < 1e-9 else f"{experiment.variant()}, learning rate × {factor:g}"


def by_ablation(results: Iterable[Result], profile: Profile) -> dict[str, list[Result]]:
    """Results by `ablation_name` in the order given, each in the order of its seeds.

    Raises:
        InputError: distributed targets are not among them, or an ablation has other seeds than they.
    """
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(ablation_name(result.experiment, profile), []).append(result)
    if REFERENCE not in found:
        raise InputError(f"ablations are compared with {REFERENCE} targets; the results have {', '.join(found)}")
    for name, some in found.items():
        some.sort(key=lambda result: result.experiment.seed)
        if _seeds(some) != _seeds(found[REFERENCE]):
            raise InputError(f"{name} has the seeds {_seeds(some)} and {REFERENCE} {_seeds(found[REFERENCE])}; expected the same")
    return found


def gaps(results: Mapping[str, Sequence[Result]], score: Score) -> pd.DataFrame:
    """Differences to distributed targets at equal seeds, which also share the order of the triples.

    Args:
        results: as `by_ablation` gives them.
        score: collection, mode and measure.

    Returns:
        A row for each ablation, a column for each seed; the row of distributed targets is 0.
    """
    columns = _seeds(results[REFERENCE])
    values = {name: [result.value(*score) for result in some] for name, some in results.items()}
    table = pd.DataFrame.from_dict(values, orient="index", columns=columns)
    return table - table.loc[REFERENCE]


def ablations(results: Sequence[Result], profile: Profile) -> pd.DataFrame:
    """Distributed targets and their ablations, as text.

    Args:
        results: such as those of `armlib.sweeps.ablations`.
        profile: whose learning rate the others are named by.

    Returns:
        A row for each collection and ablation. Columns, on two levels: ``at the end`` with the mean of D+ x D- over the last 32
        steps; for each mode its measures (binary ones cut at the collection's own grade), as mean
        ``±`` half the range over seeds, with the mean difference to distributed targets behind it.

    Raises:
        InputError: as `by_ablation` and `scores`.
    """
    found, wanted = by_ablation(results, profile), scores(results)
    rows: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    for score in wanted:
        collection, mode, measure = score
        changes = gaps(found, score).mean(axis="columns")
        for name, some in found.items():
            row = rows.setdefault((collection, name), {("at the end", "mean D+ x D-"): f"{settled(some):.3f}"})
            row[mode, spoken(measure)] = value_text([result.value(*score) for result in some])
            row[mode, f"{spoken(measure)}, difference"] = "" if name == REFERENCE else f"{changes[name]:+.3f}"
    table = pd.DataFrame.from_dict(rows, orient="index").fillna("")
    table.index = pd.MultiIndex.from_tuples(rows, names=["collection", "ablation"])
    return table.set_axis(pd.MultiIndex.from_tuples(table.columns), axis="columns")


def learning_rates(profile: Profile) -> pd.DataFrame:
    """Learning rates of the paper, of the released code and of a profile, and how far Adam can move a weight with them.

    Adam changes a weight by about the learning rate a step and hardly by more, so the sum of the learning rates over one pass
    through the 39.8 million triples bounds how far a weight can get from where it starts.

    Returns:
        A row for each; columns ``learning rate``, ``times the paper's``, ``batch size``, ``steps`` and ``farthest`` (the sum).
    """
    own = profile.experiment
    rows = [(name, rate, BATCH_SIZE, TRIPLES // BATCH_SIZE, DECAY) for name, rate in RATES.items()]
    rows.append((f"{profile.name} profile", own.learning_rate, own.batch_size, own.steps, own.decay))
    table = pd.DataFrame(rows, columns=["", "learning rate", "batch size", "steps", "decay"]).set_index("")
    table.insert(1, "times the paper's", table["learning rate"] / RATES["paper"])
    decay = table.pop("decay")
    summed = [(1 - rate**steps) / (1 - rate) if rate < 1 else steps for rate, steps in zip(decay, table.steps, strict=True)]
    return table.assign(farthest=table["learning rate"] * summed)


def settled(results: Sequence[Result]) -> float:
    """The mean of D+ x D- over the last 32 steps, averaged over results."""
    return float(np.mean([result.trace.similarity_mean.tail(AT_THE_END).mean() for result in results]))


def half_range(values: Sequence[float]) -> float:
    """Half the range of the values, NaN of one alone."""
    return float(np.ptp(values)) / 2 if len(values) > 1 else float("nan")


def value_text(values: Sequence[float]) -> str:
    """The mean of values over seeds, and half their range where there are several, with three decimals."""
    return cell(np.mean(values), half_range(values) if len(values) > 1 else None, "")


def _seeds(results: Sequence[Result]) -> list[int]:
    return [result.experiment.seed for result in results]
