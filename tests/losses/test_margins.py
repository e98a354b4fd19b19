"""The losses against the paper's equations written as loops, their gradients, and their sums over two processes."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
import torch.multiprocessing
import torch.nn.functional as F

from armlib.errors import InputError
from armlib.losses import (
    ERRORS,
    Adaptive,
    Distributed,
    MarginLoss,
    Mean,
    Static,
    Variance,
    adaptive_targets,
    distributed_targets,
    in_batch_margins,
    mean_targets,
    parse_target,
    relevance_margins,
    similarities,
    target_variance,
)
from armlib.training.processes import gather_with_local_gradient, sum_gradients

# Every combination of target, in_batch and reading that is defined.
VARIANTS = [
    *itertools.product(["static(0.3)", "adaptive"], [False, True], ["paper", "released-code"]),
    *itertools.product(["distributed"], [False], ["paper", "released-code"]),
    *itertools.product(["mean", "variance", "static(0.5, variance=1.5)"], [False], ["paper"]),
    ("static(0.5, variance=1.5)", True, "paper"),
]


def batch(size: int = 5, width: int = 7, seed: int = 0, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    """Queries, positives and negatives that share a part, as an encoder's embeddings do."""
    draw = torch.Generator().manual_seed(seed)
    common = torch.randn(size, width, generator=draw, dtype=torch.float64)
    return [(common + torch.randn(size, width, generator=draw, dtype=torch.float64)).to(dtype) for _ in range(3)]


