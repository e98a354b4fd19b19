"""What a figure reports on: which of several evaluation collections, and hits or, where these tell nothing apart, recall."""

from __future__ import annotations

import re
from collections.abc import Sequence

from armlib.errors import InputError, unknown
from armlib.measuring import FULL_RANKING, RERANKING
from armlib.store import Result

SATURATED = 0.98  # of what the first stage allows: where no result has less, hits tell nothing apart
HITS = r"Success(\(rel=\d+\))?@100"
RECALL = r"R(\(rel=\d+\))?@1000"
PREFERRED = "2019"  # Figures 3 to 5 of the paper are on TREC-DL 2019


def reported_collection(results: Sequence[Result], name: str = "") -> str:
    """The evaluation collection that a figure shows.

    Args:
        results: finished experiments.
        name: of a collection that they were measured on; empty takes TREC-DL 2019 where it is there, as the paper does, else the
            first.

    Raises:
        InputError: no collection is common to all results, or the one that is named is not.
    """
    sets = [list(dict.fromkeys(result.measures.collection)) for result in results]
    common = [each for each in sets[0] if all(each in others for others in sets)] if sets else []
    if not common:
        raise InputError("a figure needs results that were measured on a common collection, and there are none")
    if name and name not in common:
        raise unknown("evaluation collection of these results", name, common)
    return name or next((each for each in common if PREFERRED in each), common[0])


def measure_name(results: Sequence[Result], collection: str, mode: str, pattern: str) -> str:
    """The whole name of a measure, which carries the lowest relevant grade, such as ``R(rel=2)@1000``.

    Raises:
        InputError: the first of the results has no such measure; lists those it has.
    """
    rows = results[0].measures
    there = list(rows[(rows.collection == collection) & (rows["mode"] == mode)].measure)
    found = [name for name in there if re.fullmatch(pattern, name)]
    if not found:
        raise unknown(f"measure of {mode} on {collection}", pattern.replace("\\", ""), there)
    return found[0]


def hits_measure(results: Sequence[Result], collection: str) -> tuple[str, str]:
    """Hits@100 of re-ranking, the paper's stand-in for recall (section 4), or Recall@1000 of full ranking in its place.

    Re-ranking cannot find what the first stage lacks. Where every result has at least `SATURATED` of the hits that the first
    stage allows, as when it has a hundred passages a query, the measure says nothing about the encoders. It stays where a result
    has no full ranking.

    Returns:
        The mode and the measure's name, to be passed to `armlib.store.Result.value`.
    """
    hits = measure_name(results, collection, RERANKING, HITS)
    # Re-ranking keeps up to 1000 passages, so a query has Recall@1000 above 0 where the first stage has anything relevant.
    found = results[0].per_query(collection, RERANKING).scores(measure_name(results, collection, RERANKING, RECALL))
    ceiling = float((found > 0).mean())
    saturated = min(result.value(collection, RERANKING, hits) for result in results) >= SATURATED * ceiling
    if saturated and all(FULL_RANKING in set(result.measures["mode"]) for result in results):
        return FULL_RANKING, measure_name(results, collection, FULL_RANKING, RECALL)
    return RERANKING, hits


def spoken(measure: str) -> str:
    """A measure in the paper's words: ``Success(rel=2)@100`` is Hits@100, ``R@1000`` is Recall@1000."""
    for written, said in (("Success", "Hits"), ("R", "Recall")):
        measure = re.sub(rf"^{written}(\(rel=\d+\))?@", f"{said}@", measure)
    return measure
