"""What a tuning found: each candidate against the best, what is recommended, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from armlib.evaluation.equivalence import compare
from armlib.evaluation.measures import Evaluation, mean_evaluation
from armlib.experiments.experiment import Experiment
from armlib.experiments.tuning_grid import UNTUNED, Candidate, Grid
from armlib.names import written_here
from armlib.training.settings import MEASURE

BEST, EQUIVALENT, WORSE, OPEN = "best", "equivalent", "worse", "not told apart"
"""What is found of a candidate: it has the highest mean; or its difference to the best lies within the margin, or below 0, with the
confidence asked for; or neither."""
FINISHED, DIVERGED, LEFT_OUT = "finished", "diverged", "left out"


@dataclass(frozen=True)
class Tuning:
    """What was found.

    Attributes:
        grid: what was compared.
        table: a row for each candidate of the second round, the best first: ``loss``, ``learning_rate``, validation nDCG@10 as
            ``mean`` over seeds and queries, and ``lowest`` and ``highest`` of a seed; ``difference`` to the best, with its bounds
            ``low`` and ``high``; ``p`` and ``corrected_p`` of the test for equivalence; ``verdict``.
        runs: a row for each training run: ``loss``, ``learning_rate``, ``seed``, ``state`` (finished, diverged or left out), and of
            a finished one ``value`` (validation nDCG@10), ``seconds`` and ``key``.
        seeds: those that the table is made of: all that every candidate was trained with.
        validation: the name of the validation queries.
        queries: how many they are.
        before: validation nDCG@10 of the encoder before any training.
        margin: the largest difference that counts as none.
        alpha: the level of all tests together; all bounds together have confidence 1 - 2 alpha.
    """

    grid: Grid
    table: pd.DataFrame
    runs: pd.DataFrame
    seeds: tuple[int, ...]
    validation: str
    queries: int
    before: float
    margin: float
    alpha: float

    @property
    def verdicts(self) -> dict[Candidate, str]:
        """What was found of each candidate, the best first."""
        rows = zip(self.table["loss"], self.table["learning_rate"], self.table["verdict"], strict=True)
        return {Candidate(loss, rate): verdict for loss, rate, verdict in rows}

    @property
    def best(self) -> Candidate:
        """The candidate with the highest mean."""
        return next(iter(self.verdicts))

    @property
    def recommended(self) -> Candidate:
        """Of the best and what is equivalent to it, the candidate with the fewest numbers to choose; then distributed targets."""
        among = [each for each, verdict in self.verdicts.items() if verdict in (BEST, EQUIVALENT)]
        return min(among, key=lambda each: (self.grid.numbers(each), each.loss != UNTUNED))

    def experiment(self) -> Experiment:
        """The recommended training run with its evaluation."""
        return self.grid.measured(self.recommended)

    def about_untuned(self) -> str:
        """One sentence: how distributed targets compare with the best, at the default learning rate and at their best one."""
        default = self.grid.untuned
        if default is None:
            return f"The untuned loss, {UNTUNED}, was not among the losses."
        found = {each: self._against_best(each) for each in self.verdicts if each.loss == UNTUNED}
        tuned = [each for each in found if each != default]
        at_default = found.get(default, "not compared (its training runs are not all there)")
        said = f"On these data the untuned loss, {UNTUNED}, is {at_default} at the default learning rate {default.learning_rate:g}"
        if tuned:
            return f"{said}, and {found[tuned[0]]} at the one that was best for it with one seed, {tuned[0].learning_rate:g}."
        finished = self.runs[(self.runs["loss"] == UNTUNED) & (self.runs["state"] == FINISHED)]
        several = default in found and finished["learning_rate"].nunique() > 1
        return f"{said}, which was also the best for it of those tried." if several else f"{said}."

    def _against_best(self, candidate: Candidate) -> str:
        verdict = self.verdicts[candidate]
        if verdict == BEST:
            return "the best of all"
        link = {EQUIVALENT: "equivalent to", WORSE: "worse than", OPEN: "not told apart from"}[verdict]
        return f"{link} the best"

    def about_certainty(self) -> list[str]:
        """Sentences on how sure this is: queries, seeds, what was not tried, and which way the best value is off."""
        grid, table, runs = self.grid, self.table, self.runs
        queries, confidence = f"{self.queries} validation queries ({written_here(self.validation)})", 1 - 2 * self.alpha
        said = [
            f"Seen on {queries} with {_count(len(self.seeds), 'seed')}; a difference within {self.margin:g} {MEASURE} counts as "
            f"none, and the bounds of {_count(len(table) - 1, 'difference')} hold together with confidence {confidence:g} over "
            "queries, not over seeds, whose spread stands beside them.",
            "The best is the highest of several noisy values, and learning rates were chosen on the same queries, so values are "
            f"biased upwards: expect less than {table['mean'].iloc[0]:.4f} of the best on other queries.",
        ]
        said.append(f"Before training the encoder had {self.before:.4f}{self._made_worse()}.")
        if self.grid.experiment.selection == "best":
            said.append("Each training run kept the step that was best on these same queries, which biases all values upwards.")
        if edges := [str(each) for each in self._at_edge()]:
            said.append(f"At the edge of the learning rates tried, so a better one may lie beyond: {', '.join(edges)}.")
        diverged = runs[runs["state"] == DIVERGED]
        if len(diverged):
            names = dict.fromkeys(str(Candidate(*row)) for row in diverged[["loss", "learning_rate"]].itertuples(index=False))
            said.append(f"Training ran away, its loss not a finite number any more: {', '.join(names)}.")
        if left := self._about_left_out():
            said.append(left)
        rates = ", ".join(f"{rate:g}" for rate in grid.learning_rates)
        said.append(f"Other losses, learning rates other than {rates}, and other values of the experiment were not looked at.")
        return said

    def _made_worse(self) -> str:
        means = dict(zip(self.verdicts, self.table["mean"], strict=True))
        if self.before > means[self.best]:
            return ", more than after any of these training runs: they made it worse"
        if self.before > means[self.recommended]:
            return f", more than after {self.recommended}: that training made it worse, if by no more than counts as none"
        return ""

    def _at_edge(self) -> list[Candidate]:
        """Candidates whose learning rate was chosen as the best, and is the lowest or the highest tried with their loss."""
        tried = self.runs[self.runs["state"] != LEFT_OUT].groupby("loss")["learning_rate"].agg(["min", "max"])
        losses = [each.loss for each in self.verdicts]
        # Of distributed targets at two learning rates, the default one was not chosen.
        chosen = [each for each in self.verdicts if losses.count(each.loss) == 1 or each != self.grid.untuned]
        ends = {loss: set(row) for loss, row in zip(tried.index, tried.to_numpy(), strict=True)}
        return [each for each in chosen if len(ends[each.loss]) > 1 and each.learning_rate in ends[each.loss]]

    def _about_left_out(self) -> str:
        left = self.runs[self.runs["state"] == LEFT_OUT]
        if left.empty:
            return ""
        first = left["seed"] == self.grid.seeds[0]
        rates, seeds = sorted(left["learning_rate"][first].unique()), sorted(left["seed"][~first].unique())
        parts = [f"learning rates {', '.join(f'{rate:g}' for rate in rates)}"] if rates else []
        parts += [f"seeds {', '.join(map(str, seeds))}"] if seeds else []
        losses = sorted(set(self.grid.losses) - set(self.table["loss"]))
        never = f"; not compared at all: {', '.join(losses)}" if losses else ""
        of_all = f"{len(left)} of {_count(len(self.runs), 'training run')}"
        return f"Left out for want of time: {of_all}, of {' and of '.join(parts)}{never}."

    def about_recommended(self) -> str:
        """One sentence: what is recommended, and why."""
        chosen, verdicts = self.recommended, self.verdicts
        alike = [each for each, verdict in verdicts.items() if verdict == EQUIVALENT]
        unclear = [each for each, verdict in verdicts.items() if verdict == OPEN]
        said = f"Recommended is {chosen.loss} at learning rate {chosen.learning_rate:g}"
        if chosen != self.best:
            fewer = self.grid.numbers(chosen) < self.grid.numbers(self.best)
            return f"{said}: equivalent to the best, {self.best}, {'with fewer numbers' if fewer else 'and no harder'} to choose."
        if len(verdicts) == 1:
            return f"{said}: nothing else was compared, so nothing speaks for it."
        if alike:
            return f"{said}: the best, and of the {len(alike) + 1} that are equivalent none has fewer numbers to choose."
        if unclear:
            return f"{said}: it has the highest mean, but {_count(len(unclear), 'other')} cannot be told apart from it."
        return f"{said}: it is the best, and nothing else is equivalent to it."

    def about(self) -> dict[str, Any]:
        """All of it as plain values, for JSON."""
        grid, chosen = self.grid, self.experiment()
        return {
            "collection": grid.experiment.collection,
            "encoder": grid.experiment.encoder,
            "measure": MEASURE,
            "validation": self.validation,
            "queries": self.queries,
            "before_training": self.before,
            "losses": list(grid.losses),
            "learning_rates": list(grid.learning_rates),
            "default_learning_rate": grid.experiment.learning_rate,
            "seeds": list(self.seeds),
            "margin": self.margin,
            "alpha": self.alpha,
            "confidence": 1 - 2 * self.alpha,
            "correction": "bonferroni",
            "candidates": _plain(self.table),
            "runs": _plain(self.runs),
            "untuned": self.about_untuned(),
            "certainty": self.about_certainty(),
            "reason": self.about_recommended(),
            "recommended": asdict(chosen),
        }


def compared_table(found: Mapping[Candidate, Sequence[Evaluation]], margin: float, alpha: float) -> pd.DataFrame:
    """Candidates against the best of them by paired TOST with Bonferroni correction.

    Args:
        found: of each candidate the validation of every seed, per query.
        margin, alpha: as for `armlib.evaluation.equivalence.compare`.

    Returns:
        See `Tuning.table`.
    """
    names = {str(candidate): candidate for candidate in found}
    over_seeds = {name: mean_evaluation(found[candidate]) for name, candidate in names.items()}
    compared = compare(over_seeds, MEASURE, margin=margin, alpha=alpha)
    best = compared.index[compared["p"].isna()][0]
    # Bounds that hold for all differences together: a candidate is equivalent just where they lie within the margin.
    bounds = compare(over_seeds, MEASURE, reference=best, margin=margin, alpha=alpha / max(1, len(names) - 1))
    rows = []
    for name, candidate in names.items():
        row, seeds = compared.loc[name], [each.mean[MEASURE] for each in found[candidate]]
        low, high = bounds.loc[name, ["low", "high"]]
        verdict = BEST if name == best else EQUIVALENT if row["equivalent"] else WORSE if high < 0 else OPEN
        values = {"mean": row["mean"], "lowest": min(seeds), "highest": max(seeds), "difference": row["difference"]}
        values |= {"low": low, "high": high, "p": row["p"], "corrected_p": row["corrected p"], "verdict": verdict}
        rows.append({"loss": candidate.loss, "learning_rate": candidate.learning_rate, **values})
    table = pd.DataFrame(rows)
    order = sorted(table.index, key=lambda row: (table["verdict"][row] != BEST, -table["mean"][row]))
    return table.loc[order].reset_index(drop=True)


def _count(number: int, of: str) -> str:
    plural = f"{of}es" if of.endswith("s") else f"{of}s"
    return f"{number} {of if number == 1 else plural}"


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table, with None for what is not a number."""
    return table.astype(object).where(table.notna(), None).to_dict("records")
