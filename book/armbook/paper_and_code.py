"""Where the paper and its released code differ, and what that changes: in numbers, and measured without training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from importlib import resources

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from transformers import AutoModel
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions

from armbook.miniature import each
from armbook.published import TRIPLES
from armbook.readings import readings_summary, readings_table
from armbook.reranking import Reranking, random_weights, starting_encoder
from armlib.encoder.bi_encoder import BiEncoder
from armlib.errors import InputError
from armlib.evaluation.evaluate import RERANKING
from armlib.experiments.experiment import Experiment
from armlib.experiments.profile import Profile
from armlib.experiments.result import Result
from armlib.experiments.training_data import TrainingData
from armlib.names import load_collection, load_encoder
from armlib.training.settings import MEASURE

BATCH_SIZE = 128  # of the paper's main experiments
RATES = {"paper": 5e-6 / BATCH_SIZE, "released code, sweep": 5e-6, "released code, other experiments": 5e-7}
DECAY = 0.99999  # of the learning rate, a step
GROUP = 128  # triples that the released code keeps of a query, and the fewest that it needs


def answer(shown: Mapping[str, Sequence[Result]]) -> str:
    """In how many places the paper and its code differ, and what training in both readings changes.

    Args:
        shown: by source, results such as those of `armbook.chapters.readings`.
    """
    table = differences()
    changing = int(table["changes numbers"].eq("yes").sum())
    return (
        f"We found {len(table)} places where the paper and its released code differ; {changing} of them change numbers. Two of "
        "these are different readings of the losses, and we trained both.\n\n"
        + each(shown, lambda results: readings_summary(readings_table(results)))
    )


def differences() -> pd.DataFrame:
    """Where the paper and its released code (commit 76fc0d9) disagree, in our words.

    Index ``number``; columns ``subject``, ``paper``, ``released code``, ``changes numbers`` (``yes``, ``no`` or when), ``armlib``
    (what it does), ``parameter`` (of an experiment, that chooses it) and ``here`` (where the book measures it).
    """
    with (resources.files("armbook") / "published" / "differences.csv").open(encoding="utf8") as source:
        return pd.read_csv(source, dtype=str).astype({"number": int}).set_index("number")


def learning_rates(profile: Profile) -> pd.DataFrame:
    """Learning rates of the paper, of the released code and of a profile, and how far Adam can move a weight with them.

    Adam changes a weight by about the learning rate a step and hardly by more, so the sum of the learning rates over one pass
    through the 39.8 million triples bounds how far a weight can get from where it starts.

    Returns:
        A row for each; columns ``learning rate``, ``times the paper's``, ``batch size``, ``steps`` and ``farthest`` (the sum).
    """
    own = profile.experiment
    rows = [(name, rate, BATCH_SIZE, TRIPLES // BATCH_SIZE, DECAY) for name, rate in RATES.items()]
    rows.append((f"{profile.name} profile", own.learning_rate, own.batch_size, own.steps, own.decay))
    table = pd.DataFrame(rows, columns=["", "learning rate", "batch size", "steps", "decay"]).set_index("")
    table.insert(1, "times the paper's", table["learning rate"] / RATES["paper"])
    decay = table.pop("decay")
    summed = [(1 - rate**steps) / (1 - rate) if rate < 1 else steps for rate, steps in zip(decay, table.steps, strict=True)]
    return table.assign(farthest=table["learning rate"] * summed)


def rates_text(rates: pd.DataFrame) -> pd.DataFrame:
    """The table of `learning_rates` for a page."""
    text = rates.reset_index(names="from")
    text["learning rate"] = rates["learning rate"].map("{:.2g}".format).to_numpy()
    text["times the paper's"] = [f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in rates["times the paper's"]]
    text["farthest"] = rates.farthest.map("{:.2g}".format).to_numpy()
    return text


def query_lengths(result: Result, lengths: Sequence[int] = (20, 30, 200)) -> pd.DataFrame:
    """A trained encoder with its queries cut elsewhere than in training; its passages stay as they are.

    Args:
        result: whose encoder is measured, on the collections that it was measured on.
        lengths: in tokens; its own is added, and none is longer than the encoder has positions for.

    Returns:
        A row for each collection and length; columns ``collection``, ``cut at``, ``queries cut`` (share of them that are longer),
        ``nDCG@10`` and ``difference`` (to the length of training).

    Raises:
        InputError: a length leaves no token beside the special ones.
    """
    encoder, made = result.encoder(), result.experiment
    shortest = sum(map(len, encoder.special_tokens())) + 1
    if min(lengths, default=shortest) < shortest:
        raise InputError(f"queries are cut at {shortest} tokens at least, not at {min(lengths)}")
    longest = encoder.max_length or max([*lengths, made.query_length])
    wanted = sorted({min(length, longest) for length in [*lengths, made.query_length]})
    rows = []
    for name in made.evaluation_names():
        first_stage = Reranking(load_collection(name), encoder, made.passage_length)
        vectors = first_stage.encoded(encoder)
        found = {length: first_stage.ndcg(encoder, length, vectors) for length in wanted}
        rows += [
            (first_stage.name, length, float((first_stage.query_tokens > length).mean()), value, value - found[made.query_length])
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
    untrained = starting_encoder(made)
    rows = {}
    for name in made.evaluation_names():
        first_stage = Reranking(load_collection(name), untrained, made.passage_length)
        rows[first_stage.name] = {
            "trained": np.mean([result.value(first_stage.name, RERANKING, MEASURE) for result in results]),
            "before training": first_stage.ndcg(untrained, made.query_length),
            "random weights": np.mean([first_stage.ndcg(random_weights(untrained, seed), made.query_length) for seed in seeds]),
            "first stage": first_stage.measured(first_stage.candidates),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("collection")


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
        own = starting_encoder(base, name)
        plain = own if own.pooling == "cls" else load_encoder(name, load_collection(base.collection), "cls")
        output = output_class(plain)
        pooled = issubclass(output, BaseModelOutputWithPoolingAndCrossAttentions)
        others = [_Pooled(plain, seed) for seed in seeds] if pooled else [] if plain is own else [plain]
        for collection in base.evaluation_names():
            first_stage = Reranking(load_collection(collection), own, base.passage_length)
            first = first_stage.ndcg(own, base.query_length)
            released = np.mean([first_stage.ndcg(other, base.query_length) for other in others] or first)
            embedding = "[CLS], linear with random weights, tanh" if pooled else "[CLS]"
            rows.append((name, output.__name__, embedding, first_stage.name, first, released))
    columns = ["encoder", "output class", "released code", "collection", "own pooling", "released pooling"]
    return pd.DataFrame(rows, columns=columns)


def output_class(encoder: BiEncoder) -> type:
    """The class of what Hugging Face's model of this architecture returns, made with one layer of random weights."""
    config = deepcopy(encoder.backbone.config)
    config.num_hidden_layers = 1
    with torch.random.fork_rng(), torch.inference_mode():
        return type(AutoModel.from_config(config)(torch.full((1, 3), encoder.tokenizer.pad_token_id + 1)))


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
    counts = np.bincount(TrainingData(experiment).triples[:, 0])
    counts = counts[counts > 0]
    rows = {"all": (len(counts), int(counts.sum()))} | {n: (int((counts >= n).sum()), int((counts >= n).sum()) * n) for n in sizes}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["queries", "triples"]).rename_axis("triples of a query")
    return table.assign(**{f"of {name}": table[name] / table[name].iloc[0] for name in ("queries", "triples")})
