"""An encoder over tokens without padding equals the padded way: values, gradients, poolings, and dropout that can be replayed."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
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

from armlib.data.flat_texts import FlatTexts, pieces
from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.flat_attention import Layout, grouped_attention, nested_attention
from armlib.encoder.packed import PAYS_FROM, can_pack, check_packs, packed_hidden
from armlib.encoder.pooling import POOLINGS
from armlib.errors import InputError
from recomputing import recompute

LENGTHS = (3, 3, 4, 7, 7, 7, 9, 12, 15, 20)
SHAPE = {
    "vocab_size": 1000,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 80,
    "pad_token_id": 1,
}
DISTILBERT = {"vocab_size": 1000, "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64, "pad_token_id": 1}
MODELS: dict[str, Callable[[], nn.Module]] = {
    "distilbert": lambda: DistilBertModel(DistilBertConfig(**DISTILBERT, max_position_embeddings=80)),
    "bert": lambda: BertModel(BertConfig(**SHAPE), add_pooling_layer=False),
    "roberta": lambda: RobertaModel(RobertaConfig(**SHAPE), add_pooling_layer=False),
    "mpnet": lambda: MPNetModel(MPNetConfig(**SHAPE), add_pooling_layer=False),
}
EPSILON = 1e-10

# torch warns of an older kind of nested tensors, of which its way on a CPU makes use.
NESTED = pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")


def make(architecture: str, dropout: float = 0.0) -> nn.Module:
    """A small encoder in training mode and float64, whose weights are large enough for attention to be far from uniform."""
    torch.manual_seed(7)
    model = MODELS[architecture]().double()
    for parameter in model.parameters():
        parameter.data.mul_(4) if parameter.dim() > 1 else parameter.data.add_(0.1 * torch.randn_like(parameter))
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    return model.train()


def encoder_of(model: nn.Module, tiny_encoder: BiEncoder, pooling: str, cls_only: bool = True) -> BiEncoder:
    """A bi-encoder of a model, with a linear layer that does something; its tokenizer is not used."""
    linear = nn.Linear(32, 24).double() if pooling.endswith("linear") else None
    return BiEncoder(model, copy.deepcopy(tiny_encoder.tokenizer), pooling, cls_only, linear).train()


@pytest.fixture
def ragged() -> tuple[Tensor, Tensor, FlatTexts]:
    """The same texts padded, (n, L) ids and mask, and without padding; one has a padding token among its own."""
    lengths = torch.tensor(LENGTHS)
    ids = torch.randint(5, 300, (len(lengths), max(LENGTHS)), generator=torch.Generator().manual_seed(3))
    mask = (torch.arange(max(LENGTHS)) < lengths[:, None]).long()
    ids = torch.where(mask == 1, ids, 1)
    ids[4, 3] = 1
    return ids, mask, FlatTexts(ids[mask == 1], lengths, torch.arange(len(lengths)))


def vectors_and_gradients(encoder: nn.Module, embed: Callable[[], Tensor]) -> tuple[Tensor, dict[str, Tensor | None]]:
    encoder.zero_grad()
    vectors = embed()
    weights = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(5), dtype=vectors.dtype)
    (vectors * weights).sum().backward()
    return vectors.detach(), {name: parameter.grad for name, parameter in encoder.named_parameters()}


def assert_equal(ours: tuple[Tensor, dict], theirs: tuple[Tensor, dict]) -> None:
    torch.testing.assert_close(ours[0], theirs[0], atol=EPSILON, rtol=0)
    assert ours[0].abs().max() > 0.1
    for name, expected in theirs[1].items():
        assert (expected is None) == (ours[1][name] is None), name
        if expected is not None:
            torch.testing.assert_close(ours[1][name], expected, atol=EPSILON, rtol=0, msg=name)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("architecture", MODELS)
def test_values_and_gradients_equal_the_padded_way(architecture: str, pooling: str, tiny_encoder: BiEncoder, ragged: tuple) -> None:
    ids, mask, flat = ragged
    encoder = encoder_of(make(architecture), tiny_encoder, pooling)
    assert encoder.cls_only == pooling.startswith("cls")
    padded = vectors_and_gradients(encoder, lambda: encoder(ids, mask))
    assert_equal(vectors_and_gradients(encoder, lambda: encoder.embed_flat(flat)), padded)


@pytest.mark.parametrize("architecture", MODELS)
def test_the_whole_last_layer_and_texts_in_any_order(architecture: str, tiny_encoder: BiEncoder, ragged: tuple) -> None:
    ids, mask, flat = ragged
    encoder = encoder_of(make(architecture), tiny_encoder, "cls", cls_only=False)
    padded = vectors_and_gradients(encoder, lambda: encoder(ids, mask))
    assert_equal(vectors_and_gradients(encoder, lambda: encoder.embed_flat(flat)), padded)
    order = torch.tensor([7, 2, 9, 0, 4, 1, 3, 8, 5, 6])
    parts = flat.input_ids.split(list(LENGTHS))
    mixed = FlatTexts(torch.cat([parts[row] for row in order]), flat.lengths[order], order)
    assert_equal(vectors_and_gradients(encoder, lambda: encoder.embed_flat(mixed)[torch.argsort(order)]), padded)


@pytest.mark.parametrize("first_only", [True, False])
@pytest.mark.parametrize("group", [1, 3, 64])
def test_the_size_of_groups_changes_nothing(group: int, first_only: bool, ragged: tuple) -> None:
    model, flat = make("mpnet"), ragged[2]

    def hidden(group: int) -> Tensor:
        return packed_hidden(model, flat.input_ids, Layout(flat.lengths, torch.device("cpu"), group), first_only)

    assert_equal(vectors_and_gradients(model, lambda: hidden(group)), vectors_and_gradients(model, lambda: hidden(2)))


@NESTED
@pytest.mark.parametrize("first_only", [True, False])
@pytest.mark.parametrize("architecture", ["distilbert", "bert", "roberta"])
def test_nested_tensors_give_what_groups_give(architecture: str, first_only: bool, ragged: tuple) -> None:
    model, flat = make(architecture), ragged[2]
    layout = Layout(flat.lengths, torch.device("cpu"))

    def hidden(nested: bool) -> Tensor:
        return packed_hidden(model, flat.input_ids, layout, first_only, nested)

    assert_equal(vectors_and_gradients(model, lambda: hidden(True)), vectors_and_gradients(model, lambda: hidden(False)))


@NESTED
def test_attention_equals_the_formula() -> None:
    """Text by text and head by head: softmax of scaled products, times values."""
    query, key, value = torch.randn(3, sum(LENGTHS), 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    layout = Layout(torch.tensor(LENGTHS), torch.device("cpu"), 4)
    expected, start = torch.empty_like(query), 0
    for length in LENGTHS:
        for head in (slice(0, 4), slice(4, 8)):
            q, k, v = (each[start : start + length, head] for each in (query, key, value))
            scores = (q @ k.T / 2).exp()
            expected[start : start + length, head] = scores / scores.sum(1, keepdim=True) @ v
        start += length
    masks = [group.mask for group in layout.groups]
    torch.testing.assert_close(grouped_attention(query, key, value, layout, 2, 0.0, masks), expected)
    torch.testing.assert_close(nested_attention(query, key, value, layout, 2, 0.0), expected)
    first = query[layout.first]
    torch.testing.assert_close(nested_attention(first, key, value, layout, 2, 0.0), expected[layout.first])


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("architecture", MODELS)
def test_dropout_is_drawn_and_can_be_replayed(architecture: str, pooling: str, tiny_encoder: BiEncoder, ragged: tuple) -> None:
    encoder, flat = encoder_of(make(architecture, 0.3), tiny_encoder, pooling), ragged[2]
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(vectors_and_gradients(encoder, lambda: encoder.embed_flat(flat)))
    assert torch.equal(found[0][0], found[1][0]) and not torch.allclose(found[0][0], found[2][0])
    assert all(expected is None or torch.equal(found[1][1][name], expected) for name, expected in found[0][1].items())
    encoder.eval()
    assert torch.equal(encoder.embed_flat(flat), encoder.embed_flat(flat))


@pytest.mark.parametrize("place", ["attention", "hidden"])
@pytest.mark.parametrize("architecture", MODELS)
def test_dropout_has_the_padded_ways_distribution(architecture: str, place: str, tiny_encoder: BiEncoder) -> None:
    """Mean and spread of a text's vector over many draws, with dropout of attention weights alone, or everywhere else."""
    model = make(architecture).float()
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout):
            weights = name.endswith(("attention.dropout", "self.dropout", "attn.dropout"))
            # MPNet's own attention.dropout is that of its output.
            weights = weights and not (architecture == "mpnet" and name.endswith("attention.dropout"))
            module.p = 0.3 if weights == (place == "attention") else 0.0
    encoder = encoder_of(model, tiny_encoder, "cls")
    ids = torch.randint(5, 300, (1, 6), generator=torch.Generator().manual_seed(3)).repeat(4000, 1)
    torch.manual_seed(0)
    with torch.no_grad():
        padded = encoder(ids, torch.ones_like(ids))
        flat = encoder.embed_flat(FlatTexts(ids.flatten(), torch.full((4000,), 6), torch.arange(4000)))
    spread = padded.std(0)
    assert spread.mean() > 0.05
    torch.testing.assert_close((flat.mean(0) - padded.mean(0)) / spread, torch.zeros(32), atol=0.1, rtol=0)
    torch.testing.assert_close(flat.std(0) / spread, torch.ones(32), atol=0.08, rtol=0)


