"""Encoders measured again in another setting: what can be told of differences between losses and code without training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions

from armlib.data import Collection, load_collection
from armlib.encoder import BiEncoder
from armlib.encoding import encode_rows
from armlib.errors import InputError
from armlib.evaluation import evaluate
from armlib.experiments import Experiment
from armlib.losses import MarginLoss, mean_targets
from armlib.lsa import load_encoder
from armlib.measuring import RERANKING
from armlib.retrieval import rerank
from armlib.running import validation_of
from armlib.runs import Run
from armlib.store import Result
from armlib.stores import passage_store, query_store, triple_rows
from armlib.training import MEASURE

GROUP = 128  # triples that the released code keeps of a query, and the fewest that it needs


class Reranking:
    """The first stage of a collection, re-ranked by one encoder after the other.

    Args:
        collection: queries, judgments and a first stage.
        tokenizer: that all the encoders share.
        passage_length: maximum length in tokens.

    Attributes:
        query_tokens: (Q,) lengths of the queries in tokens, the special ones included, before any cut.
    """

    def __init__(self, collection: Collection, tokenizer: PreTrainedTokenizerBase, passage_length: int) -> None:
        self.name, self.passage_length, self.qrels = collection.name, passage_length, collection.qrels()
        self.queries, self.passages = query_store(collection, tokenizer), passage_store(collection, tokenizer)
        self.candidates: Run = {query: found for query, found in collection.first_stage().items() if query in self.qrels}
        self.documents = list(dict.fromkeys(document for found in self.candidates.values() for document in found))
        self.query_rows = np.asarray(self.queries.rows(list(self.candidates)), np.int64)
        self.query_tokens = np.asarray(self.queries.lengths[self.query_rows])

    def encoded(self, encoder: nn.Module) -> np.ndarray:
        """Vectors of all candidates, each encoded once."""
        rows = np.asarray(self.passages.rows(self.documents), np.int64)
        return encode_rows(encoder, self.passages, rows, self.passage_length, device=_device(), description="passages")

    def ndcg(self, encoder: nn.Module, query_length: int, vectors: np.ndarray | None = None) -> float:
        """nDCG@10 with queries cut at so many tokens; ``vectors`` are those that `encoded` gave for this encoder."""
        vectors = self.encoded(encoder) if vectors is None else vectors
        asked = encode_rows(encoder, self.queries, self.query_rows, query_length, device=_device(), description="queries")
        places = ({name: row for row, name in enumerate(names)} for names in (self.candidates, self.documents))
        return self.measured(rerank(self.candidates, asked, next(places), vectors, next(places)))

    def measured(self, run: Mapping[str, Mapping[str, float]]) -> float:
        """nDCG@10 of a run."""
        return evaluate(run, self.qrels, [MEASURE]).mean[MEASURE]


def query_lengths(result: Result, lengths: Sequence[int] = (20, 30, 200)) -> pd.DataFrame:
    """A trained encoder with its queries cut elsewhere than in training; its passages stay as they are.

    Args:
        result: whose encoder is measured, on the collections that it was measured on.
        lengths: in tokens; its own is added, and none is longer than the encoder has positions for.

    Returns:
        A row for each collection and length; columns ``collection``, ``cut at``, ``queries cut`` (share of them that are longer),
        ``nDCG@10`` and ``difference`` (to the length of training).

    Raises:
        InputError: a length leaves no room for a token beside the special ones.
    """
    encoder, made = result.encoder(), result.experiment
    shortest = sum(map(len, encoder.special_tokens())) + 1
    if min(lengths, default=shortest) < shortest:
        raise InputError(f"queries are cut at {shortest} tokens at least, not at {min(lengths)}")
    longest = encoder.max_length or max([*lengths, made.query_length])
    wanted = sorted({min(length, longest) for length in [*lengths, made.query_length]})
    rows = []
    for name in made.evaluation_names():
        place = Reranking(load_collection(name), encoder.tokenizer, made.passage_length)
        vectors = place.encoded(encoder)
        found = {length: place.ndcg(encoder, length, vectors) for length in wanted}
        rows += [
            (place.name, length, float((place.query_tokens > length).mean()), value, value - found[made.query_length])
            for length, value in found.items()
        ]
    return pd.DataFrame(rows, columns=["collection", "cut at", "queries cut", MEASURE, "difference"])


def weights(results: Sequence[Result], seeds: Sequence[int]) -> pd.DataFrame:
    """What an encoder scores with trained weights, with those that training started from, and with random ones.

    Args:
        results: of one loss and encoder, one for each seed.
        seeds: of the random weights.

    Returns:
        nDCG@10 of re-ranking: a row for each collection; columns ``trained``, ``before training``, ``random weights`` (means over
        seeds) and ``first stage`` (the order that is re-ranked).
    """
    made = results[0].experiment
    untrained = start(made)
    rows = {}
    for name in made.evaluation_names():
        place = Reranking(load_collection(name), untrained.tokenizer, made.passage_length)
        rows[place.name] = {
            "trained": np.mean([result.value(place.name, RERANKING, MEASURE) for result in results]),
            "before training": place.ndcg(untrained, made.query_length),
            "random weights": np.mean([place.ndcg(random_weights(untrained, seed), made.query_length) for seed in seeds]),
            "first stage": place.measured(place.candidates),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("collection")


def start(experiment: Experiment, encoder: str = "") -> BiEncoder:
    """The encoder that an experiment starts from, before training; or another one, made from the same collection."""
    return load_encoder(encoder or experiment.encoder, load_collection(experiment.collection), experiment.pooling or None)


def random_weights(encoder: BiEncoder, seed: int) -> BiEncoder:
    """An encoder of the same architecture and tokenizer whose weights are as Hugging Face initialises them, [CLS] its embedding.

    It is what the released code evaluates: names of the checkpoint that match none of the model's leave it as it was made.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        backbone = AutoModel.from_config(encoder.backbone.config)
    return BiEncoder(backbone.eval(), deepcopy(encoder.tokenizer), "cls")


