"""How tables are shown on a page and exported as CSV and LaTeX, and the tables that several chapters share."""

from __future__ import annotations

import html
import numbers
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import HTML
from markdown_it import MarkdownIt
from pandas.io.formats.style import Styler

from armbook.results import encoder_name, half_range
from armlib.demo import docstrings
from armlib.evaluation.tables import write_csv
from armlib.experiments.provenance import machine_line
from armlib.experiments.result import Result
from armlib.names import written_here
from armlib.storage import disk_errors


def shortened(text: str, width: int, mark: str = " [...]") -> str:
    """A text on one line, cut at a word to at most ``width`` characters with a mark where something is left out."""
    line = " ".join(text.split())
    if len(line) <= width:
        return line
    kept = line[: width - len(mark) + 1]
    return (kept.rsplit(" ", 1)[0] if " " in kept else kept[:-1]) + mark


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
    cells["text"] = [f"{cell['mean']:.3f}" + (f" ± {cell.spread:.3f}" if cell.seeds > 1 else "") for _, cell in cells.iterrows()]
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
        settings = f"{encoder_name(experiment)}, B={experiment.batch_size}, learning rate {experiment.learning_rate:g}"
        keys = encoders.setdefault(settings, {}).setdefault(experiment.variant(), [])
        keys.append(f"`{result.key}` (seed {experiment.seed})")
    lines = []
    for machine, made in machines.items():
        times = sorted(result.about["time"] for result in made)
        seconds = sum(result.about["seconds"]["total"] for result in made)
        when = times[0] if times[0] == times[-1] else f"{times[0]} to {times[-1]}"
        count = "1 training run" if len(made) == 1 else f"{len(made)} training runs"
        lines.append(f"- {count} on {machine}: {seconds:.0f} s in all, finished {when}")
    lines += [
        f"- {settings}: " + "; ".join(f"{variant} {', '.join(keys)}" for variant, keys in made.items())
        for settings, made in encoders.items()
    ]
    chosen = {result.about["validated_on"] for result in results if result.chosen_on_test_set}
    lines += [f"- the step was chosen on {name}, a test set" for name in sorted(chosen)]
    prints = {name: value for result in results for name, value in result.about["fingerprints"].items()}
    lines += [f"- collection {written_here(name)}, fingerprint {value}" for name, value in prints.items()]
    if any(name.startswith("docstrings") for name in prints):
        found = docstrings.collection_fingerprint()
        known = "the texts" if found == docstrings.REFERENCE else f"not the texts ({docstrings.REFERENCE})"
        lines.append(f"- docstrings as a whole, fingerprint {found}: {known} that this book was written with")
    return "\n".join(lines)


def save(table: pd.DataFrame, name: str) -> list[Path]:
    """Export a table as CSV and LaTeX into ``$ARMLIB_FIGURES``, by default ``figures/generated``."""
    folder = Path(os.environ.get("ARMLIB_FIGURES", "figures/generated"))
    made = [folder / f"{name}.csv", folder / f"{name}.tex"]
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_csv(table, made[0])
        made[1].write_text(table.to_latex(escape=True), encoding="utf8")
    return made


BEST = "best"  # marks a score by the word after it
DASH = "–"  # for what there is not
SHORT = 20  # letters of a cell that are not broken into lines
COLUMN = 50  # ems of a table's letters that a page's column takes
LETTER = {"h": 0.73, "d": 0.57}  # ems of a letter on average, in heads, which are bold, and in cells
MANY = 15  # rows from which on a page offers to sort and filter
MARKED_BEST = re.compile(rf"[-+]?\d[\d.,]*( ± [\d.,]+)?( [^\w\s])? {BEST}")  # a score with its marks, and no sentence that ends so


def cell(mean: float, spread: float | None, mark: str, digits: int = 3) -> str:
    """A score as text, such as ``0.647 ± 0.004 †``: mean, half the range over seeds where there are several, and a mark."""
    return f"{mean:.{digits}f}" + (f" ± {spread:.{digits}f}" if spread is not None else "") + (f" {mark}" if mark else "")


def _escaped(table: pd.DataFrame, escape: Callable[[str], str]) -> pd.DataFrame:
    plain = lambda cell: cell if isinstance(cell, float) else escape(str(cell))  # noqa: E731
    return table.map(plain, na_action="ignore").rename(columns=lambda name: escape(str(name)))


def _styled(table: pd.DataFrame, name: str, caption: str, number: Callable[[float], str]) -> Styler:
    styler = Styler(table.reset_index(drop=True), uuid=name, cell_ids=False, caption=caption).hide(axis="index")
    plain = lambda value: number(value) if isinstance(value, float) else _unmarked(str(value))  # noqa: E731
    styler = styler.format(plain, na_rep=DASH)
    return styler.map(lambda text: "font-weight: bold" if MARKED_BEST.fullmatch(str(text)) else "")


def show(table: pd.DataFrame, name: str, caption: str, *, digits: int = 3) -> HTML:
    """Export a table as `save` does, in LaTeX with its caption and with what is best in bold, and show it.

    Args:
        table: one row a line; the index is not shown. Scores with ``best`` after them, as text, lose the word and become bold.
        name: of the exported files, unlike that of any other table.
        caption: sentences in Markdown.
        digits: decimals of numbers that are not whole.
    """
    number = f"{{:,.{digits}f}}".format
    exported = save(table, name)[1]
    text = _styled(_escaped(table, _for_latex), name, _for_latex(caption), number).to_latex(
        hrules=True, convert_css=True, multicol_align="c"
    )
    with disk_errors(exported):
        exported.write_text(text, encoding="utf8")
    made = as_html(table, text=_bold_best, number=number)
    return HTML(_on_page(made, table, name, _inline(caption)))