@pytest.mark.parametrize("architecture", MODELS)
def test_parameters_and_saved_folders_are_those_of_the_padded_way(
    architecture: str, tiny_encoder: BiEncoder, ragged: tuple, tmp_path: Path
) -> None:
    encoder = encoder_of(make(architecture).float(), tiny_encoder, "mean").eval()
    names, before = list(encoder.state_dict()), encoder.fingerprint()
    vectors = encoder.embed_flat(ragged[2])
    assert list(encoder.state_dict()) == names and encoder.fingerprint() == before
    loaded = BiEncoder.load(encoder.save(tmp_path / "saved", query_length=8, passage_length=20))
    torch.testing.assert_close(loaded.embed_flat(ragged[2]), vectors)


def test_other_encoders_are_refused_by_name(tiny_encoder: BiEncoder, ragged: tuple) -> None:
    electra = ElectraModel(ElectraConfig(**SHAPE, embedding_size=32))
    causal = BertModel(BertConfig(**SHAPE, is_decoder=True), add_pooling_layer=False)
    for model, named in ((electra, "ElectraModel cannot .* another architecture"), (causal, "BertModel cannot .* a decoder")):
        assert not can_pack(model)
        with pytest.raises(InputError, match=rf"{named}; expected one of DistilBERT, BERT, RoBERTa, MPNet"):
            check_packs(model)
    assert not encoder_of(electra, tiny_encoder, "mean").packs
    with pytest.raises(InputError, match="ElectraModel"):
        encoder_of(electra, tiny_encoder, "mean").embed_flat(ragged[2])
    tiny_encoder.add_context(4)
    with pytest.raises(InputError, match="reads a context cannot read texts without padding"):
        tiny_encoder.embed_flat(ragged[2])
    assert not tiny_encoder.packs


