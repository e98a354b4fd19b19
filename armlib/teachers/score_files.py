"""Files of scores as teachers: the published scores of MS MARCO's triples, scores of pairs, and TREC run files.

A file is joined to the rows of the training lists by its ids. Nothing of it is run: a pickle is refused.
"""

from __future__ import annotations

import gzip
import hashlib
import warnings
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Integer

from armlib import storage
from armlib.data.collection import Collection
from armlib.data.fingerprints import fingerprint_of_files
from armlib.data.text_files import numbered_lines, split_columns
from armlib.data.tokens import TokenStore
from armlib.errors import InputError
from armlib.parsing import written
from armlib.retrieval.run_files import read_run
from armlib.teachers.base import ScoreSource, Workers
from armlib.teachers.pair_scores import ABOUT, LISTS, PAIRS, SCORES, STEP, PairScores, cache_key, look_up, write_unique_pairs

TRIPLES = ("positive score", "negative score", "query id", "positive id", "negative id")
ROWS = ("query id", "passage id", "score")
PUBLISHED = {
    "bert_cat_ensemble_msmarcopassage_train_scores_ids.tsv": "4d99696386f96a7f1631076bcc53ac3c",
    "bertbase_cat_msmarcopassage_train_scores_ids.tsv": "a2575af08a19b47c2041e67c9efcd917",
}
"""MD5 of the files of Hofstätter et al. (2020, doi:10.5281/zenodo.4068216): the mean of three cross-encoders (T2), and one (T1)."""
PICKLES = {".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib", ".npy", ".npz"}
CONFLICT = 0.01  # of the standard deviation of all scores: a pair that was scored in two batches of half precision differs by less
LINES = 200_000  # in memory at a time


class Scored(NamedTuple):
    """A query and a passage by their ids, and a score."""

    query: str
    passage: str
    score: float


class FileOfScores(ScoreSource):
    """Scores in a file.

    Pairs that it lacks, whose score is no finite number, or that have several scores have none; the lists that they are in are
    left out, and a warning counts them.

    Args:
        path: the file.

    Raises:
        InputError: the name is that of a file that is not read.
    """

    kind: str

    def __init__(self, path: str) -> None:
        if not isinstance(path, str) or not path:
            raise InputError(f"a file of scores is named in quotes, not as {path!r}")
        self.path = Path(path).expanduser()
        ending = Path(self.path.name.lower().removesuffix(".gz")).suffix
        expected = f"expected text, as {self.kind}('FILE') reads it: {self.lines()}"
        if ending in PICKLES:
            raise InputError(f"{path} looks like a pickle or another binary file, which could run any code; {expected}")
        if ending == ".parquet":
            raise InputError(f"{path} is a Parquet file, for which armlib has no reader; {expected}")

    def __str__(self) -> str:
        return written(self.kind, str(self.path))

    @staticmethod
    @abstractmethod
    def lines() -> str:
        """What a line of the file holds, as a phrase."""

    @abstractmethod
    def read(self) -> Iterator[Scored]:
        """The scores in the file."""

    def check(self) -> str:
        """Refuse contents that are not what the name says; gives how they were checked, as a phrase."""
        return "contents not checked: no published file has this name"

    def fingerprint(self, collection: Collection) -> str:
        if not self.path.is_file():
            raise InputError(f"there is no file of scores at {self.path}")
        return fingerprint_of_files([self.path], f"scores {self.kind}", lambda: storage.file_digest(self.path)[:16])

    def scored(
        self,
        collection: Collection,
        queries: TokenStore,
        passages: TokenStore,
        lists: Integer[np.ndarray, "T columns"],
        workers: Workers | None = None,
    ) -> PairScores:
        def make(draft: Path) -> None:
            cost = {"seconds": None, "operations": None, "device": None, "file": self.check()}
            write_unique_pairs(lists, len(passages), draft / PAIRS)
            pairs = np.asarray(np.memmap(draft / PAIRS, np.int64, "r"))
            scores, counts = join(self.read(), pairs, queries, passages)
            scores.tofile(draft / SCORES)
            counts |= {"pairs": len(pairs), "lists left out": 0}
            without = int(np.isnan(scores).sum())
            if without == len(pairs):
                raise InputError(f"{self.path} has no score for any of the {len(pairs):,} pairs to learn from ({_said(counts)})")
            if without:
                counts["lists left out"] = _write_complete(lists, len(passages), pairs, scores, draft / LISTS)
                if counts["lists left out"] == len(lists):
                    raise InputError(f"{self.path} has scores for no whole triple, {_said(counts)}")
            storage.write_json(draft / ABOUT, {"passages": len(passages), "without": without, "cost": cost | counts})

        key = cache_key(self, collection, queries, lists)
        found = PairScores(storage.kept(f"teacher-scores/{key}", f"scores of {self.path}", make))
        if found.without:
            left_out = found.cost["lists left out"]
            said = f"{self.path} has not one score for each pair, so {left_out:,} of {len(lists):,} triples are left out"
            warnings.warn(f"{said} ({_said(found.cost)})", stacklevel=2)
        return found


