"""What Table 4 compares with: retrievers measured here, by training, by BM25, or from the run files that others left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from armlib.claims_evidence import ADAPTIVE, DISTRIBUTED, STATIC, Teacher, variant_name
from armlib.data import Collection, load_collection
from armlib.errors import InputError
from armlib.evaluation import Evaluation, default_measures, evaluate, mean_evaluation
from armlib.measuring import DEPTH, FULL_RANKING
from armlib.runs import Run, read_run
from armlib.store import Result
from armlib.sweeps import in_full
from armlib.tables_marked import DASH, yes_or_no
from armlib.tables_variants import evaluation_collections, variants

SELF, TEACHER, NONE = "self-distillation", "teacher distillation", "no distillation"
MEASURED, FROM_RUN = "measured here", "measured from a run file"
ONE, BEFORE = "static(1.0)", "before fine-tuning"
RANDOM = "random"  # how the triples of our trainings come into batches
_ENDINGS = (".gz", ".txt", ".run", ".trec")


@dataclass(frozen=True)
class Baseline:
    """A row of Table 4.

    Attributes:
        group: ``self-distillation``, ``teacher distillation`` or ``no distillation``.
        loss: what was trained with which loss, or how else passages were ranked.
        sampling: how triples came into batches, or a dash.
        in_batch: ``yes`` where information of the whole batch was used, ``no``, or a dash where there are none or nobody says.
        origin: where the scores come from.
        evaluations: by collection, one a seed.
        triples: seen in training; missing where nothing was trained.
    """

    group: str
    loss: str
    sampling: str
    in_batch: str
    origin: str
    evaluations: dict[str, list[Evaluation]]
    triples: int | None

    def mean(self, collection: str) -> Evaluation:
        """Per-query means over seeds."""
        return mean_evaluation(self.evaluations[collection])


def trained(results: Iterable[Result], encoder: str) -> list[Baseline]:
    """Rows of one encoder in full ranking: the variants of Table 3, target 1, and the encoder before fine-tuning.

    Args:
        results: as `armlib.tables_variants.variants` takes them, with target 1 and with the experiment of no steps among them.
        encoder: the experiments' encoder.

    Raises:
        InputError: a variant, target 1 or the experiment of no steps is missing.
    """
    own = [result for result in results if result.experiment.encoder == encoder]
    fine_tuned = [result for result in own if result.experiment.steps]
    found = variants(fine_tuned)
    one = _seeds(in_full(r for r in fine_tuned if r.experiment.target == ONE and not r.experiment.in_batch))
    before = _seeds([result for result in own if not result.experiment.steps])
    if not one or not before:
        raise InputError(f"the baselines of {encoder} lack results of {ONE if before else BEFORE}")
    rows = [(SELF, variant_name(*key), found[encoder, *key]) for key in ((ADAPTIVE, False), (ADAPTIVE, True), (DISTRIBUTED, False))]
    for in_batch in (False, True):
        chosen = found[encoder, STATIC, in_batch]
        name = variant_name(f"{chosen[0].experiment.target}, tuned", in_batch)
        rows.append((NONE, name, chosen))
    rows += [(NONE, ONE, one), (NONE, BEFORE, before)]
    return [_from_results(*row) for row in rows]


def bm25(collections: Sequence[str]) -> list[Baseline]:
    """BM25 over all documents of each collection, and the first stages that come with them; one row where these are the same.

    The first stage is what re-ranking starts from, so its recall is the most that re-ranking can have.
    """
    loaded = [load_collection(name) for name in collections]
    full = {each.name: each.bm25_run(DEPTH) for each in loaded}
    first = {each.name: each.first_stage() for each in loaded}
    rows = [("BM25", full)] + ([("first stage of the collection", first)] if first != full else [])
    return [
        Baseline(NONE, name, DASH, DASH, MEASURED, {each.name: [measure_run(runs[each.name], each)] for each in loaded}, None)
        for name, runs in rows
    ]


def teachers(runs: Sequence[str], triples: int, collections: Sequence[str] = ()) -> list[Teacher]:
    """Distilled retrievers, measured from the TREC run files that they left.

    Args:
        runs: paths, or ``NAME=path@collection``; without a name the file's own, without a collection every one of ``collections``
            of which the run has judged queries. Runs of one name are one retriever.
        triples: that the training of each saw.
        collections: names of the evaluation collections that may be meant.

    Raises:
        InputError: there is no number of triples, a run cannot be read or has no judged query, two runs of a name are of the same
            collection, or a run returns documents that the collection does not have: then it ranks another collection, and scores
            of rankings of different collections cannot be compared.
    """
    if runs and triples < 1:
        raise InputError(f"say how many triples the training behind the run files saw; {triples} cannot be")
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
    return [Teacher(name, triples, evaluations) for name, evaluations in found.items()]


def from_runs(distilled: Sequence[Teacher]) -> list[Baseline]:
    """Rows of retrievers that were measured from run files."""
    return [
        Baseline(TEACHER, each.name, DASH, DASH, FROM_RUN, {name: [one] for name, one in each.evaluations.items()}, each.triples)
        for each in distilled
    ]


def _from_results(group: str, loss: str, results: Sequence[Result]) -> Baseline:
    one = results[0].experiment
    in_batch = yes_or_no(one.in_batch or one.target == DISTRIBUTED) if one.steps else DASH
    evaluations = {name: [each.per_query(name, FULL_RANKING) for each in results] for name in evaluation_collections(results)}
    seen = round(np.mean([each.about["triples"] for each in results]))
    return Baseline(group, loss, RANDOM if one.steps else DASH, in_batch, MEASURED, evaluations, seen)


def _seeds(results: Iterable[Result]) -> list[Result]:
    return sorted({result.key: result for result in results}.values(), key=lambda each: each.experiment.seed)


def measure_run(run: Run, collection: Collection) -> Evaluation:
    """The paper's measures of a run, by a collection's judgments and its own relevance grade."""
    return evaluate(run, collection.qrels(), default_measures(collection.relevant_from))


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
    known = set(collection.bm25().ids)
    returned = {document for found in run.values() for document in found}
    if foreign := returned - known:
        raise InputError(
            f"the run {path} returns {len(foreign)} of {len(returned)} documents that {collection.name} does not have, such as "
            f"{min(foreign)!r}: it ranks another collection, and its scores cannot stand beside rankings of this one"
        )
