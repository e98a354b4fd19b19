"""An index tried on a few vectors in a process of its own: some factory strings make FAISS abort, or never come to an end."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import cache

import numpy as np

from armlib.errors import InputError
from armlib.retrieval.factories import EXAMPLES, empty_index, faiss_errors, parts, train_index, trouble

VECTORS = 300
RESULTS = 1000
SECONDS = 60
BYTES = 8 << 30
"""What a trial is made with, and the most that it may take."""

_LISTS = re.compile(r"IVF([0-9]+)")
_TOO_FEW = re.compile(r"Number of training points .* number of clusters \(([0-9]+)\)")


def check_factory(specification: str, factory: str, parameters: Mapping[str, float], dimension: int, count: int | None) -> None:
    """Refuse an index that FAISS cannot make, train, fill or search.

    Args:
        specification: what was asked for, to be named in errors.
        factory, parameters: what `armlib.retrieval.factories.empty_index` takes.
        dimension, count: of the vectors, and how many there will be; None where that is not known.

    Raises:
        InputError: says what FAISS said, or what became of it.
    """
    if not factory.isascii() or not factory.isprintable():
        raise InputError(f"FAISS does not know the index {factory!r}; expected {EXAMPLES}")
    lists = max((int(found[:10]) for found in _LISTS.findall(factory)), default=0)
    if count is not None and lists > count:
        raise InputError(f"{trouble(specification, dimension, count)}: it has more lists than there are vectors")
    tried = VECTORS if count is None else min(count, VECTORS)
    said = _outcome(specification, factory, tuple(parameters.items()), dimension, tried)
    too_few = _TOO_FEW.search(said)
    # What has more centroids than a trial has vectors cannot be tried, which says nothing against it.
    if said and not (too_few and tried == VECTORS and (count is None or int(too_few[1]) <= count)):
        raise InputError(said)


@cache
def _outcome(specification: str, factory: str, parameters: tuple[tuple[str, float], ...], dimension: int, count: int) -> str:
    beginning = trouble(specification, dimension)
    # The paths of this process, whichever way it found armlib; one thread, whose memory is known.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-m", "armlib.retrieval.trial"],
            input=json.dumps([specification, factory, dict(parameters), dimension, count]) + "\n",
            capture_output=True,
            text=True,
            env=environment,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"{beginning}: FAISS did not come to an end with {count} of them in {SECONDS} seconds"
    if child.returncode < 0:
        return f"{beginning}: FAISS ends the process by {signal.Signals(-child.returncode).name}; expected {EXAMPLES}"
    if child.returncode:
        raise RuntimeError(child.stderr)
    return json.loads(child.stdout)


def _answer(specification: str, factory: str, parameters: dict[str, float], dimension: int, count: int) -> str:
    """What is wrong with an index, as one sentence; empty where nothing is."""
    try:
        with faiss_errors(trouble(specification, dimension)):
            _try(factory, parameters, dimension, count)
    except InputError as error:
        return str(error)
    return ""


def _try(factory: str, parameters: dict[str, float], dimension: int, count: int) -> None:
    empty_index(factory, dimension, parameters)
    index, _ = empty_index(_LISTS.sub(lambda found: f"IVF{min(int(found[1]), 16)}", factory), dimension, parameters)
    if min(getattr(part, "d_out", part.d) for part in parts(index) if hasattr(part, "d")) < 1:
        raise RuntimeError("Error: it leaves no dimensions")
    vectors = np.random.default_rng(0).standard_normal((count, dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    train_index(index, vectors, 0)
    index.add(vectors)
    index.search(vectors[:10], RESULTS)


def _main() -> None:
    """Answer requests, a line of JSON each."""
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # FAISS prints warnings
    for line in sys.stdin:
        print(json.dumps(_answer(*json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    _main()
