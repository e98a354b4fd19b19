"""Any collection that ir_datasets knows (MacAvaney et al. 2021, "Simplified Data Wrangling with ir_datasets")."""

from __future__ import annotations

import itertools
import logging
import re
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from armlib.data.characters import check_id, check_text
from armlib.data.collection import Collection
from armlib.data.corpus import Corpus, shared_corpus
from armlib.data.fingerprints import fingerprint_of, judged_parts
from armlib.data.qrels_file import check_grade
from armlib.data.types import Document, Qrels, Run, Triple
from armlib.errors import InputError, unknown
from armlib.progress import form, watched
from armlib.storage import disk_errors

SAMPLE = 1000  # so many documents and triples stand for all of them in a fingerprint


class Judging(NamedTuple):
    """How to read a data set's grades: the lowest relevant one, and what to subtract them from (None: nothing)."""

    relevant_from: int
    codes_from: int | None = None


JUDGING = {
    # TREC Deep Learning, passages: binary measures count grades 2 and 3 (Craswell et al. 2020, "Overview of the TREC
    # 2019 Deep Learning Track", arXiv:2003.07820); so does section 4 of the paper on adaptive relevance margins.
    r"msmarco-passage(-v2)?/trec-dl-.*": Judging(relevant_from=2),
    # Cleverdon's codes run from 1, a complete answer, to 4, of minimum interest; -1 is of no interest, and ir_datasets
    # passes them unchanged. Grade = 5 - code, and 0 for -1.
    r"cranfield": Judging(relevant_from=1, codes_from=5),
    # Grades 3 and 4 are relevant, 1 and 2 are not (Hashemi et al. 2020, "ANTIQUE", arXiv:1905.08957).
    r"antique(/.*)?": Judging(relevant_from=3),
}
TREC_DL = ("msmarco-passage/trec-dl-2019/judged", "msmarco-passage/trec-dl-2020/judged")


