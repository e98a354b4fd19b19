"""Teachers that compare two passages: swapping, what a difference of scores would add, and models that read both."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers.implementations import SentencePieceUnigramTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from armlib.data.collection import Collection
from armlib.errors import InputError
from armlib.losses.distillation import list_kl, pair_kl
from armlib.names import load_collection
from armlib.teachers.base import PairwiseTeacher
from armlib.teachers.pairwise import Comparison, PairwiseInteractionTeacher, trained_comparison
from armlib.teachers.registry import parse_pairwise_teacher
from armlib.teachers.two_passages import DuoT5, PairwiseCrossEncoder, _cut

Triples = tuple[list[str], list[str], list[str]]


@pytest.fixture(scope="module")
def collection(beir_folder: Path) -> Collection:
    return load_collection(str(beir_folder))


@pytest.fixture(scope="module")
def asked(collection: Collection) -> Triples:
    """Queries and two passages each, of any length; in the last row an empty passage."""
    passages = [document.text for document in collection.documents()]
    queries = list(collection.queries().values())[:40]
    return [*queries, "a file"], [*passages[40:80], ""], [*passages[60:100], "a file"]


def sequence_to_sequence(folder: Path, texts: list[str], words: str = "true false ") -> Path:
    """A folder with a T5 of two layers, 32 dimensions and random weights, and a tokenizer as T5 has."""
    tokenizer = SentencePieceUnigramTokenizer()
    prompt = f"{words}Query: Document0: Document1: Relevant: " * 50
    special = ["<pad>", "</s>", "<unk>"]
    tokenizer.train_from_iterator([*texts, prompt], vocab_size=600, show_progress=False, special_tokens=special, unk_token="<unk>")
    tokenizer.post_processor = TemplateProcessing("$A </s>", "$A </s> $B </s>", [("</s>", 1)])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer._tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )
    shape = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
    torch.manual_seed(0)
    config = T5Config(vocab_size=len(wrapped), **shape, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1)
    model = T5ForConditionalGeneration(config)
    with torch.no_grad():
        for weights in model.parameters():
            weights.copy_(torch.randn(weights.shape))
    model.save_pretrained(folder)
    wrapped.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def t5_folder(texts: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sequence_to_sequence(tmp_path_factory.mktemp("teachers") / "t5", [text for _, text in texts])


@pytest.fixture(scope="module")
def teachers(cross_encoder_folder: Path, t5_folder: Path) -> dict[str, PairwiseTeacher]:
    return {
        "interaction": PairwiseInteractionTeacher(steps=100),
        "cross-encoder": PairwiseCrossEncoder(str(cross_encoder_folder)),
        "duo-t5": DuoT5(str(t5_folder)),
    }


KINDS = ("interaction", "cross-encoder", "duo-t5")


@pytest.mark.parametrize("kind", KINDS)
def test_swapping_the_passages_gives_the_opposite(
    kind: str, teachers: dict[str, PairwiseTeacher], collection: Collection, asked: Triples
) -> None:
    teacher, (queries, firsts, seconds) = teachers[kind], asked
    teacher.prepare(collection)
    there, back = teacher.preferences(collection, *asked), teacher.preferences(collection, queries, seconds, firsts)
    assert there.dtype == np.float32 and there.shape == (len(queries),) and ((there > 0) & (there < 1)).all()
    np.testing.assert_allclose(back, 1 - there, rtol=0, atol=1e-7)
    assert there.std() > 0.01
    np.testing.assert_allclose(teacher.preferences(collection, queries, firsts, firsts), 0.5, atol=1e-6)
    assert teacher.cost["parameters"] > 0 and teacher.operations > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_preference_does_not_depend_on_what_is_asked_beside_it(
    kind: str, teachers: dict[str, PairwiseTeacher], collection: Collection, asked: Triples
) -> None:
    together = teachers[kind].preferences(collection, *asked)
    for number in range(0, len(together), 5):
        alone = teachers[kind].preferences(collection, *(texts[number : number + 1] for texts in asked))
        np.testing.assert_allclose(together[number], alone, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_its_text_reads_back(kind: str, teachers: dict[str, PairwiseTeacher], collection: Collection) -> None:
    teacher = teachers[kind]
    again = parse_pairwise_teacher(str(teacher))
    assert str(again) == str(teacher) and again.fingerprint(collection) == teacher.fingerprint(collection)


def test_a_difference_of_pointwise_scores_adds_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    teacher = 3 * torch.randn(4, 6, generator=generator, dtype=torch.float64)
    preferences = (teacher[:, :, None] - teacher[:, None, :]).sigmoid()
    terms: list[Callable[[torch.Tensor], torch.Tensor]] = [lambda s: list_kl(s, teacher), lambda s: pair_kl(s, preferences)]
    # Both vanish, with their gradients, where the student has the teacher's differences, and nowhere else.
    same = (teacher + torch.randn(4, 1, generator=generator, dtype=torch.float64)).requires_grad_()
    other = (teacher + torch.randn(4, 6, generator=generator, dtype=torch.float64)).requires_grad_()
    for term in terms:
        assert term(same).item() == pytest.approx(0, abs=1e-12) and term(other).item() > 0.01
        assert torch.autograd.grad(term(same), same)[0].abs().max() < 1e-9 < torch.autograd.grad(term(other), other)[0].abs().max()
    # Minimising the one minimises the other.
    student = torch.zeros(4, 6, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([student], max_iter=500, tolerance_grad=1e-10, tolerance_change=1e-14)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = terms[1](student)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert terms[0](student.detach()).item() < 1e-6


def test_ours_is_no_difference_of_pointwise_scores(teachers: dict[str, PairwiseTeacher], collection: Collection) -> None:
    """The log-odds of three passages would add up to 0 around the triangle."""
    teacher, query = teachers["interaction"], next(iter(collection.queries().values()))
    passages = [document.text for document in collection.documents()][:12]
    pairs = list(combinations(range(len(passages)), 2))
    firsts, seconds = ([passages[pair[side]] for pair in pairs] for side in (0, 1))
    found = teacher.preferences(collection, [query] * len(pairs), firsts, seconds).astype(np.float64)
    odds = dict(zip(pairs, np.log(found / (1 - found)).tolist(), strict=True))
    around = [odds[i, j] + odds[j, k] - odds[i, k] for i, j, k in combinations(range(len(passages)), 3)]
    assert np.abs(around).mean() > 0.01 * np.abs(list(odds.values())).mean() > 0


def test_a_comparison_changes_its_sign_with_the_order() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 60, 12, generator=generator)
    common = torch.randn(60, 11, generator=generator)
    trained = trained_comparison(first, second, common, steps=30, seed=0)
    assert trained.gate.weight.abs().max() > 0
    assert torch.equal(trained(first, second, common), -trained(second, first, common))
    again = trained_comparison(first, second, common, steps=30, seed=0)
    assert all(map(torch.equal, trained.state_dict().values(), again.state_dict().values()))
    assert all(each.isfinite().all() for each in trained_comparison(first[:1], second[:1], common[:1], 3, 0).state_dict().values())


def test_comparing_learns_what_depends_on_both_passages() -> None:
    """The better one has more of the first feature where they have much in common, and less where they have little."""
    generator = torch.Generator().manual_seed(0)
    high, low = torch.sort(torch.randn(2, 4000, 12, generator=generator), dim=0, descending=True).values
    common = torch.randn(4000, 11, generator=generator)
    alike = common[:, :1] > 0
    better, worse = torch.where(alike, high, low), torch.where(alike, low, high)
    trained = trained_comparison(better[:3000], worse[:3000], common[:3000], steps=600, seed=0)
    assert isinstance(trained, Comparison) and (trained(better, worse, common)[3000:] > 0).float().mean() > 0.9


def test_training_is_deterministic_and_kept(collection: Collection, asked: Triples, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = PairwiseInteractionTeacher(steps=30).preferences(collection, *asked)
    assert (PairwiseInteractionTeacher(steps=30).preferences(collection, *asked) == expected).all()
    with monkeypatch.context() as patch:
        patch.setattr("armlib.teachers.pairwise.FORMAT", "made once more")
        assert (PairwiseInteractionTeacher(steps=30).preferences(collection, *asked) == expected).all()
    assert not (PairwiseInteractionTeacher(steps=30, seed=1).preferences(collection, *asked) == expected).all()


def test_the_prompt_is_that_of_duo_t5(t5_folder: Path) -> None:
    teacher = DuoT5(str(t5_folder))
    tokenizer = teacher._loaded[1]
    (found,) = teacher.prompts(["a small file"], ["Open a file."], ["Return a list of names."])
    whole = "Query: a small file Document0: Open a file. Document1: Return a list of names. Relevant:"
    assert found == tokenizer(whole)["input_ids"]


@pytest.mark.parametrize("lengths", [(1, 900, 900), (900, 900, 900), (5, 900, 3), (5, 3, 900), (900, 1, 1), (0, 0, 0)])
def test_the_word_that_asks_is_never_cut_off(t5_folder: Path, lengths: tuple[int, int, int]) -> None:
    teacher = DuoT5(str(t5_folder), max_length=128)
    tokenizer = teacher._loaded[1]
    (found,) = teacher.prompts(*(["a file " * length] for length in lengths))
    text = tokenizer.decode(found)
    assert len(found) <= 128 and text.endswith("Relevant:</s>") and "Document0:" in text and "Document1:" in text
    first, second = (part.count("a file") for part in text.split("Document0:")[1].split("Document1:"))
    assert first and second or not min(lengths)


def test_both_orders_are_asked_and_averaged(t5_folder: Path) -> None:
    teacher = DuoT5(str(t5_folder))
    query, one, other = ["a file"], ["Open a file."], ["Return a list."]
    there, back = teacher._in_order(query, one, other), teacher._in_order(query, other, one)
    assert abs(there + back - 1) > 1e-3, "a model prefers a position"
    collection = None
    ours = teacher.preferences(collection, query, one, other)  # type: ignore[arg-type]
    np.testing.assert_allclose(ours, (there + 1 - back) / 2)
    model, tokenizer = teacher._loaded
    ids = torch.tensor(teacher.prompts(query, one, other))
    scores = model(input_ids=ids, decoder_input_ids=torch.zeros(1, 1, dtype=torch.int64)).logits[0, 0]
    true, false = (tokenizer.convert_tokens_to_ids(f"\u2581{word}") for word in ("true", "false"))
    np.testing.assert_allclose(there, (scores[true] - scores[false]).sigmoid().detach(), atol=1e-6)


def test_the_cross_encoder_reads_query_and_both_passages(cross_encoder_folder: Path) -> None:
    teacher = PairwiseCrossEncoder(str(cross_encoder_folder))
    model, tokenizer = teacher._loaded
    ids = tokenizer("a file", "open a file [SEP] return a list", return_tensors="pt")
    assert (ids["input_ids"] == tokenizer.sep_token_id).sum() == 3
    ours = teacher._in_order(["a file"], ["open a file"], ["return a list"])
    np.testing.assert_allclose(ours, model(**ids).logits[:, 0].sigmoid().detach(), rtol=1e-5)


@pytest.mark.parametrize("changed", [1, 2])
def test_a_long_passage_does_not_push_out_the_other(cross_encoder_folder: Path, changed: int) -> None:
    teacher = PairwiseCrossEncoder(str(cross_encoder_folder))
    texts = ["a file", "open a file " * 300, "open a file " * 300]
    before = teacher._in_order(*([text] for text in texts))
    texts[changed] = "return a list of names " * 300
    assert teacher._in_order(*([text] for text in texts)) != before


@pytest.mark.parametrize(
    ("parts", "room", "expected"),
    [
        ((3, 4, 5), 12, (3, 4, 5)),
        ((3, 10, 10), 12, (3, 4, 4)),
        ((3, 2, 50), 12, (3, 2, 7)),
        ((3, 50, 2), 12, (3, 7, 2)),
        ((50, 50, 50), 12, (3, 4, 4)),
        ((50, 1, 1), 12, (3, 1, 1)),
    ],
)
def test_where_texts_are_cut(parts: tuple[int, ...], room: int, expected: tuple[int, ...]) -> None:
    assert tuple(map(len, _cut([list(range(length)) for length in parts], room))) == expected


def test_a_prompt_needs_room_for_passages(t5_folder: Path, collection: Collection) -> None:
    with pytest.raises(InputError, match="16 tokens leave no room for passages"):
        DuoT5(str(t5_folder), max_length=16).prepare(collection)


def test_a_tokenizer_without_the_answers_is_refused(texts: list[tuple[str, str]], tmp_path: Path, collection: Collection) -> None:
    folder = sequence_to_sequence(tmp_path / "t5", ["some xyz words of a query " * 9, "other letters uvabcdefghijklmn"], "")
    teacher = DuoT5(str(folder))
    with pytest.raises(InputError, match="has no token 'true'"):
        teacher.prepare(collection)


def test_models_of_another_kind_are_refused(
    cross_encoder_folder: Path, two_logits_folder: Path, t5_folder: Path, collection: Collection, tmp_path: Path
) -> None:
    for teacher, said in (
        (DuoT5(str(cross_encoder_folder)), "expected a sequence-to-sequence model"),
        (DuoT5(str(tmp_path)), "cannot be loaded"),
        (PairwiseCrossEncoder(str(t5_folder)), "sequence-to-sequence"),
        (PairwiseCrossEncoder(str(two_logits_folder)), "2 logits"),
    ):
        with pytest.raises(InputError, match=said):
            teacher.prepare(collection)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("duo-t5", "expected duo-t5\\(name, max_length=512\\)"),
        ("duo-t5(3)", "a duo-t5 is named by a folder or a name on the hub in quotes, not 3"),
        ("pairwise-cross-encoder('a', max_length=0)", "max_length of pairwise-cross-encoder"),
        ("pairwise-interaction(steps=0)", "steps of pairwise-interaction"),
        ("interaction", "unknown pairwise teacher 'interaction'; did you mean 'pairwise-interaction'"),
    ],
)
def test_settings_that_are_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_pairwise_teacher(text)