@pytest.mark.parametrize("architecture", MODELS)
def test_more_tokens_than_positions_are_refused(architecture: str) -> None:
    model = make(architecture)
    most = 78 if architecture in ("roberta", "mpnet") else 80
    for length in (most, most + 1):
        ids, layout = torch.full((length,), 5), Layout(torch.tensor([length]), torch.device("cpu"))
        if length == most:
            assert packed_hidden(model, ids, layout).isfinite().all()
        else:
            with pytest.raises(InputError, match=f"a text has {length} tokens; this encoder has {most} positions"):
                packed_hidden(model, ids, layout)


def test_narrow_encoders_on_a_cpu_keep_chunks(tiny_encoder: BiEncoder) -> None:
    assert not tiny_encoder.packs
    wide = DistilBertModel(DistilBertConfig(vocab_size=300, dim=PAYS_FROM, n_layers=1, n_heads=4, hidden_dim=64))
    encoder = BiEncoder(wide, tiny_encoder.tokenizer, "cls")
    assert encoder.packs
    recompute(encoder.backbone)
    assert not encoder.packs, "layers that are computed again are called as a whole"


@pytest.mark.parametrize("most", [None, 1, 10, 25, 1000])
def test_pieces_hold_every_text_once_in_order_of_lengths(most: int | None) -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 13, 40)
    parts = [rng.integers(0, 1000, length) for length in lengths]
    found = pieces(np.concatenate(parts), lengths, most)
    rows = torch.cat([piece.rows for piece in found]).tolist()
    assert sorted(rows) == list(range(40)) and np.all(np.diff(lengths[rows]) >= 0)
    for piece in found:
        assert most is None or len(piece.rows) == 1 or len(piece.input_ids) <= most
        for row, ids in zip(piece.rows.tolist(), piece.input_ids.split(piece.lengths.tolist()), strict=True):
            np.testing.assert_array_equal(ids.numpy(), parts[row])
    assert len(found) == {None: 1, 1: 40, 1000: 1}.get(most, len(found))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="fused kernels for nested tensors need a CUDA GPU")
