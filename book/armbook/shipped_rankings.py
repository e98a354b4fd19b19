"""Rankings that travel: the TREC runs behind one encoder's rows of Table 3, cut for size, each with what made it beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from armbook import chapters
from armbook.side_by_side import paper_collections
from armlib import load_collection, storage
from armlib.errors import InputError
from armlib.evaluation.evaluate import FULL_RANKING, Evaluator
from armlib.experiments.experiment import Experiment
from armlib.experiments.profile import Profile
from armlib.experiments.result import Result
from armlib.experiments.run_metadata import ENDING, run_metadata
from armlib.experiments.shipped import Shipped
from armlib.experiments.store import RunStore
from armlib.retrieval.run_files import write_run

RANKINGS = "rankings"  # the folder, below that of the results
DEPTH = 100  # passages of a query
DIGITS = 9  # of a score, as many as tell any two float32 numbers apart


def compared(profile: Profile, shipped: Shipped, store: RunStore) -> list[Result]:
    """The five variants of the profile's first encoder, with its first seed.

    Args:
        profile: the scale.
        shipped: has the sweep over static targets.
        store: has the five with their rankings.

    Raises:
        InputError: something of that is missing.
    """
    one = replace(profile, encoders=profile.encoders[:1], seeds=profile.seeds[:1])
    swept = {each: shipped.find(each) for each in chapters.static_sweep(one)}
    _all_there(swept)
    tuned = chapters.tuned_static(one, [result for result in swept.values() if result])
    wanted = [*tuned, *chapters.adaptive(one), *chapters.distributed(one)]
    return _all_there({each: store.known(each, each.key()) for each in wanted})


def _all_there(results: Mapping[Experiment, Result | None]) -> list[Result]:
    if lacking := [str(each) for each, result in results.items() if result is None]:
        raise InputError(f"rankings need {len(lacking)} training runs that are not finished, such as {lacking[0]}")
    return [result for result in results.values() if result]


def write_rankings(results: Sequence[Result], profile: str, folder: Path) -> list[Path]:
    """Write full rankings on TREC-DL, the best `DEPTH` passages of each query, and the YAML of ir_metadata for each.

    Args:
        results: with rankings and weights.
        profile: its name, with which ``armlib train`` trains them again.
        folder: where to; files are named by encoder, variant and collection.

    Returns:
        The runs.

    Raises:
        InputError: a result has no full ranking, or a file cannot be written.
    """
    made = []
    for result in results:
        asked, encoder = result.experiment, result.encoder()
        collections = [load_collection(name) for name in paper_collections(result.measures.collection)]
        lengths = {"query_length": asked.query_length, "passage_length": asked.passage_length}
        evaluator = Evaluator(encoder, collections, **lengths, index=asked.index)
        for collection in collections:
            run = result.run(collection.name, FULL_RANKING)
            cut = {query: {each: _rounded(score) for each, score in islice(found.items(), DEPTH)} for query, found in run.items()}
            parts = (asked.encoder.rpartition("/")[2], asked.variant(), collection.name.rpartition("/")[2])
            name = "-".join(re.findall(r"[\w.]+(?:-[\w.]+)*", " ".join(parts)))
            made.append(folder / f"{name}.run.gz")
            write_run(made[-1], cut, tag=result.key)
            command = ["armlib", "train", "--profile", profile, "--encoder", asked.encoder, "--target", asked.target]
            command += [*(["--in-batch"] if asked.in_batch else []), "--seed", str(asked.seed)]
            with storage.atomic_file(folder / f"{name}{ENDING}") as draft:
                told = run_metadata(evaluator, encoder, collection, FULL_RANKING, tag=result.key, command=command)
                draft.write_text(told, encoding="utf8")
    return made


def _rounded(score: float) -> float:
    return float(f"{score:.{DIGITS}g}")
