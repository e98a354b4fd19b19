"""How often margins end small: counted as a loop over starts counts, and said as counted."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from armbook.explorer import circle, collapse
from armbook.explorer.circle import ROLES, loss_on_circle, random_start, random_starts, step
from armlib.errors import InputError
from armlib.losses import MarginLoss


def row(target: str, triples: float, starts: float, loss: float) -> dict:
    return {"target": target, "triples": triples, "starts": starts, "loss": loss, "starts_counted": 1000, "size": 4}


def test_many_starts_at_once_are_each_start_by_itself():
    seeds, loss, steps = range(6), MarginLoss("adaptive"), 25
    ends = circle.descend(random_starts(seeds), loss, steps)
    table = collapse.small_margins({"adaptive": ends})
    margins, losses = [], []
    for seed, end in zip(seeds, ends, strict=True):
        angles = random_start(seed)
        for _ in range(steps):
            angles = step(angles, loss)
        torch.testing.assert_close(end, torch.tensor([angles[role] for role in ROLES], dtype=torch.float64))
        at = loss_on_circle(angles, loss)
        margins.append(at.margins)
        losses.append(at.loss)
    low = torch.stack(margins) < 0.2
    assert table.triples[0] == low.double().mean() and table.starts[0] == low.any(1).double().mean() and 0 < table.triples[0] < 1
    assert table.loss[0] == pytest.approx(sum(losses) / 6) and table.starts_counted[0] == 6 and table["size"][0] == 4
    with pytest.raises(InputError, match="at least one target"):
        collapse.small_margins({})


def test_starts_are_even_and_seeds_have_a_range():
    drawn = random_starts(range(500))
    assert drawn.shape == (500, 3, 4) and 0 <= drawn.min() and drawn.max() < 360
    shares = torch.histc(drawn, 8, 0, 360) / drawn.numel()
    assert (shares - 1 / 8).abs().max() < 0.015
    for seed, triples in ((-1, 4), (2**32, 4), (0, 0)):
        with pytest.raises(InputError, match="expected a seed from 0"):
            random_start(seed, triples)


def test_the_answer_says_what_was_counted():
    table = pd.DataFrame([row("static(0.5)", 0, 0, 0), row("adaptive", 0.25, 0.71, 1e-9), row("distributed", 0.003, 0.01, 0.0021)])
    said = collapse.answer(table)
    assert said.startswith(
        "A target that depends on the passages can be met by lowering it. We took 1,000 random starts of 4 triples"
    )
    assert (
        "Adaptive targets end with 25 % of the margins below 0.2, at least one in 71 % of the starts (mean loss below 0.0001)."
        in said
    )
    assert "Distributed targets end with less than 1 % of the margins below 0.2 (mean loss 0.0021)." in said
    assert "Static targets of 0.5 end with no margin below 0.2." in said
    none = collapse.answer(pd.DataFrame([row("static(0.5)", 0, 0, 0), row("adaptive", 0, 0, 0)]))
    assert "lowering" not in none and "Static targets of 0.5 and adaptive targets end with no margin below 0.2." in none
    small = collapse.answer(pd.DataFrame([row("static(0.1)", 1, 1, 0), row("adaptive", 0, 0, 0)]))
    assert "lowering" not in small and "Static targets of 0.1 end with 100 % of the margins" in small


def test_two_counts_are_compared():
    before = pd.DataFrame([row("adaptive", 0.25, 0.7, 0), row("distributed", 0.1, 0.2, 0), row("static(0.5)", 0, 0, 0)])
    after = pd.DataFrame([row("adaptive", 0.13, 0.4, 0), row("distributed", 0.12, 0.2, 0), row("static(0.5)", 0, 0, 0)])
    assert collapse.compared(before, after) == (
        "Adaptive targets: 13 % small margins, fewer than the 25 % before. "
        "Distributed targets: 12 % small margins, more than the 10 % before. Static targets of 0.5: 0 %, as before."
    )
