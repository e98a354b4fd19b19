"""What an experiment reads: its collections, encoder, tokens and triples, each resolved once, when it is first asked for."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from armlib.data.batches import TripleBatches
from armlib.data.candidate_lists import candidate_lists, parse_lists
from armlib.data.collection import Collection
from armlib.data.contexts import Context
from armlib.data.fingerprints import fingerprint_of_folder
from armlib.data.held_out import HeldOut, hold_out
from armlib.data.samplers import Examples, parse_sampler
from armlib.data.tokens import TokenStore
from armlib.data.training_queries import trained_on
from armlib.data.triple_rows import triple_rows
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.export import RECORD
from armlib.encoder.token_stores import passage_tokens, query_tokens
from armlib.errors import InputError
from armlib.evaluation.validation import Validator
from armlib.experiments.experiment import HELD_OUT, NOTHING, Experiment
from armlib.names import encoder_folder, load_collection, load_encoder, written_here
from armlib.retrieval.mining import kept_array, kept_candidates, kept_clusters, kept_pair_clusters, kept_similarities
from armlib.storage import MANIFEST, digest, short_digest
from armlib.teachers.base import PairwiseTeacher, ScoreSource, Workers
from armlib.teachers.device import teacher_device
from armlib.teachers.interaction import InteractionTeacher
from armlib.teachers.pairwise import PairwiseInteractionTeacher
from armlib.teachers.preferences import ScoredLists, preferences
from armlib.teachers.registry import parse_pairwise_teacher, parse_teacher
from armlib.teachers.row_scores import RowScores

UNREAD = (RECORD, MANIFEST, "README.md")
"""Files of an encoder's folder that say how it was made."""
AnyTeacher = TypeVar("AnyTeacher", bound=ScoreSource | PairwiseTeacher)


