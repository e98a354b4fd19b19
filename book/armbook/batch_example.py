"""A real batch as a fine-tuned encoder sees it: Table 2 of arXiv 2407.21515, and what that instance shows over a whole batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from torch import Tensor

from armbook.claims.evidence import Example
from armbook.published import table2
from armbook.reranking import gpu_if_any
from armbook.results import DISTRIBUTED
from armbook.sentences import range_in_words
from armbook.tables import shortened
from armlib.data.collection import Collection
from armlib.errors import InputError
from armlib.experiments.experiment import Experiment
from armlib.experiments.result import Result
from armlib.experiments.training_data import TrainingData
from armlib.losses import MarginLoss, similarities
from armlib.names import load_collection
from armlib.retrieval.encoding import encode_rows

SEED = 2407  # of the batch; not one that training runs start from, so that none has seen its triples together
FEWEST = 3  # negatives: a highest, a middle and a lowest target
WIDTH = 90  # characters of a text that a table shows
CLEAR = 0.05  # correlations that differ by less are called about the same
TRAINED, UNTRAINED = "after training", "before training"


@dataclass(frozen=True)
class BatchExample(Example):
    """A batch of B triples as an encoder sees it, with what `armbook.claims.evidence.Example` holds.

    ``losses`` are those of distributed targets, (m_i - t_ij)^2 with the margin m_i of triple i alone (equation 3, paper reading).

    Attributes:
        encoder: what the training run started from.
        weights: `TRAINED` or `UNTRAINED`.
        collection: the name of the training collection.
        ids: of query, positive and negative, (B, 3) text.
        positive_relevance: cosine of query i and its positive, (B,).
    """

    encoder: str
    weights: str
    collection: str
    ids: np.ndarray
    positive_relevance: np.ndarray

    @property
    def margins(self) -> np.ndarray:
        """The relevance margin of each triple, (B,) (equation 1)."""
        return self.positive_relevance - self.relevance.diagonal()

    @property
    def loss_rises(self) -> np.ndarray:
        """Whether the loss of each query's negatives rises with their target throughout, (B,) bool."""
        ordered = np.take_along_axis(self.losses, self.targets.argsort(axis=1), axis=1)
        return (np.diff(ordered, axis=1) >= -1e-12).all(axis=1)

    @property
    def in_batch_losses(self) -> np.ndarray:
        """Squared errors of adaptive targets in batch, with the margin of query i to negative j, (B, B)."""
        return (self.positive_relevance[:, None] - self.relevance - self.targets) ** 2


def see_batch(result: Result, seed: int = SEED, *, trained: bool = True) -> BatchExample:
    """The first batch that the experiment would draw with another seed, encoded in evaluation mode.

    Args:
        result: whose collection, batch size, lengths and encoder are taken.
        seed: of the batch; equal seeds give encoders of one collection and batch size the same triples.
        trained: take the result's encoder; otherwise the one that training started from.

    Raises:
        InputError: the batch has fewer than `FEWEST` triples, or the collection or the encoder cannot be read.
    """
    return _seen(TrainingData(result.experiment, result.encoder() if trained else None), result.key, seed, trained)


def before_training(experiment: Experiment, seed: int = SEED) -> BatchExample:
    """`see_batch` of an experiment that need not have been run, by the encoder that its training starts from."""
    data = TrainingData(experiment)
    return _seen(data, data.key, seed, trained=False)


def _seen(data: TrainingData, key: str, seed: int, trained: bool) -> BatchExample:
    experiment = data.experiment
    if experiment.batch_size < FEWEST:
        raise InputError(f"an example needs a batch of at least {FEWEST} triples, not {experiment.batch_size}")
    rows = data.batches(seed=seed).rows(0)
    encoded = [embeddings.double() for embeddings in embedded_triples(data, rows)]
    margins, targets = MarginLoss(DISTRIBUTED).terms(*encoded)
    stores = (data.queries, data.passages, data.passages)
    ids = np.stack([np.asarray(store.ids)[rows[:, column]] for column, store in enumerate(stores)], axis=1)
    return BatchExample(
        key=key,
        relevance=similarities(encoded[0], encoded[2]).numpy(),
        targets=targets.numpy(),
        losses=(margins - targets).square().numpy(),
        encoder=experiment.encoder,
        weights=TRAINED if trained else UNTRAINED,
        collection=experiment.collection,
        ids=np.char.decode(ids, "utf8"),
        positive_relevance=similarities(encoded[0], encoded[1]).numpy().diagonal(),
    )


def embedded_triples(data: TrainingData, rows: np.ndarray) -> list[Tensor]:
    """Embeddings of triples: queries, positives and negatives, each (B, D) float32 on the CPU.

    Args:
        data: whose encoder, token stores and lengths are taken.
        rows: row numbers of query, positive and negative, (B, 3).
    """
    made = data.experiment
    columns = [(data.queries, made.query_length)] + [(data.passages, made.passage_length)] * 2
    return [
        torch.from_numpy(encode_rows(data.encoder, store, rows[:, column], length, device=gpu_if_any(), description="triples"))
        for column, (store, length) in enumerate(columns)
    ]


