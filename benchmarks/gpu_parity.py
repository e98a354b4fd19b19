"""Whether the trainer computes, on this machine, what it says: gradients, dropout, and the replay of dropout."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace

import numpy as np
import torch
from random_material import ARCHITECTURES, PASSAGE_LENGTH, QUERY_LENGTH, Material
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import AutoModel

from armlib.data.batches import TripleBatches
from armlib.encoder import first_token
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.cudnn import without_cudnn
from armlib.encoder.pretrained import pooler_options
from armlib.losses import EmbeddedBatch, LossValue, MarginLoss
from armlib.training.gradients import batch_gradients
from armlib.training.processes import default_accelerator
from armlib.training.settings import Settings

TRIPLES = 8
DRAWN, DRAWS = 16, 8  # triples whose dropout is watched, and how often it is drawn
LOSS = "distributed"
FACTOR = 3.0  # by which the trainer's gradients may be farther from float64's than those of transformers in the same precision
CACHED_TOLERANCE = {"cpu": 1e-5, "cuda": 2e-2}  # on CUDA some kernels add in any order, and then round to bfloat16
RATE_TOLERANCE = 0.15  # of the deviation that attention dropout makes, over that of transformers' eager attention
Gradients = dict[str, Tensor]


LAYOUTS: dict[str, dict[str, object]] = {"chunks": {"chunk_size": 4}, "packed": {"flat": True, "chunk_tokens": 256}}
"""How batches lie, as options of `Material.batches`, by name; a further way of the trainer is a further line."""


def parity(material: Material, figures: dict) -> None:
    """Compare the trainer's gradients with those of transformers' padded forward pass in float64, and try its dropout.

    Puts into the figures, for each architecture and layout: ``float32`` and ``as_trained`` (in autocast on CUDA), each with how far
    gradient and loss are from float64's, and how far transformers' own ``stock`` gradient is in the same precision; ``cached``, how
    far gradients with and without gradient caching are apart under dropout; ``replayed``, whether the same step has the same loss
    again, and ``dropout_changes_loss``; ``attention_dropout``, see there; and ``holds``, all in all.
    """
    for name in ARCHITECTURES:
        encoder = material.encoder(name).eval()
        source, device = material.batches(batch_size=TRIPLES), material.device
        expected, value = reference(encoder, source, device, torch.float64)
        precisions = {"float32": full_precision(device), "as_trained": default_accelerator(device)}
        stock = {
            way: distance(reference(encoder, source, device, autocast=each.autocast)[0], expected)
            for way, each in precisions.items()
        }
        moved = attention_dropout_of_eager(material, name)
        for layout, options in LAYOUTS.items():
            batches, found = material.batches(batch_size=TRIPLES, **options), {}
            encoder.eval()
            for way, accelerator in precisions.items():
                gradients, loss = ours(encoder, batches, accelerator)
                apart = {"gradient": distance(gradients, expected), "stock": stock[way], "loss": abs(loss - value) / value}
                found[way] = apart | {"holds": apart["gradient"] < FACTOR * stock[way]}
            found |= _dropout(encoder, batches, value, device)
            trained = attention_dropout(material, name, options)
            found["attention_dropout"] = {"trained": trained, "eager": moved, "ratio": trained / moved}
            held = (found["float32"]["holds"], found["as_trained"]["holds"], found["replayed"], found["dropout_changes_loss"])
            found["holds"] = all(held) and found["cached"] < CACHED_TOLERANCE[device] and abs(trained / moved - 1) < RATE_TOLERANCE
            figures[f"{name}, {layout}"] = found


def _dropout(encoder: BiEncoder, batches: TripleBatches, value: float, device: str) -> dict:
    """A step under dropout compared with itself, without and with gradient caching, and with the loss without dropout."""
    encoder.train()
    (plain, loss), (again, repeated) = (ours(encoder, batches, default_accelerator(device), cached) for cached in (False, True))
    return {
        "cached": distance(again, plain),
        "replayed": abs(repeated - loss) <= 1e-6 * abs(loss),
        "dropout_changes_loss": abs(loss - value) > 1e-6 * value,
    }


def full_precision(device: str) -> SimpleNamespace:
    """As much of an accelerator as a gradient needs, without autocast."""
    return SimpleNamespace(device=torch.device(device), process_index=0, num_processes=1, autocast=nullcontext)


def ours(encoder: BiEncoder, batches: TripleBatches, accelerator, cached: bool = False) -> tuple[Gradients, float]:
    """The gradients of the trainer's step, by parameter, and its loss."""
    encoder.zero_grad(set_to_none=True)
    with without_cudnn():
        batch = batches[0].to(accelerator.device)
        measured = batch_gradients(encoder, MarginLoss(LOSS), batch, accelerator, Settings(1, 1e-5, cached=cached), 0)
    found = {name: parameter.grad.clone() for name, parameter in encoder.named_parameters() if parameter.grad is not None}
    return found, measured["loss"].item()


