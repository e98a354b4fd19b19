"""Table 3 from run files: real runs and judgments of TREC-DL stand in for the authors', and trec_eval and SciPy count again."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import pytrec_eval
from scipy import stats

from armbook import published
from armbook.recomputed import MEASURES, Recomputed, differing, recompute, recomputed_in_words, recomputed_scores, recomputed_table
from armbook.results import VARIANTS, variant_name
from armlib.errors import InputError
from armlib.evaluation.measures import Evaluation
from armlib.names import read_qrels
from armlib.retrieval.run_files import read_run

SYSTEMS = ("doct5query", "ance", "bm25.terrier", "bm25-rm3.terrier", "bm25-bert")
NAMES = ("static", "static-in-batch", "adaptive", "adaptive-in-batch", "distributed")


@pytest.fixture(scope="module")
def folder(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five real systems under the names of MPNet's variants, and the official judgments."""
    made = tmp_path_factory.mktemp("authors")
    for year in ("19", "20"):
        for system, name in zip(SYSTEMS, NAMES, strict=True):
            shutil.copy(shared_data / "runs" / f"dl{year}.{system}.run.gz", made / f"mpnet-{name}.dl{year}.run.gz")
        shutil.copy(shared_data / "trec-dl" / f"qrels.dl{year}-passage.txt", made)
    return made


@pytest.fixture(scope="module")
def found(folder: Path) -> Recomputed:
    return recompute(folder)


def test_scores_and_daggers_are_those_of_trec_eval_and_scipy(folder: Path, found: Recomputed) -> None:
    table = recomputed_scores(found).set_index(["year", "score", "target", "in_batch"])
    assert len(table) == 20 and set(table["printed mark"]) == {"best", "†", ""}
    for year in ("dl19", "dl20"):
        qrels = read_qrels(folder / f"qrels.{year}-passage.txt")
        ndcg = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut_10"})
        recall = pytrec_eval.RelevanceEvaluator(qrels, {"recall_1000"}, relevance_level=2)
        values: dict[str, dict[tuple[str, bool], np.ndarray]] = {score: {} for score in MEASURES}
        for variant, name in zip(VARIANTS, NAMES, strict=True):
            run = read_run(folder / f"mpnet-{name}.{year}.run.gz")
            for score, evaluator, field in (("ndcg10", ndcg, "ndcg_cut_10"), ("r1000", recall, "recall_1000")):
                measured = evaluator.evaluate(run)
                values[score][variant] = np.array([measured[query][field] for query in sorted(qrels)])
        for score, of_variants in values.items():
            best = max(of_variants, key=lambda variant: of_variants[variant].mean())
            for variant, each in of_variants.items():
                row = table.loc[(year, score, *variant)]
                assert row.computed == pytest.approx(each.mean(), abs=1e-9)
                assert row.printed == published.variant3("MPNet", *variant)[f"{year}_{score}"]
                if variant == best:
                    assert row["computed mark"] == "best" and np.isnan(row["corrected p"])
                    continue
                above = stats.ttest_rel(each + 0.05, of_variants[best], alternative="greater").pvalue
                below = stats.ttest_rel(each - 0.05, of_variants[best], alternative="less").pvalue
                corrected = min(1, 4 * max(above, below))
                assert row["corrected p"] == pytest.approx(corrected, rel=1e-6)
                assert row["computed mark"] == ("†" if corrected < 0.05 else "")
    assert set(table["computed mark"]) == {"best", "†", ""}, "the runs show all three cases"


def test_differences_to_the_printed_table_are_listed(found: Recomputed) -> None:
    scores = recomputed_scores(found)
    listed = differing(scores)
    assert list(listed.difference.astype(float).abs()) == sorted(listed.difference.astype(float).abs(), reverse=True)
    text = recomputed_in_words(found, scores)
    assert "Of 20 printed scores" in text and "The largest difference is" in text
    assert (
        "The folder has no runs of distilBERT on TREC-DL 2019, RoBERTa on TREC-DL 2019" in text
        and "MPNet on" not in text.split("no runs")[1]
    )
    table = recomputed_table(scores)
    assert len(table) == 5 and table["model", "in-batch"].tolist() == ["no", "yes", "no", "yes", "yes"]
    assert table["TREC-DL 2019, nDCG@10", "printed"].tolist() == ["0.655 best", "0.582", "0.561", "0.605", "0.635 †"]
    assert table["TREC-DL 2019, nDCG@10", "run files"].iloc[4] == "0.685 best"


