"""An encoder as ONNX, by torch's own exporter: token ids in, token vectors and the normalised embedding out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from armlib.encoder import first_token
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.pooling import pooled
from armlib.errors import InputError
from armlib.packages import onnxruntime, onnxscript
from armlib.storage import atomic_file

MODEL = "onnx/model.onnx"
"""Where sentence-transformers looks for it in a folder (``backend="onnx"``)."""
INPUTS, OUTPUTS = ("input_ids", "attention_mask"), ("last_hidden_state", "sentence_embedding")
LARGEST = 2**31 - 2**20  # bytes of a file of protobuf, less what the graph takes beside the weights
TOLERANCE = 1e-5


class _Outputs(nn.Module):
    """What is exported of an encoder."""

    def __init__(self, encoder: BiEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(
        self, input_ids: Int[Tensor, "n L"], attention_mask: Int[Tensor, "n L"]
    ) -> tuple[Float[Tensor, "n L D"], Float[Tensor, "n dim"]]:
        encoder, pooling, counted = self.encoder, self.encoder.pooling, attention_mask
        hidden = encoder._hidden({"input_ids": input_ids}, attention_mask)
        if pooling.startswith("last"):  # as the mean of one token: torch cannot export the look-up for all sizes
            places = torch.arange(attention_mask.shape[1], device=attention_mask.device)
            counted, pooling = places == attention_mask.sum(1, keepdim=True) - 1, "mean"
        vectors = encoder._finished(pooled(hidden, counted, pooling))
        return hidden, nn.functional.normalize(vectors, dim=-1)


def write_onnx(encoder: BiEncoder, folder: Path) -> Path:
    """Write ``onnx/model.onnx`` into a folder, and compare what ONNX Runtime computes by it with what the encoder does.

    Inputs: ``input_ids`` and ``attention_mask``, (n, L) int64, padded at the right, with any n and L that the encoder has positions
    for. Outputs: ``last_hidden_state``, (n, L, D), which sentence-transformers' backend for ONNX reads and pools by itself, and
    ``sentence_embedding``, (n, dim), the encoder's embedding with length 1. The first of them needs the last layer for every token,
    so it is not computed for [CLS] alone. Weights that are too many for one file lie beside it, in ``onnx/model.onnx.data``.

    Args:
        encoder: without a context, on any device.
        folder: of the encoder.

    Returns:
        The path of the file.

    Raises:
        InputError: the encoder reads a context, onnxscript or onnxruntime is not installed, the architecture cannot be exported,
            or the embeddings differ by more than 1e-5.
    """
    if encoder.context is not None:
        raise InputError("an encoder that reads a context is not exported as ONNX; expected a plain encoder")
    onnxscript()  # which torch's exporter needs
    runtime = onnxruntime()
    path = folder / MODEL
    path.parent.mkdir(parents=True, exist_ok=True)
    with _plain(encoder), torch.inference_mode():
        program = _exported(encoder)
        _without_sources(program.model)
        weights = sum(value.numel() * value.element_size() for value in encoder.state_dict().values())
        if weights > LARGEST:
            program.save(path, external_data=True)  # two files, which name each other
        else:
            with atomic_file(path) as draft:
                program.save(draft, external_data=False)
        _compare(encoder, runtime.InferenceSession(path, providers=["CPUExecutionProvider"]))
    return path


@contextmanager
def _plain(encoder: BiEncoder) -> Iterator[None]:
    """The encoder in evaluation, with its stock last layer."""
    training = encoder.training
    encoder.eval()
    first_token.disable(encoder.backbone)
    try:
        yield
    finally:
        if encoder.cls_only:
            first_token.enable(encoder.backbone)
        encoder.train(training)


def _exported(encoder: BiEncoder) -> Any:
    """torch's program of ONNX."""
    device, any_size = encoder.backbone.device, torch.export.Dim.DYNAMIC
    first, last = encoder.special_tokens()
    ids = torch.tensor([[*first, *last, *last, *last][:3]] * 2 if first or last else [[0, 0, 0]] * 2, device=device)
    shapes = dict.fromkeys(INPUTS, {0: any_size, 1: any_size})
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)  # it tells of packages that nothing here needs
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.onnx.export(
                _Outputs(encoder),
                (ids, torch.ones_like(ids)),
                dynamo=True,
                input_names=INPUTS,
                output_names=OUTPUTS,
                dynamic_shapes=shapes,
                verbose=False,
            )
    except Exception as error:  # torch's exporter raises errors of many kinds
        said = str(error.__cause__ or error).strip().splitlines()
        reason = said[0] if said else type(error).__name__
        name = type(encoder.backbone).__name__
        raise InputError(f"torch cannot export {name} as ONNX ({reason}); expected an architecture that it can") from error
    finally:
        log.setLevel(level)


def _without_sources(model: Any) -> None:
    """Take the names of source files out, which are those of this machine, and name the sizes."""
    graph = model.graph
    graph.metadata_props.clear()
    for node in graph.all_nodes():
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*graph.inputs, *graph.outputs):
        value.metadata_props.clear()
        sizes = ["batch", "length"] if len(value.shape) == 3 or value in graph.inputs else ["batch"]
        value.shape = type(value.shape)([*sizes, *list(value.shape)[len(sizes) :]])


def _compare(encoder: BiEncoder, session: Any) -> None:
    """Refuse a model of other embeddings, on sizes that it was not traced with."""
    ids = np.random.default_rng(0).integers(0, encoder.backbone.config.vocab_size, (3, min(11, encoder.max_length or 11)))
    mask = np.ones_like(ids)
    mask[1, 1:], mask[2, 5:] = 0, 0
    pad = encoder.tokenizer.pad_token_id
    ids = np.where(mask == 1, np.where(ids == pad, (pad + 1) % encoder.backbone.config.vocab_size, ids), pad)
    for rows in (slice(0, 3), slice(0, 1)):
        given = dict(zip(INPUTS, (ids[rows], mask[rows]), strict=True))
        expected = encoder(*(torch.from_numpy(each).to(encoder.backbone.device) for each in given.values()))
        expected = nn.functional.normalize(expected.float(), dim=-1).cpu().numpy()
        (found,) = session.run([OUTPUTS[1]], given)
        apart = float(np.abs(found - expected).max()) if found.shape == expected.shape else np.inf
        if not apart <= TOLERANCE:
            name = type(encoder.backbone).__name__
            raise InputError(f"{name} as ONNX gives embeddings that differ by {apart:.1e}; expected at most {TOLERANCE:g}")