class IrDataset(Collection):
    """A data set under its ir_datasets name, downloaded by ir_datasets into ``$IR_DATASETS_HOME`` when first read.

    Texts are what ir_datasets calls the default text (title and body in BEIR), or all text fields where it names
    none. Triples are the data set's document pairs; without them, and where the name is one to train on or the data
    set has no such part, negatives are mined from BM25. The first stage is the data set's scored documents where it
    has them, in the order of their scores; MS MARCO brings candidates without scores, which keep the order of its
    file. (Those of its training queries are a download of many gigabytes and are never read.)

    `fingerprint` is cheap, also for millions of documents. It covers the name of the documents, the size of their
    file in bytes or else their number, the first 1,000 documents, all queries and judgments, the grade cut, and the
    first 1,000 triples or the recipe for mining them.

    Raises:
        InputError: the data set lacks the part that is asked for, it cannot be downloaded, or an id could not stand in a TREC
            run, a text in a file, or a grade is out of range.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._source = _load(name)
        self.corpus_name = ir_datasets_module().docs_parent_id(name) if self._source.has_docs() else name
        self._judging = next((judging for pattern, judging in JUDGING.items() if re.fullmatch(pattern, name)), Judging(1))
        self.relevant_from = self._judging.relevant_from
        if is_training(name):
            beside = [re.sub(r"/train(/.*)?$", f"/{part}", name) for part in ("dev", "validation", "valid", "test")]
            *development, test = [other if is_known(other) else None for other in beside]
            msmarco = name.startswith("msmarco-passage/")
            self.validation = None if msmarco else next(filter(None, development), None)
            self.evaluation = TREC_DL if msmarco else (test,) if test else ()

    def _part(self, kind: str) -> Any:
        if not self._source.has(kind):
            raise InputError(f"{self.name} has no {PARTS[kind]} in ir_datasets; {_with_part(self.name, kind)}")
        return self._source

    @cached_property
    def corpus(self) -> Corpus:
        home = ir_datasets_module().util.home_path()
        return shared_corpus((self.corpus_name, home), lambda: Corpus(self.corpus_name, self._documents, self._corpus_fingerprint))

    def _documents(self) -> Iterator[Document]:
        source = self._part("docs")
        with reading(self.name, "documents"):
            text = _text_of(source.docs_cls())
            for document in source.docs_iter():
                yield Document(document.doc_id, text(document))

    def _corpus_fingerprint(self, corpus: Corpus) -> str:
        first = list(itertools.islice(corpus.documents(), SAMPLE))
        with reading(self.name, "documents"):
            path = Path(self._source.docs_path()) if hasattr(self._source, "docs_path") else None
            size = path.stat().st_size if path and path.is_file() else self._source.docs_count()
        return fingerprint_of([self.corpus_name, str(size), *(part for document in first for part in document)])

    def queries(self) -> dict[str, str]:
        return self._queries

    @cached_property
    def _queries(self) -> dict[str, str]:
        source = self._part("queries")
        with reading(self.name, "queries"):
            text = _text_of(source.queries_cls())
            queries = {query.query_id: text(query) for query in source.queries_iter()}
        for query, asked in queries.items():
            check_id(query, "query id", self.name)
            check_text(asked, f"text of query {query!r}", self.name)
        return queries

    def qrels(self) -> Qrels:
        return self._qrels

    @cached_property
    def _qrels(self) -> Qrels:
        source = self._part("qrels")
        codes_from = self._judging.codes_from
        qrels: Qrels = {}
        with reading(self.name, "judgments"):
            for judgment in source.qrels_iter():
                grade = judgment.relevance
                if codes_from is not None:
                    grade = codes_from - grade if grade > 0 else 0
                check_grade(grade, self.name)
                qrels.setdefault(judgment.query_id, {})[judgment.doc_id] = grade
        return qrels

    def _own_triples(self) -> Iterator[Triple] | None:
        return self._pairs() if self._source.has_docpairs() else None

    def _pairs(self) -> Iterator[Triple]:
        with reading(self.name, "training triples"):
            for pair in self._source.docpairs_iter():
                yield pair.query_id, pair.doc_id_a, pair.doc_id_b

    def _trainable(self) -> bool:
        if not self._source.has_qrels() or not self._source.has_queries():
            return False
        return is_training(self.name) or not any(is_training(other) for other in _siblings(self.corpus_name))

    def judged_queries(self) -> dict[str, str]:
        return super().judged_queries() if self._source.has_qrels() else self.queries()

    def first_stage(self) -> Run:
        if not self._source.has_scoreddocs() or (self.corpus_name.startswith("msmarco") and is_training(self.name)):
            return super().first_stage()
        run: Run = {}
        with reading(self.name, "first-stage run"):
            asked = self.judged_queries()
            for query, document, score in self._source.scoreddocs_iter():
                if query in asked:
                    run.setdefault(query, {})[document] = score
        for query, scores in run.items():
            if len(scores) > 1 and len(set(scores.values())) == 1:
                run[query] = {document: float(len(scores) - rank) for rank, document in enumerate(scores)}
        return {query: dict(sorted(scores.items(), key=lambda item: -item[1])) for query, scores in run.items()}

    def _computed_fingerprint(self) -> str:
        queries = self.queries() if self._source.has_queries() else {}
        qrels = self.qrels() if self._source.has_qrels() else {}
        own = self._own_triples()
        triples = itertools.chain.from_iterable(itertools.islice(own, SAMPLE)) if own else self._triple_parts()
        head = (self.name, self.corpus.fingerprint(), str(self.relevant_from))
        return fingerprint_of(itertools.chain(head, judged_parts(queries, qrels), triples))


PARTS = {
    "docs": "documents",
    "queries": "queries",
    "qrels": "judgments",
    "docpairs": "training triples",
    "scoreddocs": "first-stage run",
}


@cache
def ir_datasets_module() -> Any:
    """The ir_datasets module, imported late because that takes time; its bars show only where somebody watches."""
    import ir_datasets

    log = ir_datasets.log.easy().logger()
    log.addFilter(lambda record: form() != "nothing" or record.levelno >= logging.ERROR)

    class Bar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **(options if watched() else {**options, "disable": True}))

    class Bars:
        tqdm = Bar

    ir_datasets.lazy_libs.tqdm = lambda: Bars
    return ir_datasets


def names() -> list[str]:
    """All names that ir_datasets registers."""
    return sorted(ir_datasets_module().registry)


def is_known(name: str) -> bool:
    """Whether ir_datasets has a data set of this name."""
    try:
        ir_datasets_module().load(name)
    except KeyError:
        return False
    return True


def is_training(name: str) -> bool:
    """Whether a name is one to train on: a part of it is ``train``."""
    return "train" in name.split("/")


def _load(name: str) -> Any:
    if not is_known(name):
        raise unknown("ir_datasets name", name, names())
    return ir_datasets_module().load(name)


def _siblings(corpus: str) -> list[str]:
    return [name for name in names() if name == corpus or name.startswith(f"{corpus}/")]


def _with_part(name: str, kind: str) -> str:
    below = [other for other in _siblings(name) if other != name and ir_datasets_module().load(other).has(kind)]
    return f"these have: {', '.join(below[:10])}" if below else "nor has any part of it"


def _text_of(kind: Any) -> Callable[[Any], str]:
    """How to make one text of a document or query: its default text, else all its text fields."""
    if hasattr(kind, "default_text"):
        return lambda item: item.default_text().strip()
    fields = [
        field for field in kind._fields if field not in {"doc_id", "query_id"} and kind.__annotations__.get(field) in (str, "str")
    ]
    return lambda item: " ".join(filter(None, (getattr(item, field) for field in fields))).strip()


@contextmanager
def reading(name: str, what: str) -> Iterator[None]:
    """Turn what can go wrong while ir_datasets fetches and reads a data set into one sentence.

    Raises:
        InputError: no network, an interrupted or changed download, a full disk, a damaged file.
    """
    home = ir_datasets_module().util.home_path()
    try:
        with disk_errors(home):
            yield
    except InputError:
        raise
    except Exception as error:  # of a network, a disk, or any of the many formats that ir_datasets reads
        raise InputError(
            f"cannot get the {what} of {name} through ir_datasets: {_reason(error)}; once that is mended, run it again "
            f"to go on (whole files are kept), or set IR_DATASETS_HOME to a folder that holds them (now {home})"
        ) from error


def _reason(error: BaseException) -> str:
    host = urllib.parse.urlsplit(getattr(getattr(error, "request", None), "url", None) or "").hostname
    if host and getattr(error, "response", None) is None:
        return f"no connection to {host}"
    said = " ".join(str(error).split())[:200]
    # What these say is a bare key or is about code.
    return f"{type(error).__name__} {said}" if not said or isinstance(error, LookupError | TypeError | AttributeError) else said