def passage_texts(collection: Collection, ids: Iterable[str]) -> dict[str, str]:
    """The texts of a few passages, found by reading the collection up to the last of them.

    Raises:
        InputError: a passage is not in the collection.
    """
    wanted = set(ids)
    found = collection.corpus.texts(wanted)
    if missing := wanted - found.keys():
        raise InputError(f"{collection.name} has no passage {min(missing)!r}")
    return found


def examples(results: Iterable[Result], seed: int = SEED, *, trained: bool = True) -> list[BatchExample]:
    """A batch for each encoder, of its first result; arguments and errors as of `see_batch`."""
    first: dict[str, Result] = {}
    for result in results:
        first.setdefault(result.experiment.encoder, result)
    return [see_batch(result, seed, trained=trained) for result in first.values()]


def typical_query(example: BatchExample) -> int:
    """The query, counted from 0, whose targets have the median range of all queries (the lower median, the first of equals)."""
    ranges = np.ptp(example.targets, axis=1)
    return int(np.argsort(ranges, kind="stable")[(len(ranges) - 1) // 2])


def of_targets(targets: np.ndarray) -> dict[str, int]:
    """Which of a query's negatives Table 2 shows: with the highest target, with that closest to the mean, and with the lowest."""
    middle = np.abs(targets - targets.mean()).argmin()
    return {"d-max": int(targets.argmax()), "d-mid": int(middle), "d-min": int(targets.argmin())}


def instance(example: BatchExample, query: int | None = None) -> pd.DataFrame:
    """One query of a batch in the form of Table 2.

    Args:
        example: the batch.
        query: counted from 0; None takes `typical_query`.

    Returns:
        Rows ``q``, ``d+`` and the negatives with the highest target, ``d-max``, with that closest to the mean, ``d-mid``, and
        with the lowest, ``d-min``. Columns ``role``; ``text``; ``relevance``; ``target``; ``instance_loss``, that of
        distributed targets; ``in_batch_error``, that of `BatchExample.in_batch_losses`; ``own`` (whether the negative belongs to
        the query's own triple). Values that a row does not have are missing.

    Raises:
        InputError: the batch has no such query.
    """
    size = len(example.targets)
    i = typical_query(example) if query is None else query
    if not 0 <= i < size:
        raise InputError(f"the batch has queries 0 to {size - 1}, not {i}")
    targets = example.targets[i]
    chosen = of_targets(targets)
    passages = [example.ids[i, 1], *(example.ids[j, 2] for j in chosen.values())]
    collection = load_collection(example.collection)
    texts = passage_texts(collection, passages)
    rows = [{"role": "q", "text": collection.queries()[example.ids[i, 0]]}]
    rows += [{"role": "d+", "text": texts[example.ids[i, 1]], "relevance": example.positive_relevance[i]}]
    rows += [
        {
            "role": role,
            "text": texts[example.ids[j, 2]],
            "relevance": example.relevance[i, j],
            "target": targets[j],
            "instance_loss": example.losses[i, j],
            "in_batch_error": example.in_batch_losses[i, j],
            "own": bool(j == i),
        }
        for role, j in chosen.items()
    ]
    return pd.DataFrame(rows).astype({"own": "boolean"})


def describe(example: BatchExample, query: int) -> str:
    """A sentence on a query of a batch: its margin, its mean target, and the rank of its own negative's target."""
    targets = example.targets[query]
    own = targets[query]
    return (
        f"Query {query} of {len(targets)}: the margin is {example.margins[query]:.2f}, the mean target {targets.mean():.2f}; its "
        f"own negative has the target {own:.2f}, number {int((targets > own).sum()) + 1} from the top."
    )


def beside_published(example: BatchExample, query: int | None = None) -> pd.DataFrame:
    """`instance` below the paper's Table 2, each row marked with its source, texts cut to `WIDTH` characters.

    Returns:
        Columns ``source`` and those of `instance`. The paper's ``in_batch_error`` is computed here from what it prints; its
        ``own`` is missing.
    """
    published = table2()
    positive = published.set_index("role").relevance["d+"]
    published["in_batch_error"] = (positive - published.relevance - published.target) ** 2
    published["own"] = pd.array([pd.NA] * len(published), dtype="boolean")
    measured = instance(example, query)
    sources = {"published, distilBERT": published, f"this copy, {example.encoder}": measured}
    rows = pd.concat([table.assign(source=source) for source, table in sources.items()], ignore_index=True)
    rows["text"] = [shortened(text, WIDTH) for text in rows.text]
    return rows[["source", *measured.columns]]


def agreement(batches: Sequence[BatchExample]) -> pd.DataFrame:
    """What follows the targets, over all queries of batches.

    Returns:
        A row a batch: ``encoder``; ``weights``; the number of ``queries``; Spearman's correlation with the targets over a
        query's negatives, averaged over the queries, of ``relevance``, ``loss`` (of distributed targets) and
        ``in_batch_error``; and shares of the queries: ``loss_rises``, with the target throughout; ``margin_below`` and
        ``margin_above``, those whose margin is below or above all their targets, so that the loss has to rise or to fall;
        ``own_highest``, those whose own negative has the highest target. A query all of whose negatives are equal has no
        correlation and is left out of the averages.
    """
    rows = []
    for example in batches:
        lowest, highest = example.targets.min(axis=1), example.targets.max(axis=1)
        rows.append(
            {
                "encoder": example.encoder,
                "weights": example.weights,
                "queries": len(example.targets),
                "relevance": _correlation(example.targets, example.relevance),
                "loss": _correlation(example.targets, example.losses),
                "in_batch_error": _correlation(example.targets, example.in_batch_losses),
                "loss_rises": float(example.loss_rises.mean()),
                "margin_below": float((example.margins <= lowest).mean()),
                "margin_above": float((example.margins >= highest).mean()),
                "own_highest": float((example.targets.diagonal() >= highest).mean()),
            }
        )
    return pd.DataFrame(rows)


def implied(cosine: np.ndarray) -> np.ndarray:
    """Spearman's correlation of relevance and target that the cosine of a query with its positive implies, any shape.

    With negatives that point in all directions alike, phi(q, d-) and phi(d+, d-) are jointly normal in high dimensions with the
    correlation phi(q, d+), and Spearman's is (6 / pi) asin of half of it.
    """
    return 6 / np.pi * np.arcsin(np.asarray(cosine) / 2)


def implied_in_words(batches: Sequence[BatchExample]) -> str:
    """How much of the correlation of relevance with targets follows from queries that are near to their positives."""
    near = range_in_words((float(each.positive_relevance.mean()) for each in batches), ".2f")
    expected = range_in_words((float(implied(each.positive_relevance).mean()) for each in batches), ".2f")
    found = range_in_words((_correlation(each.targets, each.relevance) for each in batches), ".2f")
    return (
        f"After training the cosine of a query with its positive is {near} on average. Negatives in random directions would then "
        f"give a correlation of {expected}; the negatives of this batch give {found}."
    )


def printed_losses() -> pd.DataFrame:
    """What the losses that Table 2 prints can be: those of one margin for all negatives (equation 3), or of one for each.

    Returns:
        A row for each negative: ``role``, ``target`` and ``instance_loss`` as printed; ``margin_low`` and ``margin_high``, the
        two margins whose squared difference from the target is that loss; ``in_batch_margin``, the margin to this negative
        by the printed relevance, and ``in_batch_error``, its squared difference from the target.
    """
    published = table2()
    positive = published.set_index("role").relevance["d+"]
    rows = published[published.role.str.startswith("d-")].reset_index(drop=True)
    away, margin = np.sqrt(rows.instance_loss), positive - rows.relevance
    columns = {"margin_low": rows.target - away, "margin_high": rows.target + away, "in_batch_margin": margin}
    return rows[["role", "target", "instance_loss"]].assign(**columns, in_batch_error=(margin - rows.target) ** 2)


def for_page(table: pd.DataFrame) -> pd.DataFrame:
    """One of these tables for a page: names with spaces, the texts of a collection in quotes."""
    named = table.rename(columns=lambda name: name.replace("_", " ").replace("in batch", "in-batch"))
    return named.assign(text=[f"“{text}”" for text in named.text]) if "text" in named else named


def relevance_in_words(agreement: pd.DataFrame) -> str:
    """What the table of `agreement` says on relevance and on the loss, before and after training, in two sentences."""
    before, after = (agreement[agreement.weights == when].set_index("encoder") for when in (UNTRAINED, TRAINED))
    values = [range_in_words(when.relevance, ".2f") for when in (before, after)]
    change = after.relevance - before.relevance
    how = "more closely" if (change > CLEAR).all() else "less closely" if (change < -CLEAR).all() else "about as closely"
    rises = range_in_words(after.loss_rises, ".0%")
    return (
        f"Relevance follows the targets before any training (Spearman's correlation {values[0]}) and {how} after "
        f"it ({values[1]}). After training the loss rises with the target throughout, as implicit mining needs it, for {rises} of "
        "the queries."
    )


def _correlation(targets: np.ndarray, values: np.ndarray) -> float:
    pairs = zip(targets, values, strict=True)
    found = [spearmanr(one, other).statistic for one, other in pairs if np.ptp(one) > 0 and np.ptp(other) > 0]
    return float(np.mean(found)) if found else float("nan")
