"""What an index costs in words, and its measurements in tables that fit a page."""

from __future__ import annotations

import pandas as pd

from armbook.index_costs.measurements import FLAT, HNSW, IVF, PAPER, IndexMeasurements, lists
from armbook.results import headed
from armbook.tables import DASH
from armlib.retrieval.factories import DEFAULTS
from armlib.training.settings import MEASURE

NAMES = {FLAT: "exact", IVF: "IVF", HNSW: "HNSW", PAPER: "paper's factory"}
NEAR = 0.1  # of a time, within which another one is about as long


def default_row(costs: IndexMeasurements) -> pd.Series:
    """The row of the paper's index with the parameters of this book, ``nprobe`` being no more than there are lists."""
    count = int(costs.list_sizes.sum())
    nprobe = min(int(DEFAULTS["nprobe"]), lists(count))
    rows = costs.table[
        (costs.table.kind == PAPER) & (costs.table.nprobe == nprobe) & (costs.table.k_factor == DEFAULTS["k_factor"])
    ]
    return rows[~rows.released].iloc[0]


def answer(costs: IndexMeasurements) -> str:
    """What the paper's index costs against exact search, as released and with the parameters of this book."""
    released, own = costs.released, default_row(costs)
    exact = costs.table[costs.table.kind == FLAT].iloc[0]
    column = f"recall@{costs.depth}"
    scores = costs.scores[costs.scores.released & (costs.scores.measure == MEASURE)]
    changed = " and ".join(f"{MEASURE} on {row.collection} {_moved(row.value, row.exact)}" for row in scores.itertuples())
    return (
        f"Searched as released, the paper's index finds {released.found:.0f} of the {costs.depth:,} passages asked for; compared "
        f"with exact search, {changed}. With this book's parameters (nprobe={own.nprobe}, k_factor={own.k_factor}), its {column} "
        f"against exact search is {own[column]:.3f}. On this machine and at this size, that takes {_time_said(own.ms, exact.ms)}, "
        f"and {own['bytes a vector'] / exact['bytes a vector']:.2f} times its memory."
    )


def _moved(value: float, exact: float) -> str:
    if f"{value:.3f}" == f"{exact:.3f}":
        return f"stays at {exact:.3f}"
    return f"{'falls' if value < exact else 'rises'} from {exact:.3f} to {value:.3f}"


def _time_said(own: float, exact: float) -> str:
    times = own / exact
    if abs(times - 1) <= NEAR:
        return "about as long as exact search"
    return f"{times:.1f} times as long as exact search" if times > 1 else f"{times:.2f} of the time of exact search"


def settings_table(costs: IndexMeasurements) -> pd.DataFrame:
    """A row for each setting, as text.

    Returns:
        Columns ``index``, ``nprobe``, ``efSearch``, ``k_factor`` (a dash where the kind has none), ``R@10`` and deeper (recall
        against exact search), ``compared`` (passages a query) and ``ms`` (a query); the released code's row says so.
    """
    table = costs.table
    shown = pd.DataFrame({"index": _named(table)})
    for name in ("nprobe", "efSearch", "k_factor"):
        shown[name] = [DASH if pd.isna(value) else f"{value}" for value in table[name]]
    for name in table.filter(like="recall@"):
        shown[name.replace("recall", "R")] = table[name].map("{:.3f}".format)
    shown["compared"] = table.compared.map("{:,.0f}".format)
    return shown.assign(ms=table.ms.map("{:.3g}".format))


def exponents_table(powers: pd.DataFrame) -> pd.DataFrame:
    """`armbook.index_costs.growth.exponents` with names of indexes."""
    return pd.DataFrame({"index": _named(powers), **powers[["from", "to", "exponent"]]})


def kinds_table(costs: IndexMeasurements) -> pd.DataFrame:
    """Memory and building time by kind of index, as text: ``index``, ``bytes a vector`` and ``seconds to build``."""
    first = costs.table.drop_duplicates("kind")
    return pd.DataFrame(
        {
            "index": first.kind.map(NAMES),
            "bytes a vector": first["bytes a vector"].map("{:,.0f}".format),
            "seconds to build": first["build seconds"].map("{:.2g}".format),
        }
    )


def scores_table(costs: IndexMeasurements) -> pd.DataFrame:
    """Scores by judgments as text: ``index``, ``nprobe``, and a column for each collection and measure."""
    judged = costs.scores.assign(
        index=_named(costs.scores),
        nprobe=[DASH if pd.isna(value) else f"{value}" for value in costs.scores.nprobe],
        column=costs.scores.measure.map(headed) + ", " + costs.scores.collection,
        text=costs.scores.value.map("{:.3f}".format),
    )
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for row in judged.itertuples():
        rows.setdefault((row.index, row.nprobe), {"index": row.index, "nprobe": row.nprobe})[row.column] = row.text
    return pd.DataFrame(rows.values())


def projection_table(projected: pd.DataFrame) -> pd.DataFrame:
    """`armbook.index_costs.growth.projection` as text: memory in GB, passages compared, and MB read a query."""
    return pd.DataFrame(
        {
            "index": projected["index"],
            "memory, GB": projected["memory, GB"].map("{:.1f}".format),
            "passages compared": projected["passages compared"].map("{:,.0f}".format),
            "MB read a query": (1000 * projected["GB read a query"]).map(
                lambda value: f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
            ),
        }
    )


def _megabytes(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _named(table: pd.DataFrame) -> pd.Series:
    """The name of each row's index."""
    return table.kind.map(NAMES) + table.released.map({True: ", as released", False: ""})
