"""InfoNCE against sentence-transformers and the formula, its mask, and what self-distillation adds to it."""

from __future__ import annotations

import math

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from armlib.errors import InputError
from armlib.losses import EmbeddedBatch, parse_loss
from armlib.losses.false_negatives import relevant_elsewhere


def batch(size: int = 4, negatives: int = 2, rows: torch.Tensor | None = None) -> EmbeddedBatch:
    generator = torch.Generator().manual_seed(0)
    shapes = ((size, 8), (size, 8), (size, negatives, 8))
    return EmbeddedBatch(*(torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes), rows=rows)


def test_infonce_is_that_of_sentence_transformers() -> None:
    embedded = batch()
    theirs = MultipleNegativesRankingLoss(SentenceTransformer(modules=[torch.nn.Identity()]), scale=20)
    passages = [embedded.positives, *embedded.negatives.unbind(1)]
    expected = theirs.compute_loss_from_embeddings([embedded.queries, *passages], None)
    assert parse_loss("infonce(20)").of_batch(embedded).value.item() == pytest.approx(expected.item(), rel=1e-6)


def test_relevant_passages_of_other_rows_are_left_out() -> None:
    # query 5 twice, with two positives; passage 11 is a positive of query 5 and a negative of query 6
    rows = torch.tensor([[5, 10, 20], [5, 11, 21], [6, 12, 11], [7, 10, 22]])
    left_out = relevant_elsewhere(batch(negatives=1, rows=rows))
    # columns: positives 10 11 12 10, negatives 20 21 11 22
    assert left_out.int().tolist() == [
        [0, 1, 0, 1, 0, 0, 1, 0],
        [1, 0, 0, 1, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [1, 0, 0, 0, 0, 0, 0, 0],
    ]


def test_a_mask_is_the_loss_without_those_passages() -> None:
    rows = torch.tensor([[5, 10, 20], [5, 11, 21], [6, 12, 11], [7, 10, 22]])
    embedded = batch(negatives=1, rows=rows)
    left_out, expected = relevant_elsewhere(embedded), []
    for i in range(4):
        logits = 20 * torch.cosine_similarity(embedded.queries[i][None], embedded.passages())
        expected.append(torch.logsumexp(logits[~left_out[i]], 0) - logits[i])
    for text, value in (
        ("infonce(mask=True)", torch.stack(expected).mean()),
        ("infonce(mask=True, soft=1e-12)", torch.stack(expected).mean()),
    ):
        assert parse_loss(text).of_batch(embedded).value.item() == pytest.approx(value.item(), rel=1e-9)
    with pytest.raises(InputError, match="rows of the collection"):
        parse_loss("infonce(mask=True)").of_batch(batch())


def test_additive_margins_and_soft_labels_by_formula() -> None:
    embedded, margin, soft = batch(), 0.3, 0.25
    with_margin, with_labels = [], []
    for i in range(4):
        phi = torch.cosine_similarity(embedded.queries[i][None], embedded.passages())
        near = torch.cosine_similarity(embedded.positives[i][None], embedded.passages())
        exponents = [math.exp(20 * (phi[c] + (0 if c == i else margin * (1 + near[c]) / 2))) for c in range(12)]
        with_margin.append(-math.log(exponents[i] / sum(exponents)))
        labels = soft * (20 * near).softmax(0)
        labels[i] += 1 - soft
        with_labels.append(-(labels * (20 * phi).log_softmax(0)).sum().item())
    assert parse_loss("infonce(margin=0.3)").of_batch(embedded).value.item() == pytest.approx(sum(with_margin) / 4, rel=1e-9)
    assert parse_loss("infonce(soft=0.25)").of_batch(embedded).value.item() == pytest.approx(sum(with_labels) / 4, rel=1e-9)


@pytest.mark.parametrize("text", ["infonce", "infonce(5, mask=True, margin=0.2, soft=0.5)"])
def test_gradients_are_those_of_the_formula(text: str) -> None:
    rows = torch.tensor([[5, 10, 20], [5, 11, 21], [6, 12, 11]])
    given = batch(3, 1, rows)
    targets_of = EmbeddedBatch(*given[:3], rows=rows)

    def loss(queries: torch.Tensor) -> torch.Tensor:  # the targets are constants, so only queries have the formula's gradient
        return parse_loss(text).of_batch(targets_of._replace(queries=queries)).value

    assert torch.autograd.gradcheck(loss, given.queries.clone().requires_grad_())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("infonce(0)", "scale of infonce must be a number above 0"),
        ("infonce(soft=1.5)", "soft of infonce must be a number from 0 to 1"),
        ("infonce(mask=1)", "mask of infonce must be True or False"),
        ("infonce(margin=-1)", "margin of infonce"),
    ],
)
def test_values_out_of_range_are_refused(text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        parse_loss(text)


def test_names_are_written_back() -> None:
    for text in ("infonce", "infonce(scale=5.0, mask=True, soft=0.5)", "margin-mse(scale=7.0)", "list-kl(pairs=3.0)"):
        assert str(parse_loss(text)) == text
    assert str(parse_loss("infonce(20)")) == "infonce"
