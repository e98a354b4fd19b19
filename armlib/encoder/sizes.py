"""How large a Hugging Face model is: its parameters, and the texts that it takes."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

POSITIONS = {"position_embeddings", "wpe", "embed_positions"}  # what tables of positions are called


class ParameterCounts(NamedTuple):
    """Numbers of parameters: all of them, and those that cost arithmetic for each token (all but embedding tables)."""

    total: int
    non_embedding: int


def positions(model: nn.Module) -> int | None:
    """The most tokens that a Hugging Face model has positions for; None where it has no limit."""
    for name, table in model.named_modules():
        if isinstance(table, nn.Embedding) and name.rpartition(".")[2] in POSITIONS:
            # RoBERTa and MPNet number positions from behind the padding id.
            return table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
    return None


def parameter_counts(model: nn.Module) -> ParameterCounts:
    """Numbers of parameters of any model, each counted once."""
    tables = {id(p) for module in model.modules() if isinstance(module, nn.Embedding) for p in module.parameters()}
    sizes = [(p.numel(), id(p) in tables) for p in model.parameters()]
    return ParameterCounts(sum(size for size, _ in sizes), sum(size for size, is_table in sizes if not is_table))
