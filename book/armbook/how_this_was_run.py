"""What the book's training runs cost: profiles side by side, machines, versions, times and padding, and time by chapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from armbook import chapters
from armbook.counts import clock
from armbook.miniature import HERE
from armbook.results import encoder_name
from armbook.style import COLOURS, GREY, STYLE, colour, kind
from armbook.tables import listed
from armlib.errors import InputError
from armlib.experiments.experiment import Experiment
from armlib.experiments.profile import Profile, load_profile, profile_names
from armlib.experiments.provenance import machine_line
from armlib.experiments.result import Result

CONTINUED = "an encoder trained before"
PARTS = ("preparing", "training", "validating", "evaluating")
OVERLAP = 2.0  # seconds by which a training run may seem to start before the one ahead of it ended: ends are kept in whole seconds
_HATCHES = dict(zip(PARTS, ("", "///", "...", "xxx"), strict=True))


def schedule(results: Sequence[Result]) -> pd.DataFrame:
    """When each training run ran, with the times taken out in which none did.

    A start is the end less the seconds that it took, so one that was stopped and continued seems to have run at one
    stretch before its end.

    Returns:
        In the order of starts, columns ``key``, ``variant``, ``start`` and ``hours`` (since the first start, idle times taken out),
        ``idle`` (idle hours taken out before it), ``lane`` (0 and up; training runs of one lane do not overlap).
    """
    spans = []
    for result in results:
        end, took = datetime.fromisoformat(result.about["time"]), result.about["seconds"]["total"]
        spans.append((end - timedelta(seconds=took), end, result))
    spans.sort(key=lambda span: span[:2])
    rows, lanes, idle = [], [], timedelta()
    first = busy_until = spans[0][0]
    for start, end, result in spans:
        idle += max(timedelta(), start - busy_until)
        busy_until = max(busy_until, end)
        free = (number for number, last in enumerate(lanes) if start >= last - timedelta(seconds=OVERLAP))
        lane = next(free, len(lanes))
        lanes[lane : lane + 1] = [end]
        rows.append(
            {
                "key": result.key,
                "variant": result.experiment.variant(),
                "start": (start - first - idle) / timedelta(hours=1),
                "hours": (end - start) / timedelta(hours=1),
                "idle": idle / timedelta(hours=1),
                "lane": lane,
            }
        )
    return pd.DataFrame(rows)


def timeline(results: Sequence[Result]) -> Figure:
    """Training runs over time on the left, a bar each in the colour of its variant; on the right the parts of each encoder's time.

    Both in minutes, or in hours where all training runs ran for more than two.
    """
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.4), layout="constrained", width_ratios=(3, 2))
        table = schedule(results)
        unit, scale = ("hours", 1) if (table.start + table.hours).max() > 2 else ("minutes", 60)
        for _, row in table.iterrows():
            left.barh(
                row.lane,
                scale * row.hours,
                left=scale * row.start,
                color=_shade(row.variant),
                edgecolor=GREY,
                linewidth=0.6,
                label=row.key,
            )
        lanes, idle = table.lane.max() + 1, table.idle.max()
        pauses = f" ({idle:.1f} idle hours left out)" if idle > 0.05 else ""
        left.set(xlabel=unit + pauses, ylabel="at a time", yticks=range(lanes), yticklabels=range(1, lanes + 1))
        left.set(title=f"{len(table)} training runs")
        _draw_parts(right, time_spent(results), unit, scale / 3600)
        kinds = {_shade(variant): kind(variant) for variant in table.variant}
        handles = [Patch(color=shade, label=name) for shade, name in kinds.items()]
        handles += [Patch(facecolor="none", edgecolor=GREY, hatch=_HATCHES[part], label=part) for part in PARTS]
        figure.legend(handles=handles, loc="outside lower center", ncols=6)
    return figure


def _draw_parts(axes: Axes, table: pd.DataFrame, unit: str, scale: float) -> None:
    encoders = table[table.encoder != "all"].reset_index(drop=True)
    begin = pd.Series(0.0, encoders.index)
    for part in PARTS:
        width = encoders[part] * scale
        axes.barh(encoders.index, width, left=begin, height=0.6, facecolor="none", edgecolor=GREY, hatch=_HATCHES[part], label=part)
        begin = begin + width
    names = [name.rpartition("/")[2] for name in encoders.encoder]
    axes.set(xlabel=f"{unit} of training runs", title="what they went into", yticks=encoders.index, yticklabels=names)
    axes.invert_yaxis()


def _shade(variant: str) -> str | tuple[float, float, float]:
    return colour(variant) if kind(variant) in COLOURS else GREY  # an encoder before fine-tuning has no target


def profiles(*others: Profile) -> pd.DataFrame:
    """The values of the profiles, a column each: those of the package by their steps, then ``others`` that differ from them.

    The number of training runs, in front, is of all that the book can start at once; `counted` says what these tune.
    Values of an experiment that are the same in all profiles are left out.
    """
    every = {profile.name: profile for profile in sorted(map(load_profile, profile_names()), key=lambda one: one.experiment.steps)}
    for other in others:
        if other not in every.values():
            every["this page" if other.name in every else other.name] = other
    columns = {name: _values(profile) for name, profile in every.items()}
    table = pd.DataFrame(columns)
    shared = table.index.str.startswith("experiment: ") & (table.nunique(axis="columns") == 1)
    return table[~shared].rename_axis("value")


def _values(profile: Profile) -> dict[str, str]:
    values = {
        "training runs to start with": str(len(chapters.first_round(profile))),
        "encoders": ", ".join(profile.encoders),
        "static targets": listed(profile.static),
        "batch sizes": listed(profile.batch_sizes),
        "seeds": listed(profile.seeds),
        "seeds of sweeps": listed(profile.sweep_seeds),
        "training runs at a time": str(profile.jobs),
        "learning rates to choose from": listed(profile.learning_rates) or "the experiment's own",
        "scales to choose from": listed(profile.scales),
        "teacher": profile.teacher,
        "pairwise teacher": profile.pairwise_teacher,
        "sweep": ", ".join(f"{name} {value}" for name, value in profile.sweep.items()) or "as all others",
    }
    # The encoder and seed of a profile's experiment are replaced by those listed above.
    chosen = {name: value for name, value in asdict(profile.experiment).items() if name not in ("encoder", "seed")}
    return values | {
        f"experiment: {name}": "the collection's own" if value in ("", ()) else str(value) for name, value in chosen.items()
    }


def machines(shown: Mapping[str, Sequence[Result]]) -> pd.DataFrame:
    """Where the training runs ran, a row for each machine of each source.

    Args:
        shown: results by the name of their source, as `armbook.miniature.sources` gives them.

    Returns:
        Columns ``source``, ``machine`` (processor or GPU, threads of cores, memory), ``system``, ``precision``, ``training runs``,
        ``time`` (h:mm:ss, the sum over training runs).
    """
    rows = [
        {
            "source": source,
            "machine": machine_line(about),
            "system": about["machine"]["system"].partition("-")[0],
            "precision": _precision(about),
            "training runs": 1,
            "seconds": about["seconds"]["total"],
        }
        for source, results in shown.items()
        for about in (result.about for result in results)
    ]
    keys = ["source", "machine", "system", "precision"]
    table = pd.DataFrame(rows).groupby(keys, sort=False).sum().reset_index()
    return table.assign(time=table.pop("seconds").map(clock))


def _precision(about: Mapping) -> str:
    return {"no": "float32"}.get(about["precision"], about["precision"])


def versions(shown: Mapping[str, Sequence[Result]]) -> pd.DataFrame:
    """The versions that results were made with, a row for each package and a column for each source.

    Where the training runs of a source had several versions of a package, each has its number of training runs behind it.
    """
    columns = {}
    for source, results in shown.items():
        pairs = [pair for result in results for pair in result.about["versions"].items()]
        counts = pd.DataFrame(pairs, columns=["package", "version"]).value_counts().sort_index()
        columns[source] = {
            package: some.index[0][1] if len(some) == 1 else ", ".join(f"{each} ({n})" for (_, each), n in some.items())
            for package, some in counts.groupby("package")
        }
    return pd.DataFrame(columns).sort_index().rename_axis("package").reset_index()


def costs(shown: Mapping[str, Sequence[Result]]) -> pd.DataFrame:
    """`time_spent` of every source as a page shows it: times as h:mm:ss, triples in millions, waiting in per cent.

    Raises:
        InputError: a source has no results.
    """
    tables = []
    for source, results in shown.items():
        table = time_spent(results)
        table.insert(0, "source", source)
        tables.append(table)
    table = pd.concat(tables, ignore_index=True)
    for part in (*PARTS, "total"):
        table[part] = table[part].map(clock)
    table["encoder"] = [name.rpartition("/")[2] for name in table.encoder]
    table["triples"] = [f"{count / 1e6:.2f}M" for count in table.triples]
    table["waiting"] = [f"{share:.1%}" for share in table.waiting]
    table["triples per second"] = table["triples per second"].round().astype(int)
    names = {"triples per second": "triples / s", "padded over real": "padded / real"}
    return table.rename(columns=names)


def answer(shown: Mapping[str, Sequence[Result]]) -> str:
    """What the training runs of each source cost, a sentence or two each, and how the sources compare."""
    texts, means = [], {}
    for source, results in shown.items():
        total = time_spent(results).set_index("encoder").loc["all"]
        count = int(total["training runs"])
        means[source] = total.total / count
        largest = max(PARTS, key=lambda part: total[part])
        runs = "1 training run" if count == 1 else f"{count} training runs"
        texts.append(
            f"{_start(source)}, {runs} took {lasting(total.total)} on {_places(results)}. The largest part was {largest}, "
            f"{total[largest] / total.total:.0%}; padding added {total['padded over real'] - 1:.0%} to the tokens of the texts, "
            f"and training waited for data in {total.waiting:.1%} of its time."
        )
    if len(means) == 2:
        (first, one), (second, other) = means.items()
        texts.append(f"A training run took {lasting(one)} on average in {first}, and {lasting(other)} in {second}.")
    return "\n\n".join(texts)


def _start(source: str) -> str:
    return "In this copy" if source == HERE else f"In {source}"


def _places(results: Sequence[Result]) -> str:
    machines = (result.about["machine"] for result in results)
    places = list(dict.fromkeys((each["gpu"] or each["processor"], each["cores"], each["memory_gib"]) for each in machines))
    return "{} ({} cores, {} GiB)".format(*places[0]) if len(places) == 1 else f"{len(places)} machines"


def counted(scale: Profile, results: Sequence[Result]) -> str:
    """How many training runs a profile starts with, and how many more its results named.

    Args:
        scale: the profile.
        results: all that the book shows of it.
    """
    first, every = len(chapters.first_round(scale)), len({result.experiment for result in results})
    further = f", and {every - first} more that tuning added: {every} in all" if every > first else ""
    return f"Profile `{scale.name}` started with {first} training runs{further}."


def lasting(seconds: float) -> str:
    """A time in words, such as ``1.2 hours``, ``14 minutes`` or ``45 seconds``."""
    if seconds >= 2 * 3600:
        return f"{seconds / 3600:.1f} hours"
    if seconds >= 120:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds:.0f} seconds" if seconds >= 10 else f"{seconds:.1f} seconds"


def time_spent(results: Sequence[Result]) -> pd.DataFrame:
    """What the training runs of each encoder cost, and all together in the last row.

    Columns: ``encoder``; ``training runs``; ``triples`` trained, those of steps after the kept one too; seconds of `PARTS`
    (``preparing`` holds whatever had to be made first: collection, encoder, tokens, BM25's candidates) and ``total``;
    ``triples per second`` of training; ``waiting`` (share of training's seconds that waited for data); ``padded over real``
    (tokens given to the encoder over tokens of texts, after the cut at the maximum lengths).

    Raises:
        InputError: there are no results.
    """
    if not results:
        raise InputError("there are no results whose costs could be added up")
    table = pd.DataFrame([_cost(result) for result in results]).groupby("encoder", sort=False).sum()
    table.loc["all"] = table.sum()
    table["triples per second"] = table.triples / table.training
    table["waiting"] = table.pop("waiting seconds") / table.training
    table["padded over real"] = table.pop("padded") / table.pop("real")
    return table.astype({"training runs": int, "triples": int}).reset_index()


def _cost(result: Result) -> dict:
    trace, about = result.trace, result.about
    return {
        "encoder": CONTINUED if encoder_name(result.experiment) != result.experiment.encoder else result.experiment.encoder,
        "training runs": 1,
        "triples": about["triples"],
        **{part: about["seconds"][part] for part in (*PARTS, "total")},
        "waiting seconds": trace.waiting_seconds.sum(),
        "padded": trace.padded_tokens.sum(),
        "real": trace.real_tokens.sum(),
    }


def time_by_chapter(found: Mapping[str, Mapping[Experiment, Result]]) -> pd.DataFrame:
    """What each chapter's training runs took, though chapters share them.

    Args:
        found: what `armbook.chapters.every_round` gives.

    Returns:
        A row for each chapter; columns ``chapter``; ``training runs``, ``minutes`` of all that it shows; ``new training runs``,
        ``new minutes``: of those that no chapter in a row above shows.
    """
    rows, seen = [], set()
    for name, results in found.items():
        minutes = {experiment: result.about["seconds"]["total"] / 60 for experiment, result in results.items()}
        own = [experiment for experiment in minutes if experiment not in seen]
        seen.update(own)
        rows.append(
            {
                "chapter": name.replace("_", " "),
                "training runs": len(minutes),
                "minutes": sum(minutes.values()),
                "new training runs": len(own),
                "new minutes": sum(map(minutes.get, own)),
            }
        )
    return pd.DataFrame(rows)
