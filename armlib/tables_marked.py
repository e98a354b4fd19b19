"""Tables of text with two header levels, whose best cells are bold on a page and in LaTeX, as the paper's are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from pandas.io.formats.style import Styler

from armlib import tables

BEST = "best"
DASH = "–"  # for what there is not


def cell(mean: float, spread: float | None, mark: str, digits: int = 3) -> str:
    """A score as text, such as ``0.647 ± 0.004 †``: mean, half the range over seeds where there are several, and a mark."""
    return f"{mean:.{digits}f}" + (f" ± {spread:.{digits}f}" if spread is not None else "") + (f" {mark}" if mark else "")


def show(table: pd.DataFrame, name: str, caption: str) -> Styler:
    """A table of text for a page or for LaTeX, with what is marked best in bold.

    Args:
        table: cells of text; those that end in ``best`` lose the word and become bold.
        name: unlike that of any other table on the page.
        caption: a sentence above the table.
    """
    styler = Styler(table, uuid=name, cell_ids=False, caption=caption).hide(axis="index")
    styler = styler.set_table_attributes('class="dataframe"')  # as all other tables of a page, whose style it shares
    styler = styler.format(lambda text: str(text).removesuffix(f" {BEST}"), na_rep=DASH)
    return styler.map(lambda text: "font-weight: bold" if str(text).endswith(f" {BEST}") else "")


def save(table: pd.DataFrame, name: str, caption: str) -> list[Path]:
    """Export a table of text as `armlib.tables.save` does, in LaTeX with the caption and in bold what is best."""
    made = tables.save(table, name)
    escaped = table.map(_for_latex).set_axis(table.columns.map(lambda levels: tuple(map(_for_latex, levels))), axis="columns")
    text = show(escaped, name, _for_latex(caption)).to_latex(hrules=True, convert_css=True, multicol_align="c")
    made[1].write_text(text, encoding="utf8")
    return made


def two_levels(rows: Sequence[Mapping[tuple[str, str], str]]) -> pd.DataFrame:
    """A table of rows whose keys are the two levels of its columns."""
    table = pd.DataFrame(rows)
    return table.set_axis(pd.MultiIndex.from_tuples(table.columns), axis="columns")


def yes_or_no(value: bool) -> str:
    """A table's word for a truth value."""
    return "yes" if value else "no"


def _for_latex(text: str) -> str:
    return re.sub(r"([&%$#_{}])", r"\\\1", str(text))
