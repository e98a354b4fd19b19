"""The interaction teacher, and the features that it scores with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from armlib.data.beir import BeirFolder
from armlib.data.collection import Collection
from armlib.data.held_out import hold_out
from armlib.data.types import Triple
from armlib.demo.word_vectors import kept_semantics
from armlib.errors import InputError
from armlib.evaluation.measures import evaluate
from armlib.experiments.experiment import Experiment
from armlib.experiments.training_data import TrainingData
from armlib.losses.distillation import margins
from armlib.names import load_collection
from armlib.teachers.interaction import InteractionTeacher, found_by_bm25, trained_weights, training_triples
from armlib.teachers.kernel_pooling import CENTRES, WIDTHS, KernelPooling, kept_pooling
from armlib.teachers.registry import parse_teacher


@pytest.fixture(scope="module")
def collection(beir_folder: Path) -> Collection:
    return load_collection(str(beir_folder))


@pytest.fixture(scope="module")
def pooling(collection: Collection) -> KernelPooling:
    return kept_pooling(collection)


@pytest.fixture(scope="module")
def pairs(collection: Collection) -> tuple[list[str], list[str]]:
    """Every query with its own passage and with two others, which are of any length."""
    passages = [document.text for document in collection.documents()]
    queries = list(collection.queries().values())
    read = [passages[(number + step) % len(passages)] for number in range(len(queries)) for step in (40, 47, 91)]
    return [query for query in queries for _ in range(3)], read


def test_kernel_pooling_is_the_formula(collection: Collection, pooling: KernelPooling) -> None:
    documents = [document.text for document in collection.documents()]
    semantics = kept_semantics(lambda: documents, collection.corpus.fingerprint())
    tokenizer, vectors = semantics.tokenizer, torch.from_numpy(semantics.vectors).double()
    words = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in documents]
    for query, passage in ((0, 1), (2, 3), (5, 5)):
        left, right = words[query][:7], words[passage][:40]
        total, weights = torch.zeros(len(CENTRES), dtype=torch.float64), 0.0
        for i in left:
            weight = np.log((len(words) + 1) / (sum(i in text for text in words) + 0.5))
            cosines = torch.cosine_similarity(vectors[i], vectors[right], dim=1)
            cosines[torch.tensor(right) == i] = 1
            for number, (centre, width) in enumerate(zip(CENTRES, WIDTHS, strict=True)):
                count = (-((cosines - centre) ** 2) / (2 * width**2)).exp().sum()
                total[number] += weight * count.clamp_min(1e-10).log()
            weights += weight
        # The narrow kernel of equal words tells 1 from the 0.9999999 that single precision makes of it.
        ours = pooling.pooled([torch.tensor(left)], [torch.tensor(right)])[0].double()
        torch.testing.assert_close(ours, total / weights, rtol=1e-3, atol=1e-3)


def test_pooling_both_ways_is_the_sum_of_each(pooling: KernelPooling, pairs: tuple[list[str], list[str]]) -> None:
    left, right = (pooling.pieces(texts, 30) for texts in pairs)
    torch.testing.assert_close(pooling.mutual(left, right), pooling.pooled(left, right) + pooling.pooled(right, left))


def test_bm25_of_pairs_is_that_of_the_index(collection: Collection, pooling: KernelPooling) -> None:
    queries = dict(list(collection.queries().items())[:30])
    texts = {document.id: document.text for document in collection.documents()}
    found = [(query, *hit) for query, hits in collection.corpus.bm25().search(queries, 20).items() for hit in hits.items()]
    ours = pooling.bm25([queries[query] for query, _, _ in found], [texts[passage] for _, passage, _ in found])
    np.testing.assert_allclose(ours, [score for *_, score in found], rtol=1e-5)


def test_a_score_does_not_depend_on_what_it_is_computed_with(collection: Collection, pairs: tuple[list[str], list[str]]) -> None:
    teacher = InteractionTeacher(steps=20)
    teacher.prepare(collection)
    together = teacher.scores(collection, *pairs)
    assert together.dtype == np.float32 and together.shape == (len(pairs[0]),)
    for number in range(0, len(together), 29):
        alone = teacher.scores(collection, *(texts[number : number + 1] for texts in pairs))
        np.testing.assert_allclose(together[number], alone, rtol=1e-5, atol=1e-5)


def test_texts_without_words_have_scores(collection: Collection) -> None:
    teacher = InteractionTeacher(steps=20)
    scores = teacher.scores(collection, ["", "a file", "a file", "\u4e2d"], ["a file", "", "a file", "\u4e2d"])
    assert np.isfinite(scores).all() and scores[2] > scores[1]
    assert teacher.scores(collection, [], []).shape == (0,)


def test_it_tells_positives_of_queries_that_it_has_not_seen(collection: Collection) -> None:
    teacher = InteractionTeacher(held_out=20)
    teacher.prepare(collection)
    held_out = set(hold_out(collection, 20).chosen)
    queries, passages = collection.queries(), {document.id: document.text for document in collection.documents()}
    unseen = [triple for triple in collection.triples() or () if triple[0] in held_out]
    asked = [queries[query] for query, _, _ in unseen]
    scores = [teacher.scores(collection, asked, [passages[triple[column]] for triple in unseen]) for column in (1, 2)]
    assert (margins(torch.from_numpy(np.stack(scores, 1))) > 0).float().mean() > 0.8
    assert teacher.cost["parameters"] == 12 and teacher.cost["training_seconds"] > 0 and teacher.operations > 0


def test_held_out_queries_are_not_trained_on(collection: Collection) -> None:
    held_out, queries = hold_out(collection, 20).chosen, collection.queries()
    expected = sorted(queries[query] for query, _, _ in collection.triples() or () if query not in held_out)
    assert sorted(training_triples(collection, 10_000, 20, seed=0)[0]) == expected
    assert len(training_triples(collection, 10_000, 0, seed=0)[0]) > len(expected)


def test_a_teacher_is_not_trained_on_the_queries_that_validate(beir_folder: Path) -> None:
    asked = {"collection": str(beir_folder), "loss": "margin-mse", "validation_queries": 20, "batch_size": 8}
    for teacher, expected in (("interaction", 20), ("interaction(held_out=5)", 20), ("interaction(held_out=30)", 30)):
        data = TrainingData(Experiment(**asked, teacher=teacher))
        assert isinstance(data.source, InteractionTeacher) and data.source.held_out == expected
    elsewhere = TrainingData(Experiment(**asked, teacher="interaction", validation=f"{beir_folder}/test"))
    assert isinstance(elsewhere.source, InteractionTeacher) and elsewhere.source.held_out == 0


def test_the_triples_that_are_drawn_depend_on_the_seed_alone(collection: Collection) -> None:
    first, again, other = (list(zip(*training_triples(collection, 50, 0, seed), strict=True)) for seed in (0, 0, 1))
    assert first == again != other and len(first) == len(other) == 50
    assert len(list(zip(*training_triples(collection, 10**6, 0, 0), strict=True))) == len(list(collection.triples() or ()))


def test_training_is_deterministic_and_kept(
    collection: Collection, pairs: tuple[list[str], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = InteractionTeacher(steps=20)
    scores = first.scores(collection, *pairs)
    again = InteractionTeacher(steps=20)
    assert (again.scores(collection, *pairs) == scores).all() and again.cost == first.cost
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path))
    elsewhere = InteractionTeacher(steps=20)
    assert (elsewhere.scores(collection, *pairs) == scores).all()
    assert first.fingerprint(collection) == elsewhere.fingerprint(collection)


@pytest.mark.parametrize("text", ["interaction", "interaction(bm25=False)", "interaction(steps=20, held_out=200, seed=3)"])
def test_its_text_reads_back(text: str, collection: Collection) -> None:
    teacher = parse_teacher(text)
    assert str(teacher) == str(parse_teacher(str(teacher))) == text
    plain = parse_teacher("interaction")
    assert (teacher.fingerprint(collection) == plain.fingerprint(collection)) == (text == "interaction")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("interaction(bm25=1)", "bm25 of interaction must be True or False, not 1"),
        ("interaction(steps=0)", "steps of interaction must be a whole number of at least 1, not 0"),
        ("interaction(steps=1.5)", "not 1.5"),
        ("interaction(held_out=-1)", "held_out of interaction must be a whole number of at least 0"),
        ("interaction(held_out=True)", "not True"),
        ("interaction(seed='a')", "the seed of interaction"),
        ("interaction(kernels=3)", "cannot be read: expected interaction\\(bm25=True, steps=800"),
    ],
)
def test_settings_that_are_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_teacher(text)


def test_a_collection_to_evaluate_on_trains_no_teacher(beir_folder: Path) -> None:
    class OnlyTest(BeirFolder):
        def triples(self) -> Iterator[Triple] | None:
            return None

    with pytest.raises(InputError, match="has no triples to train a teacher on"):
        InteractionTeacher().prepare(OnlyTest(beir_folder, "test"))


def test_a_triple_of_a_passage_that_does_not_exist_is_named(beir_folder: Path) -> None:
    class Wrong(BeirFolder):
        def _own_triples(self) -> Iterator[Triple]:
            query, (positive, *_) = next((query, list(grades)) for query, grades in self.qrels().items())
            yield query, positive, "nowhere"

    with pytest.raises(InputError, match="names 'nowhere', which has no text"):
        training_triples(Wrong(beir_folder, "train"), 10, 0, 0)


def test_weights_of_one_triple_are_finite() -> None:
    assert trained_weights(torch.tensor([[1.0, -2.0, 0.0]]), 5).isfinite().all()


def test_positives_that_bm25_does_not_find_are_left_out() -> None:
    positives, negatives = torch.tensor([[0.0, 4.0], [0.0, 1.0]]), torch.tensor([[0.0, 5.0], [0.0, 5.0]])
    assert found_by_bm25(positives, negatives).tolist() == [True, False]
    with pytest.raises(InputError, match="no positive of the 1 triples"):
        found_by_bm25(positives[1:], negatives[1:])


@pytest.mark.slow
def test_it_is_ahead_of_bm25_on_the_miniature(ir_datasets_home: Path) -> None:
    train = load_collection("msmarco-mini")
    teacher = InteractionTeacher(held_out=200)
    texts = {document.id: document.text for document in train.documents()}
    for split, depth, ahead in (("dev", 50, 0.015), ("trec-dl-2019", 100, 0.04)):
        part = load_collection(f"msmarco-mini/{split}")
        first, queries = part.bm25_run(depth), part.queries()
        chosen = sorted(first)[:200]
        asked = [(query, passage) for query in chosen for passage in first[query]]
        scores = teacher.scores(train, [queries[query] for query, _ in asked], [texts[passage] for _, passage in asked])
        run: dict[str, dict[str, float]] = {query: {} for query in chosen}
        for (query, passage), score in zip(asked, scores.tolist(), strict=True):
            run[query][passage] = score
        qrels = {query: part.qrels()[query] for query in chosen}
        ours, bm25 = (evaluate(each, qrels, ["nDCG@10"]).mean["nDCG@10"] for each in (run, first))
        assert ours > bm25 + ahead
