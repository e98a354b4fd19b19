"""What the whole of Table 3 would take at the paper's scale: hours from rates, published, computed or measured.

Nothing here was run at that scale: every figure of this module is a projection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import pandas as pd
import torch
from torch import nn
from transformers import AutoModel, DistilBertConfig, MPNetConfig, RobertaConfig

from armbook import published
from armbook.published import MODELS
from armlib.encoder.pretrained import pooler_options
from armlib.errors import InputError, unknown
from armlib.experiments.profile import load_profile
from armlib.training.settings import Settings

PASSAGES = 8_841_823  # of MS MARCO, each encoded once for every model of Table 3 (section 4)
SWEEP = 2 * 11 * 2_560_000  # triples of an encoder's sweep: without and with in-batch negatives, 0 to 1 by 0.1 (section 5.1)
SWEEP_RUNS = 2 * 11
CANDIDATES = 43 * 1000  # re-ranked to validate: at most 1,000 for each judged query of TREC-DL 2019 (section 4)
EVALUATION_SETS = 2
# Means of MS MARCO's lengths with special tokens, queries cut at 30 and passages at 200, as benchmarks/gather_speed.py draws them.
TOKENS_PER_TRIPLE = 165.0
TOKENS_PER_PASSAGE = 77.2
# Dense bf16 on tensor cores, operations a second, as the vendor's data sheets give them. The first name that fits counts.
PEAKS = {"H100 PCIe": 756e12, "H100": 989e12, "H200": 989e12, "A100": 312e12}
CONFIGURATIONS = {"distilBERT": DistilBertConfig, "RoBERTa": RobertaConfig, "MPNet": MPNetConfig}  # defaults are the base sizes
PARTS = ("sweep", "variants", "validations", "encoding", "searching")


@dataclass(frozen=True)
class Rates:
    """How fast one machine trains and encodes.

    Attributes:
        source: where the rates come from: ``published``, ``measured`` or ``arithmetic``.
        machine: what they are for.
        triples: triples trained per second, by model of Table 3.
        passages: passages encoded per second, by model; empty where nobody said.
        searching: seconds that one evaluation takes beside the encoding of passages; None where nobody said.
        validations_included: the triples per second contain the time of validations.
        derived: what was not given but follows from other rates by arithmetic, such as ``encoding with MPNet``.

    Raises:
        InputError: a model is unknown or lacks a rate, or a rate is not positive.
    """

    source: str
    machine: str
    triples: Mapping[str, float]
    passages: Mapping[str, float] = field(default_factory=dict)
    searching: float | None = None
    validations_included: bool = False
    derived: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what, rates in (("triples", self.triples), ("passages", self.passages)):
            for model, rate in rates.items():
                if model not in MODELS:
                    raise unknown("model of Table 3", model, MODELS)
                if not rate > 0:
                    raise InputError(f"{what} per second of {model} must be more than 0, not {rate}")
            if rates and (missing := [model for model in MODELS if model not in rates]):
                raise InputError(f"the {self.source} rates for {self.machine} lack {what} per second of {', '.join(missing)}")
        if not self.triples:
            raise InputError(f"the {self.source} rates for {self.machine} have no triples per second")


def workload() -> pd.DataFrame:
    """What is trained and evaluated for Table 3, a row for each model and one for all.

    Columns: ``sweep runs``, ``sweep triples``, ``variants`` (models that are evaluated), ``variant triples`` (as Table 3 says
    they were seen), ``validations`` (of profile ``paper``, which leaves some out), ``passages to validate`` (each candidate of a
    validation encoded once), ``passages to evaluate`` (the collection once for each variant; both evaluation sets share it).
    """
    profile = load_profile("paper")
    asked, swept = profile.experiment.settings(), profile.vary(**profile.sweep).settings()
    batch = profile.experiment.batch_size
    of_sweep = SWEEP_RUNS * _validations(swept, SWEEP // SWEEP_RUNS // batch, patient=True)
    seen = published.table3().groupby("model").triples_millions
    rows = {}
    for model in MODELS:
        triples, variants = round(seen.sum()[model] * 1e6), int(seen.size()[model])
        steps = [round(millions * 1e6) // batch for millions in seen.get_group(model)]
        validations = of_sweep + sum(_validations(asked, each, patient=False) for each in steps)
        rows[model] = {
            "sweep runs": SWEEP_RUNS,
            "sweep triples": SWEEP,
            "variants": variants,
            "variant triples": triples,
            "validations": validations,
            "passages to validate": validations * CANDIDATES,
            "passages to evaluate": variants * PASSAGES,
        }
    table = pd.DataFrame(rows).T
    table.loc["all"] = table.sum()
    return table.rename_axis("model")


def _validations(settings: Settings, steps: int, *, patient: bool) -> int:
    """How many validations a training run makes in so many steps.

    Each is better than those before it: to the end where the run is ``patient``, else up to where its patience begins to run out.
    """
    best, made, rises = 0, 0, steps - (0 if patient else settings.patience * settings.validate_every)
    for step in range(settings.validate_every, steps + 1, settings.validate_every):
        if settings.validates(step, best):
            made += 1
            best = step if step <= rises else best
    return made


def project(rates: Rates) -> pd.DataFrame:
    """Hours for each part of Table 3 at some rates, a row for each model and one for all.

    Columns: `PARTS` and ``total``. ``sweep`` and ``variants`` are training alone, unless the rates include validations, which are
    then missing as a part. A part that no rate is known for is missing (NaN) and not in the total.
    """
    work = workload().drop("all")
    triples = pd.Series(dict(rates.triples))
    passages = pd.Series(dict(rates.passages) if rates.passages else dict.fromkeys(MODELS, float("nan")))
    searching = float("nan") if rates.searching is None else rates.searching
    validations = work["passages to validate"] / passages
    seconds = pd.DataFrame(
        {
            "sweep": work["sweep triples"] / triples,
            "variants": work["variant triples"] / triples,
            "validations": float("nan") if rates.validations_included else validations,
            "encoding": work["passages to evaluate"] / passages,
            "searching": work["variants"] * EVALUATION_SETS * searching,
        }
    ).reindex(list(MODELS))
    seconds.loc["all"] = seconds.sum(min_count=len(MODELS))
    hours = seconds[list(PARTS)] / 3600
    hours["total"] = hours.sum(axis="columns")
    return hours.rename_axis("model")


def comparison(every: list[Rates]) -> pd.DataFrame:
    """The projections of several rates side by side, for all models together, with the paper's own sum as the last row.

    Columns: ``rates``, ``machine``, the hours of `PARTS`, ``total``, ``of the paper's`` (the total over the paper's sum),
    ``by arithmetic`` (what was derived).
    """
    paper = published_hours()
    rows = []
    for rates in every:
        hours = project(rates).loc["all"].to_dict()
        rows.append({"rates": f"{rates.source} (projection)", "machine": rates.machine, **hours})
        rows[-1] |= {"of the paper's": hours["total"] / paper, "by arithmetic": ", ".join(rates.derived)}
    rows.append({"rates": "hours of Table 3 (published)", "machine": "NVIDIA A100", "total": paper, "of the paper's": 1.0})
    return pd.DataFrame(rows).fillna({"by arithmetic": ""})


def published_hours() -> float:
    """The sum of Table 3's column of times, in A100 hours; the rows of static targets contain their sweeps."""
    return float(published.table3().hours.sum())


