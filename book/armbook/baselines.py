"""The rows of Table 4: retrievers measured here, by training, by BM25, or from the run files that others left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from armbook import chapters
from armbook.claims.evidence import Retriever
from armbook.comparison import evaluation_collections
from armbook.results import SEEDS
from armbook.tables import DASH, yes_or_no
from armbook.teacher_costs import Cost, cost, line_of
from armbook.tuned_losses import BEYOND, NONE, SELF, TEACHER, Tuning
from armlib.data.collection import Collection
from armlib.data.types import Run
from armlib.errors import InputError
from armlib.evaluation.evaluate import DEPTH, FULL_RANKING
from armlib.evaluation.measures import Evaluation, default_measures, evaluate, mean_evaluation
from armlib.experiments.result import Result
from armlib.experiments.training_data import TrainingData
from armlib.names import load_collection
from armlib.retrieval.rankings import without_own
from armlib.retrieval.run_files import read_run
from armlib.teachers.base import Teacher

MEASURED, FROM_RUN, RERANKED = "measured here", "measured from a run file", "measured here, re-ranking the first stage"
ONE, BEFORE = "static(1.0)", "before fine-tuning"
THE_TEACHER = "the teacher"
FIRST_STAGE = "first stage of the collection"
GROUPS = (SELF, TEACHER, NONE, BEYOND)
_ENDINGS = (".gz", ".txt", ".run", ".trec")


@dataclass(frozen=True)
class Baseline:
    """A row of Table 4.

    Attributes:
        group: ``self-distillation``, ``teacher distillation``, ``no distillation`` or ``beyond the paper``.
        loss: what was trained with which loss, or how else passages were ranked.
        sampling: how triples came into batches, or a dash.
        in_batch: ``yes`` where information of the whole batch was used, ``no``, or a dash where there are none or nobody says.
        origin: where the scores come from.
        evaluations: by collection, one a seed.
        triples: seen in training, or lists; missing where nothing was trained.
        results: of the training runs, one a seed; none of what was not trained here.
        cost: of what was trained here.
    """

    group: str
    loss: str
    sampling: str
    in_batch: str
    origin: str
    evaluations: dict[str, list[Evaluation]]
    triples: int | None
    results: tuple[Result, ...] = ()
    cost: Cost | None = None

    @property
    def retrieves(self) -> bool:
        """Whether it searches a collection by itself, as a teacher does not."""
        return self.origin != RERANKED

    def mean(self, collection: str) -> Evaluation:
        """Per-query means over seeds."""
        return mean_evaluation(self.evaluations[collection])


def trained(tuning: Tuning) -> list[Baseline]:
    """Rows of the profile's first encoder in full ranking: every system of `armbook.tuned_losses.systems`, and before fine-tuning.

    Args:
        tuning: with the results of all rounds of the chapters `armbook.chapters.teachers` and `armbook.chapters.baselines`.

    Raises:
        InputError: a training run is not among the results.
    """
    rows = []
    for name, system in tuning.systems.items():
        results = tuple(tuning.results(name))
        lines = [line_of(name, tuning, number) for number in range(len(results))]
        seen = round(np.mean([sum(each.about["triples"] for each in line) for line in lines]))
        in_batch, spent = yes_or_no(system.in_batch), cost(name, tuning)
        rows.append(Baseline(system.group, name, system.sampling, in_batch, MEASURED, _measured(results), seen, results, spent))
    before = next(one for one in chapters.baselines(tuning.profile) if not one.steps)
    if before not in tuning.found:
        raise InputError(f"the baselines of {before.encoder} lack the results of {BEFORE}")
    results = (tuning.found[before],)
    return [*rows, Baseline(NONE, BEFORE, DASH, DASH, MEASURED, _measured(results), 0, results)]


def _measured(results: Sequence[Result]) -> dict[str, list[Evaluation]]:
    return {name: [each.per_query(name, FULL_RANKING) for each in results] for name in evaluation_collections(results)}


def the_teacher(tuning: Tuning, collections: Sequence[str]) -> list[Baseline]:
    """A row of the teacher itself, which re-ranks the first stage of each collection; none for one that is a file of scores.

    A teacher reads a query and a passage together, so it ranks what a first stage found, and can have no more recall than that.
    """
    source = TrainingData(tuning.trained_as("MarginMSE")[0]).source
    if not isinstance(source, Teacher):
        return []
    trained_on = load_collection(tuning.profile.experiment.collection)
    source.prepare(trained_on)
    measured = {}
    for name in collections:
        collection = load_collection(name)
        measured[collection.name] = [measure_run(_reranked(source, trained_on, collection), collection)]
    return [Baseline(TEACHER, f"{THE_TEACHER}, {tuning.profile.teacher}", DASH, DASH, RERANKED, measured, None)]


def _reranked(teacher: Teacher, trained_on: Collection, collection: Collection) -> Run:
    """The first stage of a collection in the teacher's order."""
    first, queries = collection.first_stage(), collection.judged_queries()
    texts = collection.corpus.texts(dict.fromkeys(passage for ranking in first.values() for passage in ranking))
    pairs = [(query, passage) for query, ranking in first.items() for passage in ranking]
    asked, read = [queries[query] for query, _ in pairs], [texts[passage] for _, passage in pairs]
    run: Run = {query: {} for query in first}
    for (query, passage), score in zip(pairs, teacher.scores(trained_on, asked, read).tolist(), strict=True):
        run[query][passage] = score
    return run