def reference(
    encoder: BiEncoder,
    batches: TripleBatches,
    device: str,
    kind: torch.dtype = torch.float32,
    autocast: Callable[[], AbstractContextManager] = nullcontext,
) -> tuple[Gradients, float]:
    """The same by transformers' own layers with every text padded to the maximum length, in some type of numbers or in autocast."""
    plain = nn.ModuleDict({"backbone": stock_layers(encoder)})
    if encoder.linear is not None:
        plain["linear"] = copy.deepcopy(encoder.linear)
    plain.to(kind).eval().zero_grad(set_to_none=True)
    rows = batches.rows(0)
    texts = (padded(batches.queries, rows[:, 0], QUERY_LENGTH), padded(batches.passages, rows[:, 1:].T.reshape(-1), PASSAGE_LENGTH))
    with without_cudnn(), autocast():
        queries, passages = (embeddings(plain, *each, device).to(kind) for each in texts)
    value = MarginLoss(LOSS)(queries, *passages.chunk(2))
    value.backward()
    return {name: parameter.grad for name, parameter in plain.named_parameters() if parameter.grad is not None}, value.item()


def stock_layers(encoder: BiEncoder) -> nn.Module:
    """A copy of the encoder's backbone with transformers' own layers."""
    backbone = copy.deepcopy(encoder.backbone)
    first_token.disable(backbone)
    return backbone


def padded(store, rows: np.ndarray, length: int) -> tuple[Tensor, Tensor]:
    """Token ids and mask of some rows, padded to a length, (n, length) each."""
    ids, lengths = store.gather(rows, length)
    mask = torch.arange(length) < torch.from_numpy(lengths)[:, None]
    return pad(torch.from_numpy(ids), (0, length - ids.shape[1]), value=store.padding), mask.long()


def embeddings(plain: nn.ModuleDict, ids: Tensor, mask: Tensor, device: str) -> Tensor:
    hidden = plain["backbone"](input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state[:, 0]
    return plain["linear"](hidden) if "linear" in plain else hidden


def distance(found: Gradients, expected: Gradients) -> float:
    """How far all gradients together are from the expected ones, over the length of these; infinite where one is missing."""
    if found.keys() != expected.keys():
        return float("inf")
    pairs = [(found[name].double(), expected[name].double()) for name in expected]
    apart, length = (torch.stack(each).norm() for each in zip(*(((a - b).norm(), b.norm()) for a, b in pairs), strict=True))
    return float(apart / length)


class Watching(MarginLoss):
    """The loss, which keeps the passages' embeddings that it was last given."""

    def of_batch(self, batch: EmbeddedBatch) -> LossValue:
        self.seen = torch.cat([batch.positives, batch.negatives[:, 0]]).detach()  # (2 B, D)
        return super().of_batch(batch)


def attention_dropout(material: Material, name: str, options: dict[str, object]) -> float:
    """How far dropout of attention weights alone moves embeddings in the trainer's steps.

    A mean over passages and draws of the distance that dropout moves an embedding, over its length. Attention that left dropout
    out, or drew it at another rate, would be told by `attention_dropout_of_eager`, which is the same of transformers' attention
    written out.
    """
    encoder, loss, accelerator = (
        material.encoder(name, **_attention_alone(name)),
        Watching(LOSS),
        default_accelerator(material.device),
    )
    batch = material.batches(batch_size=DRAWN, **options)[0].to(accelerator.device)

    def embed(step: int) -> Tensor:
        batch_gradients(encoder, loss, batch, accelerator, Settings(1, 1e-5), step)
        return loss.seen

    with without_cudnn():
        return _moved(encoder, embed)


def attention_dropout_of_eager(material: Material, name: str) -> float:
    """`attention_dropout` of transformers' own layers with their eager attention, in the same precision."""
    encoder = material.encoder(name, **_attention_alone(name))
    config = encoder.backbone.config
    eager = AutoModel.from_config(config, attn_implementation="eager", **pooler_options(config))
    eager.load_state_dict(encoder.backbone.state_dict())
    plain = nn.ModuleDict({"backbone": eager} | ({"linear": encoder.linear} if encoder.linear is not None else {}))
    batches = material.batches(batch_size=DRAWN)
    ids, mask = padded(batches.passages, batches.rows(0)[:, 1:].T.reshape(-1), PASSAGE_LENGTH)

    accelerator = default_accelerator(material.device)

    def embed(seed: int) -> Tensor:
        torch.manual_seed(seed)
        with accelerator.autocast():
            return embeddings(plain, ids, mask, material.device).float()

    with torch.no_grad():
        return _moved(plain.to(material.device), embed)


def _attention_alone(name: str) -> dict[str, float]:
    """Values of a configuration that leave no dropout but that of attention weights."""
    return {"dropout": 0.0} if name == "distilBERT" else {"hidden_dropout_prob": 0.0}


def _moved(module: nn.Module, embed: Callable[[int], Tensor]) -> float:
    module.eval()
    still, away = embed(0), []
    module.train()
    for draw in range(DRAWS):
        away.append((embed(draw) - still).norm(dim=1) / still.norm(dim=1))
    return torch.stack(away).mean().item()