@pytest.mark.parametrize("first_only", [True, False])
@pytest.mark.parametrize("architecture", MODELS)
def test_cuda_is_as_near_as_the_padded_way_and_replays_dropout(architecture: str, first_only: bool, ragged: tuple) -> None:
    model = make(architecture).eval()
    ids, mask, flat = ragged
    exact = model(ids, attention_mask=mask).last_hidden_state
    exact = exact[:, 0] if first_only else exact[mask == 1]
    model = model.float().cuda()
    cuda, layout = flat.to(torch.device("cuda")), Layout(flat.lengths, torch.device("cuda"))
    with torch.autocast("cuda", torch.bfloat16):
        padded = model(ids.cuda(), attention_mask=mask.cuda()).last_hidden_state
        ours = packed_hidden(model, cuda.input_ids, layout, first_only)
        for module in model.train().modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.3
        drawn = []
        for seed in (1, 1, 2):
            torch.cuda.manual_seed(seed)
            drawn.append(packed_hidden(model, cuda.input_ids, layout, first_only))
    padded = (padded[:, 0] if first_only else padded[mask.cuda() == 1]).double().cpu()
    assert (ours.double().cpu() - exact).abs().mean() < 1.5 * (padded - exact).abs().mean()
    assert torch.equal(drawn[0], drawn[1]) and not torch.allclose(drawn[0], drawn[2])


COMPILER = pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs g++ on a CPU, which is not installed")
OWN_WARNINGS = pytest.mark.filterwarnings("ignore")  # of torch's compiler about torch itself


@COMPILER
@OWN_WARNINGS
@pytest.mark.parametrize("architecture", MODELS)
def test_compiled_layers_equal_the_others(architecture: str, tiny_encoder: BiEncoder, ragged: tuple) -> None:
    _, _, flat = ragged
    encoder = encoder_of(make(architecture), tiny_encoder, "cls")
    expected = vectors_and_gradients(encoder, lambda: encoder.embed_flat(flat))
    encoder.compiled = True
    torch._dynamo.utils.counters.clear()
    assert_equal(vectors_and_gradients(encoder, lambda: encoder.embed_flat(flat)), expected)
    shorter = FlatTexts(flat.input_ids[: sum(LENGTHS[:6])], flat.lengths[:6], torch.arange(6))
    ours = vectors_and_gradients(encoder, lambda: encoder.embed_flat(shorter))
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert 1 <= graphs <= 2, "one for all layers, and one more at most for another number of tokens"
    encoder.compiled = False
    assert_equal(ours, vectors_and_gradients(encoder, lambda: encoder.embed_flat(shorter)))


@COMPILER
@OWN_WARNINGS
def test_compiled_dropout_can_be_replayed_and_is_off_outside_training(tiny_encoder: BiEncoder, ragged: tuple) -> None:
    _, _, flat = ragged
    encoder = encoder_of(make("distilbert", dropout=0.3), tiny_encoder, "cls")
    encoder.compiled = True
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(encoder.embed_flat(flat).detach())
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    ours = encoder.eval().embed_flat(flat)
    encoder.compiled = False
    assert torch.equal(ours, encoder.embed_flat(flat))
