"""Tables in a terminal and as CSV: nothing in them acts, and what is read is what was written."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import strategies as st

from armlib.evaluation.tables import as_text, read_csv, write_csv
from fuzzing import tried_on

FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-a", "@SUM(A1)", "=", "\t=1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_heading_or_name_of_a_csv_is_a_formula(tmp_path: Path, text: str) -> None:
    table = pd.DataFrame({text: [text, "plain"], "value": [-0.5, 1.0]}, index=pd.Index([text, "a"], name=text))
    write_csv(table, tmp_path / "a.csv")
    with open(tmp_path / "a.csv", newline="") as file:
        head, first, second = csv.reader(file)
    assert (
        head == [f"'{text}", f"'{text}", "value"] and first == [f"'{text}", f"'{text}", "-0.5"] and second == ["a", "plain", "1.0"]
    )


def test_no_cell_makes_a_row(tmp_path: Path) -> None:
    write_csv(pd.DataFrame({"a": ["x\r=1", "x\n=1"]}), tmp_path / "a.csv", index=False)
    assert (tmp_path / "a.csv").read_bytes() == b'a\nx\\r=1\n"x\n=1"\n'


def test_numbers_and_levels_stay_as_they_are(tmp_path: Path) -> None:
    columns = pd.MultiIndex.from_tuples([("a", "=b"), ("a", "c")])
    write_csv(pd.DataFrame([["-5", "+0.25"], ["± 1", "–"]], columns=columns), tmp_path / "a.csv", index=False)
    assert (tmp_path / "a.csv").read_text() == "a,a\n'=b,c\n-5,+0.25\n± 1,–\n"


IDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=8)
EDGES = st.sampled_from(
    [*FORMULAS[:5], "'=1", "''=1", "'", "NA", "null", "nan", "NaN", "007", "1.0", "1e5", "True", "-1", 'a"b', "a,b", "#"]
)
VALUES = st.floats(allow_nan=False, allow_infinity=False)


@tried_on("tables", st.dictionaries(IDS | EDGES, st.tuples(VALUES, VALUES), min_size=1, max_size=6))
def test_ids_and_values_come_back_as_they_were_written(folder: Path, rows: dict[str, tuple[float, float]]) -> None:
    table = pd.DataFrame(list(rows.values()), columns=["AP", "R(rel=2)@10"], index=pd.Index(list(rows), name="query"))
    write_csv(table, folder / "a.csv")
    back = read_csv(folder / "a.csv", "query").set_index("query")
    assert list(back.index) == list(rows) and back.astype(float).to_numpy().tolist() == table.to_numpy().tolist()


def test_a_terminal_gets_no_control_characters() -> None:
    table = pd.DataFrame({"\x1b[31m": ["\x1b]0;owned\x07\u202e", "b"]}, index=pd.Index(["line\nend", "\x9b1m"], name="\r"))
    printed = as_text(table)
    assert all(each.isprintable() or each == "\n" for each in printed) and len(printed.split("\n")) == 4
    assert r"\x1b[31m" in printed and r"line\nend" in printed and r"\u202e" in printed
