"""The evaluator for sentence-transformers' trainer against armlib's own evaluation, and against that library's evaluator."""

from __future__ import annotations

from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

from armlib import load_collection
from armlib.data.collection import Collection
from armlib.data.in_memory import InMemory
from armlib.encoder.bi_encoder import BiEncoder
from armlib.errors import InputError
from armlib.evaluation.evaluate import FULL_RANKING, RERANKING, Evaluator
from armlib.integrations.sentence_transformers import RetrievalEvaluator
from armlib.retrieval.run_files import read_run

MEASURES = ["nDCG@10", "R(rel=2)@5", "RR@10", "AP@100", "P@5"]


@pytest.fixture(scope="module")
def graded(beir_folder: Path) -> InMemory:
    """The documents and test queries of `beir_folder`; each query's own document has grade 2, its neighbours 1 and 0."""
    test = load_collection(f"{beir_folder}/test")
    documents = {each.id: each.text for each in test.documents()}
    names = list(documents)
    qrels = {}
    for query, (own,) in ((query, grades) for query, grades in test.qrels().items()):
        number = names.index(own)
        qrels[query] = {own: 2, names[number - 1]: 1, names[number - 2]: 0}
    return InMemory(documents, test.queries(), qrels, name="graded", relevant_from=2)


@pytest.mark.parametrize("prompts", [False, True])
def test_runs_and_measures_are_those_of_armlibs_evaluation(prompts: bool, graded, tiny_encoder, tmp_path) -> None:
    """With lengths of queries and passages that cut most texts, and with prompts in front of them."""
    if prompts:
        tiny_encoder.set_prompts("return the ", "a list of ")
    folder = tiny_encoder.save(tmp_path / "encoder", query_length=8, passage_length=20)
    model, encoder = SentenceTransformer(str(folder), device="cpu"), BiEncoder.load(folder)
    rows, _ = Evaluator(encoder, [graded], query_length=8, passage_length=20, measures=MEASURES)(encoder, tmp_path / "ours")
    for mode, candidates in ((RERANKING, graded.first_stage()), (FULL_RANKING, None)):
        evaluator = RetrievalEvaluator(graded, first_stage=candidates, measures=MEASURES)
        found = evaluator(model, str(tmp_path / mode), epoch=0.5, steps=7)
        expected = {row["measure"]: row["value"] for row in rows if row["mode"] == mode}
        assert found == pytest.approx(expected, abs=1e-9) and len(found) == 5 and 0.05 < found["nDCG@10"] < 0.95
        ours = read_run(tmp_path / "ours" / "runs" / f"graded-{mode.replace(' ', '_')}.run.gz")
        theirs = read_run(tmp_path / mode / "retrieval-step-7.run.gz")
        assert ours.keys() == theirs.keys()
        for query, scores in ours.items():
            assert theirs[query] == pytest.approx(scores, abs=1e-5)
    plain = RetrievalEvaluator(graded, measures=MEASURES)
    assert plain(SentenceTransformer(str(folder), device="cpu", prompts={"query": "x " * 9}))["nDCG@10"] != found["nDCG@10"]


@pytest.mark.parametrize("depth", [1000, 10])
def test_measures_are_those_of_the_other_evaluator(depth: int, beir_folder, model) -> None:
    """On judgments without grades, all of which it reads as relevant."""
    test = load_collection(f"{beir_folder}/test")
    relevant = {query: set(grades) for query, grades in test.qrels().items()}
    documents = {each.id: each.text for each in test.documents()}
    theirs = InformationRetrievalEvaluator(test.queries(), documents, relevant, map_at_k=[10], write_csv=False)(model)
    names = {"nDCG@10": "ndcg@10", "RR@10": "mrr@10", "AP@10": "map@10", "R@5": "recall@5", "P@10": "precision@10"}
    names["Success@3"] = "accuracy@3"
    found = RetrievalEvaluator(test, measures=list(names), depth=depth)(model)
    assert found == pytest.approx({ours: theirs[f"cosine_{name}"] for ours, name in names.items()}, abs=1e-9)


