"""How often gradient descent on the circle ends with small margins, from many random starts: counted, and in words."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from torch import Tensor
from torch.func import vmap

from armbook.explorer.circle import margins_of, points
from armlib.errors import InputError
from armlib.losses import MarginLoss

SMALL = 0.2  # a margin below this counts as collapsed


def small_margins(ends: Mapping[str, Tensor], small: float = SMALL) -> pd.DataFrame:
    """How often margins are small.

    Args:
        ends: by target, as `armlib.losses.MarginLoss` takes it, the angles at which descent ended, (N, 3, B), see
            `armbook.explorer.circle.descend`.
        small: margins below this are counted.

    Returns:
        A row a target: ``target``; ``triples``, the share of all N B triples with a small margin; ``starts``, the share of the N
        starts with at least one; ``loss``, the mean loss; ``starts_counted``, N; ``size``, B.

    Raises:
        InputError: there are no ends.
    """
    if not ends:
        raise InputError("expected the ends of at least one target, got none")
    rows = []
    for target, angles in ends.items():
        found, loss = margins_of(angles) < small, MarginLoss(target)
        value = vmap(lambda degrees, loss=loss: loss(*points(degrees)))(angles).mean()
        shares = {"triples": float(found.double().mean()), "starts": float(found.any(1).double().mean())}
        rows.append({"target": target, **shares, "loss": float(value), "starts_counted": len(angles), "size": angles.shape[2]})
    return pd.DataFrame(rows)


def answer(table: pd.DataFrame, small: float = SMALL) -> str:
    """What the table of `small_margins` says, in Markdown: which targets end with small margins, and at what loss."""
    first = table.iloc[0]
    clean, not_clean = table[table.triples == 0], table[table.triples > 0].sort_values("triples", ascending=False)
    said = [
        f"A margin loss is satisfied when the margin meets its target, and a target that moves can come down to meet a small margin. "
        f"We followed {first.starts_counted:,} random starts of {first['size']} triples on the circle downhill."
    ]
    if len(not_clean):
        worst = not_clean.iloc[0]
        said.append(
            f"{_named(worst.target)} end with {_percent(worst.triples)} of the margins below {small:g}, at least one in "
            f"{_percent(worst.starts)} of the starts, at a mean loss of {worst.loss:.4f}."
        )
        for row in not_clean.iloc[1:].itertuples():
            said.append(f"{_named(row.target)} end with {_percent(row.triples)} (mean loss {row.loss:.4f}).")
    if len(clean):
        names = " and ".join([_named(clean.target.iloc[0]), *(_named(name, start=False) for name in clean.target.iloc[1:])])
        said.append(f"{names} end with none.")
    said.append("An encoder does not start at random, so this says what the losses allow, not how often training gets there.")
    return " ".join(said)


def _named(target: str, start: bool = True) -> str:
    kind, _, inside = target.partition("(")
    words = f"{kind} targets of {inside.rstrip(')')}" if inside else f"{kind} targets"
    return words[0].upper() + words[1:] if start else words


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.005 else "less than 1 %"
