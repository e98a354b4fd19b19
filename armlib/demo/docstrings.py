"""The embedded default: a real-text collection out of the docstrings of installed packages, made without a network.

The summary line of a public object is a query; the rest of its docstring, without Examples, is cut into at most three
passages of about 60 words. Grades: 3, the first passage of the object; 2, its other passages; 1, the first passage of
every object named under See Also. Binary measures count from 2. A training triple is a summary, its grade-3 passage
and one of BM25's best 100 that belongs neither to the object nor to one under See Also.

The held-out queries come from objects with a See Also, by hash of the name. All splits search the same passages, as
in MS MARCO, and See Also ties training objects to held-out ones. Other versions of the packages give other texts, and
another fingerprint: a score on this collection is not a result on a public benchmark.
"""

from __future__ import annotations

import hashlib
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache, cached_property
from pathlib import Path

from armlib.data.beir import BeirFolder, write_folder
from armlib.data.bm25 import BM25, BM25_RECIPE
from armlib.data.negatives import mine_negatives
from armlib.data.text_files import write_columns
from armlib.data.types import Document, Qrels
from armlib.demo.docstring_sources import PACKAGES, DocumentedObject, documented_objects, other_versions, source_files, versions
from armlib.progress import progress
from armlib.storage import kept, short_digest, write_json

VALIDATION_QUERIES = 200
TEST_QUERIES = 300
PASSAGE_WORDS = 60
PASSAGES = 3  # of an object, at most
LEAST_BODY_WORDS = 15
LEAST_SUMMARY_WORDS = 3
REFERENCE = "8fac6c26074d123d"  # `collection_fingerprint` under Python 3.11.7, which the book's prose was written with
VERSION = "docstrings recipe 1"  # raise it when the same sources would give other texts, judgments, splits or triples


class Docstrings(BeirFolder):
    """One split of the collection of docstrings, mined when it is first read, cached for these package versions.

    Raises:
        InputError: one of the mined packages is not installed.
    """

    corpus_name = "docstrings"
    splits = ("train", "validation", "test")
    checked = False
    relevant_from = 2
    first_stage_depth = 100

    def __init__(self, split: str) -> None:
        self.split = split
        self.name = f"{self.corpus_name}/{split}"
        if split == "train":
            self.validation, self.evaluation = f"{self.corpus_name}/validation", (f"{self.corpus_name}/test",)

    @cached_property
    def folder(self) -> Path:
        """Where the files are. The first look in a process warns where the versions are not those of the book."""
        warn_of_other_versions()
        installed = " ".join(f"{name} {version}" for name, version in sorted(versions().items()))
        return kept(f"{self.corpus_name}-{short_digest(VERSION, BM25_RECIPE, installed)}", "collection docstrings", _build)

    def _trainable(self) -> bool:
        return False  # the triples of train are among the files


@cache
def warn_of_other_versions() -> None:
    """Say, once, that the collection is mined from other versions than the book's, if it is."""
    if other := other_versions():
        warnings.warn(other, stacklevel=3)


def collection_fingerprint() -> str:
    """The fingerprint of the whole collection as mined here: texts, judgments of all splits, and training triples."""
    return short_digest(*(Docstrings(split).fingerprint() for split in Docstrings.splits))


def _build(folder: Path) -> None:
    objects, aliases = distinct(mined_objects())
    related = related_objects(objects, aliases)
    passages = {thing.name: passages_of(thing) for thing in objects.values()}
    documents = [passage for group in passages.values() for passage in group]
    qrels: Qrels = {
        name: {passage.id: 3 if number == 0 else 2 for number, passage in enumerate(group)}
        | {passages[other][0].id: 1 for other in related[name]}
        for name, group in passages.items()
    }
    by_split: dict[str, Qrels] = {split: {} for split in Docstrings.splits}
    held_out = split_by_name(name for name, others in related.items() if others)
    for name, grades in qrels.items():
        by_split[held_out.get(name, "train")][name] = grades
    queries = {thing.name: thing.summary for thing in objects.values()}

    def akin(name: str) -> set[str]:
        return {passage.id for other in related[name] for passage in passages[other]}

    triples = mine_negatives(BM25.build(documents), queries, by_split["train"], relevant_from=3, exclude=akin)
    write_folder(folder, documents, queries, by_split)
    write_columns(folder / "triples.train.tsv", triples)
    write_json(folder / "versions.json", versions())  # that it was mined from