class ScoreFile(FileOfScores):
    """Tab-separated text, plain or ``.gz``, without a header.

    Its lines have five columns, as those that were published for MS MARCO: positive score, negative score, query id, positive
    id, negative id; or three: query id, passage id, score. Files with a published name are checked by their MD5.
    """

    kind = "scores"

    @staticmethod
    def lines() -> str:
        return f"tab-separated {', '.join(TRIPLES)}, or {', '.join(ROWS)}"

    def check(self) -> str:
        name = self.path.name.removesuffix(".gz")
        if name not in PUBLISHED:
            return super().check()
        with (gzip.open if self.path.suffix == ".gz" else open)(self.path, "rb") as source:
            try:
                found = hashlib.file_digest(source, "md5").hexdigest()
            except (EOFError, OSError) as error:
                raise InputError(f"{self.path} is not whole gzip data ({error}): fetch it again") from error
        if found != PUBLISHED[name]:
            raise InputError(
                f"{self.path} has the MD5 {found}, not {PUBLISHED[name]} as the published file of this name; fetch it again, or "
                "give it another name"
            )
        return f"MD5 {found}, as published"

    def read(self) -> Iterator[Scored]:
        names: tuple[str, ...] = TRIPLES
        for count, (number, line) in enumerate(numbered_lines(self.path)):
            where = f"{self.path}:{number}"
            if not count and line.count("\t") == len(ROWS) - 1:
                names = ROWS
            cells = split_columns(line, names, where)
            if names is ROWS:
                yield Scored(cells[0], cells[1], _score(cells[2], where))
            else:
                yield Scored(cells[2], cells[3], _score(cells[0], where))
                yield Scored(cells[2], cells[4], _score(cells[1], where))


class RunFile(FileOfScores):
    """A TREC run file, plain or compressed by gzip, that has all passages of the triples among its results."""

    kind = "run"

    @staticmethod
    def lines() -> str:
        return "query id, Q0, passage id, rank, score and tag, separated by white space"

    def read(self) -> Iterator[Scored]:
        for query, results in read_run(self.path).items():
            for passage, score in results.items():
                yield Scored(query, passage, score)


def join(
    scored: Iterable[Scored], pairs: Integer[np.ndarray, " U"], queries: TokenStore, passages: TokenStore
) -> tuple[Float[np.ndarray, " U"], dict[str, int]]:
    """The scores of pairs of rows, float32, NaN where there is none, in eight bytes of memory a pair.

    Args:
        scored: scores by ids, in any order, of other pairs, too; of equal ones the first counts.
        pairs: ascending, query x number of passages + passage.
        queries, passages: the token stores whose rows they are.

    Returns:
        The scores, and numbers of pairs that are ``missing``, ``not finite`` or ``conflicting``: with scores that differ by more
        than `CONFLICT` standard deviations.
    """
    scores = np.full(len(pairs), np.nan, np.float32)
    apart = np.zeros(len(pairs), np.float32)  # how far any other score of a pair is from its first
    broken = np.zeros(len(pairs), bool)
    stream = iter(scored)
    while part := list(islice(stream, LINES)):
        rows = [store.find(ids) for store, ids in zip((queries, passages), list(zip(*part, strict=True))[:2], strict=True)]
        asked = rows[0] * len(passages) + rows[1]
        place = np.minimum(np.searchsorted(pairs, asked), len(pairs) - 1)
        ours = (rows[0] >= 0) & (rows[1] >= 0) & (pairs[place] == asked)
        with np.errstate(over="ignore"):
            values = np.array([each.score for each in part]).astype(np.float32)[ours]
        place = place[ours]
        broken[place[~np.isfinite(values)]] = True
        place, values = place[np.isfinite(values)], values[np.isfinite(values)]
        first, where = np.unique(place, return_index=True)
        scores[first] = np.where(np.isnan(scores[first]), values[where], scores[first])
        np.maximum.at(apart, place, np.abs(values - scores[place]))
    missing = np.isnan(scores) & ~broken
    known = scores[~(broken | missing)]
    conflicting = ~(broken | missing) & (apart > (CONFLICT * known.std() if len(known) else 0.0))
    scores[broken | conflicting] = np.nan
    counts = {"missing": int(missing.sum()), "not finite": int(broken.sum()), "conflicting": int(conflicting.sum())}
    return scores, counts


def _score(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{where}: expected a number as score, found {text!r}") from None


def _write_complete(
    lists: Integer[np.ndarray, "T columns"],
    passages: int,
    pairs: Integer[np.ndarray, " U"],
    scores: Float[np.ndarray, " U"],
    path: Path,
) -> int:
    """Write the lists that have a score for each passage; gives how many have not."""
    left_out = 0
    with open(path, "wb") as out:
        for start in range(0, len(lists), STEP):
            part = lists[start : start + STEP]
            asked = part[:, :1].astype(np.int64) * passages + part[:, 1:]
            whole = ~np.isnan(look_up(pairs, scores, asked)).any(1)
            np.asarray(part[whole]).tofile(out)
            left_out += int((~whole).sum())
    return left_out


def _said(counts: dict[str, Any]) -> str:
    parts = ", ".join(f"{counts[name]:,} are {name}" for name in ("missing", "not finite", "conflicting"))
    return f"of the {counts['pairs']:,} pairs {parts}"
