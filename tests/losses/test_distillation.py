"""Losses that learn from a teacher, against numbers worked out by hand and against sentence-transformers."""

from __future__ import annotations

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import DistillKLDivLoss, MarginMSELoss

from armlib.errors import InputError
from armlib.losses import EmbeddedBatch, TeacherScores, parse_loss
from armlib.losses.distillation import in_batch_margin_mse, list_kl, margin_mse, pair_kl

NAN = float("nan")


def batch(size: int = 4, negatives: int = 2, dim: int = 8, **teacher: torch.Tensor) -> EmbeddedBatch:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    scores = {"pointwise": 3 * draw(size, 1 + negatives)} | teacher
    return EmbeddedBatch(draw(size, dim), draw(size, dim), draw(size, negatives, dim), teacher=TeacherScores(**scores))


def cosines(embedded: EmbeddedBatch) -> torch.Tensor:
    """(B, n), by the formula."""
    lists = embedded.lists()
    dots = (embedded.queries[:, None] * lists).sum(2)
    return dots / embedded.queries.norm(dim=1)[:, None] / lists.norm(dim=2)


def test_margin_mse_by_hand() -> None:
    student, teacher = torch.tensor([[3.0, 1.0], [1.0, 2.0]]), torch.tensor([[5.0, 1.0], [2.0, 4.0]])
    assert margin_mse(student, teacher).item() == 2.5


def test_the_in_batch_term_by_hand() -> None:
    positives, negatives = [[2.0, 1.0], [0.0, 3.0]], [[1.0, 0.0], [2.0, 1.0]]
    student = torch.stack([torch.tensor(positives), torch.tensor(negatives)], dim=2)  # (B, B, 2)
    teacher = torch.stack([torch.tensor([[4.0, 1.0], [1.0, 4.0]]), torch.tensor([[0.0, 2.0], [3.0, 0.0]])], dim=2)
    assert in_batch_margin_mse(student, teacher).item() == 1.0


def test_the_in_batch_term_of_one_query_is_nothing() -> None:
    assert in_batch_margin_mse(torch.ones(1, 1, 2), torch.ones(1, 1, 2)).item() == 0.0


def test_list_and_pair_divergence_by_hand() -> None:
    assert list_kl(torch.zeros(1, 2), torch.tensor([[2.0, 0.0]])).item() == pytest.approx(0.327813, abs=1e-6)
    preferences = torch.tensor([[[NAN, 0.8], [NAN, NAN]]])
    assert pair_kl(torch.zeros(1, 2), preferences).item() == pytest.approx(0.192745, abs=1e-6)
    assert pair_kl(torch.zeros(1, 2), torch.full((1, 2, 2), NAN)).item() == 0.0
    assert pair_kl(torch.zeros(1, 2), torch.tensor([[[NAN, 1.0], [0.0, NAN]]])).item() == pytest.approx(0.693147, abs=1e-6)


def test_margin_mse_is_that_of_sentence_transformers() -> None:
    embedded = batch()
    assert embedded.teacher is not None
    theirs = MarginMSELoss(
        SentenceTransformer(modules=[torch.nn.Identity()]), similarity_fct=lambda a, b: 7 * torch.cosine_similarity(a, b)
    )
    passages = [embedded.positives, *embedded.negatives.unbind(1)]
    expected = theirs.compute_loss_from_embeddings([embedded.queries, *passages], embedded.teacher.pointwise)
    assert parse_loss("margin-mse(7)").of_batch(embedded).value.item() == pytest.approx(expected.item(), rel=1e-6)


def test_list_kl_is_that_of_sentence_transformers() -> None:
    embedded = batch()
    assert embedded.teacher is not None
    theirs = DistillKLDivLoss(
        SentenceTransformer(modules=[torch.nn.Identity()]), similarity_fct=lambda a, b: 20 * torch.cosine_similarity(a, b)
    )
    passages = [embedded.positives, *embedded.negatives.unbind(1)]
    expected = theirs.compute_loss_from_embeddings([embedded.queries, *passages], embedded.teacher.pointwise)
    assert parse_loss("list-kl(0.05)").of_batch(embedded).value.item() == pytest.approx(expected.item(), rel=1e-6)