def mined_objects() -> Iterator[DocumentedObject]:
    """Every documented public object of the mined packages, package by package."""
    files = source_files()
    for path, module in progress(files, len(files), "reading docstrings", "files"):
        yield from documented_objects(path, module)


def distinct(found: Iterable[DocumentedObject]) -> tuple[dict[str, DocumentedObject], dict[str, str]]:
    """Leave out what says the same twice: inherited docstrings, aliases, and objects whose summary another one has.

    Returns:
        the objects by name, and for the name of each object left out because of an equal text the name of the one kept.
    """
    found = [
        thing
        for thing in found
        if len(thing.body.split()) >= LEAST_BODY_WORDS and len(thing.summary.split()) >= LEAST_SUMMARY_WORDS
    ]
    objects: dict[str, DocumentedObject] = {}
    aliases: dict[str, str] = {}
    by_body: dict[str, str] = {}
    summaries: set[str] = set()
    for thing in found:
        key = thing.summary.casefold()
        if thing.body in by_body:
            aliases.setdefault(thing.name, by_body[thing.body])
        elif thing.name not in objects and key not in summaries:
            objects[thing.name] = thing
            by_body[thing.body] = thing.name
            summaries.add(key)
    return objects, aliases


def passages_of(thing: DocumentedObject) -> list[Document]:
    """The body cut into at most `PASSAGES` passages of `PASSAGE_WORDS` words; what is left after them is dropped."""
    words = thing.body.split()[: PASSAGES * PASSAGE_WORDS]
    starts = range(0, len(words), PASSAGE_WORDS)
    return [
        Document(f"{thing.name}#{number}", " ".join(words[start : start + PASSAGE_WORDS]))
        for number, start in enumerate(starts, start=1)
    ]


class Names:
    """Finds the object that is meant by a name as a docstring writes it.

    Args:
        objects: the names in the collection.
        aliases: other names -> the name in the collection.
    """

    def __init__(self, objects: Iterable[str], aliases: dict[str, str]) -> None:
        self._kept = aliases | {name: name for name in objects}
        self._by_last: dict[str, list[str]] = defaultdict(list)
        for name in self._kept:
            self._by_last[name.rpartition(".")[2]].append(name)

    def find(self, written: str, seen_from: str) -> str | None:
        """The nearest object from ``seen_from`` outwards, else one of that name in the same package, or None.

        ``Class.method`` is not taken for another class's method unless it is the package's only one of that name.
        """
        around = seen_from.split(".")
        for depth in range(len(around) - 1, -1, -1):
            name = ".".join([*around[:depth], written])
            if name in self._kept:
                return self._kept[name]
        owner, _, last = written.rpartition(".")
        head = written.split(".")[0]
        package = head if head in PACKAGES.values() else around[0]
        inside = [name for name in self._by_last[last] if name.startswith(f"{package}.")]
        same_owner = [name for name in inside if name.endswith(f".{written}")]
        if not same_owner and owner.rpartition(".")[2][:1].isupper() and len(inside) > 1:
            return None
        near = sorted(same_owner or inside, key=lambda name: (-_shared(name.split("."), around), name.count("."), name))
        return self._kept[near[0]] if near else None


def _shared(parts: list[str], others: list[str]) -> int:
    """How many leading parts two names share."""
    return next(
        (number for number, (one, other) in enumerate(zip(parts, others, strict=False)) if one != other),
        min(len(parts), len(others)),
    )


def related_objects(objects: dict[str, DocumentedObject], aliases: dict[str, str]) -> dict[str, list[str]]:
    """For each object the others that its See Also names, as far as they are in the collection."""
    names = Names(objects, aliases)
    related = {}
    for name, thing in objects.items():
        found = (names.find(written, name) for written in thing.see_also)
        related[name] = [other for other in dict.fromkeys(found) if other and other != name]
    return related


def split_by_name(names: Iterable[str]) -> dict[str, str]:
    """Which of the names are held out, and for what: the smallest SHA-1 sums are for validation, the next for test."""
    ordered = sorted(names, key=lambda name: hashlib.sha1(name.encode()).digest())[: VALIDATION_QUERIES + TEST_QUERIES]
    return {name: "validation" if number < VALIDATION_QUERIES else "test" for number, name in enumerate(ordered)}
