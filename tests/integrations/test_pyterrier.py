"""Transformers of PyTerrier against armlib's own rankings and measures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pt = pytest.importorskip("pyterrier", reason="pyterrier is not installed (pip install 'armlib[integrations]')")

from armlib import Experiment, RunStore, load_collection  # noqa: E402
from armlib.data.in_memory import InMemory  # noqa: E402
from armlib.encoder.bi_encoder import BiEncoder  # noqa: E402
from armlib.errors import InputError  # noqa: E402
from armlib.evaluation.evaluate import Evaluator  # noqa: E402
from armlib.integrations.pyterrier import Reranker, Retriever  # noqa: E402
from armlib.retrieval.run_files import read_run  # noqa: E402

# pyterrier 1.1 calls pandas in a way that its version 4 will not know any more.
pytestmark = pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")
Runs = dict[str, dict[str, dict[str, float]]]


@pytest.fixture(scope="module")
def topics(beir_folder: Path) -> pd.DataFrame:
    """The queries of the test split."""
    return pd.DataFrame(load_collection(f"{beir_folder}/test").queries().items(), columns=["qid", "query"])


@pytest.fixture(scope="module")
def ours(beir_folder: Path, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Runs, dict[str, float]]:
    """armlib's own runs and nDCG@10 by mode."""
    encoder, folder = BiEncoder.load(tiny_folder), tmp_path_factory.mktemp("ours")
    test = load_collection(f"{beir_folder}/test")
    rows, _ = Evaluator(encoder, [test], query_length=24, passage_length=48)(encoder, folder)
    runs = {
        mode: read_run(next((folder / "runs").glob(f"*{mode.replace(' ', '_')}.run.gz"))) for mode in ("re-ranking", "full ranking")
    }
    return runs, {row["mode"]: row["value"] for row in rows if row["measure"] == "nDCG@10"}


def run_of(frame: pd.DataFrame) -> dict[str, dict[str, float]]:
    """A run of a data frame of results; its ranks are those of its scores, from 0."""
    found = {}
    for query, rows in frame.sort_values("rank").groupby("qid"):
        assert rows["rank"].tolist() == list(range(len(rows))) and rows.score.is_monotonic_decreasing
        found[query] = dict(zip(rows.docno, rows.score, strict=True))
    return found


def assert_same(found: dict[str, dict[str, float]], expected: dict[str, dict[str, float]]) -> None:
    assert found.keys() == expected.keys()
    for query, scores in expected.items():
        assert found[query] == pytest.approx(scores, abs=1e-6)


def judgments(beir_folder: Path) -> pd.DataFrame:
    rows = [
        (query, document, grade)
        for query, of in load_collection(f"{beir_folder}/test").qrels().items()
        for document, grade in of.items()
    ]
    return pd.DataFrame(rows, columns=["qid", "docno", "label"])


def test_a_retriever_gives_armlibs_full_ranking(ours, topics, tiny_folder, beir_folder) -> None:
    retriever = Retriever(tiny_folder, beir_folder)
    assert_same(run_of(retriever(topics)), ours[0]["full ranking"])
    for pipeline in (retriever, retriever % 10):
        table = pt.Experiment([pipeline], topics, judgments(beir_folder), ["ndcg_cut_10"])
        assert table["ndcg_cut_10"].tolist() == pytest.approx([ours[1]["full ranking"]], abs=1e-12)
    assert not pt.java.started()


def test_a_re_ranker_gives_armlibs_re_ranking(ours, topics, tiny_folder, beir_folder) -> None:
    first = load_collection(f"{beir_folder}/test").first_stage()
    texts = dict(topics.itertuples(index=False))
    rows = [(query, texts[query], name, score, 7, "kept") for query, found in first.items() for name, score in found.items()]
    candidates = pd.DataFrame(rows, columns=["qid", "query", "docno", "score", "rank", "text"])
    found = Reranker(tiny_folder, beir_folder)(candidates)
    assert_same(run_of(found), ours[0]["re-ranking"])
    assert list(found.columns) == ["qid", "query", "docno", "text", "score", "rank"] and set(found.text) == {"kept"}
    table = pt.Experiment([pt.Transformer.from_df(found)], topics, judgments(beir_folder), ["ndcg_cut_10"])
    assert table["ndcg_cut_10"].tolist() == pytest.approx([ours[1]["re-ranking"]], abs=1e-12)


def test_pipelines_of_the_toolkit_take_them(topics, tiny_folder, beir_folder) -> None:
    retriever, reranker = Retriever(tiny_folder, beir_folder, k=20), Reranker(tiny_folder, beir_folder)
    once, twice = retriever(topics), (retriever >> reranker)(topics)
    pd.testing.assert_frame_equal(once, twice[once.columns], atol=1e-6)
    assert len(retriever.search("walk a folder")) == 20
    assert len((retriever % 5 | retriever % 3)(topics)) == 5 * len(topics)
    doubled = (retriever + retriever)(topics)
    assert_same(
        run_of(doubled), {query: {name: 2 * score for name, score in found.items()} for query, found in run_of(once).items()}
    )


