"""How the page of benchmarks shows what was measured: its answer, its tables with their machines in the caption, its figure."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from armbook import benchmarks, tables
from armbook.style import STYLE, colour

NOTHING = "<p>No file measures it.</p>"
STOCK = "sentence-transformers"
_LINES = {"yes": ("solid", "o"), "no": ((0, (4, 2)), "s")}  # with gradient caching, and without


def show(table: pd.DataFrame, name: str, caption: str) -> HTML:
    """A table of `armbook.benchmarks` with its caption, exported like every table; a sentence where it is empty.

    The machine is in the caption where all rows have the same one; else each row has a letter, and the caption says whose.

    Args:
        table: one with a column ``machine``.
        name: of the exported files.
        caption: in Markdown.
    """
    if table.empty:
        return HTML(NOTHING)
    names = list(dict.fromkeys(table.machine))
    if len(names) == 1:
        table, where = table.drop(columns="machine"), f"Measured on {names[0]}."
    else:
        letters = dict(zip(names, _letters(len(names)), strict=True))
        table = table.assign(machine=table.machine.map(letters))
        where = "Machines: " + "; ".join(f"{letter}, {each}" for each, letter in letters.items()) + "."
    if "device" in table and table.device.nunique() == 1:
        table = table.drop(columns="device")
    return tables.show(table.apply(_readable), name, f"{caption} {where}", digits=2)


def _letters(count: int) -> list[str]:
    return [chr(ord("A") + place) for place in range(count)]


def _readable(column: pd.Series) -> pd.Series:
    """Large numbers without decimals; as text, such as ``9e-08``, where two decimals would not show them."""
    if column.dtype.kind != "f":
        return column
    if column.min() >= 100:
        return column.round().astype("Int64")
    if not ((column != 0) & (column.abs() < 0.01)).any():
        return column
    return column.map(lambda value: f"{value:.0e}", na_action="ignore").fillna(tables.DASH)


def answer(found: Sequence[dict]) -> str:
    """What was measured, a sentence for each benchmark that there is a file of, and whether anything was on a GPU."""
    said = [_training(found), _encoding(found), _gathering(found), _memory(found), _searching(found)]
    return " ".join([*filter(None, said), _gpu(found)])


def _training(found: Sequence[dict]) -> str:
    table = benchmarks.training_speed(found)
    rows = table[table.way == STOCK] if len(table) else table
    if rows.empty:
        return ""
    row = rows.loc[rows.batch.idxmax()]
    verdict = _compared(row["by processor time"], f"the trainer of {STOCK}")
    return f"Training an encoder of {row.layers} layers in batches of {row.batch} triples {verdict} ({row.machine})."


def _encoding(found: Sequence[dict]) -> str:
    table = benchmarks.encoding_speed(found)
    rows = table[(table.way == STOCK) & table["by processor time"].notna()] if len(table) else table
    if rows.empty:
        return ""
    low, high = rows["by processor time"].min(), rows["by processor time"].max()
    span = f"{low:.1f}" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f} to {high:.1f}"
    return f"Passages are encoded at {span} times the rate of {STOCK}, by processor time, depending on how many and how deep."


def _compared(ratio: float, other: str) -> str:
    """How armlib's rate compares with another one, in words."""
    if f"{ratio:.1f}" == "1.0":
        return f"takes the same processor time as {other}"
    if ratio > 1:
        return f"is {ratio:.1f} times as fast as {other} by processor time"
    return f"is slower than {other}, at {ratio:.1f} times its rate by processor time"


def _gathering(found: Sequence[dict]) -> str:
    table = benchmarks.gather_speed(found)
    if len(table) < 2:
        return ""
    table = table.sort_values("triples")
    first, last = table.iloc[0], table.iloc[-1]
    growth = last["private memory (MiB)"] / first["private memory (MiB)"]
    verdict = "no more memory than" if growth < 1.05 else f"{growth:.1f} times the memory of"
    most, least = f"{last.triples / 1e6:.0f} million", f"{first.triples / 1e6:.0f} million"
    return f"Gathering batches from {most} triples takes {verdict} gathering from {least}."


def _memory(found: Sequence[dict]) -> str:
    table = benchmarks.batch_memory(found)
    plain, cached = (table[table["gradient caching"] == word] if len(table) else table for word in ("no", "yes"))
    if plain.empty or cached.empty:
        return ""
    most, largest = plain.loc[plain["memory (MiB)"].idxmax()], cached.triples.max()
    worst = cached[cached.triples == largest]["memory (MiB)"].max()
    verdict = "less" if worst < most["memory (MiB)"] else "more"
    return (
        f"With gradient caching a batch of {largest:,} triples takes {worst:,.0f} MiB, {verdict} than one of {most.triples:,} "
        f"without ({most['memory (MiB)']:,.0f} MiB)."
    )


def _searching(found: Sequence[dict]) -> str:
    table = benchmarks.search_speed(found)
    if table.empty:
        return ""
    row = table.loc[table["seconds per query"].idxmin()]
    return f"Exact search among {row.vectors / 1e6:.1f} million vectors takes {row['seconds per query']:.2f} seconds a query."


def _gpu(found: Sequence[dict]) -> str:
    if not found:
        return benchmarks.where(found)
    names = dict.fromkeys(each["made"]["machine"]["gpu"] for each in benchmarks.on_gpu(found))
    return f"There are measurements on {', '.join(names)}, too." if names else "Nothing was measured on a GPU."


def memory_figure(found: Sequence[dict]) -> Figure:
    """Memory of a batch by its triples, with gradient caching and without, a colour for each loss; both axes logarithmic."""
    table = benchmarks.batch_memory(found)
    whole = FuncFormatter(lambda value, _: f"{value:,.0f}")
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(5.2, 3.4), layout="constrained")
        axes.set(xlabel="triples in a batch", ylabel="memory of a batch (MiB)")
        if table.empty:
            axes.set_title("no file measures it")
            return figure
        for (loss, caching), rows in table.groupby(["loss", "gradient caching"], sort=False):
            dashes, marker = _LINES[caching]
            label = f"{loss}, {'cached' if caching == 'yes' else 'not cached'}"
            memory = rows["memory (MiB)"]
            axes.plot(rows.triples, memory, color=colour(loss), linestyle=dashes, marker=marker, markersize=4, label=label)
        axes.set(xscale="log", yscale="log")
        axes.minorticks_off()
        axes.set_xticks(sorted(set(table.triples)))
        axes.set_yticks([200, 400, 800, 1600])
        axes.xaxis.set_major_formatter(whole)
        axes.yaxis.set_major_formatter(whole)
        figure.legend(loc="outside lower center", ncols=2)
    return figure
