"""The ledger of made-up worlds: its columns, counts, sentences, exports and page."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from bs4 import BeautifulSoup

from armbook import miniature
from armbook.claims.ledger import NAME, PUBLISHED, VERDICTS, Row, answer, counts, disagreements, frame, ledger, save
from armbook.claims.page import TITLES, as_html, contrasts
from armbook.claims.sources import Source, beside
from armbook.claims.verdicts import DOES_NOT_HOLD, HOLDS, NO_PREMISE, NOT_TRAINED, TOO_CLOSE, UNDECIDED, Verdict, claims
from armbook.evidence import Evidence
from armlib.experiments.profile import load_profile
from armlib.experiments.store import RunStore
from fabricated_claims import PROFILE, example, teacher, world

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """Nothing in miniature, and a copy in which every claim holds that is judged by these."""
    return ledger(Source(PROFILE, world(), [example(1)], [teacher()]), Source(load_profile("small"), []))


def made_up(*verdicts: tuple[str, str, str]) -> list[Row]:
    """Rows with these verdicts of the three columns; undecided ones are for want of training runs."""
    found = []
    for claim, each in zip(claims(), verdicts, strict=False):
        judged = {}
        for name, word in zip((PUBLISHED, miniature.NAME, miniature.HERE), each, strict=True):
            reason = {UNDECIDED: NOT_TRAINED, "close": TOO_CLOSE}.get(word, "")
            judged[name] = Verdict(claim.id, UNDECIDED if word == "close" else word, "Made up.", "a scope", reason=reason)
        found.append(Row(claim, judged))
    return found


def test_every_claim_is_a_row_in_the_order_of_the_sections(rows: list[Row]) -> None:
    assert {row.claim for row in rows} == set(claims()) and len(rows) == 36
    assert [row.claim.section for row in rows][:3] == ["Abstract", "1", "2.4"] and rows[-1].claim.section == "not in the paper"
    assert all(list(row.verdicts) == [PUBLISHED, miniature.NAME, miniature.HERE] for row in rows)
    assert all(verdict.claim == row.claim.id for row in rows for verdict in row.verdicts.values())


def test_verdicts_are_those_of_the_sources(rows: list[Row]) -> None:
    by_id = {row.claim.id: [verdict.verdict for verdict in row.verdicts.values()] for row in rows}
    assert by_id["static-best-ndcg"] == [HOLDS, UNDECIDED, HOLDS]
    assert by_id["thirteen-percent-of-data"] == [DOES_NOT_HOLD, UNDECIDED, DOES_NOT_HOLD]
    assert all(each[1] == UNDECIDED for each in by_id.values()), "nothing was trained"
    table = counts(rows).set_index("judged by")
    assert table.loc[PUBLISHED, list(VERDICTS)].tolist() == [10, 7, 19]
    assert table.loc[miniature.NAME].tolist() == [0, 0, 36, 33]  # two need weights, one a pre-trained RoBERTa
    assert table.loc[miniature.HERE].tolist() == [32, 1, 3, 3]  # three are about retrievers that were tuned alike


def test_without_miniature_there_are_two_columns() -> None:
    rows = ledger(Source(PROFILE, []))
    assert list(rows[0].verdicts) == [PUBLISHED, miniature.HERE] and "miniature" not in answer(rows).lower()


def test_no_evidence_is_told_thrice_or_in_a_programs_words(rows: list[Row]) -> None:
    for name in (PUBLISHED, miniature.NAME, miniature.HERE):
        texts = [row.verdicts[name].evidence for row in rows]
        assert sorted(set(texts)) == sorted(texts)
        told = [text for row in rows for text in (row.verdicts[name].evidence, *row.verdicts[name].cases)]
        assert not [text for text in told if re.search(r"_|\b(True|False|None|nan)\b|rel=|[A-Z][a-z]+Error", text)]


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (
            [(HOLDS, HOLDS, DOES_NOT_HOLD), (HOLDS, DOES_NOT_HOLD, UNDECIDED), (UNDECIDED, "close", "close")],
            "Of 3 claims, the paper's own tables bear out **2**, contradict **0** and leave **1** undecided, all of them because "
            "only a figure shows them. In miniature **1** holds, **1** does not and **1** is undecided. In this copy **0** hold, "
            "**1** does not and **2** are undecided, 1 of them for want of training runs. Where the tables and the miniature "
            "both decide, they agree on 1 of 2 claims. Where the tables and this copy both decide, they agree on 0 of 1 claim.",
        ),
        (
            [(DOES_NOT_HOLD, UNDECIDED, HOLDS), (HOLDS, UNDECIDED, HOLDS)],
            "Of 2 claims, the paper's own tables bear out **1**, contradict **1** and leave **0** undecided. In miniature **0** "
            "hold, **0** do not and **2** are undecided, all of them for want of training runs. In this copy **2** hold, **0** do "
            "not and **0** are undecided. Where the tables and this copy both decide, they agree on 1 of 2 claims.",
        ),
    ],
)
def test_the_answer(verdicts: list[tuple[str, str, str]], expected: str) -> None:
    assert answer(made_up(*verdicts)) == expected


def test_export(rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARMLIB_FIGURES", str(tmp_path))
    csv, tex = save(rows)
    read = pd.read_csv(csv, index_col="id", keep_default_na=False)
    assert read.equals(frame(rows)) and csv.name == f"{NAME}.csv" and "static-best-ndcg" in tex.read_text()
    row = read.loc["targets-skew-positive"]
    assert row[miniature.HERE] == HOLDS and row[f"{miniature.HERE}: keys"].count(" ") == 5
    assert " | ✓ mpnet: 0.60 above the mean" in row[f"{miniature.HERE}: evidence"]


def test_the_page_has_all_of_it(rows: list[Row]) -> None:
    page = BeautifulSoup(as_html(rows), "html.parser")
    items = page.select("ol > li")
    assert [item["id"] for item in items] == [f"claim-{row.claim.id}" for row in rows]
    for item, row in zip(items, rows, strict=True):
        assert item.select_one(".claim").text == row.claim.claim
        assert [chip.text.split(" ", 1)[1] for chip in item.select(".verdict")] == [each.verdict for each in row.verdicts.values()]
        evidence = item.select_one("details > .evidence").text
        assert all(each.evidence in evidence for each in row.verdicts.values())
        assert all(case in evidence for each in row.verdicts.values() for case in each.cases)
    assert not page.select("script") and not page.select("details[open]")
    names = [tag["id"] for tag in page.select("[id]")]
    assert len(names) == len(set(names))
    assert {label["for"] for label in page.select("label")} == {button["id"] for button in page.select("input")}


def test_links_lead_to_chapters(rows: list[Row]) -> None:
    linked = {row.chapter for row in rows}
    assert linked == set(TITLES) and all((REPOSITORY / "notebooks" / f"{name}.ipynb").exists() for name in linked)
    chapters = {row.claim.id: row.chapter for row in rows}
    assert chapters["targets-skew-positive"] == "07_target_distributions" and chapters["default-loss"] == "09_baselines"
    assert chapters["explicit-mean-fails"] == "12_ablations" and chapters["roberta-adaptive-recall-mark"] == "08_comparison"


def test_each_button_leaves_the_rows_of_its_verdict(rows: list[Row]) -> None:
    """The rules of the style sheet, obeyed by hand: a browser has :has, this test reads what it would hide."""
    page = BeautifulSoup(as_html(rows), "html.parser")
    rules = re.findall(r"\.claims-ledger:has\(#(\S+):checked\) ol>li:not\(\.(\S+?)\)\{display:none\}", page.style.text)
    assert len(rules) == 9
    assert not page.select("ol ol"), "lines of evidence are no rows, and are not filtered"
    for button, kept in rules:
        label = page.select_one(f'label[for="{button}"]').text
        assert int(label.rsplit(" ", 1)[1]) == len(page.select(f"ol > li.{kept}"))
        column, verdict = map(int, re.findall(r"\d", kept))
        assert label[2:].rsplit(" ", 1)[0] == VERDICTS[verdict]
        assert len(page.select(f"ol > li.{kept}")) == sum(
            list(row.verdicts.values())[column].verdict == VERDICTS[verdict] for row in rows
        )


def test_markup_in_evidence_is_shown_and_not_obeyed() -> None:
    (row,) = made_up((HOLDS, HOLDS, HOLDS))
    evil = replace(
        row.verdicts[miniature.HERE], evidence="<b>bold</b>.", cases=("<script>1</script>",), keys=("k",), scope="<i>here</i>"
    )
    page = as_html([replace(row, verdicts={**row.verdicts, miniature.HERE: evil})])
    assert "<b>" not in page and "<script" not in page and "<i>" not in page and "&lt;b&gt;bold" in page


def test_reasons_are_told(rows: list[Row]) -> None:
    text = BeautifulSoup(as_html(rows), "html.parser").text
    assert "The paper's tables: undecided, in no table" in text and "MS MARCO in miniature: undecided, not trained" in text
    tiny = replace(PROFILE, encoders=("lsa/distilbert", "lsa/roberta", "lsa/mpnet"))
    judged = ledger(Source(tiny, world(encoders=tiny.encoders)))
    alike = next(row for row in judged if row.claim.id == "encoder-does-not-matter")
    assert alike.verdicts[miniature.HERE].reason == NO_PREMISE
    assert f"This copy: undecided, {NO_PREMISE}" in as_html([alike])


def test_nothing_shipped_is_nothing_trained(tmp_path: Path) -> None:
    source = beside(PROFILE, Evidence(RunStore(tmp_path), None))
    assert source and list(source.results) == [] and list(source.retrievers) == []
    assert beside(load_profile("small")) is None, "a copy on the miniature's collection has nothing beside it"


def test_where_columns_agree_and_differ_is_listed() -> None:
    rows = made_up((HOLDS, HOLDS, UNDECIDED), (HOLDS, "close", DOES_NOT_HOLD), (UNDECIDED, "close", HOLDS))
    first, second, third = (row.claim for row in rows)
    page = BeautifulSoup(contrasts(rows), "html.parser")
    links = {link["href"]: link.text for link in page.select("a")}
    assert links == {f"#claim-{first.id}": first.claim, f"#claim-{second.id}": second.claim} and third.claim not in page.text
    assert "holds in tables, miniature" in page.text and "holds in tables; does not hold in this copy" in page.text
    assert "No claim is decided by more than one" in contrasts(rows[2:])


def test_tables_3_and_4_disagree_in_words() -> None:
    table = disagreements()
    assert table.columns.tolist() == ["target", "in-batch", "collection", "measure", "Table 3", "Table 4"]
    assert ["static", "yes", "TREC-DL 2020", "nDCG@10", "0.569", "0.53"] in table.to_numpy().tolist()
    assert not table.map(lambda cell: "_" in cell).any(axis=None)
