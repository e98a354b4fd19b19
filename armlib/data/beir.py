"""A local folder in BEIR layout (Thakur et al. 2021, arXiv:2104.08663), plain or gzip-compressed.

```
corpus.jsonl        {"_id": ..., "title": ..., "text": ...}      one document a line; the title may be missing
queries.jsonl       {"_id": ..., "text": ...}
qrels/SPLIT.tsv     query-id, corpus-id, score (the header line), then one judgment a line; or TREC's four columns
triples.SPLIT.tsv   query id, positive id, negative id; without it, negatives are mined from BM25
collection.toml     relevant_from = 2, the lowest grade that counts as relevant (1); license = "CC-BY-4.0"; may be missing
```
"""

from __future__ import annotations

import json
import tomllib
import warnings
from collections.abc import Container, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from armlib.data.bm25 import BM25_RECIPE
from armlib.data.characters import check_id, check_text
from armlib.data.collection import Collection
from armlib.data.corpus import Corpus, shared_corpus
from armlib.data.fingerprints import fingerprint_of_files
from armlib.data.qrels_file import HEADER, read_qrels_file
from armlib.data.text_files import columns, numbered_lines, write_columns
from armlib.data.types import Document, Qrels, Triple
from armlib.errors import InputError, unknown


class BeirFolder(Collection):
    """One split of a folder in BEIR layout. Its queries are those that the split judges.

    Args:
        folder: the folder that holds ``corpus.jsonl``.
        split: a file of ``qrels/``; None: ``train``, else the only split.

    Raises:
        InputError: a file is missing, the split does not exist, or there are several and none is ``train``. Reading
            raises it too, with file and line, for a malformed line, an id that comes twice, one that does not exist.
    """

    corpus_name: str
    # Folders that armlib wrote itself are sealed; there is nothing to look for in them.
    checked = True

    def __init__(self, folder: Path, split: str | None = None) -> None:
        self._folder = folder
        required(folder, "corpus.jsonl")
        files = [path.name.removesuffix(".gz") for path in folder.glob("qrels/*")]
        splits = sorted({name.removesuffix(".tsv") for name in files if name.endswith(".tsv")})
        if not splits:
            raise InputError(f"{folder / 'qrels'} has no judgments: expected at least one file SPLIT.tsv, such as train.tsv")
        if split is None:
            if "train" not in splits and len(splits) > 1:
                raise InputError(f"{folder} has several splits and none is train: name one as {folder}/SPLIT ({', '.join(splits)})")
            split = "train" if "train" in splits else splits[0]
        if split not in splits:
            raise unknown(f"split of {folder}", split, splits)
        self.split = split
        self.name = f"{folder}/{split}"
        self.corpus_name = str(folder)
        self.relevant_from, self.license = _settings(folder / "collection.toml")
        if split == "train":
            self.validation = next((f"{folder}/{other}" for other in ("dev", "validation") if other in splits), None)
            self.evaluation = tuple(f"{folder}/test" for other in splits if other == "test")

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self._folder

    @cached_property
    def corpus(self) -> Corpus:
        path = required(self.folder, "corpus.jsonl").absolute()
        status = path.stat()
        return shared_corpus(
            (path.resolve(), status.st_size, status.st_mtime_ns),
            lambda: Corpus(
                self.corpus_name,
                partial(read_documents, path, self.checked),
                lambda corpus: fingerprint_of_files([path], "documents", corpus.hashed),
            ),
        )

    @cached_property
    def _fingerprint(self) -> str:
        names = ("corpus.jsonl", "queries.jsonl", f"qrels/{self.split}.tsv", f"triples.{self.split}.tsv")
        files = [file for file in (found(self.folder, name) for name in names) if file]
        what = f"collection {self.split} {self.relevant_from} {self._trainable()} {BM25_RECIPE}"
        return fingerprint_of_files(files, what, self._computed_fingerprint)

    def queries(self) -> dict[str, str]:
        return {query: text for query, text in self._all_queries.items() if query in self._qrels}

    @cached_property
    def _all_queries(self) -> dict[str, str]:
        path = required(self.folder, "queries.jsonl")
        queries: dict[str, str] = {}
        for where, row in json_lines(path, "query id"):
            if row["_id"] in queries:
                raise InputError(f"{where}: query {row['_id']!r} comes a second time: expected every _id once")
            queries[row["_id"]] = row["text"]
        return queries

    def qrels(self) -> Qrels:
        return self._qrels

    @cached_property
    def _qrels(self) -> Qrels:
        qrels = read_qrels_file(required(self.folder, f"qrels/{self.split}.tsv"))
        if self.checked:
            pairs = [(query, document) for query, grades in qrels.items() for document in grades]
            self._warn_of_absent("queries", "queries.jsonl", [query for query, _ in pairs], self._all_queries, "are left out")
            self._warn_of_absent(
                "documents", "corpus.jsonl", [document for _, document in pairs], self.corpus.ids, "count as not found"
            )
            qrels = {query: grades for query, grades in qrels.items() if query in self._all_queries}
        return qrels

    def _warn_of_absent(self, kind: str, file: str, judged: list[str], there: Container[str], outcome: str) -> None:
        absent = [name for name in judged if name not in there]
        if not absent:
            return
        of_all = f"{len(absent)} of {len(judged)} judgments" if len(absent) < len(judged) else f"all {len(judged)} judgments"
        said = f"{of_all} of {self.name} name {kind} that are not in {self.folder / file}, such as {absent[0]!r}"
        if len(absent) == len(judged):
            raise InputError(f"{said}: expected judgments of what is there")
        warnings.warn(f"{said}; they {outcome}", stacklevel=2)

    def _own_triples(self) -> Iterator[Triple] | None:
        path = found(self.folder, f"triples.{self.split}.tsv")
        return self._read_triples(path) if path else None

    def _trainable(self) -> bool:
        # Beside a train split, the others are for measuring; a folder without one is there to be used as one likes.
        return self.split == "train" or not found(self.folder, "qrels/train.tsv")

    def _read_triples(self, path: Path) -> Iterator[Triple]:
        for number, (query, *documents) in columns(path, ("query id", "positive id", "negative id")):
            if self.checked and query not in self._all_queries:
                raise InputError(f"{path}:{number}: query {query!r} does not exist in {self.folder / 'queries.jsonl'}")
            for document in documents if self.checked else ():
                if document not in self.corpus.ids:
                    raise InputError(f"{path}:{number}: document {document!r} does not exist in {self.folder / 'corpus.jsonl'}")
            yield query, documents[0], documents[1]