def test_the_best_candidates_are_re_ranked_and_no_other_document_is_encoded(beir_folder, model, monkeypatch) -> None:
    test = load_collection(f"{beir_folder}/test")
    first = test.first_stage()
    evaluator = RetrievalEvaluator(test, first_stage=first, depth=3)
    encode, encoded = model.encode_document, []
    monkeypatch.setattr(model, "encode_document", lambda texts, **settings: encoded.extend(texts) or encode(texts, **settings))
    run = evaluator.run(model)
    # trec_eval's order: of equal scores, the higher id first
    in_order = {query: sorted(found, key=lambda each: (found[each], each), reverse=True) for query, found in first.items() if found}
    best = {query: set(found[:3]) for query, found in in_order.items()}
    assert {query: set(found) for query, found in run.items()} == best
    assert len(encoded) == len(set().union(*best.values())) < len(list(test.documents()))


def test_a_query_does_not_find_itself(model) -> None:
    texts = {"1": "sort a list", "2": "sort a list of numbers", "3": "walk a folder", "4": "remove a folder"}
    collection = InMemory(texts, {"1": texts["1"], "3": texts["3"]}, {"1": {"2": 1}, "3": {"4": 1}})
    run = RetrievalEvaluator(collection).run(model)
    assert set(run["1"]) == {"2", "3", "4"} and set(run["3"]) == {"1", "2", "4"}
    assert all(len(found) == 2 for found in RetrievalEvaluator(collection, depth=2).run(model).values())
    found = RetrievalEvaluator(collection, first_stage={"1": {"1": 2.0, "2": 1.0}, "3": {"4": 1.0}}).run(model)
    assert {query: list(results) for query, results in found.items()} == {"1": ["2"], "3": ["4"]}


def test_names_stand_in_front_of_measures_and_files(graded, model, tmp_path) -> None:
    evaluator = RetrievalEvaluator(graded, name="test", measures=["RR", "P@5"])
    assert evaluator.primary_metric == "test_RR" and set(evaluator(model, str(tmp_path))) == {"test_RR", "test_P@5"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test.csv", "test.run.gz"]
    assert RetrievalEvaluator(graded).primary_metric == "nDCG@10"
    assert RetrievalEvaluator(graded).measures == ["nDCG@10", "R(rel=2)@1000", "Success(rel=2)@100"]


class WithoutATexts(Collection):
    """A judged query without a text."""

    name = "lacking"

    def __init__(self, graded: InMemory) -> None:
        self.graded = graded

    corpus = property(lambda self: self.graded.corpus)

    def queries(self) -> dict[str, str]:
        return dict(list(self.graded.queries().items())[1:])

    def qrels(self) -> dict[str, dict[str, int]]:
        return self.graded.qrels()


def test_what_cannot_be_measured_is_refused(graded, model) -> None:
    for given, message in (
        ({"measures": ["nDGC@10"]}, "unknown measure 'nDGC@10'; did you mean 'nDCG@10'"),
        ({"depth": 0}, "expected a depth of at least 1 document, got 0"),
        ({"first_stage": {"other": {"a": 1.0}}}, "the first stage has no candidates for any judged query of graded"),
        ({"name": "a b"}, "the evaluator: the name 'a b' cannot stand in a TREC run"),
    ):
        with pytest.raises(InputError, match=message):
            RetrievalEvaluator(graded, **given)
    with pytest.raises(InputError, match="1 judged queries of lacking have no text, the first is"):
        RetrievalEvaluator(WithoutATexts(graded))
    model.similarity_fn_name = "dot"
    with pytest.raises(InputError, match="the model compares embeddings by 'dot'; expected 'cosine'"):
        RetrievalEvaluator(graded)(model)
    query = next(iter(graded.qrels()))
    model.similarity_fn_name = "cosine"
    with pytest.raises(InputError, match="1 of 1 candidates have no vector, the first is 'nowhere'"):
        RetrievalEvaluator(graded, first_stage={query: {"nowhere": 1.0}})(model)
