"""Published, in miniature, this copy: tables and sentences from a record that is made up, and the record that is shipped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from armbook import collection_record, data_and_encoders, data_tables
from armbook.baselines import MEASURED, Baseline
from armbook.collection_record import CollectionRecord
from armbook.tuned_losses import NONE
from armlib.errors import InputError
from armlib.experiments.outcome import bm25
from armlib.experiments.profile import load_profile
from armlib.names import load_collection
from fabricated import evaluation

PRINTS = {"fingerprint": "f", "passages' fingerprint": "p"}


def padding(lengths: str, times: tuple[float, ...]) -> list[dict]:
    names = ("nothing", "chunks", "batch", "maximum")
    given = {"maximum lengths": lengths, "tokens per triple": 100.0, "real": 100.0, "padding": 0.0}
    return [{**given, "padded to": name, "times the real tokens": value} for name, value in zip(names, times, strict=True)]


def record(passages: int = 1000) -> CollectionRecord:
    return CollectionRecord(
        setup=data_and_encoders.published_setup() | {"passages": f"{passages:,}"},
        encoders=[
            {
                "encoder": "tiny",
                "starts from": "LSA of it",
                "parameters": 1_222_528,
                "without embeddings": 132_736,
                "embedding": "CLS",
                "dimensions": 128,
                "layers": 1,
            }
        ],
        collections=[
            {
                **PRINTS,
                "collection": "it/train",
                "used for": "training",
                "passages": passages,
                "queries": 10,
                "grades": {"3": 1200, "1": 2},
                "relevant from": 2,
                "relevant": 1.25,
                "triples": 5000,
            },
            {
                **PRINTS,
                "collection": "it/test",
                "used for": "evaluation",
                "passages": passages,
                "queries": 3,
                "grades": {"1": 3},
                "relevant from": 1,
                "relevant": 1.0,
                "first stage": 99.55,
                "found": 0.875,
            },
        ],
        lengths=[
            {"encoder": "tiny", "texts": "queries", "number": 10, "mean": 8.5, "median": 8, "95 %": 12, "longest": 20}
            | {"maximum": 16, "texts cut": 1.5, "tokens cut": 0.5},
            {"encoder": "tiny", "texts": "passages", "number": 1000, "mean": 50.0, "median": 48, "95 %": 90, "longest": 200}
            | {"maximum": 64, "texts cut": 25.0, "tokens cut": 10.0},
        ],
        padding=padding("this profile's 16 and 64", (1, 1.1, 1.3, 1.4)) + padding("the paper's 30 and 200", (1, 1.2, 2.2, 2.5)),
        rankings=[Baseline(NONE, "BM25", "–", "–", MEASURED, {"it/test": [evaluation({"nDCG@10": 0.5}, np.zeros(3))]}, None)],
    )


@pytest.fixture
def records() -> dict[str, CollectionRecord]:
    return {"MS MARCO in miniature": record(), "this copy": record(500)}


def test_setups_stand_side_by_side(records) -> None:
    table = data_tables.setup_table({name: one.setup for name, one in records.items()})
    assert table.columns.tolist() == ["what", "published", "MS MARCO in miniature", "this copy"]
    assert table.set_index("what").loc["passages"].tolist() == ["8,841,823", "1,000", "500"]


def test_encoders_follow_table_1(records) -> None:
    table = data_tables.encoder_table(records)
    assert table.source.tolist() == ["published"] * 3 + list(records)
    assert table.parameters.tolist() == ["124M", "109M", "66M", "1.22M", "1.22M"]
    assert table["outside embeddings"].tolist() == [None, None, None, "133k", "133k"]


def test_collections_follow_the_papers(records) -> None:
    table = data_tables.collection_table(records)
    assert table.passages.tolist()[:3] == ["8,841,823"] * 3 and table.triples[0] == "39,780,811"
    assert table.queries.tolist()[:3] == [None, "43", "54"]
    mine = table[table.source == "this copy"].drop(columns="source").to_numpy().tolist()
    assert mine == [
        ["it/train", "training", "500", "10", "5,000", "1.2", None, None],
        ["it/test", "evaluation", "500", "3", None, "1.0", "99.5", "87.5 %"],
    ]
    grades = data_tables.grade_table(records)
    assert grades["grade 3"].tolist() == [None, None, "1,200", "0", "1,200", "0"]
    assert grades.relevant.tolist()[:3] == ["2 and above"] * 3


def test_lengths_and_padding_are_formatted(records) -> None:
    lengths = data_tables.length_table(records)
    assert lengths.texts.tolist()[:2] == ["10 queries", "1,000 passages"] and lengths["texts cut"][1] == "25.0 %"
    rows = data_tables.padding_rows(records)
    assert len(rows) == 16 and rows["times the real tokens"].tolist()[:4] == ["1.00", "1.10", "1.30", "1.40"]


def test_the_answer_has_the_numbers_of_each_source(records) -> None:
    first, second = data_tables.answer(records).split("\n\n")
    assert first == (
        "**MS MARCO in miniature.** Training draws on 5,000 triples over 1,000 passages, 8,842 times fewer than MS MARCO's "
        "8,841,823. The maximum lengths cut 1.5 % of queries (at 16 tokens) and 25.0 % of passages (at 64 tokens). Padding every "
        "text to the maximum length would make the encoder compute 1.40 times the real tokens; sorted chunks need 1.10 times "
        "(2.50 and 1.20 at the paper's lengths)."
    )
    assert second.startswith("**This copy.** Training draws on 5,000 triples over 500 passages")
    alone = replace(record(8_841_823), padding=padding("this profile's 30 and 200", (1, 1.2, 2.2, 2.5)))
    told = data_tables.answer({"this copy": alone})
    assert "fewer" not in told and "need 1.20 times." in told


def test_arithmetic_and_fingerprints_are_told(records) -> None:
    assert "100 real tokens" in data_tables.operations(record()) and "about 79.6M " in data_tables.operations(record())
    block = data_tables.how_counted(records, "counted <here>").data
    assert "counted &lt;here&gt;" in block and block.count("it/test: fingerprint f, of its passages p") == 1


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = collection_record.write(record(), tmp_path)
    again = collection_record.read(path)
    assert replace(again, rankings=[]) == replace(record(), rankings=[])
    (row,), (expected,) = again.rankings, record().rankings
    assert replace(row, evaluations={}) == replace(expected, evaluations={})
    assert row.mean("it/test").per_query.equals(expected.mean("it/test").per_query)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"setup": {}}', '{"rankings": [{}]}'])
def test_another_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(InputError, match=r"other.json is no record of a collection"):
        collection_record.read(tmp_path / "other.json")


def test_a_page_of_the_same_collection_shows_its_own_record_alone() -> None:
    own = record()
    assert collection_record.sources(own, load_profile("small")) == {"this copy": own}
    beside = collection_record.sources(own, load_profile("demo"))
    assert list(beside) == ["MS MARCO in miniature", "this copy"] and beside["MS MARCO in miniature"].setup["passages"] == "32,895"


def test_the_shipped_record_has_no_text_and_what_is_known_of_the_collection() -> None:
    shipped = collection_record.shipped()
    assert shipped is not None and collection_record.shipped(load_profile("demo")) is None
    assert [row["queries"] for row in shipped.collections[-2:]] == [43, 54]
    (lexical,) = (row for row in shipped.rankings if row.loss == "BM25")
    found = [lexical.mean(name).mean["nDCG@10"] for name in load_profile("small").experiment.evaluation_names()]
    assert found == pytest.approx([0.739, 0.433, 0.480], abs=1e-3)  # as they were known before


@pytest.mark.slow
def test_the_shipped_record_is_what_the_data_say(ir_datasets_home: Path) -> None:
    profile, shipped = load_profile("small"), collection_record.shipped()
    again = collection_record.counted(profile)
    assert shipped is not None and replace(again, rankings=[]) == replace(shipped, rankings=[])
    (lexical,) = (row for row in shipped.rankings if row.loss == "BM25")
    for name in lexical.evaluations:
        expected = bm25(load_collection(name)).per_query
        assert np.allclose(lexical.mean(name).per_query.loc[expected.index, expected.columns], expected, atol=1e-6)
