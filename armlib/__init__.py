"""Train, search and measure bi-encoders with adaptive relevance margins (arXiv 2407.21515).

What most programs need is here by name, and imported when it is first used; everything else is in the modules below.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__: str  # looked up when it is asked for

if TYPE_CHECKING:
    from armlib.encoder.bi_encoder import BiEncoder
    from armlib.evaluation.equivalence import compare
    from armlib.evaluation.measures import evaluate
    from armlib.experiments.experiment import Experiment
    from armlib.experiments.profile import load_profile
    from armlib.experiments.store import RunStore
    from armlib.integrations.in_memory import fine_tune
    from armlib.losses import MarginLoss
    from armlib.names import load_collection, load_encoder, read_qrels
    from armlib.retrieval.search import Searcher
    from armlib.training.loop import train
    from armlib.training.settings import Settings

_HOMES = {
    "BiEncoder": "armlib.encoder.bi_encoder",
    "Experiment": "armlib.experiments.experiment",
    "MarginLoss": "armlib.losses",
    "RunStore": "armlib.experiments.store",
    "Searcher": "armlib.retrieval.search",
    "Settings": "armlib.training.settings",
    "compare": "armlib.evaluation.equivalence",
    "evaluate": "armlib.evaluation.measures",
    "fine_tune": "armlib.integrations.in_memory",
    "load_collection": "armlib.names",
    "load_encoder": "armlib.names",
    "load_profile": "armlib.experiments.profile",
    "read_qrels": "armlib.names",
    "train": "armlib.training.loop",
}
__all__ = [
    "BiEncoder",
    "Experiment",
    "MarginLoss",
    "RunStore",
    "Searcher",
    "Settings",
    "compare",
    "evaluate",
    "fine_tune",
    "load_collection",
    "load_encoder",
    "load_profile",
    "read_qrels",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("armlib")
    if name not in _HOMES:
        raise AttributeError(f"module 'armlib' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
