"""An experiment as plain values: what to train on, with which loss, how long, and what to measure it on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from armlib.errors import InputError, printable

if TYPE_CHECKING:
    from armlib.data.batches import Shape
    from armlib.losses import Loss
    from armlib.training.settings import Settings

HELD_OUT = "held-out"
NOTHING = ("none",)
MOST = 2**31 - 1
"""The largest number that a value of an experiment can be: measures with a larger cutoff, for example, cannot be computed."""
MARGIN_VALUES = ("target", "in_batch", "error", "reading", "stop_gradient", "filter")
"""The values of an experiment that describe its margin loss."""

CONTEXT_VALUES = ("context_from", "context_dropout", "context_stage")
"""The values of an experiment that describe its context."""


def _value(default: Any, about: str) -> Any:
    return field(default=default, metadata={"about": about})


@dataclass(frozen=True)
class Experiment:
    """One training run and its evaluation. Two experiments with equal values and equal data have the same key.

    What each value is, ``armlib train --help`` says too. The loss is the margin loss of the six values from ``target`` to
    ``filter``, or any other that ``loss`` names; then those six are not used, and ``target`` is empty.

    Raises:
        InputError: a value is of the wrong type or out of range, or values do not go together.

    Examples:
        >>> from armlib import Experiment
        >>> experiment = Experiment(collection="my/folder", target="static(0.3)", in_batch=True)
        >>> experiment.variant()
        'static(0.3), in-batch'
        >>> experiment.make_loss()
        MarginLoss(static(0.3, in_batch=True))
    """

    collection: str = _value("docstrings", "what to train on: a name of ir_datasets, a folder in BEIR layout, a file of triples")
    relevant_from: int = _value(0, "lowest grade that counts as relevant; 0 takes the collection's own")
    encoder: str = _value(
        "lsa/distilbert", "what to start from: lsa/distilbert, lsa/roberta, lsa/mpnet, a Hugging Face name or a folder"
    )
    pooling: str = _value(
        "",
        "how token vectors become one: cls, mean or last, or one of them with a layer behind it, such as cls+linear; "
        "empty takes the encoder's own",
    )
    loss: str = _value("", "any loss by name, such as infonce(20); empty takes the margin loss of the next six values")
    target: str = _value("distributed", "target of the margin loss: static(0.3), adaptive, distributed, mean or variance")
    in_batch: bool = _value(False, "compare each query with the negatives of the whole batch; for static and adaptive targets")
    error: str = _value("squared", "what the loss makes of the distance of margin and target: squared, absolute or soft")
    reading: str = _value("paper", "whose in-batch and distributed losses, where the two differ: paper or released-code")
    stop_gradient: bool = _value(False, "treat the targets as constants")
    filter: bool = _value(
        False,
        "of in-batch margins: leave out others' negatives that the teacher, a bi-encoder, scores no lower than the own positive",
    )
    teacher: str = _value(
        "", "whose scores the loss learns from or filters by, such as interaction or bi-encoder('NAME'); empty for none"
    )
    pairwise_teacher: str = _value("", "who compares two passages of a list, such as pairwise-interaction; empty for nobody")
    lists: str = _value("", "train on a list of passages a query, such as student(passages=8, depth=20); empty for triples")
    sampler: str = _value(
        "random",
        "which triples make a batch: random, topic-aware(k), balanced(k, bins=10, by='teacher') or clustered(size=256), of "
        "neighbours in clusters of so many pairs of query and positive, with order='tour' of neighbouring clusters",
    )
    batch_size: int = _value(64, "triples a step, over all processes")
    steps: int = _value(300, "optimiser steps at most")
    learning_rate: float = _value(5e-4, "learning rate at the first step, or after warm-up")
    warmup_steps: int = _value(0, "steps in which the learning rate rises from 0 to its value")
    schedule: str = _value(
        "exponential", "how the learning rate falls: exponential, by decay, or linear, to 0 behind the last step"
    )
    decay: float = _value(0.99999, "of the exponential schedule: the learning rate is multiplied by this after every step")
    weight_decay: float = _value(1e-6, "weight decay of matrices; biases and normalisation weights have none")
    clip_norm: float = _value(0.0, "largest norm of the gradient; 0 leaves it as it is")
    optimizer: str = _value("auto", "optimiser: adam, adam8bit (bitsandbytes, CUDA; its weight decay is decoupled) or auto: adam")
    compiled: bool = _value(False, "let torch's compiler write the encoder's layers, where texts are not padded; for a GPU")
    query_prompt: str = _value("", "put in front of every query; empty takes what the encoder's folder says, if it does")
    passage_prompt: str = _value("", "put in front of every passage; empty takes what the encoder's folder says, if it does")
    query_length: int = _value(30, "tokens that queries are cut at")
    passage_length: int = _value(200, "tokens that passages are cut at")
    chunk_size: int = _value(16, "texts encoded together")
    chunk_tokens: int = _value(0, "where not 0: gradient caching, with at most so many padded tokens encoded together")
    context: int = _value(0, "passages of the collection that are read beside every text; 0 for a plain encoder")
    context_from: str = _value("batch", "where the context of a training step is drawn from: its batch or the collection")
    context_dropout: float = _value(0.0, "in training, the probability of a learned null vector in place of a context vector")
    context_stage: str = _value(
        "trained", "the encoder of the context: trained, frozen as it starts, or cached: trained by gradient caching"
    )
    validation: str = _value("", "a collection's name, or held-out for training queries; empty takes the collection's own")
    validation_queries: int = _value(200, "training queries held out, and of a collection at most so many; 0 for all")
    validation_depth: int = _value(50, "first-stage candidates of each that are re-ranked to validate")
    validate_every: int = _value(100, "steps between two validations; the last step is always validated")
    patience: int = _value(16, "how many times validate_every without a better nDCG@10 end training")
    validation_stride: int = _value(1, "make only every so many validations while half of the patience is left; 1 for all")
    selection: str = _value("best", "keep the weights of the best validation, or of the last step: best or last")
    evaluation: tuple[str, ...] = _value((), "collections to measure on; none for not at all")
    on_training_queries: bool = _value(False, "measure also on queries that are trained on, which is no test")
    full_ranking: bool = _value(True, "rank the whole collection, too, and not only the first stage's candidates")
    index: str = _value("exact", "index of full ranking: exact, paper, or a FAISS factory string with its parameters")
    seed: int = _value(0, "decides the order of the triples and dropout")

    def __post_init__(self) -> None:
        for each in fields(self):
            value, kind = getattr(self, each.name), type(each.default)
            if kind in (int, float) and type(value) in (int, kind):
                if not 0 <= value <= MOST:
                    found = "a larger number" if value > 1e18 else value  # Python writes no numbers of thousands of digits
                    raise InputError(f"{each.name} of an experiment must be from 0 to {MOST:,}, not {found}")
                object.__setattr__(self, each.name, kind(value))
            elif kind is tuple:
                names = (value,) if isinstance(value, str) else value
                if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
                    raise InputError(f"{each.name} of an experiment must be a list of names, not {value!r}")
                object.__setattr__(self, each.name, tuple(names))
            elif type(value) is not kind:
                raise InputError(f"{each.name} of an experiment must be {kind.__name__}, not {value!r}")
        self._settle_loss()
        for name in ("batch_size", "query_length", "passage_length", "chunk_size", "validation_depth"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} of an experiment must be at least 1, not {getattr(self, name)}")
        # refuse what they refuse now, before any work
        self.make_loss()
        self.settings()
        self._settle_teacher()
        self._settle_examples()
        self.shape()
        own = {name: self.__dataclass_fields__[name].default for name in CONTEXT_VALUES}
        if not self.context and any(getattr(self, name) != default for name, default in own.items()):
            raise InputError(f"{', '.join(own)} are of a context; expected context to be at least 1 passage beside them")
        if self.context_dropout >= 1:
            raise InputError(f"context_dropout of an experiment must be from 0 to less than 1, not {self.context_dropout}")

    def _settle_loss(self) -> None:
        """Write a margin loss as `MARGIN_VALUES`, however it was given, so that equal losses have equal values."""
        from armlib.losses import MarginLoss, parse_loss, parse_target

        if not self.loss:
            object.__setattr__(self, "target", str(parse_target(self.target)))
            return
        given = parse_loss(self.loss)
        own = {each.name: each.default for each in fields(self) if each.name in MARGIN_VALUES}
        changed = [name for name, default in own.items() if getattr(self, name) not in (default, "")]
        if changed:
            raise InputError(f"the loss {self.loss!r} says all of itself, so {', '.join(changed)} cannot be given beside it")
        if isinstance(given, MarginLoss):
            values = {name: getattr(given, name) for name in MARGIN_VALUES} | {"target": str(given.target), "loss": ""}
        else:
            values = {"target": "", "loss": str(given)}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _settle_teacher(self) -> None:
        """Write equal teachers as equal values; refuse one that nothing uses, and a loss without one that gives what it needs."""
        loss = self.make_loss()
        if not self.teacher:
            if loss.needs:
                raise InputError(
                    f"the loss {str(loss)!r} {'learns from' if 'pointwise' in loss.needs else 'filters by'} a teacher's scores; "
                    "expected a teacher, such as bi-encoder('NAME')"
                )
            return
        from armlib.data.samplers import ByTopic, parse_sampler
        from armlib.teachers.registry import parse_teacher

        source, sampler = parse_teacher(self.teacher), parse_sampler(self.sampler)
        object.__setattr__(self, "teacher", str(source))
        if not (loss.needs or self.lists or (isinstance(sampler, ByTopic) and sampler.by == "teacher")):
            raise InputError(
                f"the loss {self.loss or self.target!r} does not use the scores of the teacher {self.teacher!r}; expected no "
                "teacher, or a loss that learns from one, margin-mse or list-kl, or filters by one, such as infonce(filter=True)"
            )
        if "in_batch" in loss.needs and (self.lists or "in_batch" not in source.gives):
            found = f"lists of {self.lists}" if self.lists else self.teacher
            raise InputError(
                f"the loss {str(loss)!r} needs scores of every query and every passage of a batch of triples, which {found!r} "
                "does not give; expected a teacher that is a bi-encoder"
            )

    def _settle_examples(self) -> None:
        """Write sampler and lists so that equal ones have equal values, and refuse what has not the teacher that it needs."""
        from armlib.data.candidate_lists import parse_lists
        from armlib.data.samplers import ByTopic, Clustered, parse_sampler
        from armlib.losses import ListKL, MarginLoss

        sampler, loss = parse_sampler(self.sampler), self.make_loss()
        if isinstance(sampler, ByTopic):
            object.__setattr__(self, "sampler", str(sampler))
            if sampler.by == "teacher" and not self.teacher:
                raise InputError(f"the sampler {self.sampler!r} needs a teacher's margins; expected a teacher, or by='student'")
            if sampler.by and self.lists:
                raise InputError(f"the sampler {self.sampler!r} needs triples, and a query has one list; expected topic-aware")
        if isinstance(sampler, Clustered):
            object.__setattr__(self, "sampler", str(sampler))
            if self.lists:
                raise InputError(
                    f"the sampler {self.sampler!r} needs triples, whose judged positives it clusters with their queries, and lists "
                    "have none; expected topic-aware"
                )
        if self.lists:
            lists = parse_lists(self.lists)
            object.__setattr__(self, "lists", str(lists))
            if not self.teacher:
                raise InputError(f"the lists {self.lists!r} are in a teacher's order; expected a teacher")
            if isinstance(loss, MarginLoss) and lists.passages > 2:
                raise InputError(f"the loss {str(loss)!r} takes one negative a query; expected lists of 2 passages")
        if self.pairwise_teacher:
            from armlib.teachers.registry import parse_pairwise_teacher

            object.__setattr__(self, "pairwise_teacher", str(parse_pairwise_teacher(self.pairwise_teacher)))
            if not self.lists:
                raise InputError(f"the pairwise teacher {self.pairwise_teacher!r} compares passages of lists; expected lists")
        elif isinstance(loss, ListKL) and loss.pairs:
            raise InputError(f"the loss {self.loss!r} learns from pairs; expected lists and a pairwise teacher")

    def make_loss(self) -> Loss:
        """The loss to train with."""
        from armlib.losses import MarginLoss, parse_loss

        return parse_loss(self.loss) if self.loss else MarginLoss(*(getattr(self, name) for name in MARGIN_VALUES))

    def settings(self) -> Settings:
        """The trainer's settings."""
        from armlib.training.settings import Settings

        own = {each.name: getattr(self, each.name) for each in fields(Settings) if hasattr(self, each.name)}
        return Settings(**own | {"clip_norm": self.clip_norm or None, "cached": self.chunk_tokens > 0})

    def shape(self) -> Shape:
        """How texts are cut and chunked."""
        from armlib.data.batches import Shape

        sizes = (self.query_length, self.passage_length, self.chunk_size, self.chunk_tokens or None)
        return Shape(*sizes, self.context, self.context_from)

    def values(self) -> dict[str, Any]:
        """All values that the key depends on; those younger than the first keys only where they are not the default."""
        younger = {"full_ranking": True, "loss": "", "query_prompt": "", "passage_prompt": ""}
        younger |= {"sampler": "random", "teacher": "", "pairwise_teacher": "", "lists": "", "filter": False}
        younger |= {"context": 0, "context_dropout": 0.0, "context_stage": "trained"}
        younger |= {"compiled": False, "relevant_from": 0, "on_training_queries": False}
        younger |= {"warmup_steps": 0, "schedule": "exponential", "validation_stride": 1}
        younger |= {} if self.context else {"context_from": self.context_from}
        return {name: value for name, value in asdict(self).items() if younger.get(name, ...) != value}

    def key(self) -> str:
        """12 hexadecimal digits of the values and of the fingerprints of all data that the result depends on."""
        from armlib.experiments.training_data import TrainingData

        return TrainingData(self).key

    def evaluation_names(self) -> tuple[str, ...]:
        """The collections to measure on."""
        from armlib.experiments.training_data import TrainingData

        return TrainingData(self).evaluation_names

    @classmethod
    def of_record(cls, record: object) -> Experiment | None:
        """The experiment that an encoder's record names; None where there is none, or it is of another version of armlib."""
        if not isinstance(record, dict):
            return None
        try:
            return cls(**{name: value for name, value in record.items() if name != "experiment"})
        except (TypeError, InputError):
            return None

    def variant(self) -> str:
        """The loss in a few words, such as ``static(0.3), in-batch``: what a legend or a table row calls it."""
        if not self.steps:
            return "before fine-tuning"
        parts = [self.loss or self.target]
        parts += ["in-batch"] if self.in_batch else []
        parts += [f"{self.error} error"] if self.error != "squared" else []
        parts += [f"{self.reading} reading"] if self.reading != "paper" else []
        parts += ["stopped gradient"] if self.stop_gradient else []
        parts += [self.sampler] if self.sampler != "random" else []
        parts += [f"lists of {self.lists}"] if self.lists else []
        filters = self.make_loss().needs == {"in_batch"}
        parts += [f"{'filtered' if filters else 'taught'} by {self.teacher}"] if self.teacher else []
        parts += [f"pairs compared by {self.pairwise_teacher}"] if self.pairwise_teacher else []
        if self.context:
            parts += [f"context of {self.context}"]
            parts += [f"from the {self.context_from}"] if self.context_from != "batch" else []
            parts += [f"null vectors {self.context_dropout:g}"] if self.context_dropout else []
            parts += [f"{self.context_stage} first stage"] if self.context_stage != "trained" else []
        return ", ".join(parts)

    def __str__(self) -> str:
        schedule = f" after {self.warmup_steps} steps of warm-up" if self.warmup_steps else ""
        schedule += f", {self.schedule} schedule" if self.schedule != "exponential" else ""
        return printable(
            f"{self.collection} | {self.encoder} | {self.variant()} | B={self.batch_size}, {self.steps} steps, "
            f"learning rate {self.learning_rate:g}{schedule} | seed {self.seed}"
        )
