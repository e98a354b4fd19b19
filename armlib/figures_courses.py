"""Figures 4 and 5: how validation scores go during training, with adaptive targets and with distributed ones by batch size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from armlib.errors import InputError
from armlib.figures import STYLE, colour, dashes, draw_mean, encoder_lines
from armlib.reported import spoken
from armlib.store import Result
from armlib.training import MEASURE

HITS = "Success"  # ir_measures' name of hits; the rest of it has the grade and the depth
Setting = tuple[str, str, int]  # encoder, variant and batch size: what seeds are averaged over


def by_setting(results: Iterable[Result]) -> dict[Setting, list[Result]]:
    """Results by encoder, variant and batch size, in the order given."""
    found: dict[Setting, list[Result]] = {}
    for result in results:
        each = result.experiment
        found.setdefault((each.encoder, each.variant(), each.batch_size), []).append(result)
    return found


def with_common_seeds(results: Sequence[Result]) -> list[Result]:
    """The results whose seed every setting has, so that settings can be compared.

    Raises:
        InputError: no seed is common to all settings.
    """
    seeds = [{result.experiment.seed for result in some} for some in by_setting(results).values()]
    common = set.intersection(*seeds) if seeds else set()
    if not common:
        raise InputError("settings are compared on seeds that all of them have, and there are none")
    return [result for result in results if result.experiment.seed in common]


def course(results: Sequence[Result], measure: str) -> pd.DataFrame:
    """A validation measure during training.

    Args:
        results: of one setting, one a seed.
        measure: a column of their validations.

    Returns:
        Index ``triples`` seen, at the validations that all seeds reached; a column for each seed.
    """
    columns = {each.experiment.seed: each.validations.set_index("step")[measure] for each in results}
    frame = pd.DataFrame(columns).dropna().sort_index()
    frame.index = pd.Index(frame.index * results[0].experiment.batch_size, name="triples")
    return frame


def measures(results: Sequence[Result]) -> tuple[str, str]:
    """The columns of nDCG@10 and of hits in the validations of results.

    Raises:
        InputError: the results do not share one column of hits.
    """
    found = {name for result in results for name in result.validations.columns if name.startswith(HITS)}
    if len(found) != 1 or not all(found < set(result.validations.columns) for result in results):
        there = ", ".join(sorted(found)) or "none"
        raise InputError(f"courses need results whose validations share one measure of hits, not {there}")
    return MEASURE, found.pop()


def adaptive_courses(results: Sequence[Result]) -> Figure:
    """Figure 4: validation nDCG@10 (upper row) and hits (lower row) over the triples seen, a column an encoder.

    Args:
        results: as `armlib.sweeps.adaptive` lists them; several seeds of a variant become one line with their range.
    """
    found = by_setting(results)
    # Encoders have columns of their own, so dashes are free to tell the variants apart in grey.
    lines = {variant: (0, (5, 2)) if "in-batch" in variant else "solid" for _, variant, _ in found}
    handles = [Line2D([], [], color=colour(name), linestyle=line, label=name) for name, line in lines.items()]
    return _panels(found, {each: each[0] for each in found}, {each: lines[each[1]] for each in found}, handles, measures(results))


def batch_size_courses(results: Sequence[Result]) -> Figure:
    """Figure 5: validation nDCG@10 (upper row) and hits (lower row) over the triples seen, a column a batch size.

    Args:
        results: as `armlib.sweeps.batch_sizes` lists them; several seeds of an encoder become one line with their range.
    """
    found = dict(sorted(by_setting(results).items(), key=lambda item: item[0][2]))
    encoders = list(dict.fromkeys(result.experiment.encoder for result in results))
    handles = encoder_lines(encoders)
    lines = {setting: dashes(setting[0]) for setting in found}
    return _panels(found, {setting: f"batches of {setting[2]}" for setting in found}, lines, handles, measures(results))


def course_table(results: Sequence[Result]) -> pd.DataFrame:
    """What the courses are read for: when the mean over seeds is best, and what becomes of it.

    Args:
        results: of any settings.

    Returns:
        One row for each setting and measure. Columns ``encoder``, ``variant``, ``batch size``, ``measure``, ``seeds``, ``best``
        (the highest mean over seeds), ``triples at best``, ``share of training`` (those triples by the triples of the last
        validation; 1 where it was still rising) and ``last``, the mean at the last validation.
    """
    rows = []
    for (encoder, variant, size), some in by_setting(results).items():
        for measure in measures(results):
            seeds = course(some, measure)
            means = seeds.mean(axis="columns")
            best = int(means.idxmax())
            rows.append({
                "encoder": encoder, "variant": variant, "batch size": size, "measure": spoken(measure), "seeds": seeds.shape[1],
                "best": means[best], "triples at best": best, "share of training": best / means.index[-1], "last": means.iloc[-1],
            })  # fmt: skip
    return pd.DataFrame(rows)


def training_in_words(results: Sequence[Result]) -> str:
    """How much the trainings saw and with which learning rate they started, in Markdown."""
    triples, rates = ({get(r) for r in results} for get in (_triples, lambda r: r.experiment.learning_rate))
    shares = [_triples(result) / result.about["available_triples"] for result in results]
    sizes = sorted({result.experiment.batch_size for result in results})
    batches = ", ".join(map(str, sizes[:-1])) + f" and {sizes[-1]}" if len(sizes) > 1 else str(sizes[0])
    return (
        f"Trainings see {_range(triples, ',')} triples, {_range(shares, '.2g')} of an epoch, in batches of {batches}. The learning "
        f"rate starts at {_range(rates, 'g')}."
    )


def adaptive_in_words(results: Sequence[Result]) -> str:
    """The observations of section 5.2, as far as the courses of adaptive targets have them, as a list in Markdown."""
    table = course_table(with_common_seeds(results))
    ndcg, hits = (table[table.measure == spoken(name)] for name in measures(results))
    alone = ndcg[~ndcg.variant.str.contains("in-batch")]
    shares = alone["share of training"]
    lines = [
        f"Without in-batch negatives nDCG@10 is best at {_range(shares, '.0%')} of the training, before its end for "
        f"{(shares < 1).sum()} of {_encoders(alone)}; at the end it is lower by {_range(alone.best - alone['last'], '.3f')}."
    ]
    for part in (ndcg, hits):
        told = part.assign(in_batch=part.variant.str.contains("in-batch"))
        best, when = (told.pivot(index="encoder", columns="in_batch", values=name) for name in ("best", "triples at best"))
        if best.shape[1] == 2:
            gaps, later = best[True] - best[False], (when[True] > when[False]).sum()
            lines.append(
                f"With in-batch negatives the best {part.measure.iloc[0]} differs by {_range(gaps, '+.3f')}; it is lower for "
                f"{(gaps < 0).sum()} of {_encoders(part)}, and comes later for {later}."
            )
    return _as_list([*lines, _seeds(table)])


def batch_sizes_in_words(results: Sequence[Result]) -> str:
    """The observations of section 5.3 on batch sizes, on the seeds that all sizes have, as a list in Markdown."""
    table = course_table(with_common_seeds(results))
    ndcg = table[table.measure == MEASURE]
    best, when = (ndcg.pivot(index="encoder", columns="batch size", values=name) for name in ("best", "triples at best"))
    rising = ndcg[ndcg["share of training"] == 1]["batch size"].value_counts()
    lines = [
        f"Batches of {size}: nDCG@10 is best, {_range(best[size], '.3f')}, after {_range(when[size], ',')} triples; it still rises "
        f"at the end for {rising.get(size, 0)} of {_encoders(ndcg)}."
        for size in best
    ]
    small, large = min(best), max(best)
    if small < large:
        sooner, later = (when[small] < when[large]).sum(), (when[small] > when[large]).sum()
        spread, higher = best.max(axis=1) - best.min(axis=1), (best[large] > best[small]).sum()
        lines += [
            f"It is best sooner with batches of {small} than of {large} for {sooner} of {_encoders(ndcg)}, later for {later}.",
            f"The best nDCG@10 of an encoder differs between batch sizes by at most {spread.max():.3f}; it is higher with batches "
            f"of {large} than of {small} for {higher} of {_encoders(ndcg)}.",
        ]
    return _as_list([*lines, _seeds(table)])


def _panels(
    found: Mapping[Setting, Sequence[Result]], titles: Mapping[Setting, str], lines: Mapping[Setting, str | tuple],
    handles: list[Line2D], rows: Sequence[str],
) -> Figure:  # fmt: skip
    """A row a measure, a column a title; each setting is a line, dashed in its way, in the column of its title."""
    columns = list(dict.fromkeys(titles.values()))
    with plt.rc_context(STYLE):
        size = (max(4.5, 3.2 * len(columns)), 5)
        figure, room = plt.subplots(
            len(rows), len(columns), figsize=size, layout="constrained", sharex=True, sharey="row", squeeze=False
        )  # fmt: skip
        for measure, panels in zip(rows, room, strict=True):
            panels[0].set_ylabel(f"validation {spoken(measure)}")
            for setting, results in found.items():
                axes, look = panels[columns.index(titles[setting])], {"shade": colour(setting[1]), "line": lines[setting]}
                draw_mean(axes, course(results, measure), encoder=setting[0], **look)
        for title, top, bottom in zip(columns, room[0], room[-1], strict=True):
            top.set_title(title)
            bottom.set_xlabel("triples seen")
            bottom.xaxis.set_major_locator(plt.MaxNLocator(4))
        figure.legend(handles=handles, loc="outside lower center", ncols=min(3, len(handles)))
    return figure


def _triples(result: Result) -> int:
    return result.about["triples"]


def _range(values: Iterable[float], form: str) -> str:
    listed = list(values)
    low, high = format(min(listed), form), format(max(listed), form)
    return low if low == high else f"{low} to {high}"


def _encoders(rows: pd.DataFrame) -> str:
    count = rows.encoder.nunique()
    return "1 encoder" if count == 1 else f"{count} encoders"


def _seeds(table: pd.DataFrame) -> str:
    count = int(table.seeds.min())
    return "One seed of each: no spread to compare with." if count == 1 else f"Means over {count} seeds of each."


def _as_list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
