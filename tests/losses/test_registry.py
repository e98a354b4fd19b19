"""Losses by name: what `parse_loss` reads, it writes again, and what does not go together is refused."""

from __future__ import annotations

import pytest
import torch

from armlib.errors import InputError
from armlib.losses import LOSSES, EmbeddedBatch, Loss, LossValue, MarginLoss, Static, parse_loss
from armlib.losses.registry import losses

TEXTS = [
    "static(0.3)",
    "static(0.5, variance=1.5)",
    "static(0.3, in_batch=True, error='absolute')",
    "adaptive",
    "adaptive(in_batch=True, error='soft', reading='released-code', stop_gradient=True)",
    "distributed",
    "distributed(reading='released-code')",
    "mean(stop_gradient=True)",
    "static(0.3, in_batch=True, filter=True)",
    "variance",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_loss_prints_as_it_parses(text: str) -> None:
    loss = parse_loss(text)
    assert isinstance(loss, MarginLoss) and str(loss) == text
    assert repr(parse_loss(str(loss))) == repr(loss)
    assert parse_loss(loss) is loss


def test_equal_losses_print_alike() -> None:
    assert str(parse_loss(" Static( 1 , variance=0, in_batch=False ) ")) == "static(1.0)"
    assert str(MarginLoss(Static(0.5, variance=2), in_batch=True)) == "static(0.5, variance=2.0, in_batch=True)"


def test_targets_name_margin_losses() -> None:
    assert sorted(losses()) == ["adaptive", "distributed", "infonce", "list-kl", "margin-mse", "mean", "static", "variance"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("adaptve", r"^unknown loss 'adaptve'; did you mean 'adaptive'\?"),
        (
            "static",
            r"^the loss 'static' cannot be read: expected static\(value, variance=0\.0, in_batch=False, error='squared', "
            r"reading='paper', stop_gradient=False, filter=False\)$",
        ),
        ("adaptive(0.3)", r"^the loss 'adaptive\(0\.3\)' cannot be read: expected adaptive\(in_batch=False, "),
        ("adaptive(inbatch=True)", r"^the loss 'adaptive\(inbatch=True\)' cannot be read"),
        ("static(3)", r"value of a static target must be a number from -2 to 2, not 3"),
        ("adaptive(error='mse')", r"unknown error 'mse'"),
        ("adaptive(reading='code')", r"unknown reading 'code'"),
        ("distributed(in_batch=True)", r"in_batch is for static and adaptive targets"),
        ("mean(reading='released-code')", r"the released code has no target 'mean'"),
        ("static(0.3, stop_gradient=True)", r"has no gradient to stop"),
    ],
)
def test_what_is_no_loss_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        parse_loss(text)


def test_a_new_family_is_one_line_of_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    class Contrastive(Loss):
        """The cross-entropy of the positive against the negatives of its own query."""

        def __init__(self, temperature: float = 1.0) -> None:
            super().__init__()
            self.temperature = temperature

        def of_batch(self, batch: EmbeddedBatch) -> LossValue:
            passages = torch.cat([batch.positives[:, None], batch.negatives], dim=1)  # (B, 1 + N, D)
            scores = torch.einsum("bd,bnd->bn", batch.queries, passages) / self.temperature
            return LossValue(-scores.log_softmax(1)[:, 0].mean())

        def __str__(self) -> str:
            return f"contrastive(temperature={self.temperature})"

    monkeypatch.setitem(LOSSES, "contrastive", Contrastive)
    loss = parse_loss("contrastive(temperature=0.5)")
    assert str(loss) == "contrastive(temperature=0.5)"
    queries = torch.tensor([[1.0, 0.0]])
    batch = EmbeddedBatch(queries, queries, torch.tensor([[[0.0, 1.0], [0.0, 1.0]]]))
    assert float(loss.of_batch(batch).value) == pytest.approx(torch.log(1 + 2 * torch.exp(torch.tensor(-2.0))).item())
    with pytest.raises(InputError, match=r"expected contrastive\(temperature=1\.0\)"):
        parse_loss("contrastive(heat=1)")


def test_the_margin_loss_takes_one_negative_a_query() -> None:
    draw = torch.Generator().manual_seed(0)
    queries, positives = (torch.randn(4, 3, generator=draw) for _ in range(2))
    negatives = torch.randn(4, 2, 3, generator=draw)
    loss = parse_loss("distributed")
    value, targets = loss.of_batch(EmbeddedBatch(queries, positives, negatives[:, :1]))
    assert torch.equal(value, loss(queries, positives, negatives[:, 0])) and targets.shape == (4, 4)
    with pytest.raises(InputError) as caught:
        loss.of_batch(EmbeddedBatch(queries, positives, negatives))
    assert str(caught.value) == "the loss 'distributed' takes one negative a query, and these batches have 2"
