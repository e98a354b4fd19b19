"""What one call of ``benchmarks/gpu.py`` on a GPU measured, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from armbook.benchmarks import GPU, of
from armbook.published import MODELS
from armlib.experiments.provenance import machine_line

CAPTIONS = {
    "parity": "The trainer's gradients against transformers' padded pass in float64, as distances over the length of the gradient.",
    "training": "How fast training is on a GPU. *Host's* milliseconds are those that the program takes to give the device a step's "
    "work; where they are as many as the step's, the device waits for the program.",
    "stages": "What became of the stages of the call.",
}


def gpu_call(found: Sequence[dict]) -> dict[str, pd.DataFrame]:
    """The tables ``parity``, ``training`` and ``stages`` of the calls on a GPU; none that is empty."""
    made = {"parity": gpu_parity(found), "training": gpu_training(found), "stages": gpu_stages(found)}
    return {name: table for name, table in made.items() if len(table)}


def gpu_training(found: Sequence[dict]) -> pd.DataFrame:
    """How fast training is in one call on a GPU, a row for each encoder and way of each file.

    Columns: ``encoder``, ``way``, ``triples per second`` (the median of rounds), ``of the matrix product`` (arithmetic on real
    tokens over the rate of the fastest matrix product; missing where that was not measured), ``padded over real``,
    ``milliseconds a step``, ``host's`` (those that the program takes to give the device a step's work), ``kernels`` launched
    and ``waits`` for the device in a step (missing where nobody counted), ``machine``.
    """
    rows = []
    for each in calls(found):
        most = figures(each, "ceilings").get("flop_per_second")
        for model, way, measured in ways(each):
            rows.append(
                {
                    "encoder": model,
                    "way": way,
                    "triples per second": measured["triples_per_second"],
                    "of the matrix product": most and measured["flop_per_second_on_real_tokens"] / most,
                    "padded over real": measured["padded_over_real"],
                    "milliseconds a step": measured["milliseconds_per_step"],
                    "host's": measured["host_milliseconds_per_step"],
                    "kernels": measured.get("launches"),
                    "waits": measured.get("waits"),
                    "machine": machine_line(each["made"]),
                }
            )
    return pd.DataFrame(rows)


def gpu_stages(found: Sequence[dict]) -> pd.DataFrame:
    """What became of the stages of one call on a GPU, a row for each stage of each file.

    Columns: ``stage``, ``outcome``, ``seconds``, ``machine``.
    """
    return pd.DataFrame(
        [
            {"stage": stage, "outcome": noted["outcome"], "seconds": noted["seconds"], "machine": machine_line(each["made"])}
            for each in calls(found)
            for stage, noted in each["stages"].items()
        ]
    )


def gpu_parity(found: Sequence[dict]) -> pd.DataFrame:
    """Whether a GPU computes what transformers' padded forward pass computes in float64, a row for each architecture of each file.

    Columns: ``encoder`` (and how batches lie); ``gradient apart in float32`` and ``as trained``, distances over the length of the
    float64 gradient, with ``transformers' as trained``, that of its own padded pass in the same precision; ``attention dropout``,
    how far it moves embeddings over how far it does in transformers' eager attention; ``holds``; ``machine``.
    """
    return pd.DataFrame(
        [
            {
                "encoder": name,
                "gradient apart in float32": measured["float32"]["gradient"],
                "as trained": measured["as_trained"]["gradient"],
                "transformers' as trained": measured["as_trained"]["stock"],
                "attention dropout": measured["attention_dropout"]["ratio"],
                "holds": "yes" if measured["holds"] else "no",
                "machine": machine_line(each["made"]),
            }
            for each in calls(found)
            for name, measured in figures(each, "parity").items()
            if "holds" in measured  # an interrupted stage leaves one behind that is not whole
        ]
    )


def calls(found: Sequence[dict]) -> list[dict]:
    """The files of one call on a GPU; those of a few tiny steps, or of a CPU, measure nothing."""
    return [each for each in of(found, GPU) if each["device"] == "cuda" and not each["settings"]["tiny"]]


def figures(each: dict, stage: str) -> dict:
    """What a stage of a call measured, as far as it came; nothing where it was not begun."""
    return each["stages"].get(stage, {}).get("figures", {})


def ways(each: dict) -> Iterator[tuple[str, str, dict]]:
    """Encoder, name and figures of the ways of training that a call has timed."""
    for model in MODELS:
        for name, measured in figures(each, f"training {model}").get("ways", {}).items():
            if "triples_per_second" in measured:  # an interrupted stage has some that were only begun
                yield model, name, measured
