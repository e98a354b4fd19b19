"""armlib's evaluation inside sentence-transformers' trainer: graded judgments, ir_measures, TREC run files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.evaluation import SentenceEvaluator

from armlib.data.characters import check_id
from armlib.data.collection import Collection
from armlib.data.types import Run
from armlib.errors import InputError
from armlib.evaluation.measure_names import parse_measures
from armlib.evaluation.measures import checked_qrels, default_measures, evaluate
from armlib.evaluation.tables import write_csv
from armlib.names import load_collection
from armlib.retrieval.exact import ExactSearch
from armlib.retrieval.rankings import rerank, to_run, without_own
from armlib.retrieval.run_files import ranked, write_run
from armlib.training.settings import MEASURE


class RetrievalEvaluator(SentenceEvaluator):
    """Ranks a collection with a model, by ``encode_query`` and ``encode_document``, so with its own prompts and lengths.

    The measures are those of `armlib.evaluation.measures.evaluate`: means over all judged queries, of which each that is a document
    of the collection is left out of its own ranking. Documents are compared by their cosines.

    Args:
        collection: documents, queries and judgments, or their name; what is in dictionaries becomes one by
            `armlib.data.in_memory.InMemory`.
        first_stage: re-rank these candidates, such as ``collection.first_stage()`` or what `armlib.retrieval.run_files.read_run`
            gives, and encode no other documents; None ranks the whole collection.
        depth: so many results of each query, or so many of its best candidates.
        measures: as ir_measures writes them; by default those of the paper, at the collection's own relevance grade.
        name: put in front of measures and files; several evaluators need one each.
        batch_size: texts encoded together.
        write: write a run and each query's measures to the folder that the trainer names.

    Attributes:
        primary_metric: nDCG@10 where it is measured, else the first measure; the trainer's ``metric_for_best_model`` is this with
            ``eval_`` in front.

    Raises:
        InputError: a measure or the collection cannot be used, or a judged query has no text.
    """

    def __init__(
        self,
        collection: Collection | str | Path,
        *,
        first_stage: Mapping[str, Mapping[str, float]] | None = None,
        depth: int = 1000,
        measures: Sequence[str] = (),
        name: str = "",
        batch_size: int = 32,
        write: bool = True,
    ) -> None:
        super().__init__()
        self.collection = collection if isinstance(collection, Collection) else load_collection(collection)
        self.measures = [str(each) for each in parse_measures(measures or default_measures(self.collection.relevant_from))]
        self.name, self.depth, self.batch_size, self.write = name, depth, batch_size, write
        if name:
            check_id(name, "name", "the evaluator")
        if depth < 1:
            raise InputError(f"expected a depth of at least 1 document, got {depth}")
        self.qrels = checked_qrels(self.collection.qrels())
        texts = self.collection.queries()
        if missing := [query for query in self.qrels if query not in texts]:
            raise InputError(f"{len(missing)} judged queries of {self.collection.name} have no text, the first is {missing[0]!r}")
        self.queries = {query: texts[query] for query in self.qrels}
        self.own = self.collection.queries_in_corpus()
        self.candidates: Run | None = None
        if first_stage is not None:
            found = without_own({query: first_stage.get(query, {}) for query in self.queries}, self.own)
            self.candidates = {query: ranked(scores, depth) for query, scores in found.items() if scores}
            if not self.candidates:
                raise InputError(f"the first stage has no candidates for any judged query of {self.collection.name}")
        measure = MEASURE if MEASURE in self.measures else self.measures[0]
        self.primary_metric = f"{name}_{measure}" if name else measure

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """The mean of each measure, by its name.

        Args:
            model: what is measured; it is in evaluation mode afterwards.
            output_path: where the run and the measures of each query are written, as ``retrieval-step-100.run.gz`` and ``.csv``.
            epoch, steps: when it is measured; -1 after training.

        Raises:
            InputError: the model compares embeddings by something else than their cosine, a candidate is no document, or the files
                cannot be written.
        """
        run = self.run(model)
        evaluation = evaluate(run, self.qrels, self.measures, f"the run of {self.collection.name}")
        if output_path is not None and self.write:
            stem = (self.name or "retrieval") + (f"-step-{steps}" if steps >= 0 else "")
            write_run(Path(output_path) / f"{stem}.run.gz", run, self.name or "armlib")
            write_csv(evaluation.per_query, Path(output_path) / f"{stem}.csv")
        metrics = self.prefix_name_to_metrics(evaluation.mean, self.name)
        self.store_metrics_in_model_card_data(model, metrics, epoch, steps)
        return metrics

    def run(self, model: SentenceTransformer) -> Run:
        """The ranking of each judged query.

        Raises:
            InputError: the model compares embeddings by something else than their cosine, or a candidate is no document.
        """
        if model.similarity_fn_name != "cosine":
            raise InputError(
                f"the model compares embeddings by {model.similarity_fn_name!r}; expected 'cosine', which a dot product is where "
                "embeddings have length 1 (model.similarity_fn_name = 'cosine')"
            )
        settings = {"batch_size": self.batch_size, "show_progress_bar": False, "normalize_embeddings": True}
        names = list(self.queries if self.candidates is None else self.candidates)
        queries = model.encode_query([self.queries[query] for query in names], **settings).astype(np.float32)
        if self.candidates is None:
            documents = {each.id: each.text for each in self.collection.documents()}
        else:
            documents = self.collection.corpus.texts({found for results in self.candidates.values() for found in results})
        passages = model.encode_document(list(documents.values()), **settings).astype(np.float32)
        if self.candidates is not None:
            rows = {document: row for row, document in enumerate(documents)}
            return rerank(self.candidates, queries, {query: row for row, query in enumerate(names)}, passages, rows)
        # One more, for what is left out of its own ranking.
        scores, found = ExactSearch(passages).search(queries, min(self.depth + bool(self.own), len(passages)))
        ranking = without_own(to_run(scores, found, names, list(documents)), self.own)
        return {query: ranked(results, self.depth) for query, results in ranking.items()}
