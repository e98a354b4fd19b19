"""Losses in sentence-transformers' trainer: their values and gradients are those of `armlib.losses` on the same embeddings."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MarginMSELoss, MatryoshkaLoss, MultipleNegativesRankingLoss
from sentence_transformers.util import pairwise_cos_sim
from torch import Tensor

from armlib.encoder.bi_encoder import BiEncoder
from armlib.errors import InputError
from armlib.integrations.sentence_transformers import AdaptiveMarginLoss, CachedAdaptiveMarginLoss, column_arguments
from armlib.integrations.sentence_transformers.losses import text_numbers
from armlib.losses import EmbeddedBatch, TeacherScores, parse_loss

Triples = list[tuple[str, str, str]]
TRIPLE_LOSSES = [
    "static(0.3)",
    "static(0.3, in_batch=True)",
    "static(0.5, variance=1.5)",
    "adaptive",
    "adaptive(in_batch=True, error='absolute')",
    "distributed",
    "distributed(reading='released-code', stop_gradient=True)",
    "mean",
    "variance",
    "infonce(20)",
    "infonce(5.0, margin=0.3, soft=0.2)",
]
TAUGHT = ["margin-mse(5)", "list-kl"]
TASKS = ("query", "document", "document")


def features(model: SentenceTransformer, triples: Triples) -> list[dict[str, Any]]:
    """The columns as the trainer tokenises them, with the tasks of `column_arguments`."""
    columns = zip(*triples, strict=True)
    return [model.preprocess(list(texts), task=task) | {"task": task} for texts, task in zip(columns, TASKS, strict=True)]


def embedded(encoder: BiEncoder, triples: Triples) -> tuple[Tensor, Tensor, Tensor]:
    """The triples by armlib alone."""
    lengths = (24, 48, 48)
    columns = []
    for texts, length in zip(zip(*triples, strict=True), lengths, strict=True):
        tokens = encoder.tokenizer(list(texts), truncation=True, max_length=length, padding=True, return_tensors="pt")
        columns.append(encoder(tokens["input_ids"], tokens["attention_mask"]))
    return columns[0], columns[1], columns[2]


def gradients(module: torch.nn.Module) -> list[Tensor]:
    return [parameter.grad for parameter in module.parameters() if parameter.grad is not None]


def assert_same(model: SentenceTransformer, encoder: BiEncoder, atol: float = 2e-7) -> None:
    ours, theirs = gradients(model), gradients(encoder)
    assert len(ours) == len(theirs) > 10 and max(float(one.abs().max()) for one in theirs) > 1e-3
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=atol * max(1.0, float(other.abs().max())), rtol=1e-4)


@pytest.mark.parametrize("kind", [AdaptiveMarginLoss, CachedAdaptiveMarginLoss])
@pytest.mark.parametrize("name", TRIPLE_LOSSES + TAUGHT)
def test_value_and_gradients_are_those_of_the_library(name: str, kind: type, model, tiny_encoder, triples) -> None:
    some = triples[:40:3]
    scores = torch.randn(len(some), 2, generator=torch.Generator().manual_seed(0)) * 3
    teacher = TeacherScores(scores) if name in TAUGHT else None
    queries, positives, negatives = embedded(tiny_encoder, some)
    expected = parse_loss(name).of_batch(EmbeddedBatch(queries, positives, negatives[:, None], None, teacher)).value
    expected.backward()
    module = kind(model.eval(), name, **({"mini_batch_size": 5} if kind is CachedAdaptiveMarginLoss else {}))
    value = module(features(model, some), scores if teacher else None)
    value.backward()
    torch.testing.assert_close(value, expected, atol=1e-6, rtol=1e-5)
    for parameter in tiny_encoder.parameters():  # what a loss does not look at has no gradient here, and zeros with caching
        parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    assert_same(model, tiny_encoder)


def test_caching_draws_the_same_dropout_twice(model, triples) -> None:
    """By itself: with other masks the gradient would not be that of the value."""
    module = CachedAdaptiveMarginLoss(model.train(), "distributed", mini_batch_size=1000)
    found = []
    for caching in (True, False):
        torch.manual_seed(0)
        model.zero_grad()
        columns = features(model, triples[:12])
        (module if caching else AdaptiveMarginLoss(model, "distributed"))(columns, None).backward()
        found.append(gradients(model))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-7, rtol=1e-4)


def test_differences_are_labels_too_as_for_the_loss_of_the_other_library(model, triples) -> None:
    some = triples[:9]
    scores = torch.randn(9, 2, generator=torch.Generator().manual_seed(1))
    differences = scores[:, 0] - scores[:, 1]
    loss = AdaptiveMarginLoss(model.eval(), "margin-mse(1)")
    theirs = MarginMSELoss(model, similarity_fct=pairwise_cos_sim)(features(model, some), differences)
    for labels in (scores, differences, differences[:, None]):
        torch.testing.assert_close(loss(features(model, some), labels), theirs)


def test_a_list_of_negatives_is_a_column_each(model, tiny_encoder, triples) -> None:
    some = [(query, positive, negative) for query, positive, negative in triples[:18:2]]
    columns = [*features(model, some), features(model, [(q, p, triples[-i - 1][2]) for i, (q, p, _) in enumerate(some)])[2]]
    value = AdaptiveMarginLoss(model.eval(), "infonce(20)")(columns)
    torch.testing.assert_close(value, MultipleNegativesRankingLoss(model, scale=20.0)(columns, None))
    torch.testing.assert_close(  # and without any negatives
        AdaptiveMarginLoss(model, "infonce(20)")(columns[:2]), MultipleNegativesRankingLoss(model, scale=20.0)(columns[:2], None)
    )
    with pytest.raises(InputError, match="the loss 'adaptive' takes one negative a query, and these batches have 2"):
        AdaptiveMarginLoss(model, "adaptive")(columns)


@pytest.mark.parametrize("kind", [AdaptiveMarginLoss, CachedAdaptiveMarginLoss])
def test_a_mask_knows_texts_by_their_tokens(kind: type, model, tiny_encoder, triples) -> None:
    """Each query of the triples comes twice, with the same positive."""
    some = triples[:10]
    numbers = {text: number for number, text in enumerate({text for triple in some for text in triple})}
    rows = torch.tensor([[numbers[text] for text in triple] for triple in some])
    queries, positives, negatives = embedded(tiny_encoder, some)
    values = {}
    for name in ("infonce(20, mask=True)", "infonce(20)"):
        values[name] = parse_loss(name).of_batch(EmbeddedBatch(queries, positives, negatives[:, None], rows)).value.detach()
        found = kind(model.eval(), name)(features(model, some)).detach()
        torch.testing.assert_close(found, values[name], atol=1e-6, rtol=1e-5)
    assert abs(float(values["infonce(20, mask=True)"] - values["infonce(20)"])) > 0.01
    found = text_numbers(features(model, some))  # (10, 3)
    assert found.shape == (10, 3) and ((found[:, None, 0] == found[None, :, 0]) == (rows[:, None, 0] == rows[None, :, 0])).all()


@pytest.mark.parametrize("kind", [AdaptiveMarginLoss, CachedAdaptiveMarginLoss])
@pytest.mark.parametrize("name", ["adaptive(in_batch=True, filter=True)", "infonce(20, filter=True)"])
def test_a_guide_filters_as_a_teacher_does(name: str, kind: type, model, tiny_encoder, tiny_folder, triples) -> None:
    """The guide is the encoder with one weight changed, so that it says something else than the model."""
    some = triples[:60:2] + triples[:6:2]  # some of them twice
    guide, helper = SentenceTransformer(str(tiny_folder), device="cpu"), BiEncoder.load(tiny_folder)
    noise = torch.randn(helper.word_embeddings(torch.arange(1000)).shape, generator=torch.Generator().manual_seed(0))
    for module in (guide[0].auto_model, helper.backbone):
        module.get_input_embeddings().weight.data[:1000] += 0.02 * noise
    numbers = {text: number for number, text in enumerate({text for triple in some for text in triple})}
    rows = torch.tensor([[numbers[text] for text in triple] for triple in some])
    with torch.no_grad():
        asked, *passages = (torch.nn.functional.normalize(vectors, dim=1) for vectors in embedded(helper, some))
        scores = torch.einsum("id,jkd->ijk", asked, torch.stack(passages, dim=1))
    queries, positives, negatives = embedded(tiny_encoder, some)
    teacher = TeacherScores(scores.diagonal().T, scores)
    expected = parse_loss(name).of_batch(EmbeddedBatch(queries, positives, negatives[:, None], rows, teacher)).value
    expected.backward()
    value = kind(model.eval(), name, guide=guide, **({"mini_batch_size": 7} if kind is CachedAdaptiveMarginLoss else {}))(
        features(model, some)
    )
    value.backward()
    torch.testing.assert_close(value, expected, atol=1e-6, rtol=1e-5)
    assert_same(model, tiny_encoder, atol=4e-7)
    assert not gradients(guide)
    unfiltered = AdaptiveMarginLoss(model, name.replace("filter=True", "").replace(", )", ")"))(features(model, some))
    assert abs(float(unfiltered.detach() - value.detach())) > 1e-3


def test_a_guide_is_for_losses_that_filter_and_reads_the_same_tokens(model) -> None:
    with pytest.raises(InputError, match="the loss 'adaptive' takes no guide, a model that it filters by"):
        AdaptiveMarginLoss(model, "adaptive", guide=model)
    other = copy.deepcopy(model)
    other.tokenizer.add_tokens(["another"])
    with pytest.raises(InputError, match="the guide has another vocabulary than the model"):
        AdaptiveMarginLoss(model, "infonce(filter=True)", guide=other)


@pytest.mark.parametrize("kind", [AdaptiveMarginLoss, CachedAdaptiveMarginLoss])
def test_matryoshka_embeddings_take_it(kind: type, model, tiny_encoder, triples) -> None:
    some = triples[:20:2]
    vectors = embedded(tiny_encoder, some)
    expected = 0.0
    for size in (32, 8):
        queries, positives, negatives = (torch.nn.functional.normalize(one, dim=1)[:, :size] for one in vectors)
        expected += parse_loss("distributed").of_batch(EmbeddedBatch(queries, positives, negatives[:, None])).value.detach()
    value = MatryoshkaLoss(model.eval(), kind(model, "distributed"), [32, 8])(features(model, some), None)
    torch.testing.assert_close(value.detach(), expected)


def over_processes(rank: int, folder: str, model_folder: str, triples: Triples) -> None:
    """One of two processes: its half of the triples, the sum of the gradients over both, halved as DistributedDataParallel does."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    model = SentenceTransformer(model_folder, device="cpu").eval()
    scores = torch.arange(2.0 * len(triples)).reshape(-1, 2).sin()
    half = slice(rank * len(triples) // 2, (rank + 1) * len(triples) // 2)
    found = {}
    for kind in (AdaptiveMarginLoss, CachedAdaptiveMarginLoss):
        for name in ("distributed", "infonce(20, mask=True)", "margin-mse(5)"):
            model.zero_grad()
            value = kind(model, name, gather_across_devices=True)(features(model, triples[half]), scores[half])
            value.backward()
            for gradient in gradients(model):
                torch.distributed.all_reduce(gradient)
                gradient /= 2
            found[kind.__name__, name] = value.detach(), [gradient.clone() for gradient in gradients(model)]
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_several_processes_compare_the_triples_of_all(tmp_path: Path, tiny_folder: Path, triples: Triples, model) -> None:
    some = triples[:16]
    torch.multiprocessing.spawn(over_processes, args=(str(tmp_path), str(tiny_folder), some), nprocs=2)
    first, second = torch.load(tmp_path / "0.pt"), torch.load(tmp_path / "1.pt")
    scores = torch.arange(2.0 * len(some)).reshape(-1, 2).sin()
    for (kind, name), (value, found) in first.items():
        model.eval().zero_grad()
        expected = AdaptiveMarginLoss(model, name)(features(model, some), scores)
        expected.backward()
        torch.testing.assert_close(value, expected.detach())
        torch.testing.assert_close(second[kind, name][0], value)
        for one, other in zip(found, gradients(model), strict=True):
            torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_long_anchors_are_warned_of_once(model, triples) -> None:
    loss = AdaptiveMarginLoss(model, "adaptive")
    columns = [model.preprocess([" ".join(texts) for texts in triples[:4]]) for _ in range(3)]
    assert columns[0]["input_ids"].shape[1] == 48
    with pytest.warns(UserWarning, match=r"anchors have up to 48 tokens, but the model cuts queries at 24; .*column_arguments"):
        loss(columns)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(columns)
        padded = features(model, triples[:4])
        for name in ("input_ids", "attention_mask"):
            padded[0][name] = torch.nn.functional.pad(padded[0][name], (0, 40))
        AdaptiveMarginLoss(model, "adaptive")(padded)  # padding makes no token


def test_columns_are_queries_and_passages_with_prompts(model) -> None:
    tasks = {"anchor": "query", "positive": "document", "negative": "document"}
    assert column_arguments(model) == {"router_mapping": tasks, "prompts": {}}
    model.prompts = {"query": "query: ", "document": "passage: "}
    prompts = {"q": "query: ", "p": "passage: ", "n1": "passage: ", "n2": "passage: "}
    assert column_arguments(model, ["q", "p", "n1", "n2"])["prompts"] == prompts
    model.prompts = {"corpus": "text: "}
    assert column_arguments(model)["prompts"] == {"positive": "text: ", "negative": "text: "}
    for wrong in ("anchor", ["anchor"], ["anchor", "positive", "positive"]):
        with pytest.raises(InputError, match="expected the names of a column of queries and of columns of passages"):
            column_arguments(model, wrong)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no-loss", "unknown loss 'no-loss'"),
        ("infonce(filter=True)", "the loss 'infonce.filter=True.' needs a guide, a model that it filters by"),
        ("margin-mse(in_batch=0.75)", "needs a teacher's scores of other queries' passages or of pairs"),
        ("list-kl(pairs=1.0)", "or of pairs of passages, which a data set's labels do not hold"),
    ],
)
def test_losses_that_have_no_place_here_are_refused(name: str, message: str, model) -> None:
    with pytest.raises(InputError, match=message):
        AdaptiveMarginLoss(model, name)


def test_labels_and_columns_that_do_not_fit_are_refused(model, triples) -> None:
    loss = AdaptiveMarginLoss(model, "margin-mse")
    columns = features(model, triples[:3])
    with pytest.raises(InputError, match="'margin-mse' learns from a teacher's scores; expected a column label"):
        loss(columns, None)
    with pytest.raises(InputError, match=r"expected labels of 2 scores, .* or of 1 differences from it, got the shape \(3, 4\)"):
        loss(columns, torch.zeros(3, 4))
    with pytest.raises(InputError, match="expected columns of anchors, positives and negatives, got 1"):
        loss(columns[:1])
    flat = [{name: part for name, part in column.items() if name != "attention_mask"} for column in columns]
    with pytest.raises(InputError, match="a mask and a filter need texts with padding"):
        AdaptiveMarginLoss(model, "infonce(mask=True)")(flat)