class TrainingData:
    """The data of an experiment. Making one reads nothing; every part is read when it is asked for, and once.

    Args:
        experiment: whose data these are.
        encoder: instead of the one that the experiment starts from, such as a trained one.
        workers: compute shards of the teacher's scores; None: this process.

    Raises:
        InputError: by its parts: the data or the encoder cannot be used.
    """

    def __init__(self, experiment: Experiment, encoder: BiEncoder | None = None, workers: Workers | None = None) -> None:
        self.experiment, self.workers = experiment, workers
        if encoder is not None:
            self.encoder = encoder

    @cached_property
    def collection(self) -> Collection:
        """What is trained on."""
        asked = self.experiment
        found = load_collection(asked.collection)
        return found.graded(asked.relevant_from) if asked.relevant_from else found

    def _beside(self, name: str) -> Collection:
        """A collection to validate or to measure on; where it is over the same documents, with the grade that was asked for."""
        found, grade = load_collection(name), self.experiment.relevant_from
        return found.graded(grade) if grade and found.corpus.name == self.collection.corpus.name else found

    @cached_property
    def evaluation_names(self) -> tuple[str, ...]:
        """Names of the collections to measure on, as results have them."""
        return tuple(each.name for each in self.evaluations)

    @cached_property
    def evaluations(self) -> tuple[Collection, ...]:
        """The collections to measure on, each once."""
        asked = self.experiment.evaluation
        names = () if asked == NOTHING else asked or self.collection.evaluation
        return tuple({each.name: each for each in map(self._beside, names)}.values())

    @cached_property
    def measured_again(self) -> dict[str, int]:
        """How many queries of each collection to measure on are trained on; those with none are left out.

        Raises:
            InputError: there are any, and the experiment does not ask for it.

        Warns:
            UserWarning: there is nothing to measure on.
        """
        asked, name = self.experiment, written_here(self.collection.name)
        offer = f"{name}#train trains on four fifths of its queries and measures on the others"
        if not self.evaluations and asked.evaluation != NOTHING:
            warnings.warn(f"{name} has no test queries beside it, so nothing is measured; {offer}", stacklevel=2)
        counted = {each.name: len(trained_on(self.collection, each)) for each in self.evaluations}
        found = {each: count for each, count in counted.items() if count}
        for each, count in found.items() if not asked.on_training_queries else ():
            raise InputError(
                f"{count} of the queries of {written_here(each)} are trained on, so measures on them would be no test; expected "
                f"other queries ({offer}), or on_training_queries"
            )
        return found

    @cached_property
    def _named_validation(self) -> Collection | None:
        name = self.experiment.validation or self.collection.validation or HELD_OUT
        return None if name == HELD_OUT else self._beside(name)

    @cached_property
    def validation(self) -> Collection:
        """What decides early stopping: a collection, or queries that are held out from training."""
        return self._named_validation or hold_out(self.collection, self.experiment.validation_queries)

    @cached_property
    def key(self) -> str:
        """12 hexadecimal digits of the experiment's values and of the fingerprints of all data that the result depends on.

        A local encoder counts with the contents of its folder, wherever that is; local collections with their contents and their
        paths, by which results name them, however those are written.
        """
        read = [self.collection, *([self._named_validation] if self._named_validation else []), *self.evaluations]
        prints = [one for each in read for one in (each.name, each.fingerprint(), each.corpus.fingerprint())]
        prints += [each.fingerprint(self.collection) for each in (self.source, self.judge) if each]
        return digest(json.dumps(self._values(), sort_keys=True), *prints)[:12]

    def _values(self) -> dict[str, Any]:
        """The experiment's values, with what is local named in one way."""
        asked = self.experiment
        values = asked.values() | {"collection": _one_name(asked.collection, self.collection)}
        if self._named_validation and asked.validation:
            values["validation"] = _one_name(asked.validation, self._named_validation)
        if asked.evaluation and asked.evaluation != NOTHING:
            values["evaluation"] = [_one_name(name, load_collection(name)) for name in asked.evaluation]
        if self._encoder_contents:
            values["encoder"] = f"contents {self._encoder_contents}"
        # A sampler may cluster by an encoder of its own, and that is in the key by the contents of its folder, too.
        name = getattr(parse_sampler(asked.sampler), "encoder", "")
        if name and (folder := encoder_folder(name)):
            values["clustering encoder"] = f"contents {fingerprint_of_folder(folder, UNREAD)}"
        return values

    @cached_property
    def _encoder_contents(self) -> str:
        """A fingerprint of the folder of a local encoder; empty for others."""
        return self._fingerprint_of_encoder()

    def _fingerprint_of_encoder(self) -> str:
        folder = encoder_folder(self.experiment.encoder)
        return fingerprint_of_folder(folder, UNREAD) if folder else ""

    @cached_property
    def source(self) -> ScoreSource | None:
        """Where the teacher's scores come from; None without a teacher."""
        return self._without_validation(parse_teacher(self.experiment.teacher)) if self.experiment.teacher else None

    @cached_property
    def judge(self) -> PairwiseTeacher | None:
        """The teacher that compares two passages; None without one."""
        asked = self.experiment.pairwise_teacher
        return self._without_validation(parse_pairwise_teacher(asked)) if asked else None

    def _without_validation(self, teacher: AnyTeacher) -> AnyTeacher:
        """The teacher; one that is trained on the collection leaves out the queries that validate."""
        if isinstance(teacher, InteractionTeacher | PairwiseInteractionTeacher) and isinstance(self.validation, HeldOut):
            teacher.held_out = max(teacher.held_out, len(self.validation.chosen))
        return teacher

    @cached_property
    def encoder(self) -> BiEncoder:
        """The encoder before training; training changes it.

        Raises:
            InputError: there is no such encoder, or its folder has changed since the key was made.
        """
        encoder, asked = self.untrained_encoder(), self.experiment
        if asked.context:
            encoder.add_context(asked.context, asked.context_dropout)
        elif encoder.context is not None:
            raise InputError(f"the encoder {asked.encoder} reads a context; expected context to be at least 1 passage with it")
        return encoder

    def untrained_encoder(self) -> BiEncoder:
        """The encoder that the experiment starts from, one of its own for each call; without the context that is added to it."""
        asked = self.experiment
        before = self._encoder_contents
        encoder = load_encoder(asked.encoder, self.collection, asked.pooling or None)
        if before != self._fingerprint_of_encoder():
            raise InputError(f"the files of the encoder {asked.encoder} have changed since the experiment began; start it again")
        encoder.set_prompts(asked.query_prompt, asked.passage_prompt)
        return encoder

    @cached_property
    def queries(self) -> TokenStore:
        """The token store of the collection's queries."""
        return query_tokens(self.collection, self.encoder, self.experiment.query_length)

    @cached_property
    def passages(self) -> TokenStore:
        """The token store of the collection's documents."""
        return passage_tokens(self.collection, self.encoder, self.experiment.passage_length)

    @cached_property
    def context(self) -> Context | None:
        """The collection's context, to which the trained encoder is bound; None for a plain one."""
        return self.encoder.context_of(self.passages, self.experiment.passage_length)

    @cached_property
    def triples(self) -> np.ndarray:
        """Row numbers of query, positive and negative, (T, 3), without the triples of queries that validate."""
        left_out = self.validation.chosen if isinstance(self.validation, HeldOut) else ()
        return triple_rows(self.collection, self.queries, self.passages, left_out)

    @cached_property
    def scores(self) -> RowScores | None:
        """The teacher's scores of the triples; None without a teacher."""
        if not self.source:
            return None
        return self.source.scored(self.collection, self.queries, self.passages, self.triples, self.workers)

    @cached_property
    def lists(self) -> ScoredLists | None:
        """Training lists with their teachers' scores, of the candidates of the encoder before training; None for triples."""
        if not self.experiment.lists:
            return None
        asked, settings = self.experiment, parse_lists(self.experiment.lists)
        rows = settings.drawn(np.unique(self.triples[:, 0]))
        student, lengths = self.untrained_encoder(), (asked.query_length, asked.passage_length)
        candidates = kept_candidates(student, self.queries, rows, self.passages, lengths, settings.depth, teacher_device())
        assert self.source, "Experiment refuses lists without a teacher"
        pairs = np.column_stack([rows, candidates])
        scored = self.source.scored(self.collection, self.queries, self.passages, pairs, self.workers)
        scores = scored.of_pairs(np.broadcast_to(rows[:, None], candidates.shape), candidates)
        lists = candidate_lists(settings, rows, candidates, scores)
        if not self.judge:
            return ScoredLists(lists, scored.cost)
        return ScoredLists(lists, scored.cost, preferences(self.judge, self.collection, self.queries, self.passages, lists))

    @property
    def teacher(self) -> RowScores | ScoredLists | None:
        """Gives a teacher's scores of `examples` by their rows, and says what they have cost; None without a teacher."""
        return self.lists or self.scores

    @cached_property
    def examples(self) -> np.ndarray:
        """What is trained on, (T, 2 + N): the triples, those of them that the teacher has scored, or lists."""
        if self.lists:
            return self.lists.rows
        return self.scores.complete(self.triples) if self.scores else self.triples

    def _clusters(self, k: int, name: str) -> np.ndarray:
        """The cluster of each training example's query, by the embeddings of an encoder; see `armlib.data.samplers.Examples`."""
        encoder, own = self._clustering_encoder(name)
        queries = self.queries if own else query_tokens(self.collection, encoder, self.experiment.query_length)
        rows, clusters = self.examples[:, 0], np.zeros(len(queries), np.int32)
        found = np.flatnonzero(np.bincount(rows))  # much faster than sorting 40 million rows
        clusters[found] = kept_clusters(encoder, queries, found, self.experiment.query_length, k, teacher_device())
        return clusters[rows]

    def _pair_clusters(self, size: int, name: str, tour: bool) -> np.ndarray:
        """The cluster of each training example's query and positive; see `armlib.data.samplers.Examples`."""
        encoder, own = self._clustering_encoder(name)
        lengths = (self.experiment.query_length, self.experiment.passage_length)
        queries = self.queries if own else query_tokens(self.collection, encoder, lengths[0])
        passages = self.passages if own else passage_tokens(self.collection, encoder, lengths[1])
        return kept_pair_clusters(encoder, queries, passages, self.examples[:, :2], lengths, size, tour, teacher_device())

    def _clustering_encoder(self, name: str) -> tuple[BiEncoder, bool]:
        """The encoder that a sampler names, and whether it is the one that is trained, which is given as it is before training."""
        own = name in ("", self.experiment.encoder)
        return (self.untrained_encoder() if own else load_encoder(name, self.collection)), own

    def _margins(self, by: str) -> np.ndarray:
        """What a query's triples are balanced over; see `armlib.data.samplers.balanced`."""
        triples = self.examples
        if by == "student":
            return kept_similarities(
                self.untrained_encoder(), self.passages, triples[:, 1:], self.experiment.passage_length, teacher_device()
            )
        source, scores = self.source, self.scores
        assert source and scores, "an experiment without a teacher has no such sampler"

        def make() -> np.ndarray:
            return scores.of_pairs(triples[:, 0], triples[:, 1]) - scores.of_pairs(triples[:, 0], triples[:, 2])

        names = (source.fingerprint(self.collection), self.queries.key, self.passages.key)
        key = short_digest("margins", *names, np.ascontiguousarray(triples).tobytes())
        return kept_array(f"margins/{key}", "margins of the triples", make)

    def validator(self) -> Validator:
        """What validates an encoder during training."""
        return Validator(
            self.validation,
            self.encoder,
            queries=self.experiment.validation_queries,
            depth=self.experiment.validation_depth,
            query_length=self.experiment.query_length,
            passage_length=self.experiment.passage_length,
        )

    def about_teacher(self) -> dict[str, Any]:
        """The teacher's ``name`` and ``fingerprint``, and what its scores have cost, see `RowScores`; empty without a teacher."""
        if not (self.source and self.teacher):
            return {}
        about = {"name": str(self.source), "fingerprint": self.source.fingerprint(self.collection), **self.teacher.cost}
        judge = self.judge and {"name": str(self.judge), "fingerprint": self.judge.fingerprint(self.collection)}
        return {"teacher": about | ({"pairwise": judge | about["pairwise"]} if judge else {})}

    def batches(self, *, rank: int = 0, processes: int = 1, seed: int | None = None, **shape: Any) -> TripleBatches:
        """The batches of the experiment.

        Args:
            rank, processes: this process among how many.
            seed: of the order of the triples; None takes the experiment's.
            shape: values of `armlib.data.batches.Shape` that differ from the experiment's.
        """
        asked = self.experiment
        return TripleBatches(
            self.examples,
            self.queries,
            self.passages,
            batch_size=asked.batch_size,
            shape=replace(asked.shape(), **shape),
            seed=asked.seed if seed is None else seed,
            sampler=asked.sampler,
            known=Examples(self.examples[:, 0], self._clusters, self._margins, self._pair_clusters),
            teacher=self.teacher,
            rank=rank,
            processes=processes,
        )


def _one_name(given: str, collection: Collection) -> str:
    """The name of a collection in a key: the path of a local one as it is always written, any other as it was given."""
    return collection.name if Path(collection.name).is_absolute() else given
