"""MS MARCO in miniature, built by its recipe, against the copy that was built from the whole collection."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from ir_measures import R, calc_aggregate, nDCG

from armlib.names import load_collection

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ir_datasets_home")]


@pytest.fixture(scope="module")
def train():
    return load_collection("msmarco-mini")


def test_the_recipe_gives_the_collection(train, shared_data):
    published = load_collection(shared_data / "msmarco-mini" / "train")
    assert dict(train.documents()).keys() == dict(published.documents()).keys()
    assert train.queries() == {query: text.strip() for query, text in published.queries().items()}
    assert train.qrels() == published.qrels()
    assert len(train.queries()) == 10_809
    assert train.name == "msmarco-mini/train" and train.validation is None
    assert train.evaluation == ("msmarco-mini/dev", "msmarco-mini/trec-dl-2019", "msmarco-mini/trec-dl-2020")


@pytest.mark.parametrize(("split", "published"), [("dev", "dev"), ("trec-dl-2019", "dl19"), ("trec-dl-2020", "dl20")])
def test_the_other_splits(train, shared_data, split, published):
    collection = load_collection(f"msmarco-mini/{split}")
    assert collection.qrels() == load_collection(shared_data / "msmarco-mini" / published).qrels()
    assert collection.queries().keys() == collection.qrels().keys()
    assert collection.relevant_from == (1 if split == "dev" else 2)
    assert collection.triples() is None
    assert collection.corpus is train.corpus


def test_triples_are_ten_for_each_pair(train):
    triples = list(train.triples())
    assert 114_300 < len(triples) <= 114_390
    assert len({(query, positive) for query, positive, _ in triples}) == 11_439
    qrels = train.qrels()
    assert all(positive in qrels[query] and negative not in qrels[query] for query, positive, negative in triples)


@pytest.mark.parametrize(
    ("split", "depth", "own", "full", "recall"),
    # The stated scores of full rankings; dev has one relevant passage a query, so 100 passages are enough.
    [("dev", 100, 0.739, 0.739, 0.950), ("trec-dl-2019", 1000, 0.484, 0.433, 0.908)]
    + [("trec-dl-2020", 1000, 0.495, 0.480, 0.914)],
)
def test_first_stages_and_bm25(split, depth, own, full, recall):
    collection = load_collection(f"msmarco-mini/{split}")
    qrels, first, whole = collection.qrels(), collection.first_stage(), collection.bm25_run(depth)
    assert set(first) == set(collection.queries())
    assert calc_aggregate([nDCG @ 10], qrels, first)[nDCG @ 10] == pytest.approx(own, abs=6e-4)
    of_relevant = R(rel=collection.relevant_from) @ depth
    measured = calc_aggregate([nDCG @ 10, of_relevant], qrels, whole)
    assert measured[nDCG @ 10] == pytest.approx(full, abs=6e-4)
    assert measured[of_relevant] == pytest.approx(recall, abs=6e-4)


def test_without_msmarco_it_says_where_to_get_it(tmp_path):
    code = (
        "from armlib.names import load_collection\nfrom armlib.errors import InputError\n"
        "import ir_datasets.util.download as d\n"
        "import requests\n"
        "def offline(*a, **k): raise requests.ConnectionError('offline', request=requests.Request('GET', 'https://example.org'))\n"
        "requests.get = offline\n"
        "try:\n    load_collection('msmarco-mini/dev').queries()\nexcept InputError as error:\n    print(error)"
    )
    environment = {**os.environ, "IR_DATASETS_HOME": str(tmp_path / "home"), "ARMLIB_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("msmarco-mini is built from msmarco-passage (a download of 1 GB by ir_datasets")
    assert "no connection to example.org" in done.stdout and "IR_DATASETS_HOME" in done.stdout
    assert done.stdout.count("\n") == 1 and done.stderr == ""
