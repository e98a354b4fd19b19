"""The filter of false negatives: loops over pairs by hand, sentence-transformers' GISTEmbed, and two processes."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path

import pytest
import torch
import torch.multiprocessing
from sentence_transformers.sentence_transformer.losses import GISTEmbedLoss

from armlib.errors import InputError
from armlib.losses import ERRORS, EmbeddedBatch, MarginLoss, TeacherScores, parse_loss
from armlib.losses.false_negatives import false_negatives
from armlib.training.processes import gather_with_local_gradient, sum_gradients

SIZE, DIM = 6, 5


def batch(negatives: int = 1, seed: int = 0, scores: torch.Tensor | None = None, rows: torch.Tensor | None = None) -> EmbeddedBatch:
    """Triples of different queries and passages, scored at random by the helper."""
    draw = torch.Generator().manual_seed(seed)
    shapes = ((SIZE, DIM), (SIZE, DIM), (SIZE, negatives, DIM))
    parts = [torch.randn(*shape, generator=draw, dtype=torch.float64) for shape in shapes]
    if scores is None:
        scores = torch.randn(SIZE, SIZE, 1 + negatives, generator=draw, dtype=torch.float64)
    if rows is None:
        rows = torch.arange(SIZE * (2 + negatives)).view(SIZE, -1)
    return EmbeddedBatch(*parts, rows=rows, teacher=TeacherScores(scores.diagonal().T, scores))


def by_hand(given: EmbeddedBatch) -> list[list[list[bool]]]:
    """Whether passage k of query j is left out for query i, one after the other."""
    scores, rows = given.teacher.in_batch, given.rows.tolist()
    count, n = len(scores), scores.shape[2]
    found = [[[False] * n for _ in range(count)] for _ in range(count)]
    for i, j, k in itertools.product(range(count), range(count), range(n)):
        relevant = {rows[other][1] for other in range(count) if rows[other][0] == rows[i][0]}
        found[i][j][k] = i != j and (bool(scores[i, j, k] >= scores[i, i, 0]) or rows[j][1 + k] in relevant)
    return found


def test_the_mask_of_a_literal_batch() -> None:
    # Query 0: passages of others at, above and below its positive, 0.5; its own negative above it stays. Query 2: none is as high.
    scores = torch.tensor(
        [[[0.5, 0.9], [0.5, 0.4], [0.7, 0.1]], [[0.2, 0.3], [0.3, 0.1], [0.1, 0.31]], [[0.1, 0.2], [0.3, 0.4], [0.9, 0.8]]]
    )
    # The third query has the first one's positive as well, and the helper does not know it.
    rows = torch.tensor([[7, 20, 30], [8, 21, 31], [9, 20, 32]])
    given = EmbeddedBatch(torch.ones(3, 2), torch.ones(3, 2), torch.ones(3, 1, 2), rows, TeacherScores(torch.ones(3, 2), scores))
    # columns: positives 0, 1, 2, then negatives 0, 1, 2
    assert false_negatives(given, "x").int().tolist() == [[0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 0, 1], [1, 0, 0, 0, 0, 0]]


def test_a_duplicate_is_left_out_whatever_the_helper_says() -> None:
    """Another row has query 5's positive, or another positive of query 5; a query's own passages stay, though they be relevant."""
    rows = torch.tensor([[5, 10, 20], [5, 11, 10], [6, 12, 11], [7, 10, 22], [8, 13, 23], [9, 14, 24]])
    scores = torch.full((SIZE, SIZE, 2), -1.0)
    scores[range(SIZE), range(SIZE), 0] = 1.0
    found = false_negatives(batch(rows=rows, scores=scores), "x")
    assert found[:, :SIZE].nonzero().tolist() == [[0, 1], [0, 3], [1, 0], [1, 3], [3, 0]]
    assert found[:, SIZE:].nonzero().tolist() == [[0, 1], [0, 2], [1, 2], [3, 1]]


@pytest.mark.parametrize("negatives", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_infonce_by_a_loop_over_pairs(negatives: int, seed: int) -> None:
    given = batch(negatives, seed)
    left_out, terms, masked = by_hand(given), [], 0
    for i in range(SIZE):
        exponents = []
        for k, j in itertools.product(range(1 + negatives), range(SIZE)):
            masked += left_out[i][j][k]
            if not left_out[i][j][k]:
                exponents.append(20 * torch.cosine_similarity(given.queries[i], given.lists()[j, k], dim=0))
        own = 20 * torch.cosine_similarity(given.queries[i], given.positives[i], dim=0)
        terms.append(torch.logsumexp(torch.stack(exponents), 0) - own)
    assert 0 < masked < SIZE * (SIZE - 1) * (1 + negatives)
    torch.testing.assert_close(
        parse_loss("infonce(filter=True)").of_batch(given).value, torch.stack(terms).mean(), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("target", ["static(0.3)", "adaptive"])
@pytest.mark.parametrize("reading", ["paper", "released-code"])
@pytest.mark.parametrize("error", list(ERRORS))
def test_margins_by_a_loop_over_pairs(target: str, reading: str, error: str) -> None:
    given, terms, targets = batch(seed=4), [], []
    left_out, negatives = by_hand(given), given.negatives[:, 0]
    cosine = torch.nn.CosineSimilarity(dim=0)
    for i, j in itertools.product(range(SIZE), range(SIZE)):
        if not left_out[i][j][1]:
            of = i if reading == "paper" else j
            margin = cosine(given.queries[of], given.positives[of]) - cosine(given.queries[i], negatives[j])
            targets.append(
                torch.tensor(0.3, dtype=torch.float64) if "static" in target else (1 + cosine(given.positives[i], negatives[j])) / 2
            )
            terms.append(ERRORS[error](margin, targets[-1]))
    assert SIZE < len(terms) < SIZE * SIZE
    loss = MarginLoss(target, in_batch=True, reading=reading, error=error, filter=True).of_batch(given)
    torch.testing.assert_close(loss.value, torch.stack(terms).mean(), rtol=1e-12, atol=0)
    torch.testing.assert_close(loss.targets, torch.stack(targets), rtol=1e-12, atol=0)


FILTERED = ["infonce(5, filter=True)", "infonce(margin=0.2, soft=0.5, filter=True)", "adaptive(in_batch=True, filter=True)"]
FILTERED += ["static(0.5, variance=1.5, in_batch=True, filter=True)"]


@pytest.mark.parametrize("text", FILTERED)
def test_a_filter_that_finds_nothing_changes_nothing(text: str) -> None:
    scores = torch.full((SIZE, SIZE, 2), 0.5)
    scores[range(SIZE), range(SIZE), 0] = 0.6
    given, without = batch(scores=scores), text.replace(", filter=True", "")
    assert torch.equal(parse_loss(text).of_batch(given).value, parse_loss(without).of_batch(given).value)
    assert torch.equal(parse_loss(without).of_batch(given).value, parse_loss(without).of_batch(given._replace(teacher=None)).value)


def test_a_query_that_has_lost_all_others_counts_by_its_own() -> None:
    """Query 2 has its own negative only, and all others have all six."""
    scores = torch.full((SIZE, SIZE, 2), 0.5)
    scores[range(SIZE), range(SIZE), 0] = 0.6
    scores[2] = 0.9
    given = batch(scores=scores)
    loss = MarginLoss("static(0.3)", in_batch=True)
    margins, targets = loss.terms(*given[:2], given.negatives[:, 0])
    errors = (margins - targets).square()
    expected = (errors.sum() - errors[2].sum() + errors[2, 2]) / 31
    filtered = parse_loss("static(0.3, in_batch=True, filter=True)").of_batch(given).value
    torch.testing.assert_close(filtered, expected, rtol=1e-12, atol=0)
    own = torch.stack([given.positives[2], given.negatives[2, 0]])
    alone = 20 * torch.cosine_similarity(given.queries[2][None], own)
    others = [20 * torch.cosine_similarity(given.queries[i][None], given.passages()) for i in (0, 1, 3, 4, 5)]
    terms = [-alone.log_softmax(0)[0], *(-logits.log_softmax(0)[i] for logits, i in zip(others, (0, 1, 3, 4, 5), strict=True))]
    value = parse_loss("infonce(filter=True)").of_batch(given).value
    torch.testing.assert_close(value, torch.stack(terms).mean(), rtol=1e-12, atol=0)


def test_all_can_be_lost() -> None:
    """Of a helper that cannot tell passages apart, each triple is left alone: the losses of one triple at a time."""
    given = batch(scores=torch.zeros(SIZE, SIZE, 2))
    alone = MarginLoss("adaptive").of_batch(given).value
    torch.testing.assert_close(parse_loss("adaptive(in_batch=True, filter=True)").of_batch(given).value, alone, rtol=1e-12, atol=0)


def gist(given: EmbeddedBatch, guide: list[torch.Tensor], with_negatives: bool) -> torch.Tensor:
    """GISTEmbed's loss of embeddings that are there, a guide's beside the model's."""
    theirs = GISTEmbedLoss.__new__(GISTEmbedLoss)  # its constructor asks for tokenizers
    torch.nn.Module.__init__(theirs)
    theirs.similarity_fct, theirs.cross_entropy_loss = torch.nn.CosineSimilarity(dim=-1), torch.nn.CrossEntropyLoss()
    theirs.temperature, theirs.margin_strategy, theirs.margin = 1 / 20, "absolute", 0.0
    theirs.contrast_anchors = theirs.contrast_positives = theirs.must_retokenize = theirs.gather_across_devices = False
    columns = [given.queries, given.positives, *([given.negatives[:, 0]] if with_negatives else [])]
    theirs.model, theirs.guide = (
        (lambda features: {"sentence_embedding": features["model"]}),
        (lambda features: {"sentence_embedding": features["guide"]}),
    )
    return theirs([{"model": own, "guide": other} for own, other in zip(columns, guide, strict=False)], None)


