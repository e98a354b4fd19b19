"""What is known of a profile's collection without its data: counts of its texts, and BM25 and the teacher on its queries.

Training runs that came with the repository say nothing of these, and a reader without the data cannot compute them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from armbook import baselines, data_and_encoders, miniature
from armbook.chapters import every_round
from armbook.evidence import find, of_profile
from armbook.miniature import HERE, NAME
from armbook.tuned_losses import Tuning
from armlib import storage
from armlib.errors import InputError
from armlib.evaluation.measures import Evaluation
from armlib.experiments.profile import Profile

FILE = "collection.json"
DIGITS = 6
"""Decimals of a query's measures."""
PARTS = {"setup", "encoders", "collections", "lengths", "padding", "rankings"}


@dataclass(frozen=True)
class CollectionRecord:
    """What was counted and measured of a profile's collection.

    Attributes:
        setup: as `armbook.data_and_encoders.setup` gives it.
        encoders, collections, lengths: as the functions of these names there give them.
        padding: the rows of `armbook.data_and_encoders.padding_table`.
        rankings: rows of Table 4 that nothing is trained for, BM25 and the teacher.
    """

    setup: dict[str, str]
    encoders: list[dict[str, Any]]
    collections: list[dict[str, Any]]
    lengths: list[dict[str, Any]]
    padding: list[dict[str, Any]]
    rankings: list[baselines.Baseline]


def counted(profile: Profile, batches: int = data_and_encoders.BATCHES) -> CollectionRecord:
    """The record of a profile without rankings.

    Args:
        profile: the scale.
        batches: how many batches padding is counted on.

    Raises:
        InputError: the data are not at hand.
    """
    data = data_and_encoders.data_of(profile)
    return CollectionRecord(
        data_and_encoders.setup(profile),
        data_and_encoders.encoders(profile),
        data_and_encoders.collections(data),
        data_and_encoders.lengths(profile),
        data_and_encoders.padding_table(data, batches).reset_index().to_dict("records"),
        [],
    )


def measured(profile: Profile) -> CollectionRecord:
    """The record of a profile whose data are at hand and whose runs of Table 4 are finished or shipped; nothing is trained.

    The teacher is trained for its row, in seconds.

    Raises:
        InputError: the data are not at hand, or a training run that tunes the losses is missing.
    """
    return replace(counted(profile), rankings=_rankings(profile))


def _rankings(profile: Profile) -> list[baselines.Baseline]:
    one = replace(profile, encoders=profile.encoders[:1])
    shown = every_round(one, of_profile(profile).there, ["baselines", "teachers"])
    tuning = Tuning(one, {**shown["baselines"], **shown["teachers"]})
    names = list(profile.experiment.evaluation_names())
    return baselines.the_teacher(tuning, names) + baselines.bm25(names)


def write(record: CollectionRecord, folder: Path) -> Path:
    """Write a record beside shipped results, in place of one that was there."""
    rankings = [
        {
            **{name: getattr(row, name) for name in ("group", "loss", "sampling", "in_batch", "origin")},
            "evaluations": {name: _plain(one) for name, (one,) in row.evaluations.items()},
        }
        for row in record.rankings
    ]
    values = {name: getattr(record, name) for name in PARTS - {"rankings"}} | {"rankings": rankings}
    with storage.atomic_file(folder / FILE) as draft:
        draft.write_text(json.dumps(values, sort_keys=True, separators=(",", ":")) + "\n", encoding="utf8")
    return folder / FILE


def _plain(evaluation: Evaluation) -> dict[str, Any]:
    table = evaluation.per_query
    values = {name: [round(value, DIGITS) for value in table[name].tolist()] for name in table}
    return {"queries": table.index.tolist(), "values": values}


def shipped(profile: Profile | None = None) -> CollectionRecord | None:
    """The record that came with the repository.

    Args:
        profile: the scale; default: ``small``, MS MARCO in miniature.

    Returns:
        None where there is none.

    Raises:
        InputError: the file is no such record.
    """
    folder = find((profile or miniature.scale()).experiment.collection)
    return read(folder.path / FILE) if folder is not None and (folder.path / FILE).is_file() else None


def sources(here: CollectionRecord, profile: Profile) -> dict[str, CollectionRecord]:
    """Records by source, as `armbook.miniature.sources` has results: what came with the repository, then this copy's."""
    own = {HERE: here}
    if miniature.is_of(profile):
        return own
    there = shipped()
    return {NAME: there, **own} if there else own


def read(file: Path) -> CollectionRecord:
    """The record in a file.

    Raises:
        InputError: it cannot be read, or is none.
    """
    with storage.disk_errors(file, "read"):
        text = file.read_text(encoding="utf8")
    try:
        values = json.loads(text)
        if set(values) != PARTS:
            raise ValueError(f"its parts are {', '.join(sorted(values))}; expected {', '.join(sorted(PARTS))}")
        rankings = [_ranking(each) for each in values.pop("rankings")]
        return CollectionRecord(**values, rankings=rankings)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{file} is no record of a collection: {error}") from error


def _ranking(values: Mapping[str, Any]) -> baselines.Baseline:
    words = {name: value for name, value in values.items() if name != "evaluations"}
    return baselines.Baseline(
        **words, evaluations={name: [_evaluation(each)] for name, each in values["evaluations"].items()}, triples=None
    )


def _evaluation(values: Mapping[str, Any]) -> Evaluation:
    queries: Sequence[str] = values["queries"]
    return Evaluation.from_per_query(pd.DataFrame(values["values"], index=pd.Index(queries, name="query")))
