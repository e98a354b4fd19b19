"""Runs: what a retriever returned for each query, in memory and as TREC run files.

A run maps query ids to document ids to scores. Its order is that of trec_eval: higher scores first, and documents with
equal scores in descending order of their ids (``comp_sim_docno`` in trec_eval), whatever a rank column says.
"""

from __future__ import annotations

import gzip
import io
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from armlib.data.characters import check_id, check_ids
from armlib.data.text_files import finite_number, numbered_lines, whole_number
from armlib.data.types import Run
from armlib.errors import InputError
from armlib.storage import atomic_file

COLUMNS = "query id, Q0, document id, rank, score, tag"


def ranked(scores: Mapping[str, float], k: int | None = None) -> dict[str, float]:
    """The ``k`` best documents of one query (all of them by default), best first; equal scores by descending id."""
    # Pairs are compared by score, then by id; what is in order already, as most is, is sorted in one pass.
    return {document: score for score, document in sorted(zip(scores.values(), scores, strict=True), reverse=True)[:k]}


def read_run(path: str | Path) -> Run:
    """Read a TREC run file: six columns separated by white space (query id, Q0, document id, rank, score, tag).

    The order within a query follows the scores; the rank column is read past, because files exist in which it is an
    earlier ranker's. Queries keep the order of the file. Blank lines are passed over.

    Args:
        path: the file, plain or compressed by gzip (told by its contents).

    Raises:
        InputError: the file cannot be read, is damaged or is not UTF-8 text, a line is malformed (named by number), a
            document stands twice under one query, or there is no result in it.

    Warns:
        UserWarning: lines have different tags, so that they may be several runs; they are read as one, as in trec_eval.
    """
    path = Path(path)
    run: Run = {}
    tags: dict[str, None] = {}
    repeated: list[tuple[int, str, str]] = []
    for number, line in numbered_lines(path):
        columns = line.split()
        if not columns:
            continue
        if len(columns) != 6:
            found = f"{len(columns)}: {line.strip()[:100]!r}"
            raise InputError(f"{path}:{number}: expected 6 columns ({COLUMNS}), found {found}")
        query, _, document, rank, written, tag = columns
        score = finite_number(written)
        if score is None:
            raise InputError(f"{path}:{number}: expected a finite number as score in column 5, found {written!r}")
        # Lines are many: a quick look at rank and ids is enough for nearly all of them.
        if not (rank.isdigit() and rank.isascii()) and whole_number(rank) is None:
            raise InputError(f"{path}:{number}: expected a whole number as rank in column 4, found {rank!r}")
        if not (query.isprintable() and document.isprintable()):
            check_id(query, "query id", f"{path}:{number}")
            check_id(document, "document id", f"{path}:{number}")
        tags[tag] = None
        results = run.setdefault(query, {})
        if document in results:
            repeated.append((number, query, document))
        results[document] = score
    if repeated:
        number, query, document = repeated[0]
        raise InputError(
            f"{path}: {len(repeated)} results repeat a document that the query has already, the first in line {number} "
            f"(query {query!r}, document {document!r}); expected each document at most once per query"
        )
    if not run:
        raise InputError(f"{path} holds no results; expected lines of 6 columns ({COLUMNS})")
    if len(tags) > 1:
        names = ", ".join(map(repr, list(tags)[:3])) + (", ..." if len(tags) > 3 else "")
        warnings.warn(f"{path} has lines of {len(tags)} tags ({names}), which are read as one run", stacklevel=2)
    return {query: ranked(results) for query, results in run.items()}


def write_run(path: str | Path, run: Mapping[str, Mapping[str, float]], tag: str = "armlib") -> None:
    """Write a TREC run file; it appears whole or not at all, and the same run always gives the same bytes.

    Scores are written with as many digits as it takes to read the same numbers back. Ranks start at 1. A query without
    results has no line, so it is absent when the file is read back.

    Args:
        path: where to write; compressed by gzip if the name ends in ``.gz``.
        run: query id to document id to score.
        tag: the name of the system, in the last column.

    Raises:
        InputError: an id or the tag is empty or has white space or a control character in it, a score is not finite, there is
            nothing to write, or the disk is full.
    """
    path = Path(path)
    check_id(tag, "tag", f"cannot write {path}")
    if not any(run.values()):
        raise InputError(f"cannot write {path}: the run holds no results")
    with atomic_file(path) as draft, open(draft, "wb") as target:
        # Neither a name nor a time goes into the gzip header, so that equal runs are equal files. Level 1 takes a tenth of the
        # default's time, for files a sixth larger.
        packed = gzip.GzipFile("", "wb", 1, target, mtime=0) if path.suffix == ".gz" else target
        with io.TextIOWrapper(packed, encoding="utf8", newline="\n") as text:
            for query, results in run.items():
                _write_query(text, path, query, results, tag)


def _write_query(text: IO[str], path: Path, query: str, results: Mapping[str, float], tag: str) -> None:
    check_id(query, "query id", f"cannot write {path}")
    check_ids(results, "document id", f"cannot write {path}")
    if not all(map(math.isfinite, results.values())):
        document, score = next((document, score) for document, score in results.items() if not math.isfinite(score))
        where = f"document {document!r} for query {query!r}"
        raise InputError(f"cannot write {path}: the score of {where} is {score}; expected a finite number")
    lines = enumerate(ranked(results).items(), start=1)
    text.write("".join([f"{query} Q0 {document} {rank} {float(score)!r} {tag}\n" for rank, (document, score) in lines]))