@pytest.mark.parametrize("seed", range(3))
def test_infonce_is_gistembed_of_sentence_transformers(seed: int) -> None:
    """Where the similarities of the guide differ, and it does not put a mined negative above its own query's positive."""
    given = batch(seed=seed)
    draw = torch.Generator().manual_seed(9 + seed)
    asked = torch.nn.functional.normalize(torch.randn(SIZE, 4, generator=draw, dtype=torch.float64), dim=1)
    read = torch.randn(SIZE, 2, 4, generator=draw, dtype=torch.float64)
    read[:, 0] += 0.8 * asked
    read = torch.nn.functional.normalize(read, dim=2)
    scores = torch.einsum("id,jkd->ijk", asked, read)
    swapped = scores.diagonal().T[:, 1] > scores.diagonal().T[:, 0]  # the helper's order, so that the own negative is below
    read[swapped] = read[swapped].flip(1)
    given = given._replace(teacher=TeacherScores(scores[range(SIZE), range(SIZE)], 20 * torch.einsum("id,jkd->ijk", asked, read)))
    expected = gist(given, [asked, read[:, 0], read[:, 1]], with_negatives=True)
    found = parse_loss("infonce(20, filter=True)").of_batch(given).value
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    assert abs(found - parse_loss("infonce(20)").of_batch(given).value) > 1e-3