def hours_and_minutes(hours: float) -> str:
    """Hours as the paper writes times, h:mm, such as ``15:07``."""
    minutes = round(60 * hours)
    return f"{minutes // 60}:{minutes % 60:02}"


def implied_rates() -> pd.DataFrame:
    """Triples per second that each row of Table 3 implies.

    Columns: ``model``, ``target``, ``in_batch``, ``hours``, ``triples`` (with the sweep's eleven training runs where the hours
    include them), ``triples_per_second``.
    """
    table = published.table3()[["model", "target", "in_batch", "hours", "includes_sweep", "triples_millions"]]
    sweep = table.pop("includes_sweep") * SWEEP / 2
    table.insert(4, "triples", (1e6 * table.pop("triples_millions") + sweep).round().astype(int))
    return table.assign(triples_per_second=table.triples / (3600 * table.hours))


def published_rates() -> Rates:
    """The paper's rates on an A100, from the rows of distributed targets: their hours contain no sweep, but validations."""
    table = implied_rates()
    rows = table[table.target == "distributed"].set_index("model").triples_per_second
    return Rates("published", "NVIDIA A100", {model: float(rows[model]) for model in MODELS}, validations_included=True)


def by_arithmetic(
    machine: str, utilisation: float, tokens_per_triple: float = TOKENS_PER_TRIPLE, tokens_per_passage: float = TOKENS_PER_PASSAGE
) -> Rates:
    """Rates of a machine of which only the peak is known: the peak x utilisation over the operations of a triple or passage.

    Args:
        machine: its name, as `peak_speed` takes it.
        utilisation: share of the peak that is reached on real tokens, more than 0 and at most 1.
        tokens_per_triple, tokens_per_passage: real tokens, special ones included.

    Raises:
        InputError: the peak of the machine is not known, or the utilisation is out of range.
    """
    if not 0 < utilisation <= 1:
        raise InputError(f"the utilisation must be more than 0 and at most 1, not {utilisation}")
    return from_speed("arithmetic", machine, utilisation * peak_speed(machine), tokens_per_triple, tokens_per_passage)