def test_columns_of_queries_stay(topics, tiny_folder, beir_folder) -> None:
    found = Retriever(tiny_folder, beir_folder, k=3)(topics.head(2).assign(query_0="before", topic="t"))
    assert list(found.columns) == ["qid", "query", "query_0", "docno", "score", "rank"]
    assert len(found) == 6 and set(found.query_0) == {"before"}


@pytest.mark.parametrize("kind", [Retriever, Reranker])
def test_the_toolkit_can_inspect_them(kind: type, tiny_folder, beir_folder) -> None:
    transformer = kind(tiny_folder, beir_folder)
    needed = [["qid", "query"]] if kind is Retriever else [["qid", "query", "docno"]]
    assert [sorted(columns) for columns in pt.inspect.transformer_inputs(transformer)] == [sorted(columns) for columns in needed]
    outputs = pt.inspect.transformer_outputs(transformer, needed[0])
    assert sorted(outputs) == ["docno", "qid", "query", "rank", "score"]
    assert "searcher" not in vars(transformer), "without encoding anything"
    empty = transformer(pd.DataFrame(columns=needed[0]))
    assert len(empty) == 0 and sorted(empty.columns) == ["docno", "qid", "query", "rank", "score"]


def test_prompts_and_lengths_are_those_that_were_saved(tiny_encoder, topics, beir_folder, tmp_path) -> None:
    tiny_encoder.set_prompts("return the ", "a list of ")
    folder = tiny_encoder.save(tmp_path / "encoder", query_length=8, passage_length=20)
    retriever = Retriever(folder, beir_folder)
    assert retriever.lengths == {"query_length": 8, "passage_length": 20}
    test = load_collection(f"{beir_folder}/test")
    encoder = BiEncoder.load(folder)
    Evaluator(encoder, [test], query_length=8, passage_length=20)(encoder, tmp_path / "ours")
    (file,) = (tmp_path / "ours" / "runs").glob("*full_ranking.run.gz")
    assert_same(run_of(retriever(topics)), read_run(file))
    assert Retriever(folder, beir_folder, query_length=9).lengths == {"query_length": 9, "passage_length": 20}


def test_a_key_of_the_run_store_names_an_encoder(small_store: RunStore, small_experiment: Experiment, topics, beir_folder) -> None:
    result = small_store.result(small_experiment)
    expected = read_run(next((result.folder / "runs").glob("*full_ranking.run.gz")))
    assert_same(run_of(Retriever(result.key, beir_folder, runs=small_store.path)(topics)), expected)


def test_a_query_does_not_find_itself(tiny_folder) -> None:
    texts = {"1": "sort a list", "2": "sort a list of numbers", "3": "walk a folder"}
    retriever = Retriever(tiny_folder, InMemory(texts, {"1": texts["1"]}, {"1": {"2": 1}}))
    asked = pd.DataFrame({"qid": ["1", "3"], "query": [texts["1"], texts["1"]]})
    assert {query: set(found) for query, found in run_of(retriever(asked)).items()} == {"1": {"2", "3"}, "3": {"1", "2", "3"}}
    assert set(retriever(asked.assign(query="another text")).docno[:3]) == {"1", "2", "3"}, "ids alone say nothing"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"qid": ["1"], "query": [" "]}, "the question is empty"),
    ({"qid": ["1", "1"], "query": ["a", "b"]}, "the query id '1' comes with several texts; expected one"),
]


@pytest.mark.parametrize(("columns", "message"), REFUSED)
def test_queries_that_cannot_be_searched_for_are_refused(columns, message, tiny_folder, beir_folder) -> None:
    with pytest.raises(InputError, match=message):
        Retriever(tiny_folder, beir_folder).transform(pd.DataFrame(columns))


def test_what_cannot_be_used_is_refused_at_once(tiny_folder, beir_folder) -> None:
    with pytest.raises(InputError, match="expected at least 1 result of a query, got k=0"):
        Retriever(tiny_folder, beir_folder, k=0)
    with pytest.raises(InputError, match="query_length is 2; this encoder takes 3 to"):
        Retriever(tiny_folder, beir_folder, query_length=2)
    with pytest.raises(pt.validate.InputValidationError):
        Retriever(tiny_folder, beir_folder).transform(pd.DataFrame({"qid": ["1"]}))
    wrong = pd.DataFrame({"qid": ["1"], "query": ["a list"], "docno": ["nowhere"]})
    with pytest.raises(InputError, match="a candidate is not in the collection: 1 of 1 ids .* the first is 'nowhere'"):
        Reranker(tiny_folder, beir_folder).transform(wrong)
