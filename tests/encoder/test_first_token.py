"""The last layer for [CLS] alone equals the stock layer: values, gradients, masks, dropout's distribution."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    MPNetConfig,
    MPNetModel,
    RobertaConfig,
    RobertaModel,
)

from armlib.encoder import first_token
from recomputing import recompute

ARCHITECTURES = ("distilbert", "bert", "roberta", "mpnet")


def make(architecture: str, layers: int = 2, dropout: float = 0.0, **options: object) -> torch.nn.Module:
    """A small encoder in training mode whose weights are large enough for attention to be far from uniform."""
    torch.manual_seed(7)
    if architecture == "distilbert":
        model = DistilBertModel(
            DistilBertConfig(
                vocab_size=300,
                dim=32,
                n_layers=layers,
                n_heads=4,
                hidden_dim=64,
                dropout=dropout,
                attention_dropout=dropout,
                **options,
            )
        )
    else:
        shape = {
            "vocab_size": 300,
            "hidden_size": 32,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "hidden_dropout_prob": dropout,
            "attention_probs_dropout_prob": dropout,
            "pad_token_id": 1,
        }
        config, model_class = {
            "bert": (BertConfig, BertModel),
            "roberta": (RobertaConfig, RobertaModel),
            "mpnet": (MPNetConfig, MPNetModel),
        }[architecture]
        model = model_class(config(**shape, **options), add_pooling_layer=False)
    for parameter in model.parameters():
        parameter.data.mul_(4) if parameter.dim() > 1 else parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model.train()


def batch(padded: bool = True, length: int = 17) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(5, 300, (6, length), generator=generator)
    mask = torch.ones_like(ids)
    if padded:
        for row in range(6):
            mask[row, length - 2 * row :] = 0
    return {"input_ids": torch.where(mask == 1, ids, 1), "attention_mask": mask}


def first_and_gradients(model: torch.nn.Module, inputs: dict) -> tuple[torch.Tensor, dict[str, torch.Tensor | None]]:
    model.zero_grad()
    first = model(**inputs).last_hidden_state[:, 0]
    weights = torch.randn(first.shape, generator=torch.Generator().manual_seed(5))
    (first * weights).sum().backward()
    return first.detach(), {name: p.grad for name, p in model.named_parameters()}


def assert_equals_stock(model: torch.nn.Module, inputs: dict) -> None:
    stock, stock_gradients = first_and_gradients(model, inputs)
    assert first_token.enable(model)
    ours, gradients = first_and_gradients(model, inputs)
    assert model(**inputs).last_hidden_state.shape[1] == 1
    torch.testing.assert_close(ours, stock, atol=3e-6, rtol=1e-5)
    for name, expected in stock_gradients.items():
        assert (gradients[name] is None) == (expected is None), name
        if expected is not None:
            # The key bias has a gradient of zero up to rounding: compare on the scale of the others.
            difference = (gradients[name] - expected).abs().max()
            assert difference <= 3e-5 + 1e-4 * expected.abs().max(), f"{name}: {difference}"


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_values_and_gradients_equal_the_stock_layer(architecture: str, layers: int, padded: bool) -> None:
    assert_equals_stock(make(architecture, layers), batch(padded))


@pytest.mark.parametrize("architecture", ("distilbert", "bert", "roberta"))
def test_eager_attention_with_added_masks(architecture: str) -> None:
    assert_equals_stock(make(architecture, attn_implementation="eager"), batch())


def test_relative_positions_count() -> None:
    """MPNet with its relative positions switched off gives something else, so the equality above covers them."""
    model = make("mpnet")
    assert first_token.enable(model)
    with torch.inference_mode():
        before = model(**batch()).last_hidden_state
        model.encoder.relative_attention_bias.weight.zero_()
        after = model(**batch()).last_hidden_state
    assert (before - after).abs().max() > 0.01


@pytest.mark.slow
def test_real_minilm(minilm: object) -> None:
    model = BertModel.from_pretrained(minilm, add_pooling_layer=False).eval()
    inputs = batch()
    assert_equals_stock(model, inputs | {"input_ids": inputs["input_ids"] + 2000 * inputs["attention_mask"]})


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_disable_restores_the_stock_layer_and_names_never_change(architecture: str) -> None:
    model = make(architecture)
    names, classes = list(model.state_dict()), [type(module) for module in model.modules()]
    stock = model(**batch()).last_hidden_state
    assert first_token.enable(model) and first_token.enable(model)
    assert list(model.state_dict()) == names
    first_token.disable(model)
    assert [type(module) for module in model.modules()] == classes
    assert torch.equal(model(**batch()).last_hidden_state, stock)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_copies_and_pickles_keep_it(architecture: str) -> None:
    model = make(architecture)
    first_token.enable(model)
    expected = model(**batch()).last_hidden_state
    others = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    for parameter in model.parameters():
        parameter.data.zero_()  # a copy that still reached into the original would see this
    for other in others:
        result = other(**batch()).last_hidden_state
        assert result.shape[1] == 1 and torch.equal(result, expected)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_bfloat16_autocast_is_as_near_as_the_stock_layer(architecture: str) -> None:
    model, inputs = make(architecture), batch()
    exact = model(**inputs).last_hidden_state[:, 0]
    with torch.autocast("cpu", torch.bfloat16):
        stock = model(**inputs).last_hidden_state[:, 0]
        assert first_token.enable(model)
        ours = model(**inputs).last_hidden_state[:, 0]
    ours.sum().backward()
    assert ours.dtype == stock.dtype
    assert (ours - exact).abs().mean() < 1.5 * (stock - exact).abs().mean()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_dropout_has_the_stock_distribution(architecture: str) -> None:
    """Mean and spread of the first token's vector over many draws; inputs of one layer, so nothing else is random."""
    model = make(architecture, layers=1, dropout=0.3)
    model.embeddings.dropout.p = 0.0
    inputs = {name: tensor[1:2].repeat(6000, 1) for name, tensor in batch(length=6).items()}
    with torch.no_grad():
        stock = model(**inputs).last_hidden_state[:, 0]
        first_token.enable(model)
        ours = model(**inputs).last_hidden_state[:, 0]
    assert ours.std(0).mean() > 0.1
    spread = stock.std(0)
    torch.testing.assert_close((ours.mean(0) - stock.mean(0)) / spread, torch.zeros(32), atol=0.09, rtol=0)
    torch.testing.assert_close(ours.std(0) / spread, torch.ones(32), atol=0.08, rtol=0)


def test_gradient_checkpointing_still_works() -> None:
    model = make("roberta")
    first_token.enable(model)
    expected, gradients = first_and_gradients(model, batch())
    recompute(model)
    ours, checkpointed = first_and_gradients(model, batch())
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(checkpointed, gradients)


def test_unknown_architectures_are_left_alone() -> None:
    model = ElectraModel(
        ElectraConfig(
            vocab_size=50, hidden_size=8, embedding_size=8, num_attention_heads=2, num_hidden_layers=1, intermediate_size=8
        )
    )
    classes = [type(module) for module in model.modules()]
    assert not first_token.enable(model)
    assert not first_token.enable(torch.nn.Linear(2, 2))
    first_token.disable(model)
    assert [type(module) for module in model.modules()] == classes


def test_unknown_attention_is_left_alone() -> None:
    model = make("bert")
    model.config._attn_implementation = "flex_attention"
    assert not first_token.enable(model)
    assert type(model.encoder.layer[-1]).__name__ == "BertLayer"