def from_speed(
    source: str,
    machine: str,
    speed: float,
    tokens_per_triple: float = TOKENS_PER_TRIPLE,
    tokens_per_passage: float = TOKENS_PER_PASSAGE,
) -> Rates:
    """Rates of a machine that computes ``speed`` operations a second on real tokens, in training and in encoding."""
    triples = {model: speed / flop_per_triple(model, tokens_per_triple) for model in MODELS}
    passages = {model: speed / (2 * non_embedding(model) * tokens_per_passage) for model in MODELS}
    return Rates(source, machine, triples, passages, derived=("training", "encoding"))


def flop_per_triple(model: str, tokens: float = TOKENS_PER_TRIPLE) -> float:
    """Operations of one training triple: 6 x non-embedding parameters x real tokens, forward and backward."""
    return 6 * non_embedding(model) * tokens


def utilisation(rates: Rates, tokens: float = TOKENS_PER_TRIPLE) -> pd.DataFrame:
    """How much of a machine's peak some training rates are, on real tokens.

    Columns, by model: ``triples per second``, ``TFLOP per second``, ``share of peak``.

    Raises:
        InputError: the peak of the machine is not known.
    """
    speed = pd.Series({model: rates.triples[model] * flop_per_triple(model, tokens) for model in MODELS})
    columns = {"triples per second": dict(rates.triples), "TFLOP per second": speed / 1e12}
    return pd.DataFrame(columns).rename_axis("model").assign(**{"share of peak": speed / peak_speed(rates.machine)})


def peak_speed(machine: str) -> float:
    """The most operations a second of a GPU, dense bf16, by a part of its name.

    Raises:
        InputError: no known name is a part of it.
    """
    for name, speed in PEAKS.items():
        if name in machine:
            return speed
    raise unknown("machine with a peak", machine, list(PEAKS))


@cache
def non_embedding(model: str) -> int:
    """Parameters of an encoder of Table 1 that cost arithmetic for each token: all but embedding tables, with its linear layer.

    Raises:
        InputError: Table 1 has no such model.
    """
    if model not in MODELS:
        raise unknown("model of Table 1", model, MODELS)
    configuration = CONFIGURATIONS[model]()
    with torch.device("meta"):  # shapes without memory
        backbone = AutoModel.from_config(configuration, **pooler_options(configuration))
    tables = {id(p) for module in backbone.modules() if isinstance(module, nn.Embedding) for p in module.parameters()}
    linear = published.table1().set_index("model").embedding[model] == "CLS+Linear"
    width = configuration.hidden_size
    return sum(p.numel() for p in backbone.parameters() if id(p) not in tables) + linear * (width + 1) * width
