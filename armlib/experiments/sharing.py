"""A trained encoder for others: a plain folder with its card, perhaps as ONNX, too, and on the Hugging Face hub."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from armlib import storage
from armlib.encoder.export import RECORD
from armlib.encoder.onnx_export import write_onnx
from armlib.errors import InputError
from armlib.evaluation.evaluate import FULL_RANKING, RERANKING
from armlib.evaluation.measures import Evaluation
from armlib.experiments.model_card import CARD, FOLDER, Baselines, model_card
from armlib.experiments.outcome import BEFORE, BM25, LARGE, before_training, bm25, sizes
from armlib.experiments.public_names import public_encoder, public_name
from armlib.experiments.result import Result
from armlib.experiments.store import RunStore
from armlib.experiments.training_data import TrainingData


def export_encoder(
    result: Result, folder: Path, *, place: str = FOLDER, licence: str = "", onnx: bool = False, baselines: Baselines | None = None
) -> Path:
    """Write a result's encoder as a plain folder, which sentence-transformers, armlib and the hub read.

    The folder is not sealed, so that its card can be edited. Local collections and encoders are named by the end of their paths.

    Args:
        result: a finished experiment.
        folder: a new folder.
        place, licence, baselines: as `armlib.experiments.model_card.model_card` takes them.
        onnx: also write the encoder as ONNX, see `armlib.encoder.onnx_export.write_onnx`.

    Returns:
        The folder.

    Raises:
        InputError: there is something in the folder, the result is damaged, ONNX cannot be written, or the disk is full.
    """
    check_new(folder)
    source = result.folder / "encoder"
    if reason := storage.damage(source):
        raise InputError(f"{source} is damaged: {reason}")
    with storage.atomic_folder(folder) as draft:
        shutil.copytree(source, draft, dirs_exist_ok=True, ignore=shutil.ignore_patterns(storage.MANIFEST))
        record = storage.read_json(draft / RECORD, dict)
        storage.write_json(draft / RECORD, record | {"provenance": _public(record.get("provenance", {}))})
        if onnx:
            write_onnx(result.encoder(), draft)
        (draft / CARD).write_text(model_card(result, place=place, licence=licence, onnx=onnx, baselines=baselines), encoding="utf8")
    (folder / storage.MANIFEST).unlink()
    return folder


def check_new(folder: Path) -> None:
    """Refuse a folder that has something in it.

    Raises:
        InputError: it has, or is no folder.
    """
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there already; expected a new folder to export to")


def compared(result: Result, store: RunStore) -> Baselines:
    """What a card compares an encoder with: BM25, which ranks whole collections, and the encoder before training.

    Nothing is encoded: the latter is compared with where the store has it measured, as ``armlib train`` does.

    Raises:
        InputError: a collection that the result was measured on is not at hand.
    """
    measured = list(dict.fromkeys(zip(result.measures.collection, result.measures["mode"], strict=True)))
    found: dict[str, dict[tuple[str, str], Evaluation]] = {BM25: {}}
    for collection, size in sizes(TrainingData(result.experiment)).items():
        if size > LARGE:
            continue
        modes = [mode for name, mode in measured if name == collection.name]
        mode = FULL_RANKING if FULL_RANKING in modes else RERANKING
        found[BM25][collection.name, mode] = bm25(collection, list(result.per_query(collection.name, mode).mean))
    untrained = before_training(result.experiment)
    if result.experiment.steps and store.state(untrained) == "finished":
        before = store.result(untrained)
        found[BEFORE] = {pair: before.per_query(*pair) for pair in measured}
    return found


def check_hub_name(name: str) -> None:
    """Refuse a name that no repository of the hub can have.

    Raises:
        InputError: it is such a name.
    """
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise InputError(f"{name!r} cannot be the name of a repository on the hub; expected one such as 'user/encoder'") from error


def push_to_hub(folder: Path, name: str, *, private: bool = False, api: HfApi | None = None) -> str:
    """Upload an exported folder to the Hugging Face hub, into a repository that is made where there is none.

    Args:
        folder: as `export_encoder` wrote it.
        name: of the repository, such as ``user/encoder``.
        private: whether one that is made is for its owners alone; one that is there stays as it is.
        api: of huggingface_hub; by default with the token that ``hf auth login`` keeps.

    Returns:
        The address of the repository.

    Raises:
        InputError: the name cannot be one, or the hub cannot be reached or refuses; the folder is left where it is.
    """
    check_hub_name(name)
    api = api or HfApi()
    try:
        address = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(folder_path=folder, repo_id=name, commit_message="The encoder and its card")
    except Exception as error:  # the network has errors of its own, beside those of the hub
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise InputError(f"{folder} was written, but not uploaded to {name} ({reason}); 'hf auth login' gives a token") from error
    return str(address)


def _public(provenance: dict[str, Any]) -> dict[str, Any]:
    """What an encoder's folder says of its experiment, without paths of this machine.

    Where there were some, it is no record of the experiment any more, from which others could take names for what they are not.
    """
    shown: dict[str, Any] = {}
    for name, value in provenance.items():
        if isinstance(value, list):
            shown[name] = [public_name(str(each)) for each in value]
        else:
            shown[name] = public_encoder(value) if name == "encoder" else public_name(value) if isinstance(value, str) else value
    return shown if shown == provenance else {"experiment": shown.pop("experiment", ""), "values": shown}