def _on_page(made: str, table: pd.DataFrame, name: str, caption: str) -> str:
    """A table with its caption, as the build of the book finds it to number it and to link its files."""
    width = _width(made)
    classes = ["table-on-page", *(["wide"] if width > COLUMN else []), *(["sortable"] if len(table) > MANY else [])]
    made = made.replace("<thead>", f"<caption>{caption}</caption><thead>", 1)
    made = made.replace("<table ", f'<table id="table-{html.escape(name)}" ', 1)
    return made.replace('<div class="', f'<div style="--ems: {width}" class="{" ".join(classes)} ', 1)


def _width(made: str) -> int:
    """About how wide a table is in ems, with texts broken between words where they are long."""
    widths: dict[int, float] = {}
    for row in re.findall(r"<tr[^>]*>(.*?)</tr>", made, flags=re.DOTALL):
        column = 0
        for kind, span, inner in re.findall(r"<t([hd])(?:[^>]*?colspan=\"(\d+)\")?[^>]*>(.*?)</t[hd]>", row, flags=re.DOTALL):
            if not span:  # the heading of several columns fits where they do
                words = html.unescape(re.sub(r"<wbr>", " ", re.sub(r"<(?!wbr)[^>]*>", "", inner)))
                longest = max((len(word) for word in words.split(" ")), default=0)
                widths[column] = max(widths.get(column, 0), LETTER[kind] * max(longest, min(len(words), SHORT)))
            column += int(span or 1)
    return round(sum(width + 1.2 for width in widths.values()))


def _unmarked(text: str) -> str:
    return text.removesuffix(f" {BEST}") if MARKED_BEST.fullmatch(text) else text


def _bold_best(text: str) -> str:
    shown = _breakable(_unmarked(text))
    return f"<b>{shown}</b>" if MARKED_BEST.fullmatch(text) else shown


def _unbroken(cell: str) -> str:
    """What stands in a cell: never broken if short, such as a number with its marks, ``0.647 ± 0.004 †``, else marked as long."""
    short = len(html.unescape(re.sub(r"<[^>]*>", "", cell))) <= SHORT
    return f"<span>{cell.replace('<wbr>', '')}</span>" if short else f'<div class="long">{cell}</div>'


def _inline(markdown: str) -> str:
    return MarkdownIt(options_update={"html": False}).renderInline(markdown)


def made_of(results: Sequence[Result]) -> HTML:
    """The `provenance` of results in a block that a page shows closed."""
    text = MarkdownIt().render(provenance(results))
    return HTML(f'<details class="made"><summary>How the numbers of this page were made</summary>\n{text}</details>')


def two_levels(rows: Sequence[Mapping[tuple[str, str], str]]) -> pd.DataFrame:
    """A table of rows whose keys are the two levels of its columns."""
    table = pd.DataFrame(rows)
    return table.set_axis(pd.MultiIndex.from_tuples(table.columns), axis="columns")


def listed(values: Iterable[float]) -> str:
    """Numbers in a row, such as ``0, 0.1, 1``."""
    return ", ".join(f"{value:g}" for value in values)


def yes_or_no(value: bool) -> str:
    """A table's word for a truth value."""
    return "yes" if value else "no"


def _for_latex(text: str) -> str:
    return re.sub(r"([&%$#_{}])", r"\\\1", str(text))


def as_html(
    table: pd.DataFrame,
    *,
    index: bool = False,
    text: Callable[[str], str] | None = None,
    number: Callable[[float], str] = "{:,.2f}".format,
    missing: str = DASH,
) -> str:
    """A table for a page: texts escaped and whole, never read as formulas; whole numbers with their thousands separated.

    Args:
        table: any.
        index: whether it is shown.
        text: how a cell of text is written in HTML; by default as it is, but that names such as paths may be broken after their
            separators, so that a table fits a narrow page.
        number: how one that is not whole is written.
        missing: what stands where there is no value.
    """

    def cell(value: object) -> str:
        if isinstance(value, str):
            return _unbroken((text or _breakable)(value))
        if pd.isna(value):
            return missing
        if isinstance(value, bool | np.bool_):
            return yes_or_no(value)
        # Where one of a column is missing, pandas has counts as floats.
        whole = isinstance(value, numbers.Integral) or (value >= 1000 and float(value).is_integer())
        return _unbroken(f"{int(value):,}" if whole else number(value))

    named = table.rename(index=_name, columns=_name)
    with pd.option_context("display.max_colwidth", None):
        made = named.map(cell).to_html(index=index, escape=False, border=0, justify="left")
    return f'<div class="tex2jax_ignore mathjax_ignore">{made}</div>'


def _name(value: object) -> object:
    return _breakable(value) if isinstance(value, str) else value


def _breakable(text: str) -> str:
    return re.sub(r"(?<=[/._])(?=[A-Za-z])", "<wbr>", html.escape(text))


def value_text(values: Sequence[float]) -> str:
    """The mean of values over seeds, and half their range where there are several, with three decimals."""
    return cell(np.mean(values), half_range(values) if len(values) > 1 else None, "")