def phi(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return (left * right).sum() / (left.pow(2).sum().sqrt() * right.pow(2).sum().sqrt())


def by_loops(target: str, in_batch: bool, reading: str, error: str, q, p, n) -> torch.Tensor:
    """Equations 1 to 5, one pair of triples at a time."""
    size, paper = len(q), reading == "paper"

    def term(margin, wanted):
        return {
            "squared": (margin - wanted) ** 2,
            "absolute": abs(margin - wanted),
            "soft": torch.log(1 + torch.exp(-(margin - wanted))),
        }[error]

    def t(i, j):
        return (1 + phi(p[i], n[j])) / 2

    def m(i):
        return phi(q[i], p[i]) - phi(q[i], n[i])

    def spread():
        total = 0.0
        for i in range(size):
            center = sum(t(i, j) for j in range(size)) / size
            total = total + sum((t(i, j) - center) ** 2 for j in range(size)) / size
        return total / size

    if target == "variance":
        return spread()
    terms = []
    for i in range(size):
        if target == "mean":
            terms.append(term(m(i), sum(t(i, j) for j in range(size)) / size))
        elif target == "distributed":
            terms += [term(m(i if paper else j), t(i, j)) for j in range(size)]
        elif in_batch:
            for j in range(size):
                own = i if paper else j
                margin = phi(q[own], p[own]) - phi(q[i], n[j])
                terms.append(term(margin, t(i, j) if target == "adaptive" else parse_target(target).value))
        else:
            terms.append(term(m(i), t(i, i) if target == "adaptive" else parse_target(target).value))
    value = sum(terms) / len(terms)
    return value + 1.5 * spread() if "variance" in target else value


def gradients(value: torch.Tensor, leaves: list[torch.Tensor]) -> list[torch.Tensor]:
    return [
        g if g is not None else torch.zeros_like(x)
        for g, x in zip(torch.autograd.grad(value, leaves, allow_unused=True), leaves, strict=True)
    ]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize(("target", "in_batch", "reading"), VARIANTS)
def test_value_and_gradient_equal_the_equations(target, in_batch, reading, error):
    leaves = [x.requires_grad_() for x in batch()]
    loss = MarginLoss(target, in_batch=in_batch, error=error, reading=reading)
    value, expected = loss(*leaves), by_loops(target, in_batch, reading, error, *leaves)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-14)
    for ours, theirs in zip(gradients(value, leaves), gradients(expected, leaves), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize(("target", "in_batch", "reading"), VARIANTS)
def test_gradient_equals_finite_differences(target, in_batch, reading):
    leaves = [x.requires_grad_() for x in batch(size=3, width=4, seed=1)]
    assert torch.autograd.gradcheck(MarginLoss(target, in_batch=in_batch, reading=reading, error="soft"), leaves)


@pytest.mark.parametrize("target", ["static(0.3)", "adaptive"])
def test_released_code_in_batch_equals_its_broadcasting(target):
    q, p, n = (F.normalize(x, dim=-1) for x in batch(8, 6, seed=2))
    positive_scores = torch.einsum("bd,bd->b", q, p)  # broadcast along the last axis, so along columns
    wanted = (1 + p @ n.T) / 2 if target == "adaptive" else 0.3
    expected = ((positive_scores - q @ n.T - wanted) ** 2).mean()
    torch.testing.assert_close(MarginLoss(target, in_batch=True, reading="released-code")(q, p, n), expected)


def test_released_code_distributed_equals_its_broadcasting():
    q, p, n = (F.normalize(x, dim=-1) for x in batch(8, 6, seed=3))
    margin = torch.einsum("bd,bd->b", q, p) - torch.einsum("bd,bd->b", q, n)
    expected = F.mse_loss(margin.expand(8, 8), (1 + p @ n.T) / 2)
    torch.testing.assert_close(MarginLoss("distributed", reading="released-code")(q, p, n), expected)


def test_distributed_is_the_mean_target_plus_the_variance():
    leaves = batch(16, 8, seed=4)
    joined = MarginLoss("distributed")(*leaves)
    torch.testing.assert_close(joined, MarginLoss("mean")(*leaves) + MarginLoss("variance")(*leaves))
    q, p, n = leaves
    torch.testing.assert_close(MarginLoss("variance")(q, p, n), target_variance(p, n))
    apart = MarginLoss("distributed", reading="released-code")(*leaves)
    assert abs(float(apart - joined)) > 1e-3


def test_static_with_variance_is_the_sum_of_both():
    leaves = batch(6, 8, seed=5)
    both = MarginLoss("static(0.5)")(*leaves) + 2 * MarginLoss("variance")(*leaves)
    torch.testing.assert_close(MarginLoss(Static(0.5, variance=2))(*leaves), both)


def test_adaptive_has_a_zero_that_ranks_nothing():
    q, p = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert float(MarginLoss("adaptive")(q, p, -p)) == 0 and float(relevance_margins(q, p, -p)) == 0


def test_readings_agree_one_triple_at_a_time_and_differ_in_batch():
    q, p, n = batch(64, 32, seed=6)
    differences = {}
    for target, in_batch in [("static(0.3)", True), ("adaptive", True), ("distributed", False), ("adaptive", False)]:
        flat = []
        for reading in ("paper", "released-code"):
            leaves = [x.clone().requires_grad_() for x in (q, p, n)]
            value = MarginLoss(target, in_batch=in_batch, reading=reading)(*leaves)
            flat.append(torch.cat([g.flatten() for g in gradients(value, leaves)]))
        differences[target, in_batch] = float(F.cosine_similarity(*flat, dim=0))
    assert differences["adaptive", False] == pytest.approx(1)
    order = [("distributed", False), ("static(0.3)", True), ("adaptive", True)]
    distributed, static, adaptive = (differences[variant] for variant in order)
    assert 1 > distributed > static > adaptive > 0.3


@pytest.mark.parametrize("target", ["adaptive", "distributed", "mean"])
def test_stop_gradient_moves_only_the_margin(target):
    stopped = [x.requires_grad_() for x in batch(4, 5, seed=7)]
    value, targets = MarginLoss(target, stop_gradient=True)(*stopped, return_targets=True)
    torch.testing.assert_close(value, MarginLoss(target)(*stopped))
    wanted = gradients(value, stopped)
    margins = relevance_margins(*stopped)
    constant = (margins[:, None] - targets if targets.dim() == 2 else margins - targets).square().mean()
    for ours, theirs in zip(wanted, gradients(constant, stopped), strict=True):
        torch.testing.assert_close(ours, theirs)
    free = gradients(MarginLoss(target)(*stopped), stopped)
    assert not torch.allclose(free[1], wanted[1])


def test_returned_targets():
    q, p, n = batch(6, 5, seed=8)
    for target, in_batch, expected in [
        ("static(0.3)", False, torch.full((6,), 0.3, dtype=torch.float64)),
        ("static(0.3)", True, torch.full((6, 6), 0.3, dtype=torch.float64)),
        ("adaptive", False, distributed_targets(p, n).diagonal()),
        ("adaptive", True, distributed_targets(p, n)),
        ("distributed", False, distributed_targets(p, n)),
        ("mean", False, distributed_targets(p, n).mean(1)),
        ("variance", False, distributed_targets(p, n)),
    ]:
        p.requires_grad_()
        _, targets = MarginLoss(target, in_batch=in_batch)(q, p, n, return_targets=True)
        torch.testing.assert_close(targets, expected.detach())
        assert not targets.requires_grad


def test_terms_are_the_differences_that_the_loss_averages():
    leaves = batch(4, 3, seed=9)
    for target, in_batch, reading in VARIANTS:
        if "variance" in target:
            continue
        loss = MarginLoss(target, in_batch=in_batch, reading=reading)
        margins, targets = loss.terms(*leaves)
        assert margins.shape == targets.shape == ((4, 4) if in_batch or target == "distributed" else (4,))
        torch.testing.assert_close((margins - targets).square().mean(), loss(*leaves))


def test_the_parts_agree_with_each_other():
    q, p, n = batch(5, 4, seed=10)
    torch.testing.assert_close(similarities(p, n), F.cosine_similarity(p[:, None], n[None], dim=-1))
    torch.testing.assert_close(in_batch_margins(q, p, n).diagonal(), relevance_margins(q, p, n))
    torch.testing.assert_close(adaptive_targets(p, n), distributed_targets(p, n).diagonal())
    torch.testing.assert_close(mean_targets(p, n), distributed_targets(p, n).mean(1))
    with pytest.raises(InputError, match="unknown reading 'published'"):
        in_batch_margins(q, p, n, "published")


def test_float32_under_autocast_and_for_half_precision_embeddings():
    leaves = batch(32, 64, seed=11, dtype=torch.float32)
    for target, in_batch, reading in VARIANTS:
        loss = MarginLoss(target, in_batch=in_batch, reading=reading)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed, parts = loss(*leaves), similarities(*leaves[:2])
        assert mixed.dtype == parts.dtype == torch.float32
        torch.testing.assert_close(mixed, loss(*leaves), rtol=0, atol=0)
    half = [x.bfloat16() for x in leaves]
    value = MarginLoss("distributed")(*half)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, MarginLoss("distributed")(*(x.float() for x in half)), rtol=0, atol=0)