def as_printed(noise: float = 0.001) -> Recomputed:
    """Evaluations whose means are the printed ones of distilBERT."""
    groups = {}
    for year, queries in (("dl19", 43), ("dl20", 54)):
        spread = np.linspace(-noise, noise, queries)
        index = [str(number) for number in range(queries)]
        groups["distilBERT", year] = {
            variant_name(*variant): Evaluation(
                pd.DataFrame(
                    {
                        measure: published.variant3("distilBERT", *variant)[f"{year}_{score}"] + place * spread
                        for score, measure in MEASURES.items()
                    },
                    index=index,
                )
            )
            for place, variant in enumerate(VARIANTS)
        }
    return Recomputed({}, groups, ("a note",))


def test_what_comes_out_as_printed_is_said_and_not_listed() -> None:
    found = as_printed()
    scores = recomputed_scores(found)
    assert (scores.computed.round(3) == scores.printed).all()
    text = recomputed_in_words(found, scores)
    assert "Of 20 printed scores, all follow from the run files" in text and "largest" not in text and text.endswith("A note.")
    # Of two variants that print 0.823 the paper has one in bold, where these are exactly equal: they share the highest score.
    tied = scores[(scores.year == "dl20") & (scores.score == "r1000") & (scores.printed == 0.823)]
    assert tied["computed mark"].tolist() == ["=", "="]
    other = differing(scores)
    assert {each.split()[-1] for each in other[other.printed.str.startswith("0.823")]["run files"]} == {"="}
    assert set(other.difference) == {"+0.000"}, "only marks differ"


def test_no_folder_is_no_work_and_no_table() -> None:
    assert recompute("") == Recomputed()


def test_a_run_of_the_other_year_is_refused(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        shutil.copy(file, tmp_path)
    shutil.copy(folder / "mpnet-static.dl19.run.gz", tmp_path / "mpnet-static.dl20.run.gz")
    with pytest.raises(InputError, match=r"no query of run 'mpnet-static.dl20.run.gz' is judged"):
        recompute(tmp_path)


def test_judgments_of_other_queries_are_refused(folder: Path, tmp_path: Path) -> None:
    for file in folder.glob("*.run.gz"):
        shutil.copy(file, tmp_path)
    (tmp_path / "qrels.dl19.txt").write_text("1 0 a 2\n")
    with pytest.raises(InputError, match="TREC-DL 2019 in qrels.dl19.txt are of 1 queries; expected the official ones, of 43"):
        recompute(tmp_path)


def test_what_a_run_lacks_is_noted(folder: Path, tmp_path: Path) -> None:
    for file in folder.glob("*dl19*"):
        shutil.copy(file, tmp_path)
    run = (tmp_path / "mpnet-static.dl19.run.gz").rename(tmp_path / "all.gz")
    lines = pd.read_csv(run, sep=r"\s+", header=None, dtype=str)
    lines[lines[0] != lines[0].iloc[0]].to_csv(tmp_path / "mpnet-static.dl19.run", sep=" ", header=False, index=False)
    found = recompute(tmp_path)
    (note,) = found.notes
    assert "1 of 43 judged queries have no results in run 'mpnet-static.dl19.run'" in note and str(tmp_path) not in note


def test_judgments_are_those_of_ir_datasets_where_none_lie_beside_the_runs(
    folder: Path, found: Recomputed, tmp_path: Path, ir_datasets_home: Path
) -> None:
    for file in folder.glob("*dl19.run.gz"):
        shutil.copy(file, tmp_path)
    again, before = recomputed_scores(recompute(tmp_path)), recomputed_scores(found)
    pd.testing.assert_frame_equal(again, before[before.year == "dl19"].reset_index(drop=True))