@pytest.mark.parametrize("text", FILTERED)
def test_gradients_are_those_of_the_formula(text: str) -> None:
    given = batch(seed=5)

    def loss(queries: torch.Tensor) -> torch.Tensor:  # some targets are constants, so only queries have the formula's gradient
        return parse_loss(text).of_batch(given._replace(queries=queries)).value

    assert torch.autograd.gradcheck(loss, given.queries.clone().requires_grad_())


def encoder_and_batch() -> tuple[torch.nn.Linear, EmbeddedBatch]:
    torch.manual_seed(0)
    return torch.nn.Linear(DIM, 4, dtype=torch.float64), batch(seed=6)


def gradient_over_processes(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    found = []
    for text in FILTERED:
        encoder, texts = encoder_and_batch()
        local = [gather_with_local_gradient(encoder(part[rank * 3 : rank * 3 + 3])) for part in texts[:3]]
        parse_loss(text).of_batch(EmbeddedBatch(*local, *texts[3:])).value.backward()
        sum_gradients(encoder.parameters())
        found.append([parameter.grad for parameter in encoder.parameters()])
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_have_the_gradient_of_one(tmp_path: Path) -> None:
    """Scores and rows are those of the joined batch on both."""
    torch.multiprocessing.spawn(gradient_over_processes, args=(str(tmp_path),), nprocs=2)
    for text, *over_processes in zip(FILTERED, *(torch.load(tmp_path / f"{rank}.pt") for rank in range(2)), strict=True):
        encoder, texts = encoder_and_batch()
        parse_loss(text).of_batch(EmbeddedBatch(*map(encoder, texts[:3]), *texts[3:])).value.backward()
        for number, parameter in enumerate(encoder.parameters()):
            assert parameter.grad.abs().max() > 1e-4
            for process in over_processes:
                torch.testing.assert_close(process[number], parameter.grad, rtol=1e-10, atol=1e-14)


def test_what_a_filter_needs() -> None:
    for text in FILTERED:
        loss = parse_loss(text)
        assert loss.needs == {"in_batch"} and parse_loss(text.replace(", filter=True", "")).needs == frozenset()
        assert str(copy.deepcopy(loss)) == str(parse_loss(str(loss)))
    assert str(parse_loss("infonce(20, filter=True)")) == "infonce(filter=True)"
    assert str(parse_loss("adaptive(filter=True, in_batch=True)")) == "adaptive(in_batch=True, filter=True)"


@pytest.mark.parametrize("text", FILTERED)
def test_a_batch_without_scores_or_rows_is_refused(text: str) -> None:
    given, loss = batch(), parse_loss(text)
    for teacher in (None, given.teacher._replace(in_batch=None)):
        with pytest.raises(
            InputError, match=r"filters by a helper's scores of every query .*; expected a teacher that is a bi-encoder$"
        ):
            loss.of_batch(given._replace(teacher=teacher))
    with pytest.raises(InputError, match="rows of the collection"):
        loss.of_batch(given._replace(rows=None))


def test_what_has_no_filter_is_refused() -> None:
    for text in ("adaptive(filter=True)", "distributed(filter=True)", "mean(filter=True)"):
        name = text.partition("(")[0]
        with pytest.raises(InputError, match=f"^filter is for in-batch margins, which {name!r} "):
            parse_loss(text)
    for text in ("infonce(filter=1)", "adaptive(in_batch=True, filter='yes')"):
        with pytest.raises(InputError, match=r"^filter of (infonce|adaptive) must be True or False, not "):
            parse_loss(text)
    loss, given = parse_loss("adaptive(in_batch=True, filter=True)"), batch()
    with pytest.raises(InputError, match="needs a mask of what is left out$"):
        loss(given.queries, given.positives, given.negatives[:, 0])
    with pytest.raises(InputError, match="takes no mask of what is left out$"):
        mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
        parse_loss("adaptive(in_batch=True)")(given.queries, given.positives, given.negatives[:, 0], left_out=mask)