def _settings(path: Path) -> tuple[int, str]:
    """``relevant_from`` and ``license`` of a ``collection.toml``, where there is one."""
    if not path.is_file():
        return 1, ""
    try:
        found = tomllib.loads(path.read_text(encoding="utf8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected TOML, but: {error}") from error
    for name in found:
        if name not in ("relevant_from", "license"):
            raise unknown(f"setting in {path}", name, ["relevant_from", "license"])
    relevant_from, license = found.get("relevant_from", 1), found.get("license", "")
    if type(relevant_from) is not int or relevant_from < 1:
        raise InputError(f"{path}: expected relevant_from as a grade of at least 1, not {relevant_from!r}")
    if not isinstance(license, str):
        raise InputError(f"{path}: expected license as text, not {license!r}")
    return relevant_from, license


def read_documents(path: Path, checked: bool) -> Iterator[Document]:
    """The documents of a ``corpus.jsonl``, title and text joined; where ``checked``, an id that comes twice is refused."""
    seen: set[str] = set()
    for where, row in json_lines(path, "document id"):
        if checked and row["_id"] in seen:
            raise InputError(f"{where}: document {row['_id']!r} comes a second time: expected every _id once")
        seen.add(row["_id"])
        title = "" if row.get("title") is None else row["title"]
        if not isinstance(title, str):
            raise InputError(f"{where}: expected a text as title, got {type(title).__name__}")
        check_text(title, "title", where)
        yield Document(row["_id"], f"{title} {row['text']}".strip())


def found(folder: Path, name: str) -> Path | None:
    """The file ``name`` of a folder, or ``name.gz``; None where there is neither."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def required(folder: Path, name: str) -> Path:
    """The file ``name`` of a folder, or ``name.gz``.

    Raises:
        InputError: there is neither.
    """
    path = found(folder, name)
    if path is None:
        raise InputError(
            f"{folder / name} does not exist (nor {name}.gz): expected a folder in BEIR layout "
            "with corpus.jsonl, queries.jsonl and qrels/"
        )
    return path


def json_lines(path: Path, id_of: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a JSON-lines file, each with the file and line where it stands; ``_id`` and ``text`` are texts.

    Args:
        path: the file.
        id_of: what ``_id`` is, such as ``"document id"``; a whole number is taken as its digits.

    Raises:
        InputError: a line is not such an object, its id could not stand in a TREC run, or its text in a file.
    """
    expected = 'expected an object such as {"_id": ..., "text": ...}'
    name = str(path)
    for number, line in numbered_lines(path):
        where = f"{name}:{number}"
        try:
            row = _JSON.decode(line)
        except (ValueError, RecursionError) as error:  # also a number of thousands of digits, and a thousand nested brackets
            raise InputError(f"{where}: {expected}, but it is not JSON ({error})") from error
        if not isinstance(row, dict):
            raise InputError(f"{where}: {expected}, got {type(row).__name__}")
        if type(row.get("_id")) is int:
            row["_id"] = str(row["_id"])
        for field in ("_id", "text"):
            if not isinstance(row.get(field), str):
                raise InputError(f"{where}: {expected}, but {field} is {'missing' if field not in row else 'not a text'}")
        check_id(row["_id"], id_of, where)
        check_text(row["text"], "text", where)
        yield where, row


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError(f"a key comes twice among {', '.join(key for key, _ in pairs)}")
    return row


_JSON = json.JSONDecoder(object_pairs_hook=_no_key_twice)


def write_folder(folder: Path, documents: list[Document], queries: dict[str, str], qrels: dict[str, Qrels]) -> None:
    """Write documents, queries and the judgments of each split in BEIR layout, to a folder that is made if there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "corpus.jsonl", "w", encoding="utf8") as target:
        for document in documents:
            target.write(json.dumps({"_id": document.id, "text": document.text}, ensure_ascii=False) + "\n")
    with open(folder / "queries.jsonl", "w", encoding="utf8") as target:
        for query, text in queries.items():
            target.write(json.dumps({"_id": query, "text": text}, ensure_ascii=False) + "\n")
    (folder / "qrels").mkdir()
    for split, judged in qrels.items():
        rows = ((query, document, grade) for query, grades in judged.items() for document, grade in grades.items())
        write_columns(folder / "qrels" / f"{split}.tsv", [HEADER, *rows])