def poolings(encoders: Iterable[str], base: Experiment, seeds: Sequence[int]) -> pd.DataFrame:
    """Which embedding the paper names and the released code takes for each encoder, and what that changes before training.

    The released code asks whether the output of the Hugging Face class is one class with a pooler; this is asked here of the
    installed version. Where it is, the embedding is a linear layer and tanh over [CLS], whose weights no checkpoint of masked
    language modelling holds, so they are random (standard deviation and bias as Hugging Face has them).

    Args:
        encoders: names as `Experiment.encoder` has them.
        base: whose collection, lengths and evaluation are taken.
        seeds: of the random layer.

    Returns:
        A row for each encoder and collection; columns ``encoder``, ``output class``, ``released code`` (the embedding that it
        takes), ``collection``, ``own pooling`` and ``released pooling`` (nDCG@10 of re-ranking, before training).
    """
    rows = []
    for name in encoders:
        own = start(base, name)
        plain = own if own.pooling == "cls" else load_encoder(name, load_collection(base.collection), "cls")
        output = output_class(plain)
        pooled = issubclass(output, BaseModelOutputWithPoolingAndCrossAttentions)
        others = [_Pooled(plain, seed) for seed in seeds] if pooled else [] if plain is own else [plain]
        for collection in base.evaluation_names():
            place = Reranking(load_collection(collection), own.tokenizer, base.passage_length)
            first = place.ndcg(own, base.query_length)
            released = np.mean([place.ndcg(other, base.query_length) for other in others] or first)
            embedding = "[CLS], linear with random weights, tanh" if pooled else "[CLS]"
            rows.append((name, output.__name__, embedding, place.name, first, released))
    columns = ["encoder", "output class", "released code", "collection", "own pooling", "released pooling"]
    return pd.DataFrame(rows, columns=columns)


def output_class(encoder: BiEncoder) -> type:
    """The class of what Hugging Face's model of this architecture returns, made with one layer of random weights."""
    config = deepcopy(encoder.backbone.config)
    config.num_hidden_layers = 1
    with torch.random.fork_rng(), torch.inference_mode():
        return type(AutoModel.from_config(config)(torch.full((1, 3), encoder.pad_id + 1)))


class _Pooled(nn.Module):
    """An encoder with Hugging Face's pooler behind it, as RoBERTa is made with where a checkpoint has none."""

    def __init__(self, encoder: BiEncoder, seed: int) -> None:
        super().__init__()
        self.encoder, self.dim = encoder, encoder.dim
        generator = torch.Generator().manual_seed(seed)
        width = encoder.backbone.config.initializer_range
        self.register_buffer("weight", width * torch.randn(self.dim, self.dim, generator=generator))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return torch.tanh(self.encoder(input_ids, attention_mask) @ self.weight.T)


