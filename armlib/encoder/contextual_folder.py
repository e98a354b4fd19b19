"""The folder of an encoder that reads a context: both stages, the context that it is bound to, and a module that others load."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from armlib.data.contexts import Context
from armlib.encoder.contextual import ContextReader
from armlib.encoder.export import RECORD
from armlib.encoder.layout import CONTEXTUAL
from armlib.errors import InputError
from armlib.storage import read_json, write_json

FIRST_STAGE, SECOND_STAGE = "first_stage", "second_stage"
TENSORS = "context.safetensors"
OF_THE_MODEL = {"modules.json", "config_sentence_transformers.json", "README.md"}
"""Files that stay where sentence-transformers looks for them; all others are the second stage's."""


def write_context(draft: Path, reader: ContextReader) -> dict[str, Any]:
    """Turn the folder of a plain encoder, the second stage, into that of one that reads a context.

    The second stage moves into a folder of its own: whatever looks for an encoder in the folder itself would find one that leaves
    the context out. ``context.safetensors`` holds the bias, the projection, the null vector where there is one, the first
    stage's vectors of the context and its tokens.

    Args:
        draft: the folder, the first stage in it.
        reader: bound to a context.

    Returns:
        What to record: the ``passages`` by their ids, and the ``dropout``.
    """
    second = draft / SECOND_STAGE
    second.mkdir()
    for file in [each for each in draft.iterdir() if each.is_file() and each.name not in OF_THE_MODEL]:
        file.rename(second / file.name)
    assert reader.bound is not None and reader.vectors is not None, "only bound encoders are saved"
    own = {name: value for name, value in reader.state_dict().items() if not name.startswith("first.")}
    read = {"input_ids": reader.bound.input_ids, "attention_mask": reader.bound.attention_mask, "vectors": reader.vectors}
    save_file({name: value.detach().cpu().contiguous() for name, value in (own | read).items()}, second / TENSORS)
    modules = json.loads((draft / "modules.json").read_text(encoding="utf8"))
    modules[0] |= {"path": SECOND_STAGE, "type": CONTEXTUAL}
    write_json(draft / "modules.json", modules)
    source = f"{CONTEXTUAL.partition('.')[0]}.py"
    code = resources.files("armlib.encoder").joinpath(source).read_text(encoding="utf8")
    (draft / source).write_text(code, encoding="utf8")
    card = (draft / "README.md").read_text(encoding="utf8")
    card = card.replace('SentenceTransformer("this folder")', 'SentenceTransformer("this folder", trust_remote_code=True)')
    (draft / "README.md").write_text(card + _about(source, len(reader.bound.ids)), encoding="utf8")
    return {"passages": list(reader.bound.ids), "dropout": reader.dropout}


def _about(source: str, passages: int) -> str:
    return f"""
The encoder reads {passages} passages of its collection beside every text. sentence-transformers does so by `{source}`, for which
it needs `trust_remote_code=True`; without it, it refuses the folder. armlib loads the folder without running that file, and can
bind the encoder to the context of another collection.
"""


def first_stage_folder(source: str) -> Path:
    """Where the first stage of a folder is.

    Raises:
        InputError: it is not there, or the folder is a name on the hub.
    """
    folder = Path(source) / FIRST_STAGE
    if not Path(source).is_dir():
        raise InputError(
            f"the encoder {source} reads a context, which is loaded from a folder; expected the folder of a downloaded one"
        )
    if not folder.is_dir():
        raise InputError(
            f"{source} lacks the first stage of an encoder that reads a context; expected {FIRST_STAGE} as armlib writes it"
        )
    return folder


def read_context(source: str, first: Any, width: int) -> ContextReader:
    """The reader of a folder that `write_context` has written, bound to its context.

    Args:
        source: the folder.
        first: the first stage, a plain `armlib.encoder.bi_encoder.BiEncoder`.
        width: of the second stage's hidden states.

    Raises:
        InputError: files are missing or do not fit each other.
    """
    folder = Path(source)
    record = read_json(folder / RECORD, dict).get("context") if (folder / RECORD).is_file() else None
    missing = f"{source} does not say which context its encoder reads; expected {RECORD} and {SECOND_STAGE}/{TENSORS} as armlib"
    if not isinstance(record, dict) or not (folder / SECOND_STAGE / TENSORS).is_file():
        raise InputError(f"{missing} writes them")
    ids, said = record.get("passages"), record.get("dropout")
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids) or not isinstance(said, float | int):
        raise InputError(f"{missing} writes them")
    dropout = float(said)
    try:
        tensors = load_file(folder / SECOND_STAGE / TENSORS)
        context = Context(tuple(ids), tensors.pop("input_ids"), tensors.pop("attention_mask"))
        vectors = tensors.pop("vectors")
        reader = ContextReader(first, width, len(ids), dropout)
        if "null" in tensors:
            reader.set_dropout(1.0)  # makes the vector, of an encoder that was trained with dropout before
            reader.dropout = dropout
        own = {name for name in reader.state_dict() if not name.startswith("first.")}
        shapes = {"input_ids": context.input_ids.shape, "attention_mask": context.attention_mask.shape}
        if own != tensors.keys() or set(shapes.values()) != {(len(ids), context.input_ids.shape[1])}:
            raise ValueError(f"it holds {', '.join(sorted(tensors))} for {len(ids)} passages")
        if vectors.shape != (len(ids), first.dim):
            raise ValueError(f"its vectors are of shape {tuple(vectors.shape)} for {len(ids)} passages of {first.dim} dimensions")
        reader.load_state_dict(tensors, strict=False)
    except InputError:
        raise
    except Exception as error:  # the file is anybody's
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:300]
        raise InputError(f"{folder / SECOND_STAGE / TENSORS} cannot be used ({reason}); expected what armlib writes") from error
    reader.eval()
    reader.bind(context, vectors.to(torch.float32))
    return reader