def test_a_zero_embedding_has_no_undefined_gradient():
    q, p, n = (x.requires_grad_() for x in batch(3, 4, seed=12, dtype=torch.float32))
    with torch.no_grad():
        p[0] = 0
    for gradient in gradients(MarginLoss("distributed")(q, p, n), [q, p, n]):
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("target", ["static(0.3)", "adaptive", "mean"])
def test_cost_without_in_batch_is_linear(target):
    # A matrix of all pairs would hold 160 GB.
    leaves = [x.requires_grad_() for x in batch(200_000, 4, seed=13, dtype=torch.float32)]
    value = MarginLoss(target)(*leaves)
    value.backward()
    assert 0 < value.item() < 4 and all(torch.isfinite(x.grad).all() for x in leaves)


def test_targets_print_as_they_parse():
    numbers = [Static(0.3), Static(1), Static(0.5, variance=1), Static(1e-7)]
    for target in [*numbers, Adaptive(), Distributed(), Mean(), Variance()]:
        assert parse_target(str(target)) == target
        assert MarginLoss(target).target == MarginLoss(str(target)).target
    assert str(Static(0.3)) == "static(0.3)" and str(Static(0.5, 1)) == "static(0.5, variance=1.0)"
    assert parse_target(" Static( 1 ) ") == Static(1.0) == parse_target("static(1.0, variance=0)")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MarginLoss("adaptve"), r"unknown target 'adaptve'; did you mean 'adaptive'\? \(available: adapt"),
        (lambda: MarginLoss("static"), r"the target 'static' cannot be read: expected static\(value, variance=0\.0\)$"),
        (lambda: MarginLoss("static(x)"), r"value of a static target must be a number from -2 to 2, not 'x'"),
        (lambda: MarginLoss("static(3)"), r"from -2 to 2, not 3$"),
        (lambda: MarginLoss("static(nan)"), r"from -2 to 2, not 'nan'"),
        (lambda: MarginLoss(Static(0.5, variance=-1)), r"variance of a static target must be .* at least 0, not -1"),
        (
            lambda: MarginLoss(0.3),
            r"a target is named by a text, not by 0\.3; expected one such as static\(value, variance=0\.0\)$",
        ),
        (lambda: MarginLoss("adaptive", error="mse"), r"unknown error 'mse'.*absolute, soft, squared"),
        (lambda: MarginLoss("adaptive", reading="code"), r"unknown reading 'code'"),
        (lambda: MarginLoss("distributed", in_batch=True), r"in_batch is for static and adaptive .*'distributed'"),
        (lambda: MarginLoss("mean", in_batch=True), r"in_batch is for static and adaptive .*'mean'"),
        (lambda: MarginLoss("mean", reading="released-code"), r"the released code has no target 'mean'"),
        (lambda: MarginLoss("static(0.5, variance=1)", reading="released-code"), r"has no target 'static"),
        (lambda: MarginLoss("static(0.5)", stop_gradient=True), r"'static\(0\.5\)' has no gradient to stop"),
        (lambda: MarginLoss("variance", stop_gradient=True), r"'variance' would lose its penalty"),
    ],
)
def test_what_is_not_defined_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_wrong_shapes_are_refused():
    loss, (q, p, n) = MarginLoss("adaptive"), batch(4, 3)
    for given in [(q, p, n[:3]), (q[0], p[0], n[0]), (q[:0], p[:0], n[:0]), (q, p, n[:, :2])]:
        with pytest.raises(InputError, match=r"expected three embeddings of one shape \(B, D\).*queries \("):
            loss(*given)
    with pytest.raises(InputError, match="the positives are torch.int64"):
        loss(q, p.long(), n)


