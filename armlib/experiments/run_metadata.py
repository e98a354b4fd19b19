"""What made a TREC run, in the schema of ir_metadata (Breuer, Keller and Schaer 2022, https://www.ir-metadata.org), version 0.1.

The schema puts it into comments above the lines of a run. trec_eval reads such a comment as a malformed line, and so does armlib:
here it is a YAML file beside the run. Only what is known is in it: not who made the run, nor for which publication.
"""

from __future__ import annotations

import platform
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from huggingface_hub.utils import yaml_dump  # type: ignore[attr-defined]

from armlib.data.collection import Collection
from armlib.data.irds import IrDataset
from armlib.encoder.bi_encoder import BiEncoder
from armlib.evaluation.evaluate import FULL_RANKING, RERANKING, Evaluator, file_name
from armlib.experiments.provenance import provenance
from armlib.storage import atomic_file

ENDING = ".ir-metadata.yaml"
TOOLKIT = "armlib"
FIRST_STAGE, BI_ENCODER = "first stage", "bi-encoder"


def write_run_metadata(
    folder: Path, evaluator: Evaluator, encoder: BiEncoder, collections: Sequence[Collection], *, tag: str, command: Sequence[str]
) -> list[Path]:
    """Write a file beside each run that an evaluator has written: ``NAME.ir-metadata.yaml`` for ``NAME.run.gz``.

    Args:
        folder: of the runs.
        evaluator: which has measured.
        encoder: which was measured.
        collections: on which.
        tag: the last column of the runs.
        command: the words of the command that does the same again.

    Returns:
        The files.

    Raises:
        InputError: one cannot be written.
    """
    written = []
    for collection in collections:
        for mode in (RERANKING, FULL_RANKING) if evaluator.full else (RERANKING,):
            path = folder / f"{file_name(collection.name, mode, evaluator.measures)}{ENDING}"
            with atomic_file(path) as draft:
                draft.write_text(run_metadata(evaluator, encoder, collection, mode, tag=tag, command=command), encoding="utf8")
            written.append(path)
    return written


def run_metadata(
    evaluator: Evaluator, encoder: BiEncoder, collection: Collection, mode: str, *, tag: str, command: Sequence[str]
) -> str:
    """What made one run, as YAML: of one collection and mode, else as `write_run_metadata` takes it."""
    metadata = {
        "schema-version": 0.1,
        "run-version": 1.0,
        "tag": tag,
        **_platform(),
        "research goal": {"evaluation": {"reported measures": list(evaluator.measures[collection.name])}},
        "implementation": {"executable": {"cmd": shlex.join(command)}, "source": {"lang": ["python"]}},
        "method": _method(evaluator, encoder, mode),
        "data": _data(encoder, collection),
    }
    return f"# ir_metadata.start\n{yaml_dump(metadata, sort_keys=False)}# ir_metadata.end\n"


def _platform() -> dict[str, Any]:
    made = provenance()
    machine, versions = made["machine"], made["versions"]
    cpu = {"model": machine["processor"], "architecture": platform.machine(), "number of cores": machine["cores"]}
    hardware: dict[str, Any] = {"cpu": cpu, "ram": f"{machine['memory_gib'] * 2**30 / 1e9:.1f} GB"}
    if machine["gpu"]:
        hardware["gpu"] = {"model": machine["gpu"]}
    system = {"kernel": platform.release().partition("-")[0]}  # its version, without what the machine's owner called it
    with suppress(OSError):  # no Linux
        system["distribution"] = platform.freedesktop_os_release()["PRETTY_NAME"]
    libraries = [f"{name}=={version}" for name, version in versions.items() if name not in ("python", TOOLKIT)]
    software = {"libraries": {"python": libraries}, "retrieval toolkit": [f"{TOOLKIT}=={versions[TOOLKIT]}"]}
    return {"platform": {"hardware": hardware, "operating system": system, "software": software}}


def _method(evaluator: Evaluator, encoder: BiEncoder, mode: str) -> dict[str, Any]:
    params: dict[str, Any] = {
        "architecture": type(encoder.backbone).__name__,
        "pooling": encoder.pooling,
        "dimensions": encoder.dim,
        "query length": evaluator.query_length,
        "passage length": evaluator.passage_length,
        "query prompt": encoder.prompts.query,
        "passage prompt": encoder.prompts.passage,
        "weights": encoder.fingerprint(),
    }
    stage: dict[str, Any] = {"name": BI_ENCODER, "method": "cosine similarity of embeddings", "params": params}
    if mode == RERANKING:
        retrieval = [
            {"name": FIRST_STAGE, "method": "candidates of the test collection, else BM25"},
            stage | {"reranks": FIRST_STAGE},
        ]
    else:
        params |= {"index": evaluator.index, "vectors": evaluator.vectors}
        retrieval = [stage]
    return {"automatic": True, "score ties": "descending document ids, as trec_eval", "retrieval": retrieval}


def _data(encoder: BiEncoder, collection: Collection) -> dict[str, Any]:
    tested = {"name": collection.name} | ({"ir_datasets": collection.name} if isinstance(collection, IrDataset) else {})
    trained = encoder.saved.get("provenance", {})
    names = [trained["collection"]] if trained.get("collection") and trained.get("steps") else []
    return {"test collection": tested} | ({"training data": [{"name": name} for name in names]} if names else {})