def kept_queries(experiment: Experiment, sizes: Sequence[int] = (2, 5, 10, 20, 50, GROUP)) -> pd.DataFrame:
    """How much of the training collection is left if only queries with ``n`` triples are kept, and ``n`` triples of each.

    Args:
        experiment: whose collection and validation are taken.
        sizes: values of ``n``; the released code has 128.

    Returns:
        Index ``triples of a query``; columns ``queries``, ``triples``, and their shares of all, ``of queries`` and ``of triples``.
    """
    collection = load_collection(experiment.collection)
    tokenizer = start(experiment).tokenizer
    _, left_out = validation_of(experiment, collection)
    queries, passages = query_store(collection, tokenizer), passage_store(collection, tokenizer)
    counts = np.bincount(triple_rows(collection, queries, passages, left_out)[:, 0])
    counts = counts[counts > 0]
    rows = {"all": (len(counts), int(counts.sum()))} | {n: (int((counts >= n).sum()), int((counts >= n).sum()) * n) for n in sizes}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["queries", "triples"]).rename_axis("triples of a query")
    return table.assign(**{f"of {name}": table[name] / table[name].iloc[0] for name in ("queries", "triples")})


def training_batch(encoder: BiEncoder, experiment: Experiment, seed: int = 0) -> list[Tensor]:
    """Embeddings of random training triples: queries, positives and negatives, each (B, D) float32 on the CPU.

    Args:
        encoder: whose embeddings they are.
        experiment: whose collection, validation, lengths and batch size are taken.
        seed: of the choice of triples.
    """
    collection = load_collection(experiment.collection)
    queries, passages = query_store(collection, encoder.tokenizer), passage_store(collection, encoder.tokenizer)
    triples = triple_rows(collection, queries, passages, validation_of(experiment, collection)[1])
    chosen = np.sort(np.random.default_rng(seed).choice(len(triples), experiment.batch_size, replace=False))
    places = [(queries, experiment.query_length)] + [(passages, experiment.passage_length)] * 2
    return [
        torch.from_numpy(encode_rows(encoder, store, np.asarray(triples[chosen, column], np.int64), length, device=_device()))
        for column, (store, length) in enumerate(places)
    ]


def loss_parts(encoders: Mapping[str, BiEncoder], experiment: Experiment, seed: int = 0) -> pd.DataFrame:
    """The two parts of the loss with distributed targets, for some encoders on one batch of training triples.

    Args:
        encoders: by the name of a row.
        experiment, seed: as `training_batch` takes them.

    Returns:
        A row for each encoder; columns ``distributed`` (the loss), ``mean`` and ``variance`` (the losses that it is the sum of),
        ``share of variance``, ``mean target`` and ``spread of mean targets`` (their standard deviation over positives).
    """
    rows = {}
    for name, encoder in encoders.items():
        batch = training_batch(encoder, experiment, seed)
        losses = {target: float(MarginLoss(target)(*batch)) for target in ("distributed", "mean", "variance")}
        targets = mean_targets(*batch[1:])
        rows[name] = {
            **losses, "share of variance": losses["variance"] / losses["distributed"],
            "mean target": float(targets.mean()), "spread of mean targets": float(targets.std(correction=0)),
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("encoder")


def reach(batch: Sequence[Tensor], losses: Mapping[str, MarginLoss]) -> pd.DataFrame:
    """How many negatives of a batch the loss of one triple pulls, and where the loss of the batch pulls.

    Args:
        batch: embeddings of queries, positives and negatives, each (B, D).
        losses: by the name of a row, the first of which the others are compared with; of squared errors.

    Returns:
        A row for each loss; columns ``negatives pulled`` (by the first triple, of B) and ``cosine`` (between the gradients of the
        whole losses by all embeddings, with the first loss's).
    """
    rows, first = {}, None
    for name, loss in losses.items():
        moved = [embeddings.detach().clone().double().requires_grad_() for embeddings in batch]
        margins, targets = loss.terms(*moved)
        (pulls,) = torch.autograd.grad((margins - targets)[0].square().mean(), moved[2], retain_graph=True)
        whole = torch.cat([part.flatten() for part in torch.autograd.grad(loss(*moved), moved)])
        first = whole if first is None else first
        cosine = torch.cosine_similarity(whole, first, dim=0)
        rows[name] = {"negatives pulled": int((pulls.norm(dim=1) > 1e-12).sum()), "cosine": float(cosine)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("loss")


def _device() -> str | None:
    return "cuda" if torch.cuda.is_available() else None
