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
    collapsed = table[table.triples > 0].sort_values("triples", ascending=False, kind="stable")
    clean = table[table.triples == 0]
    count, size = int(table.starts_counted.iloc[0]), int(table["size"].iloc[0])
    moving = [_kind(name) for name in collapsed.target if _kind(name) != "static"]
    first = "A target that depends on the passages can be met by lowering it. " if moving else ""
    said = [f"{first}We took {count:,} random starts of {size} triples on the circle downhill."]
    for place, row in enumerate(collapsed.itertuples()):
        starts = f", at least one in {_percent(row.starts)} of the starts" if place == 0 else ""
        said.append(
            f"{_named(row.target)} end with {_percent(row.triples)} of the margins below {small:g}{starts} ({_loss(row.loss)})."
        )
    if len(clean):
        names = [_named(name) if place == 0 else _named(name).lower() for place, name in enumerate(clean.target)]
        said.append(f"{' and '.join(names)} end with no margin below {small:g}.")
    said.append("An encoder does not start at random, so this says what the losses allow, not how often training gets there.")
    return " ".join(said)


def compared(before: pd.DataFrame, after: pd.DataFrame) -> str:
    """How the shares of triples with small margins differ between two tables of `small_margins` of the same targets."""
    old, new = (table.set_index("target").triples for table in (before, after))
    said = []
    for target in new.index:
        if new[target] == old[target]:
            said.append(f"{_named(target)}: {_percent(new[target])}, as before.")
        else:
            way = "fewer" if new[target] < old[target] else "more"
            said.append(f"{_named(target)}: {_percent(new[target])} small margins, {way} than the {_percent(old[target])} before.")
    return " ".join(said)


def _kind(target: str) -> str:
    return target.partition("(")[0]


def _named(target: str) -> str:
    inside = target.partition("(")[2].rstrip(")")
    return f"{_kind(target).capitalize()} targets" + (f" of {inside}" if inside else "")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.005 or share == 0 else "less than 1 %"


def _loss(value: float) -> str:
    return f"mean loss {value:.4f}" if value >= 0.0001 else "mean loss below 0.0001"
