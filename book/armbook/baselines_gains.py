"""What Table 4 says of tuning, of training, and of self-distillation beside everything else: published, and as measured here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from armbook import published
from armbook.baselines import BEFORE, FIRST_STAGE, ONE
from armbook.baselines_table import LOSSES, Column
from armbook.comparison import paper_measures
from armbook.results import headed
from armbook.table4_sources import Source
from armbook.tables import DASH, two_levels
from armbook.tuned_losses import SELF
from armlib.evaluation.evaluate import FULL_RANKING

SHORT_NAMES = {"Hofstatter et al. 2021": "Hofstätter", "Wang and Zuccon 2023": "Wang"}
TUNED = ("static, tuned", "static, tuned, in-batch")
BEST_SELF, BEST_ANY = "best self-distilled", "best of any kind"


def gains(sources: Mapping[str, Source]) -> pd.DataFrame:
    """What tuning and training gain, and what self-distillation lacks: differences between rows of Table 4.

    Returns:
        A row for each comparison, as text: the tuned static targets over target 1, every trained row over the encoder before
        training, and the best self-distilled row over the best of any kind. Columns of two levels: ``gain`` with ``of`` and
        ``over``; the paper's collections, then each source's, with nDCG@10 and R@1000; a dash where there is nothing to compare.
    """
    wanted: dict[Column, dict[Column, str]] = {}
    every = [*published_scores(), *(scores for source in sources.values() for scores in measured_scores(source))]
    for scores in every:
        for one, other in _pairs(scores):
            gain = signed(scores.values[one] - scores.values[other], scores.digits)
            wanted.setdefault(_told(one, other), {})[scores.column] = gain
    order = sorted(wanted, key=lambda pair: (pair[1] != ONE, pair[1] != BEFORE))
    columns = [scores.column for scores in every]
    return two_levels(
        [
            {("gain", "of"): one, ("gain", "over"): other, **{each: wanted[one, other].get(each, DASH) for each in columns}}
            for one, other in order
        ]
    )


@dataclass(frozen=True)
class Scores:
    """One column of Table 4.

    Attributes:
        column: collection and measure.
        values: by row.
        groups: of the rows.
        digits: that the scores are printed with.
        trained: the rows that were trained here.
    """

    column: Column
    values: Mapping[str, float]
    groups: Mapping[str, str]
    digits: int
    trained: tuple[str, ...] = ()

    def best(self, group: str = "") -> str | None:
        """The row with the highest value, of a group if one is given; None where it has no row. A first stage is for re-ranking."""
        names = [name for name in self.values if group in ("", self.groups[name]) and name != FIRST_STAGE]
        return max(names, key=self.values.__getitem__, default=None)


def published_scores() -> list[Scores]:
    """The columns of the paper's Table 4; its own rows and target 1 are named as those measured here."""
    table = published.table4()
    names = [_published_name(row) for row in table.to_dict("records")]
    groups = dict(zip(names, table.group, strict=True))
    made = []
    for year, name in published.SETS.items():
        for score, measure in published.SCORES.items():
            scores = dict(zip(names, table[f"{year}_{score}"], strict=True))
            made.append(Scores((f"published: {name}", headed(measure)), scores, groups, 2))
    return made


def _published_name(row: Mapping[str, Any]) -> str:
    loss = LOSSES.get(row["loss"], row["loss"])
    if row["loss"] == "margin-mse":
        loss += (", TAS-B" if row["batch_sampling"] == "tas-b" else "") + (", in-batch" if row["uses_batch"] else "")
        return f"{loss}, {SHORT_NAMES[row['source']]}"
    return loss + (", in-batch" if row["in_batch"] is True else "")


def measured_scores(source: Source) -> list[Scores]:
    """The columns of a measured Table 4, of the rows that search by themselves; means over seeds."""
    rows, made = [row for row in source.rows if row.retrieves], []
    groups = {row.loss: row.group for row in rows}
    trained = tuple(row.loss for row in source.trained)
    for name in source.collections:
        means = {row.loss: row.mean(name).mean for row in rows if name in row.evaluations}
        for measure in paper_measures(next(iter(means.values())), FULL_RANKING):
            scores = {loss: mean[measure] for loss, mean in means.items()}
            made.append(Scores((name, headed(measure)), scores, groups, 3, trained))
    return made


def _pairs(scores: Scores) -> list[tuple[str, str]]:
    made = [(name, ONE) for name in TUNED if name in scores.values and ONE in scores.values]
    made += [(name, BEFORE) for name in scores.trained]
    own, best = scores.best(SELF), scores.best()
    return [*made, (own, best)] if own and best else made


def _told(one: str, other: str) -> tuple[str, str]:
    return (one, other) if other in (ONE, BEFORE) else (BEST_SELF, BEST_ANY)


def signed(difference: float, digits: int = 3) -> str:
    """A difference with its sign; one that rounds to zero is ``+0.000``, whichever side it is on."""
    return f"{round(difference, digits) + 0.0:+.{digits}f}"
