"""The rates that benchmarks on GPUs give to projections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from armbook import projection
from armbook.benchmarks import ENCODING, OURS, TRAINING, of, on_gpu
from armbook.gpu_benchmarks import calls, figures, ways
from armbook.projection import Rates

LAYERS = {6: ("distilBERT",), 12: ("RoBERTa", "MPNet")}  # encoders of Table 1 by their depth; those of one depth cost the same


def measured_rates(found: Sequence[dict]) -> list[Rates]:
    """Rates for projections from every GPU on which training was measured; none where there was no GPU.

    What a machine's files do not measure follows by arithmetic from the operations a second that another encoder reached, in
    training or, where there is a file of it, in encoding.
    """
    by_machine: dict[str, list[dict]] = {}
    for each in on_gpu(found):
        by_machine.setdefault(each["made"]["machine"]["gpu"], []).append(each)
    return [_rates(machine, some) for machine, some in by_machine.items() if _trained(some)]


class _Measured(NamedTuple):
    """The rate of armlib with an encoder (its name in Table 3, empty for another), and the operations a second on real tokens."""

    model: str
    rate: float
    speed: float


def _rates(machine: str, found: Sequence[dict]) -> Rates:
    trained, encoded = _trained(found), _encoded(found)
    triples = projection.from_speed("measured", machine, _speed(trained)).triples
    passages = projection.from_speed("measured", machine, _speed(encoded or trained)).passages
    training, encoding = _best(trained), _best(encoded)
    lacking = [f"training of {model}" for model in triples if model not in training]
    lacking += [f"encoding with {model}" for model in passages if model not in encoding] if encoding else ["encoding"]
    return Rates("measured", machine, {**triples, **training}, {**passages, **encoding}, derived=tuple(lacking))


def _trained(found: Sequence[dict]) -> list[_Measured]:
    """Triples a second."""
    timed = [(model, way) for each in calls(found) for model, name, way in ways(each) if name.startswith(OURS)]
    return _of_depths(of(found, TRAINING), "triples_per_second") + [
        _Measured(model, way["triples_per_second"], way["flop_per_second_on_real_tokens"]) for model, way in timed
    ]


def _encoded(found: Sequence[dict]) -> list[_Measured]:
    """Passages a second."""
    timed = [pair for each in calls(found) for pair in figures(each, "encoding").get("models", {}).items()]
    return _of_depths(of(found, ENCODING), "passages_per_second") + [
        _Measured(model, measured["passages_per_second"], measured["flop_per_second_on_real_tokens"]) for model, measured in timed
    ]


def _of_depths(found: Sequence[dict], rate: str) -> list[_Measured]:
    """The rates of files that measured one encoder each, which stands for those of its depth."""
    return [
        _Measured(model, each["ways"][OURS][rate], each["ways"][OURS]["flop_per_second_on_real_tokens"])
        for each in found
        for model in LAYERS.get(each["settings"]["layers"], ("",))
    ]


def _speed(measured: Sequence[_Measured]) -> float:
    return max(each.speed for each in measured)


def _best(measured: Sequence[_Measured]) -> dict[str, float]:
    """The best measured rate of each encoder of Table 1 that was measured, or stood for by one of its depth."""
    best: dict[str, float] = {}
    for each in measured:
        if each.model:
            best[each.model] = max(best.get(each.model, 0.0), each.rate)
    return best
