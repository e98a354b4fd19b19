"""Tables of the book: one function a table; each is shown on a page and exported as CSV and LaTeX."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from armlib.data import docstrings
from armlib.provenance import machine_line
from armlib.store import Result


def as_text(measures: pd.DataFrame) -> str:
    """Measures for a terminal: a line for each collection and mode, a column for each measure, four decimals."""
    if measures.empty:
        return "not measured"
    wide = measures.pivot_table("value", ["collection", "mode"], "measure", sort=False)
    return wide.to_string(float_format="{:.4f}".format)


def comparison(results: Sequence[Result]) -> pd.DataFrame:
    """Variants side by side, averaged over seeds.

    Returns:
        A row for each variant, in the order given; columns are the number of seeds, the training seconds, and for each
        collection, mode and measure the mean, with ``±`` half the range over seeds where there are several.
    """
    rows = [
        {"variant": result.experiment.variant(), "column": (row["collection"], row["mode"], row.measure), "value": row.value}
        for result in results
        for _, row in result.measures.iterrows()
    ]
    groups = pd.DataFrame(rows).groupby(["variant", "column"], sort=False).value
    cells = pd.DataFrame({"mean": groups.mean(), "spread": (groups.max() - groups.min()) / 2, "seeds": groups.size()})
    cells["text"] = [
        f"{cell['mean']:.3f}" + (f" ± {cell.spread:.3f}" if cell.seeds > 1 else "") for _, cell in cells.iterrows()
    ]
    table = cells.text.unstack("column", sort=False)
    table.columns = pd.MultiIndex.from_tuples(table.columns)
    seconds = [(result.experiment.variant(), result.about["seconds"]["training"]) for result in results]
    grouped = pd.DataFrame(seconds, columns=["variant", "seconds"]).groupby("variant", sort=False).seconds
    table.insert(0, ("training", "", "seconds"), grouped.mean().round(1))
    table.insert(0, ("training", "", "seeds"), grouped.size())
    return table


def provenance(results: Sequence[Result]) -> str:
    """How results were made, as a list in Markdown: machines and times, the keys and seeds by encoder and variant, the collections.

    Of ``docstrings`` it says whether this is the text that the book was written with: other versions of Python bring others.
    """
    machines: dict[str, list[Result]] = {}
    encoders: dict[str, dict[str, list[str]]] = {}
    for result in {each.key: each for each in results}.values():
        experiment = result.experiment
        machines.setdefault(machine_line(result.about), []).append(result)
        settings = f"{experiment.encoder}, B={experiment.batch_size}, learning rate {experiment.learning_rate:g}"
        keys = encoders.setdefault(settings, {}).setdefault(experiment.variant(), [])
        keys.append(f"`{result.key}` (seed {experiment.seed})")
    lines = []
    for machine, made in machines.items():
        times = sorted(result.about["time"] for result in made)
        seconds = sum(result.about["seconds"]["total"] for result in made)
        when = times[0] if times[0] == times[-1] else f"{times[0]} to {times[-1]}"
        count = "1 training" if len(made) == 1 else f"{len(made)} trainings"
        lines.append(f"- {count} on {machine}: {seconds:.0f} s in all, finished {when}")
    lines += [
        f"- {settings}: " + "; ".join(f"{variant} {', '.join(keys)}" for variant, keys in made.items())
        for settings, made in encoders.items()
    ]
    chosen = {result.about["validated_on"] for result in results if result.chosen_on_test_set}
    lines += [f"- the step was chosen on {name}, a test set" for name in sorted(chosen)]
    prints = {name: value for result in results for name, value in result.about["fingerprints"].items()}
    lines += [f"- collection {name}, fingerprint {value}" for name, value in prints.items()]
    if any(name.startswith("docstrings") for name in prints):
        found = docstrings.collection_fingerprint()
        known = "the texts" if found == docstrings.REFERENCE else f"not the texts ({docstrings.REFERENCE})"
        lines.append(f"- docstrings as a whole, fingerprint {found}: {known} that this book was written with")
    return "\n".join(lines)


def save(table: pd.DataFrame, name: str) -> list[Path]:
    """Export a table as CSV and LaTeX into ``$ARMLIB_FIGURES``, by default ``figures/generated``."""
    folder = Path(os.environ.get("ARMLIB_FIGURES", "figures/generated"))
    folder.mkdir(parents=True, exist_ok=True)
    made = [folder / f"{name}.csv", folder / f"{name}.tex"]
    table.to_csv(made[0])
    made[1].write_text(table.to_latex(escape=True), encoding="utf8")
    return made
