"""Collections under ir_datasets' names, from a folder that is filled with real data."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import pytest
import requests
from ir_measures import calc_aggregate, nDCG

from armlib.data import irds
from armlib.data.held_out import hold_out
from armlib.errors import InputError
from armlib.names import load_collection

pytestmark = pytest.mark.usefixtures("ir_datasets_home")
DL19, DL20 = "msmarco-passage/trec-dl-2019/judged", "msmarco-passage/trec-dl-2020/judged"


def test_msmarco_training_triples():
    collection = load_collection("msmarco-passage/train/triples-small")
    assert (collection.corpus.name, collection.relevant_from) == ("msmarco-passage", 1)
    assert (collection.validation, collection.evaluation) == (None, (DL19, DL20))
    assert sum(1 for _ in collection.documents()) == 32_895
    assert sum(1 for _ in collection.triples()) == 114_390
    query, positive, negative = next(collection.triples())
    assert collection.qrels()[query][positive] == 1 and negative not in collection.qrels()[query]
    assert query in collection.queries()


@pytest.mark.parametrize(("name", "queries", "judgments", "expected"), [(DL19, 43, 9260, 0.484), (DL20, 54, 11386, 0.495)])
def test_trec_deep_learning(name, queries, judgments, expected):
    collection = load_collection(name)
    assert collection.relevant_from == 2 and collection.triples() is None
    assert len(collection.queries()) == len(collection.qrels()) == queries
    assert sum(map(len, collection.qrels().values())) == judgments
    # The data set's own candidates, in the order of their file, which is BM25's here.
    run = collection.first_stage()
    assert set(run) == set(collection.queries())
    assert calc_aggregate([nDCG @ 10], collection.qrels(), run)[nDCG @ 10] == pytest.approx(expected, abs=6e-4)


def test_negatives_are_mined_where_there_are_no_triples():
    collection = load_collection("beir/scifact/train")
    assert collection.evaluation == ("beir/scifact/test",) and collection.corpus.name == "beir/scifact"
    assert collection.corpus is load_collection("beir/scifact/test").corpus
    assert load_collection("beir/scifact/test").triples() is None
    triples = list(collection.triples())
    qrels, pairs = collection.qrels(), {(query, positive) for query, positive, _ in triples}
    assert pairs == {(query, document) for query, grades in qrels.items() for document in grades}
    assert len(triples) <= 10 * len(pairs) and len(triples) > 9.9 * len(pairs)
    assert not any(negative in qrels[query] for query, _, negative in triples)
    assert triples == list(load_collection("beir/scifact/train").triples())


def test_cranfields_codes_become_grades(shared_data):
    collection = load_collection("cranfield")
    with pytest.warns(UserWarning, match="2 empty documents in .*cranfield are kept as they are: 471, 995"):
        folder = load_collection(shared_data / "cranfield").qrels()  # which reads the documents to see that the judged ones exist
    assert collection.qrels() == folder
    with pytest.warns(UserWarning, match="2 empty documents in cranfield are kept as they are: 471, 995"):
        assert next(collection.triples())[0] == "1", "a collection without splits can be trained on"


def test_declared_conventions_of_other_names():
    assert load_collection("msmarco-passage/trec-dl-hard").relevant_from == 2
    assert load_collection("antique/train").relevant_from == 3
    fiqa = load_collection("beir/fiqa/train")
    assert (fiqa.relevant_from, fiqa.validation, fiqa.evaluation) == (1, "beir/fiqa/dev", ("beir/fiqa/test",))


def test_held_out_queries_are_always_the_same_and_leave_training():
    collection = load_collection("beir/scifact/train")
    validation = hold_out(collection, 50)
    assert set(validation.queries()) == set(validation.qrels()) == set(validation.chosen) and len(validation.chosen) == 50
    assert hold_out(load_collection("beir/scifact/train"), 20).chosen == validation.chosen[:20], "fewer are the first of more"
    run = validation.first_stage()
    assert set(run) == set(validation.chosen) and max(map(len, run.values())) == 100
    assert validation.triples() is None and validation.corpus is collection.corpus
    assert validation.fingerprint() != collection.fingerprint()
    assert len(list(itertools.islice(validation.documents(), 3))) == 3
    with pytest.raises(InputError, match="cannot hold out 0 queries of beir/scifact/train"):
        hold_out(collection, 0)


def test_unknown_names_say_what_there_is():
    with pytest.raises(InputError) as caught:
        load_collection("beir/scifakt/train")
    assert str(caught.value).startswith("unknown collection 'beir/scifakt/train'; did you mean 'beir/scifact/train'")
    assert "(available: docstrings, msmarco-mini, docstrings/train" in str(caught.value)
    assert "a folder in BEIR layout; a .tsv file of text triples; or one of the" in str(caught.value)
    with pytest.raises(InputError, match="no collection at .*nowhere: expected a folder in BEIR layout"):
        load_collection("./nowhere")


def test_a_part_that_a_name_lacks():
    with pytest.raises(InputError, match="msmarco-passage has no queries in ir_datasets; these have: msmarco-passage/dev, "):
        load_collection("msmarco-passage").queries()


def test_relevant_judgments_of_documents_that_do_not_exist(tmp_path, monkeypatch):
    monkeypatch.setenv("ARMLIB_CACHE", str(tmp_path))
    collection = irds.IrDataset("beir/scifact/train")
    query, grades = next(iter(collection.qrels().items()))
    grades["nothing"] = 1
    with pytest.warns(UserWarning, match=rf"1 of 920 relevant judgments .* \(first: query '{query}', document 'nothing'\)"):
        assert "nothing" not in {positive for _, positive, _ in collection.triples()}
    collection = irds.IrDataset("beir/scifact/train")
    for grades in collection.qrels().values():
        grades.clear()
    with pytest.raises(InputError, match="0 of 0 relevant judgments of beir/scifact/train .* nothing is left to train on"):
        next(collection.triples())


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (requests.ConnectionError(request=requests.Request("GET", "https://example.org/x")), "no connection to example.org"),
        (OSError("Expected md5 hash to be a but got b"), "Expected md5 hash to be a but got b"),
        (EOFError("Compressed file ended before the end-of-stream marker"), "Compressed file ended before"),
        (RuntimeError("All download sources failed"), "All download sources failed"),
        (KeyError("query_id"), "KeyError 'query_id'"),
    ],
)
def test_failed_downloads_are_one_sentence(monkeypatch, error, said):
    collection = load_collection("beir/nfcorpus/train")

    def fail(*_):
        raise error

    monkeypatch.setattr(collection._source, "queries_iter", fail, raising=False)
    with pytest.raises(InputError) as caught:
        collection.queries()
    assert str(caught.value).startswith("cannot get the queries of beir/nfcorpus/train through ir_datasets: ")
    assert said in str(caught.value) and "run it again to go on" in str(caught.value) and "IR_DATASETS_HOME" in str(caught.value)


@pytest.mark.parametrize(
    ("part", "row", "said"),
    [
        ("queries", ("q 1", "text"), "beir/scifact/train: the query id 'q 1' cannot stand in a TREC run"),
        ("queries", ("q", "half \ud83d"), r"beir/scifact/train: the text of query 'q' holds '\\ud83d', half a surrogate pair"),
        ("docs", ("d\u2028", "text", "title"), r"beir/scifact: the document id 'd\\u2028' cannot stand in a TREC run"),
        ("docs", ("d", "half \ude00", "title"), r"beir/scifact: the text of document 'd' holds '\\ude00', half a surrogate pair"),
        ("qrels", ("q", "d", 1 << 31, "0"), "beir/scifact/train: the grade 2147483648 is out of range"),
    ],
)
def test_ids_texts_and_grades_that_cannot_be_used_are_refused(monkeypatch, part, row, said):
    collection = irds.IrDataset("beir/scifact/train")
    monkeypatch.setattr(irds, "shared_corpus", lambda key, make: make())
    kind = getattr(collection._source, f"{part}_cls")()
    monkeypatch.setattr(collection._source, f"{part}_iter", lambda: iter([kind(*row)]), raising=False)
    with pytest.raises(InputError, match=f"^{said}"):
        list(collection.documents() if part == "docs" else getattr(collection, part)())


@pytest.mark.slow
def test_fingerprints_tell_homes_apart_and_nothing_is_printed(ir_datasets_home, tmp_path):
    """Another home under the same name: the same passages and one more, as MS MARCO has more than a part of it."""
    other = tmp_path / "msmarco-passage"
    other.mkdir()
    for file in (ir_datasets_home / "msmarco-passage").iterdir():
        if file.name != "collection.tsv":
            (other / file.name).symlink_to(file)
    (other / "collection.tsv").write_bytes(
        (ir_datasets_home / "msmarco-passage" / "collection.tsv").read_bytes() + b"8841823\tone more\n"
    )
    code = (
        "from armlib.names import load_collection\n"
        f"c = load_collection({DL19!r})\n"
        "print(c.corpus.fingerprint(), c.fingerprint(), len(c.queries()))"
    )
    outputs = []
    for home in (ir_datasets_home, tmp_path):
        environment = {**os.environ, "IR_DATASETS_HOME": str(home)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        outputs.append(done.stdout.split())
    here = load_collection(DL19)
    assert outputs[0] == [here.corpus.fingerprint(), here.fingerprint(), "43"]
    assert outputs[0][0] != outputs[1][0] and outputs[0][1] != outputs[1][1]


def test_bars_of_ir_datasets_show_only_where_somebody_watches(monkeypatch, capsys):
    log = irds.ir_datasets_module().log.easy()
    assert list(log.pbar(range(3), desc="counting")) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("ARMLIB_PROGRESS", "1")
    assert list(log.pbar(range(3), desc="counting")) == [0, 1, 2]
    assert "counting" in capsys.readouterr().err