def test_representation_shows_the_settings():
    assert repr(MarginLoss("static(0.3)", in_batch=True)) == "MarginLoss(static(0.3, in_batch=True))"
    assert not list(MarginLoss("adaptive").parameters())


def encoder_and_texts() -> tuple[torch.nn.Linear, list[torch.Tensor]]:
    torch.manual_seed(0)
    return torch.nn.Linear(6, 5, dtype=torch.float64), batch(8, 6, seed=14)


def gradient_over_processes(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    group = f"file://{folder}/rendezvous"
    torch.distributed.init_process_group("gloo", init_method=group, rank=rank, world_size=2)
    found = []
    for target, in_batch, reading in VARIANTS:
        encoder, texts = encoder_and_texts()
        local = [gather_with_local_gradient(encoder(x[rank * 4 : rank * 4 + 4])) for x in texts]
        MarginLoss(target, in_batch=in_batch, reading=reading)(*local).backward()
        sum_gradients(encoder.parameters())
        found.append([parameter.grad for parameter in encoder.parameters()])
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_have_the_gradient_of_one(tmp_path: Path):
    torch.multiprocessing.spawn(gradient_over_processes, args=(str(tmp_path),), nprocs=2)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for (target, in_batch, reading), *over_processes in zip(VARIANTS, *found, strict=True):
        encoder, texts = encoder_and_texts()
        MarginLoss(target, in_batch=in_batch, reading=reading)(*(encoder(x) for x in texts)).backward()
        for number, parameter in enumerate(encoder.parameters()):
            assert parameter.grad.abs().max() > 1e-4
            for process in over_processes:
                torch.testing.assert_close(process[number], parameter.grad, rtol=1e-10, atol=1e-14)


def test_one_process_gathers_and_sums_nothing():
    rows = torch.ones(2, 3, requires_grad=True)
    assert gather_with_local_gradient(rows) is rows
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.full((2,), math.pi)
    sum_gradients([weight])
    assert weight.grad.tolist() == pytest.approx([math.pi] * 2)