def test_in_batch_margin_mse_adds_its_weight() -> None:
    everything = torch.randn(4, 4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    embedded = batch(in_batch=everything)
    alone, both = (parse_loss(f"margin-mse(5{rest})").of_batch(embedded).value for rest in ("", ", in_batch=0.75"))
    lists, count = embedded.lists(), 4
    errors = []
    for k in range(3):
        for i in range(count):
            for j in range(count):
                if i != j:
                    student = [5 * torch.cosine_similarity(embedded.queries[i], lists[a, b], dim=0) for a, b in ((i, 0), (j, k))]
                    errors.append(((student[0] - student[1]) - (everything[i, i, 0] - everything[i, j, k])) ** 2)
    assert (both - alone).item() == pytest.approx(0.75 * torch.stack(errors).mean().item(), rel=1e-9)


def test_pairs_and_contrast_add_their_weights() -> None:
    preferences = torch.full((4, 3, 3), NAN, dtype=torch.float64)
    preferences[0, 0, 2], preferences[3, 1, 0] = 0.9, 0.2
    embedded = batch(pairwise=preferences)
    alone = parse_loss("list-kl(0.1)").of_batch(embedded).value
    scores = cosines(embedded) / 0.1
    pairs = [
        y * torch.log(y / torch.sigmoid(scores[i, a] - scores[i, b]))
        + (1 - y) * torch.log((1 - y) / torch.sigmoid(scores[i, b] - scores[i, a]))
        for i, a, b, y in ((0, 0, 2, preferences[0, 0, 2]), (3, 1, 0, preferences[3, 1, 0]))
    ]
    with_pairs = parse_loss("list-kl(0.1, pairs=3)").of_batch(embedded).value
    assert (with_pairs - alone).item() == pytest.approx(3 * torch.stack(pairs).mean().item(), rel=1e-9)
    contrast = []
    for i in range(4):
        others = [embedded.lists()[j, k] for j in range(4) for k in range(3) if j != i]
        logits = torch.stack(
            [torch.cosine_similarity(embedded.queries[i], p, dim=0) / 0.1 for p in (embedded.positives[i], *others)]
        )
        contrast.append(-logits.log_softmax(0)[0])
    with_contrast = parse_loss("list-kl(0.1, contrast=0.5)").of_batch(embedded).value
    assert (with_contrast - alone).item() == pytest.approx(0.5 * torch.stack(contrast).mean().item(), rel=1e-9)


@pytest.mark.parametrize("text", ["margin-mse", "margin-mse(7, in_batch=0.75)", "list-kl(pairs=3, contrast=1)"])
def test_gradients_are_those_of_the_formula(text: str) -> None:
    generator = torch.Generator().manual_seed(2)
    preferences = torch.rand(3, 3, 3, generator=generator, dtype=torch.float64)
    preferences[:, 1] = NAN
    given = batch(3, in_batch=torch.randn(3, 3, 3, generator=generator, dtype=torch.float64), pairwise=preferences)

    def loss(*embeddings: torch.Tensor) -> torch.Tensor:
        return parse_loss(text).of_batch(EmbeddedBatch(*embeddings, teacher=given.teacher)).value

    leaves = [part.clone().requires_grad_() for part in given[:3]]
    assert torch.autograd.gradcheck(loss, leaves)


@pytest.mark.parametrize(
    ("text", "given", "sentence"),
    [
        ("margin-mse", batch()._replace(teacher=None), "needs a teacher's scores"),
        ("list-kl", batch()._replace(teacher=None), "needs a teacher's scores"),
        ("margin-mse(in_batch=0.75)", batch(), "every query against every passage"),
        ("list-kl(pairs=1)", batch(), "needs a pairwise teacher"),
    ],
)
def test_a_teacher_that_lacks_what_is_needed_is_refused(text: str, given: EmbeddedBatch, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        parse_loss(text).of_batch(given)


@pytest.mark.parametrize(
    "text",
    ["margin-mse(0)", "margin-mse(in_batch=-1)", "margin-mse(in_batch=True)", "list-kl(0)", "list-kl(teacher_temperature=0)"],
)
def test_values_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="must be a number"):
        parse_loss(text)
