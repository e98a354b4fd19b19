"""The second stage of an encoder that reads a context, against plain attention written out, and against the plain encoder."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    RobertaConfig,
    RobertaModel,
)

from armlib.data.contexts import Context
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.contextual import START
from armlib.encoder.layer_parts import projections
from armlib.errors import InputError

ARCHITECTURES = ("distilbert", "bert", "roberta")
LENGTHS = (17, 3, 9, 12)


def backbone(architecture: str, dropout: float = 0.0) -> nn.Module:
    """Two layers of 32 dimensions whose attention is far from uniform."""
    torch.manual_seed(7)
    if architecture == "distilbert":
        shape = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "dropout": dropout, "attention_dropout": dropout}
        model = DistilBertModel(DistilBertConfig(vocab_size=1000, pad_token_id=1, **shape))
    else:
        shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "pad_token_id": 1}
        shape |= {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout, "vocab_size": 1000}
        config, kind = {"bert": (BertConfig, BertModel), "roberta": (RobertaConfig, RobertaModel)}[architecture]
        model = kind(config(**shape), add_pooling_layer=False)
    for parameter in model.parameters():
        parameter.data.mul_(4) if parameter.dim() > 1 else parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture
def make(tiny_encoder):
    """Makes encoders that read a context of 5 passages, in double precision and with a bias that lets it count."""

    def make(architecture: str, pooling: str = "cls", dropout: float = 0.0, cls_only: bool = True, **options: object) -> BiEncoder:
        encoder = BiEncoder(backbone(architecture, dropout), tiny_encoder.tokenizer, pooling, cls_only, **options)
        encoder.add_context(5, dropout=0.0)
        for parameter in encoder.context.first.parameters():
            parameter.data.add_(0.05 * torch.randn_like(parameter))
        nn.init.constant_(encoder.context.bias, 0.5)
        return encoder.double()

    return make


def texts(lengths: tuple[int, ...] = LENGTHS, seed: int = 0) -> tuple[Tensor, Tensor]:
    ids = torch.randint(5, 900, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(seed))
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return torch.where(mask == 1, ids, 1), mask


def context(seed: int = 1, size: int = 5) -> Context:
    ids, mask = texts(tuple(range(4, 4 + size)), seed)
    return Context(tuple(f"p{number}" for number in range(size)), ids, mask)


def slow(encoder: BiEncoder, input_ids: Tensor, vectors: Tensor) -> Tensor:
    """The last hidden states of one text, (L, D): attention written out over the joined states, with a mask of its own."""
    model, reader = encoder.backbone, encoder.context
    hidden = model.embeddings(input_ids=input_ids[None])[0]
    states = torch.cat([hidden, vectors if reader.project is None else reader.project(vectors)])
    mask = torch.zeros(len(states), len(states), dtype=states.dtype)
    mask[:, len(hidden) :] = reader.bias
    distil = hasattr(model, "transformer")
    for layer in (model.transformer if distil else model.encoder).layer:
        maps, width = projections(layer), states.shape[1] // 4
        heads = []
        for head in range(4):
            part = slice(head * width, (head + 1) * width)
            query, key, value = (each(states)[:, part] for each in (maps.query, maps.key, maps.value))
            heads.append((query @ key.T / math.sqrt(width) + mask).softmax(-1) @ value)
        inner, outer = (
            (layer.sa_layer_norm, layer.output_layer_norm) if distil else (layer.attention.output.LayerNorm, layer.output.LayerNorm)
        )
        attended = inner(maps.output(torch.cat(heads, 1)) + states)
        states = outer(maps.narrow(nn.functional.gelu(maps.widen(attended))) + attended)
    return states[: len(hidden)]


@pytest.mark.parametrize("pooling, cls_only", [("cls", True), ("cls", False), ("mean", False), ("last+linear", False)])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_second_stage_is_attention_over_joined_states(make, architecture: str, pooling: str, cls_only: bool) -> None:
    encoder, (ids, mask) = make(architecture, pooling, cls_only=cls_only), texts()
    assert encoder.cls_only == cls_only
    vectors = torch.randn(5, 32, dtype=torch.float64, requires_grad=True)
    result = encoder(ids, mask, context=vectors)
    expected = []
    for row, length in enumerate(LENGTHS):
        states = slow(encoder, ids[row, :length], vectors)
        one = {"cls": states[0], "mean": states.mean(0), "last": states[-1]}[pooling.partition("+")[0]]
        expected.append(one if encoder.linear is None else encoder.linear(one))
    expected = torch.stack(expected)
    torch.testing.assert_close(result, expected, atol=1e-12, rtol=1e-10)
    names = [name for name, _ in encoder.named_parameters() if not name.startswith("context.first")]
    parameters = [parameter for name, parameter in encoder.named_parameters() if name in names]
    pull = torch.randn_like(result)
    ours, theirs = (
        torch.autograd.grad((each * pull).sum(), [vectors, *parameters], allow_unused=True) for each in (result, expected)
    )
    for name, mine, other in zip(["vectors", *names], ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-11, rtol=1e-9, msg=name)
    assert ours[0].abs().max() > 1e-4 and float(ours[names.index("context.bias") + 1].abs()) > 1e-4


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_context_counts_and_its_order_does_not(make, architecture: str) -> None:
    encoder = make(architecture).float()
    ids, mask = texts()
    one = context()
    order = [3, 0, 4, 2, 1]
    found = {}
    turned = Context(tuple(one.ids[i] for i in order), one.input_ids[order], one.attention_mask[order])
    for name, each in {"one": one, "other": context(2), "turned": turned}.items():
        encoder.bind(each)
        with torch.no_grad():
            found[name] = encoder(ids, mask)
    torch.testing.assert_close(found["turned"], found["one"], atol=1e-6, rtol=0)
    assert (found["other"] - found["one"]).abs().max() > 0.01


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_bias_of_minus_infinity_is_the_plain_encoder_to_the_bit(make, architecture: str, pooling: str) -> None:
    encoder = make(architecture, pooling).float()
    plain = copy.deepcopy(encoder)
    plain.context = None
    encoder.bind(context())
    for lengths in (LENGTHS, (5,), (40, 39), (130, 64)):
        ids, mask = texts(lengths)
        with torch.no_grad():
            expected = plain(ids, mask)
            nn.init.constant_(encoder.context.bias, -math.inf)
            assert torch.equal(encoder(ids, mask), expected)
            # by the arithmetic, and not because the context is left out
            nn.init.constant_(encoder.context.bias, -1e5)
            torch.testing.assert_close(encoder(ids, mask), expected, atol=3e-6, rtol=0)
            nn.init.constant_(encoder.context.bias, START)
            assert (encoder(ids, mask) - expected).abs().max() > 1e-4


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_neither_padding_nor_company_changes_anything(make, architecture: str) -> None:
    encoder, (ids, mask) = make(architecture), texts()
    one = context()
    encoder.bind(one)
    together = encoder(ids, mask)
    alone = torch.cat([encoder(ids[row : row + 1, :length], mask[row : row + 1, :length]) for row, length in enumerate(LENGTHS)])
    torch.testing.assert_close(together, alone, atol=1e-12, rtol=0)
    vectors = [
        encoder.context.first(ids[:length][None], torch.ones(1, length).long())
        for ids, length in zip(one[1], one[2].sum(1), strict=True)
    ]
    torch.testing.assert_close(encoder.context.vectors, torch.cat(vectors), atol=1e-12, rtol=0)


def test_word_embeddings_that_were_looked_up_before_give_the_same(make) -> None:
    encoder, (ids, mask) = make("distilbert"), texts()
    encoder.bind(context())
    assert torch.equal(encoder(ids, mask, encoder.word_embeddings(ids)), encoder(ids, mask))


def test_a_first_stage_of_another_width_is_projected(make) -> None:
    encoder, (ids, mask) = make("bert", truncate_dim=12), texts()
    assert encoder.context.project.weight.shape == (32, 12) and encoder.dim == 12
    encoder.bind(context())
    states = slow(encoder, ids[0], encoder.context.vectors)
    torch.testing.assert_close(encoder(ids, mask)[0], states[0, :12], atol=1e-12, rtol=0)


def test_the_bias_starts_at_minus_three_and_the_first_stage_as_the_encoder(tiny_encoder) -> None:
    weights, state = {name: value.clone() for name, value in tiny_encoder.state_dict().items()}, torch.random.get_rng_state()
    tiny_encoder.add_context(64, 0.1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert tiny_encoder.context.bias.tolist() == [-3] and tiny_encoder.context_size == 64
    assert 0.005 < tiny_encoder.context.null.detach().std() < 0.02
    for name, value in weights.items():
        assert torch.equal(tiny_encoder.state_dict()[f"context.first.{name}"], value)
        assert torch.equal(tiny_encoder.state_dict()[name], value)
    counts, first = tiny_encoder.parameter_counts, tiny_encoder.context.first.parameter_counts
    assert counts == (2 * first.total + 1 + 32 + 32 * 33, first.non_embedding + 1 + 32 + 32 * 33)
    assert torch.equal(tiny_encoder.context.project.weight, -torch.eye(32)) and not tiny_encoder.context.project.bias.any()


def test_null_vectors_stand_in_for_dropped_ones_in_training_alone(make) -> None:
    encoder, (ids, mask) = make("roberta"), texts((9,) * 300)
    encoder.context.set_dropout(0.4)
    reader, vectors = encoder.context, torch.randn(5, 32, dtype=torch.float64)
    reader.train()
    read = -vectors  # P is minus the identity
    drawn = reader._context(vectors, 4000)
    null = (drawn == reader.null).all(-1)
    assert torch.equal(drawn[~null], read.expand(4000, -1, -1)[~null])
    assert null.double().mean(0).sub(0.4).abs().max() < 0.04  # each vector of each text by itself
    assert len(torch.unique(null, dim=0)) == 2**5
    encoder(ids, mask, context=vectors).sum().backward()
    assert reader.null.grad.abs().max() > 0
    reader.eval()
    assert torch.equal(reader._context(vectors, 3), read.expand(3, -1, -1))
    reader.set_dropout(0.0)
    assert reader.train() is reader and torch.equal(reader._context(vectors, 3), read.expand(3, -1, -1))


def test_a_bound_context_is_forgotten_where_weights_can_change(make) -> None:
    encoder, (ids, mask) = make("distilbert"), texts()
    with pytest.raises(InputError, match="is bound to none; bind it to that of a collection"):
        encoder(ids, mask)
    encoder.bind(context())
    unbound, bound = make("distilbert").fingerprint(), encoder.fingerprint()
    vectors = encoder.context.vectors
    encoder.bind(context())
    assert encoder.context.vectors is vectors, "the same context is not read again"
    encoder.bind(context(2))
    assert len({unbound, bound, encoder.fingerprint()}) == 3
    encoder.bind(context())
    assert encoder.fingerprint() == bound and encoder.context.bound.ids[0] == "p0"
    other = copy.deepcopy(encoder)
    other.load_state_dict(make("distilbert").state_dict())
    assert other.context.vectors is None and encoder.context.vectors is not None
    encoder.train()
    assert encoder.context.vectors is None and encoder.context.bound is None
    assert encoder.fingerprint() == unbound


def test_binding_reads_in_evaluation_mode_and_leaves_the_mode(make) -> None:
    encoder = make("bert", dropout=0.3)
    encoder.bind(context())
    expected = encoder.context.vectors
    encoder.train()
    encoder.bind(context())
    assert torch.equal(encoder.context.vectors, expected) and not expected.requires_grad
    assert all(module.training for module in encoder.modules())


def test_copies_and_pickles_keep_the_context(make) -> None:
    encoder, (ids, mask) = make("distilbert"), texts()
    encoder.bind(context())
    expected = encoder(ids, mask)
    for other in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        assert torch.equal(other(ids, mask), expected) and other.context.bound.key == encoder.context.bound.key
    assert copy.deepcopy(encoder).context.first.tokenizer is not None


def test_bfloat16_is_near(make) -> None:
    encoder, (ids, mask) = make("bert", "mean").float(), texts()
    encoder.bind(context())
    exact = encoder(ids, mask)
    with torch.autocast("cpu", torch.bfloat16):
        near = encoder(ids, mask)
        near.sum().backward()
    assert (near - exact).abs().max() < 0.2 * exact.abs().max()


@pytest.mark.parametrize(
    "kind, said",
    [
        (
            "mpnet",
            "MPNetModel cannot read a context: its attention depends on relative positions, .*; expected DistilBERT, BERT, RoBERTa",
        ),
        ("electra", r"ElectraModel \(electra\) cannot read a context; expected DistilBERT, BERT, RoBERTa"),
        ("xlm-roberta", r"XLMRobertaModel \(xlm-roberta\) cannot read a context; expected"),
        ("modernbert", r"ModernBertModel \(modernbert\) cannot read a context; expected"),
    ],
)
def test_other_architectures_are_refused_by_name(tiny_encoder, kind: str, said: str) -> None:
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 1000}
    model = AutoModel.from_config(AutoConfig.for_model(kind, **shape, pad_token_id=1))
    encoder = BiEncoder(model, tiny_encoder.tokenizer, "mean")
    with pytest.raises(InputError, match=f"^{said}"):
        encoder.add_context(4)
    assert encoder.context is None


def test_causal_and_flexible_attention_are_refused(tiny_encoder) -> None:
    tiny_encoder.backbone.config._attn_implementation = "flex_attention"
    with pytest.raises(InputError, match="cannot read a context with flex_attention attention; expected sdpa or eager"):
        tiny_encoder.add_context(4)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 1000}
    decoder = BertModel(BertConfig(**shape, is_decoder=True), add_pooling_layer=False)
    with pytest.raises(InputError, match="BertModel"):
        BiEncoder(decoder, tiny_encoder.tokenizer, "mean").add_context(4)