def bm25(collections: Sequence[str]) -> list[Baseline]:
    """BM25 over all documents of each collection, and the first stages that come with them; one row where these are the same.

    The first stage is what re-ranking starts from, so its recall is the most that re-ranking can have.
    """
    loaded = [load_collection(name) for name in collections]
    full = {each.name: each.bm25_run(DEPTH) for each in loaded}
    first = {each.name: each.first_stage() for each in loaded}
    rows = [("BM25", full)] + ([(FIRST_STAGE, first)] if first != full else [])
    return [
        Baseline(NONE, name, DASH, DASH, MEASURED, {each.name: [measure_run(runs[each.name], each)] for each in loaded}, None)
        for name, runs in rows
    ]


def from_run_files(runs: Sequence[str], triples: int, collections: Sequence[str] = ()) -> list[Retriever]:
    """Distilled retrievers, measured from the TREC run files that they left.

    Args:
        runs: paths, or ``NAME=path@collection``; without a name the file's own, without a collection every one of ``collections``
            of which the run has judged queries. Runs of one name are one retriever.
        triples: that each saw in training.
        collections: names of the evaluation collections that may be meant.

    Raises:
        InputError: there is no number of triples, a run cannot be read or has no judged query, two runs of a name are of the same
            collection, or a run returns documents that the collection does not have: then it ranks another collection, and scores
            of rankings of different collections cannot be compared.
    """
    if runs and triples < 1:
        raise InputError(f"say how many triples the systems behind the run files saw in training; {triples} cannot be")
    found: dict[str, dict[str, Evaluation]] = {}
    for text in runs:
        name, path, collection = _parse(text)
        run = read_run(path)
        wanted = [load_collection(each) for each in ([collection] if collection else collections)]
        meant = wanted if collection else [each for each in wanted if run.keys() & each.qrels().keys()]
        if not meant:
            raise InputError(f"no query of the run {path} is judged in any of {', '.join(collections) or 'no collections'}")
        for each in meant:
            if each.name in found.setdefault(name, {}):
                raise InputError(f"two runs of {name} are of {each.name}; give them different names, as NAME=path")
            _check_documents(path, {query: run[query] for query in run if query in each.qrels()}, each)
            found[name][each.name] = measure_run(run, each)
    return [Retriever(name, triples, evaluations) for name, evaluations in found.items()]


def distilled_elsewhere(retrievers: Sequence[Retriever]) -> list[Baseline]:
    """Rows of distilled retrievers that were measured from run files."""
    return [
        Baseline(TEACHER, each.name, DASH, DASH, FROM_RUN, {name: [one] for name, one in each.evaluations.items()}, each.triples)
        for each in retrievers
    ]


def retrievers(rows: Sequence[Baseline]) -> list[Retriever]:
    """The trained rows as the ledger of claims takes them; those with fewer seeds than a comparison rests on are left out.

    The paper's claims about teacher distillation are about MarginMSE, in random batches and in those of TAS-Balanced.
    """
    return [
        Retriever(
            row.loss,
            row.triples,
            {name: row.mean(name) for name in row.evaluations},
            distilled=row.loss.startswith("MarginMSE"),
            seconds=row.cost.full,
            stopped=all(each.about["stopped_early"] for each in row.results),
            keys=tuple(each.key for each in row.results),
        )
        for row in rows
        if row.cost is not None and row.triples is not None and len(row.results) >= SEEDS
    ]


def measure_run(run: Run, collection: Collection) -> Evaluation:
    """The paper's measures of a run, by a collection's judgments and its own relevance grade; no query finds itself."""
    others = without_own(run, collection.queries_in_corpus())
    return evaluate(others, collection.qrels(), default_measures(collection.relevant_from))


def _parse(text: str) -> tuple[str, Path, str]:
    """Name, path and collection of ``NAME=path@collection``, of which only the path must be there."""
    name, equals, rest = text.partition("=")
    if Path(text).exists() or not equals:
        name, rest = "", text
    path, at, collection = rest.rpartition("@")
    if Path(rest).exists() or not at:
        path, collection = rest, ""
    plain = Path(path).name
    while plain.endswith(_ENDINGS):
        plain = plain[: plain.rindex(".")]
    return name or plain, Path(path), collection


def _check_documents(path: Path, run: Run, collection: Collection) -> None:
    known = collection.corpus.ids
    returned = {document for found in run.values() for document in found}
    if foreign := returned - known:
        raise InputError(
            f"the run {path} returns {len(foreign)} of {len(returned)} documents that {collection.name} does not have, such as "
            f"{min(foreign)!r}: it ranks another collection, and its scores cannot stand beside rankings of this one"
        )
