"""An encoder measured on collections: everything that can be refused is refused before anything is encoded."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from armlib.encoder.bi_encoder import BiEncoder
from armlib.encoder.token_stores import passage_tokens
from armlib.errors import InputError
from armlib.evaluation import evaluate as module
from armlib.evaluation.evaluate import FULL_RANKING, RERANKING, Evaluator, file_name
from armlib.evaluation.validation import Validator
from armlib.names import load_collection
from armlib.retrieval.embeddings import encode_collection
from armlib.retrieval.run_files import read_run
from armlib.retrieval.search import Searcher

LENGTHS = {"query_length": 24, "passage_length": 48}
OWN = "documents of the collection; each is left out of its own ranking"


@pytest.fixture
def arguments(beir_folder: Path, tmp_path: Path) -> str:
    """A collection whose test queries are documents under their own ids, as in ArguAna, but for one whose text is another."""
    folder = tmp_path / "arguments"
    (folder / "qrels").mkdir(parents=True)
    judgments = (beir_folder / "qrels" / "test.tsv").read_text()
    asked = {line.split("\t")[0] for line in judgments.splitlines()[1:]}
    queries = [row for row in map(json.loads, (beir_folder / "queries.jsonl").read_text().splitlines()) if row["_id"] in asked]
    documents = [{"_id": row["_id"], "title": "", "text": row["text"] if number else "other"} for number, row in enumerate(queries)]
    (folder / "qrels" / "test.tsv").write_text(judgments)
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    added = "".join(json.dumps(row) + "\n" for row in documents)
    (folder / "corpus.jsonl").write_text((beir_folder / "corpus.jsonl").read_text() + added)
    return f"{folder}/test"


def test_no_query_finds_itself(arguments: str, tiny_encoder: BiEncoder, tmp_path: Path) -> None:
    collection = load_collection(arguments)
    own = collection.queries_in_corpus()
    assert len(own) == 39 and len(collection.qrels()) == 40
    assert any(query in found for query, found in collection.first_stage().items()), "BM25 does find some of them"
    with pytest.warns(UserWarning, match=f"^39 of 40 queries of .* are {OWN}"):
        _, about = Evaluator(tiny_encoder, [collection], **LENGTHS)(tiny_encoder, tmp_path / "out")
    for mode in (RERANKING, FULL_RANKING):
        run = read_run(tmp_path / "out" / "runs" / f"{file_name(collection.name, mode)}.run.gz")
        assert not [query for query, found in run.items() if query in own and query in found]
    (other,) = collection.qrels().keys() - own
    assert other in run[other], "it is a document of another text, which has the same id by chance"
    passages = about[collection.name]["passages"]
    assert {query: len(found) for query, found in run.items()} == {query: passages - (query in own) for query in run}
    validator = Validator(collection, tiny_encoder, queries=0, depth=10, **LENGTHS)
    assert not [query for query, found in validator.candidates.items() if query in own and query in found]


def test_vectors_can_be_kept_in_half_the_space(beir_folder: Path, tiny_encoder: BiEncoder, tmp_path: Path) -> None:
    collection, found = load_collection(f"{beir_folder}/test"), {}
    for kind in ("float32", "float16"):
        evaluator = Evaluator(tiny_encoder, [collection], vectors=kind, **LENGTHS)
        rows, about = evaluator(tiny_encoder, tmp_path / kind, work=tmp_path / "work" / kind)
        [vectors] = (tmp_path / "work" / kind).rglob("vectors.npy")
        assert np.load(vectors, mmap_mode="r").dtype == kind
        assert about[collection.name].get("vectors", "float32") == kind
        run = read_run(tmp_path / kind / "runs" / f"{file_name(collection.name, FULL_RANKING)}.run.gz")
        found[kind] = {(query, document): score for query, each in run.items() for document, score in each.items()}
    assert found["float32"].keys() == found["float16"].keys()
    apart = [abs(score - found["float16"][pair]) for pair, score in found["float32"].items()]
    assert 0 < max(apart) < 1e-3


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"vectors": "int8"}, "unknown type of vectors 'int8'"),
        ({"measures": ["mmr@10"]}, "did you mean 'RR@10'"),
        ({"measures": ["nDCG@10", "ERR@10"]}, "unknown measure 'ERR@10'"),
        ({"index": "HNSW0"}, "HNSW0"),
        ({"index": "nothing"}, "nothing"),
        ({"tag": "two words"}, "the tag 'two words' cannot stand in a TREC run"),
        ({"query_length": 0}, "query_length is 0"),
        ({"passage_length": 10**6}, "passage_length is 1000000"),
        ({"folder": "file/below"}, "cannot write .*file/below/runs: Not a directory"),
        ({"qrels": {"absent": {"d": 1}}}, "a judged query is unknown: .*'absent'"),
        ({"qrels": {}}, "there are no judgments"),
        ({"qrels": {"q-os.abort": {"os.abort": 0.5}}}, "expected a whole number as grade"),
        ({"first_stage": {"q-os.abort": {"absent": 1.0}}}, "a candidate of the first stage is not in the collection"),
        ({"first_stage": {"q-os.abort": {}}}, "found no document for any judged query"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_encoded(
    wrong: dict, said: str, beir_folder: Path, tiny_encoder: BiEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = load_collection(f"{beir_folder}/test")
    for name in ("qrels", "first_stage"):
        if name in wrong:
            value = wrong[name]
            monkeypatch.setattr(type(collection), name, lambda self, value=value: value)
    for name in ("encode_collection", "rerank_first_stage"):
        monkeypatch.setattr(module, name, lambda *_, **unused: pytest.fail("something was encoded"))
    (tmp_path / "file").touch()
    settings = {name: value for name, value in wrong.items() if name not in ("folder", "tag", "qrels", "first_stage")}
    with pytest.raises(InputError, match=said):
        measured = Evaluator(tiny_encoder, [collection], **LENGTHS | settings)
        measured(tiny_encoder, tmp_path / wrong.get("folder", "out"), tag=wrong.get("tag", "armlib"))


def test_queries_named_like_missing_values_keep_their_measures(beir_folder: Path, tiny_encoder: BiEncoder, tmp_path: Path) -> None:
    folder, names = tmp_path / "named", ["NA", "null", "nan", "=1+1", "007"]
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text((beir_folder / "corpus.jsonl").read_text())
    (folder / "queries.jsonl").write_text("".join(json.dumps({"_id": name, "text": "return a path"}) + "\n" for name in names))
    rows = "".join(f"{name}\tos.sys\t1\n" for name in names)
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + rows)
    Evaluator(tiny_encoder, [load_collection(f"{folder}/test")], full=False, **LENGTHS)(tiny_encoder, tmp_path / "out")
    (file,) = (tmp_path / "out" / "measures").iterdir()
    assert sorted(pd.read_csv(file, dtype=str, keep_default_na=False)["query"]) == sorted(["NA", "null", "nan", "'=1+1", "007"])


@pytest.mark.parametrize("prompt", ["", "passage: "])
def test_empty_documents_never_rank(beir_folder: Path, tiny_encoder: BiEncoder, tmp_path: Path, prompt: str) -> None:
    folder = tmp_path / "with-empty"
    shutil.copytree(beir_folder, folder)
    lines = (folder / "corpus.jsonl").read_text().splitlines()
    empty = [json.dumps({"_id": f"empty-{number}", "title": "", "text": " " * number}) for number in range(3)]
    (folder / "corpus.jsonl").write_text("\n".join([*empty[:2], *lines, empty[2]]) + "\n")
    tiny_encoder.set_prompts(passage=prompt)
    plain, mixed = load_collection(f"{beir_folder}/test"), load_collection(f"{folder}/test")
    measured = {}
    for collection in (plain, mixed):
        out = tmp_path / collection.corpus.name.replace("/", "-")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there are empty documents is said
            Evaluator(tiny_encoder, [collection], **LENGTHS)(tiny_encoder, out)
            measured[collection.name] = read_run(out / "runs" / f"{file_name(collection.name, FULL_RANKING)}.run.gz")
            found = [hit.id for hit in Searcher(tiny_encoder, collection, **LENGTHS).search("copy a file", 500)]
        assert len(found) == len(lines) and not any(name.startswith("empty") for name in found)
    ours, theirs = measured[mixed.name], measured[plain.name]
    assert ours.keys() == theirs.keys() and all(len(found) == len(lines) for found in ours.values())
    assert all(ours[query] == pytest.approx(theirs[query], abs=1e-5) for query in theirs)
    vectors = encode_collection(tiny_encoder, passage_tokens(mixed, tiny_encoder, 48), tmp_path / "vectors", 48)
    assert len(vectors) == len(lines) + 3, "they keep their places among the vectors"
