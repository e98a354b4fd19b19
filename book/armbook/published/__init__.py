"""The paper's own tables, as typed data frames: what our measurements stand beside, and what claims are judged by."""

from __future__ import annotations

from functools import cache
from importlib import resources
from types import MappingProxyType

import pandas as pd

from armbook.results import DISTRIBUTED

TRIPLES = 39_780_811  # training triples of MS MARCO (paper section 4)
MODELS = ("distilBERT", "RoBERTa", "MPNet")
SETS = {"dl19": "TREC-DL 2019", "dl20": "TREC-DL 2020"}
SCORES = {"ndcg10": "nDCG@10", "r1000": "Recall@1000"}


def table1() -> pd.DataFrame:
    """Table 1, the pre-trained encoders.

    Columns: ``model``, ``checkpoint`` (a Hugging Face name), ``params_millions``, ``embedding``, ``dimensions``.
    """
    return _read("table1")


def table2() -> pd.DataFrame:
    """Table 2, one training instance: a query, its positive, and the negatives with the highest, the middle and the lowest target.

    Columns: ``role`` (``q``, ``d+``, ``d-max``, ``d-mid``, ``d-min``), ``text``, ``relevance`` (cosine with the query), ``target``
    (t, scaled similarity to the positive), ``instance_loss`` (squared error); missing where the paper has a dash.
    """
    return _read("table2")


def table3() -> pd.DataFrame:
    """Table 3, the variants in full ranking.

    Columns: ``model``; ``target`` (``static``, ``adaptive``, ``distributed``) and ``in_batch`` (bool), together one of
    `armbook.results.VARIANTS`; ``uses_batch`` (bool, as the paper prints it: the row uses information of the batch, by in-batch
    negatives or by distributed targets); for each of ``dl19``, ``dl20`` and ``ndcg10``, ``r1000`` the score, such as
    ``dl19_ndcg10``, and with ``_equivalent`` what is printed beside it: ``best`` of its model, ``yes`` (a dagger: statistically
    equivalent to the best) or ``no``; ``hours`` of training; ``includes_sweep`` (bool: the hours include the search for the static
    target); ``triples_millions`` seen.
    """
    table = _with_in_batch(_read("table3"), "target")
    clock = table.pop("time_hhmm").str.split(":", expand=True).astype(int)
    table.insert(table.columns.get_loc("time_includes_sweep"), "hours", clock[0] + clock[1] / 60)
    return table.rename(columns={"time_includes_sweep": "includes_sweep"})


def table4() -> pd.DataFrame:
    """Table 4, the paper's distilBERT beside baselines, in full ranking.

    Columns: ``group``; ``loss``; ``batch_sampling``; ``in_batch`` and ``uses_batch`` as in `table3` (missing for BM25); ``source``;
    scores as in `table3`, with two digits; ``triples_millions`` seen (missing for BM25; lower bounds for other works);
    ``equivalent_to_best_reproduced_tasb`` (names of the scores with a dagger, ``all``, ``none``, ``not tested``, or
    ``reference run``); ``quoted`` (bool): the paper took the row from another work, so neither the paper nor we measured it.
    """
    table = _with_in_batch(_read("table4").astype({"in_batch": "boolean"}), "loss")
    table["quoted"] = ~table.source.isin(["this paper", "baseline"])
    return table


@cache
def variant3(model: str, target: str, in_batch: bool) -> MappingProxyType:
    """One row of Table 3, read-only, with the columns of `table3` as keys.

    Args:
        model: one of `MODELS`.
        target, in_batch: one of `armbook.results.VARIANTS`.
    """
    table = table3()
    (row,) = table[(table.model == model) & (table.target == target) & (table.in_batch == in_batch)].to_dict("records")
    return MappingProxyType(row)


def variant4(loss: str, in_batch: bool, source: str = "this paper", sampling: str = "random") -> pd.Series:
    """One row of Table 4; arguments are values of its columns, see `table4`."""
    table = table4()
    wanted = {"loss": loss, "in_batch": in_batch, "source": source, "batch_sampling": sampling}
    found = table[(table[list(wanted)] == pd.Series(wanted)).all(axis="columns").fillna(False)]
    (row,) = found.to_dict("records")
    return pd.Series(row)


def score_differences(score: str, first: tuple[str, bool], second: tuple[str, bool]) -> dict[str, float]:
    """A score of one variant of Table 3 less that of another, for each model and year.

    Args:
        score: ``ndcg10`` or ``r1000``.
        first, second: variants as in `armbook.results.VARIANTS`.

    Returns:
        Differences to three digits, by names such as ``RoBERTa on TREC-DL 2019``.
    """
    found = {}
    for model in MODELS:
        ours, theirs = variant3(model, *first), variant3(model, *second)
        found |= {f"{model} on {SETS[year]}": round(ours[f"{year}_{score}"] - theirs[f"{year}_{score}"], 3) for year in SETS}
    return found


def disagreements() -> pd.DataFrame:
    """Where Table 4 prints another score than Table 3 for the same distilBERT variant, beyond rounding to two digits.

    Columns: ``target``, ``in_batch``, ``score`` (such as ``dl19_ndcg10``), ``table3``, ``table4``.
    """
    ours = table4()
    ours = ours[ours.source == "this paper"]
    rows = []
    for _, row in ours.iterrows():
        target = row.loss.split()[0]
        other = variant3("distilBERT", target, bool(row.in_batch))
        for score in [f"{year}_{name}" for year in SETS for name in SCORES]:
            if round(abs(other[score] - row[score]), 6) > 0.005:
                rows.append((target, bool(row.in_batch), score, other[score], row[score]))
    return pd.DataFrame(rows, columns=["target", "in_batch", "score", "table3", "table4"])


def _with_in_batch(table: pd.DataFrame, target: str) -> pd.DataFrame:
    """A table with its printed column ``in_batch`` as ``uses_batch``, and before it ``in_batch`` as in `armbook.results.VARIANTS`.

    Args:
        table: as it is printed, where distributed targets count as in-batch.
        target: the column that names the target.
    """
    table = table.rename(columns={"in_batch": "uses_batch"})
    # Distributed targets use the batch as they are: their loss has no setting for it, so a variant of theirs is never in-batch.
    table.insert(table.columns.get_loc("uses_batch"), "in_batch", table.uses_batch & (table[target] != DISTRIBUTED))
    return table


def _read(name: str) -> pd.DataFrame:
    return _stored(name).copy()


@cache
def _stored(name: str) -> pd.DataFrame:
    with (resources.files("armbook") / "published" / f"{name}.csv").open(encoding="utf8") as source:
        return pd.read_csv(source)
