"""The paper's tables as data: types, and figures read off the printed page."""

from __future__ import annotations

import filecmp
from importlib import resources

import pandas as pd
import pytest

from armbook.published import MODELS, disagreements, score_differences, table1, table2, table3, table4, variant3, variant4
from armbook.results import VARIANTS


def test_the_files_are_those_of_the_paper(shared) -> None:
    ours = resources.files("armbook")
    for number in (1, 2, 3, 4):
        assert filecmp.cmp(str(ours / "published" / f"table{number}.csv"), shared / "paper" / f"table{number}.csv", shallow=False)
    assert filecmp.cmp(str(ours / "claims" / "claims.csv"), shared / "design" / "claims.csv", shallow=False)


def test_table_1() -> None:
    table = table1().set_index("model")
    assert table.params_millions.to_dict() == {"RoBERTa": 124, "MPNet": 109, "distilBERT": 66}
    assert table.checkpoint["MPNet"] == "microsoft/mpnet-base" and set(table.dimensions) == {768}


def test_table_2() -> None:
    table = table2().set_index("role")
    assert table.relevance.isna().tolist() == [True, False, False, False, False]
    assert table.loc["d-max", ["relevance", "target", "instance_loss"]].tolist() == [0.34, 0.69, 0.06]


def test_table_3() -> None:
    table = table3()
    assert len(table) == 15 and table.in_batch.dtype == bool and table.includes_sweep.dtype == bool
    assert set(table[["model", "target", "in_batch"]].itertuples(index=False, name=None)) == {
        (model, *variant) for model in MODELS for variant in VARIANTS
    }
    # The paper marks distributed targets as in-batch, too.
    assert (table.uses_batch == table.in_batch | (table.target == "distributed")).all()
    # 15:07 is 15 hours and 7 minutes; only static targets are swept.
    assert variant3("distilBERT", "static", False)["hours"] == pytest.approx(15 + 7 / 60)
    assert set(table[table.includes_sweep].target) == {"static"}
    minutes = table.groupby("model").hours.sum() * 60
    assert minutes.round().to_dict() == {"distilBERT": 36 * 60 + 13, "RoBERTa": 78 * 60 + 8, "MPNet": 90 * 60 + 2}
    assert variant3("RoBERTa", "distributed", False)["dl20_ndcg10_equivalent"] == "no"
    for column in ("dl19_ndcg10", "dl19_r1000", "dl20_ndcg10", "dl20_r1000"):
        assert table[column].between(0, 1).all() and set(table[f"{column}_equivalent"]) == {"best", "yes", "no"}
        # What is printed as best of a model is its highest.
        for _, rows in table.groupby("model"):
            assert rows[rows[f"{column}_equivalent"] == "best"][column].tolist() == [rows[column].max()]


def test_table_4_tells_quoted_rows_apart() -> None:
    table = table4()
    assert len(table) == 15 and table.quoted.sum() == 9
    assert set(table[table.quoted].source) == {"Hofstatter et al. 2021", "Wang and Zuccon 2023"}
    assert set(table[~table.quoted].source) == {"this paper", "baseline"}
    bm25 = table[table.loss == "bm25"].iloc[0]
    assert pd.isna(bm25.in_batch) and pd.isna(bm25.uses_batch) and pd.isna(bm25.triples_millions) and bm25.dl19_ndcg10 == 0.50
    assert variant4("margin-mse", True, "Hofstatter et al. 2021", "tas-b").dl20_r1000 == 0.87
    distributed = variant4("distributed", False)
    assert distributed.triples_millions == 7.30 and distributed.uses_batch


def test_a_table_is_a_copy() -> None:
    changed = table3()
    changed["hours"] = 0.0
    assert table3().hours.min() > 1


def test_score_differences() -> None:
    found = score_differences("ndcg10", ("adaptive", True), ("adaptive", False))
    assert len(found) == 6 and found["RoBERTa on TREC-DL 2019"] == pytest.approx(0.572 - 0.527, abs=1e-9)


def test_the_tables_disagree_where_they_do() -> None:
    found = {(row.target, row.in_batch, row.score): (row.table3, row.table4) for row in disagreements().itertuples()}
    assert found == {
        ("adaptive", False, "dl19_ndcg10"): (0.537, 0.53),
        ("adaptive", False, "dl20_ndcg10"): (0.542, 0.55),
        ("static", True, "dl19_ndcg10"): (0.574, 0.56),
        ("static", True, "dl19_r1000"): (0.786, 0.77),
        ("static", True, "dl20_ndcg10"): (0.569, 0.53),
    }
