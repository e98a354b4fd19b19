"""MS MARCO in miniature: real passages and training queries and the official TREC-DL judgments, for a laptop.

The recipe, for whoever has MS MARCO's passages through ir_datasets:

- the passages judged in TREC Deep Learning 2019 and 2020, and the relevant passages of the training queries whose ids
  are among the lexicographically first 20,000: 32,895 passages;
- of those queries, the ones whose id has a SHA-1 divisible by ten are ``dev`` (1,183), the others ``train`` (10,809);
- triples: every relevant pair of ``train`` against ten passages drawn from BM25's best 100 of these passages.

Retrieval over 33 thousand passages, all of them judged, is far easier than over 8.8 million: a score on this collection
is not an MS MARCO or TREC-DL result. MS MARCO is for non-commercial research.
"""

from __future__ import annotations

import hashlib
import warnings
from functools import cached_property
from pathlib import Path

from armlib.data.beir import BeirFolder, write_folder
from armlib.data.bm25 import BM25, BM25_RECIPE
from armlib.data.collection import read_scores
from armlib.data.irds import IrDataset
from armlib.data.negatives import mine_negatives
from armlib.data.text_files import write_columns
from armlib.data.types import Qrels, Run
from armlib.errors import InputError
from armlib.progress import progress
from armlib.storage import kept, short_digest

FIRST_QUERIES = 20_000
DEV_SHARE = 10  # one training query in so many
SIZES = {"passages": 32_895, "train": 10_809, "dev": 1_183}
SOURCE = "msmarco-passage"
TREC_DL = {"trec-dl-2019": f"{SOURCE}/trec-dl-2019/judged", "trec-dl-2020": f"{SOURCE}/trec-dl-2020/judged"}
VERSION = "recipe 1"


class MsmarcoMini(BeirFolder):
    """One split of MS MARCO in miniature, built from ``msmarco-passage`` when it is first read, then cached.

    The first stage of the TREC-DL splits is ir_datasets' candidates as far as their passages are here; that of ``dev``
    is BM25's best 100.

    Raises:
        InputError: ``msmarco-passage`` cannot be had.
    """

    corpus_name = "msmarco-mini"
    splits = ("train", "dev", *TREC_DL)
    checked = False
    first_stage_depth = 100

    def __init__(self, split: str) -> None:
        self.split = split
        self.name = f"{self.corpus_name}/{split}"
        if split == "train":
            self.evaluation = tuple(f"{self.corpus_name}/{other}" for other in self.splits[1:])
        self.relevant_from = 2 if split in TREC_DL else 1

    @cached_property
    def folder(self) -> Path:
        return kept(f"{self.corpus_name}-{short_digest(VERSION, BM25_RECIPE)}", "collection msmarco-mini", _build)

    def _trainable(self) -> bool:
        return False  # the triples of train are among the files

    def first_stage(self) -> Run:
        if self.split in TREC_DL:
            return read_scores(self.folder / f"run.{self.split}.tsv", self.queries())
        return super().first_stage()


def _build(folder: Path) -> None:
    try:
        training = IrDataset(f"{SOURCE}/train")
        first = sorted(training.queries())[:FIRST_QUERIES]
        judged = training.qrels()
        positives = {
            query: {passage: grade for passage, grade in judged[query].items() if grade >= 1} for query in first if query in judged
        }
        trec = {split: IrDataset(name) for split, name in TREC_DL.items()}
        wanted = {
            passage
            for qrels in (positives, *(part.qrels() for part in trec.values()))
            for grades in qrels.values()
            for passage in grades
        }
        passages = [
            passage for passage in progress(training.documents(), None, f"reading {SOURCE}", "passages") if passage.id in wanted
        ]
        candidates = {split: part.first_stage() for split, part in trec.items()}
    except InputError as error:
        raise InputError(
            f"msmarco-mini is built from {SOURCE} (a download of 1 GB by ir_datasets, under MS MARCO's terms), "
            f"which is not at hand: {error}"
        ) from error
    if len(passages) < len(wanted):
        missing = sorted(wanted.difference(passage.id for passage in passages))
        raise InputError(
            f"msmarco-mini cannot be built: {SOURCE} lacks {len(missing)} of the {len(wanted)} judged passages "
            f"(first: {missing[0]})"
        )

    dev = {query for query in positives if int(hashlib.sha1(query.encode()).hexdigest(), 16) % DEV_SHARE == 0}
    qrels: dict[str, Qrels] = {
        "train": {query: grades for query, grades in positives.items() if query not in dev},
        "dev": {query: grades for query, grades in positives.items() if query in dev},
        **{split: part.qrels() for split, part in trec.items()},
    }
    _check_sizes({"passages": len(passages), "train": len(qrels["train"]), "dev": len(qrels["dev"])})
    queries = {query: training.queries()[query] for query in positives}
    for part in trec.values():
        queries.update(part.queries())
    triples = mine_negatives(BM25.build(passages), queries, qrels["train"])
    write_folder(folder, passages, queries, qrels)
    write_columns(folder / "triples.train.tsv", triples)
    for split, run in candidates.items():
        rows = ((query, passage, hits[passage]) for query, hits in run.items() for passage in hits if passage in wanted)
        write_columns(folder / f"run.{split}.tsv", rows)


def _check_sizes(sizes: dict[str, int]) -> None:
    if sizes != SIZES:
        warnings.warn(
            f"msmarco-mini as built from this {SOURCE} has {sizes}, not {SIZES}: "
            "scores on it do not compare with those on the usual one",
            stacklevel=5,
        )
