"""Equivalence tests, against calculations by hand, and of the shipped TREC runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st
from scipy import stats

from armlib.errors import InputError
from armlib.evaluation.equivalence import DAGGER, compare, compare_pairs, compare_runs, equivalence
from armlib.evaluation.measures import Evaluation
from armlib.retrieval.run_files import read_run, write_run
from fuzzing import tried_on


def test_equivalence_agrees_with_a_calculation_by_hand():
    chance = np.random.default_rng(3)
    first = chance.uniform(0.2, 0.9, 43)
    second = first + chance.normal(0.01, 0.12, 43)
    found = equivalence(first, second, margin=0.05)
    d = first - second
    error = d.std(ddof=1) / np.sqrt(43)
    above = stats.t.sf((d.mean() + 0.05) / error, 42)  # against "at most -0.05"
    below = stats.t.cdf((d.mean() - 0.05) / error, 42)  # against "at least 0.05"
    assert found.difference == pytest.approx(d.mean(), abs=1e-12)
    assert found.p == pytest.approx(max(above, below), rel=1e-9)
    reach = stats.t.ppf(0.95, 42) * error
    assert (found.low, found.high) == pytest.approx((d.mean() - reach, d.mean() + reach))
    assert found.equivalent == (found.low > -0.05 and found.high < 0.05)
    assert equivalence(second, first, margin=0.05).p == pytest.approx(found.p)


@pytest.mark.parametrize(("shift", "p"), [(0.0, 0.0), (0.049, 0.0), (-0.049, 0.0), (0.0501, 1.0), (-0.2, 1.0)])
def test_constant_differences_are_decided_by_the_margin(shift, p):
    scores = np.random.default_rng(0).uniform(0.3, 0.7, 50)
    found = equivalence(scores + shift, scores, margin=0.05)
    assert (found.p, found.equivalent) == (p, p == 0.0)
    assert found.low == found.high == pytest.approx(shift, abs=1e-12)


def test_pairs_are_made_by_query_id():
    a = pd.Series({"1": 0.1, "2": 0.9, "3": 0.5})
    assert equivalence(a, a.iloc[::-1]).p == 0.0
    with pytest.raises(InputError, match="2 have no partner, the first is '3'"):
        equivalence(a, pd.Series({"1": 0.1, "2": 0.9, "4": 0.5}))
    for first, second, settings, complaint in [
        ([0.1], [0.1], {}, "two at least"),
        ([0.1, 0.2], [0.1], {}, "found 2 and 1"),
        ([0.1, np.nan], [0.1, 0.2], {}, "finite"),
        ([0.1, 0.2], [0.1, 0.2], {"margin": 0.0}, "margin above 0"),
    ]:
        with pytest.raises(InputError, match=complaint):
            equivalence(first, second, **settings)


def _group(**means: float) -> dict[str, Evaluation]:
    chance = np.random.default_rng(1)
    base = chance.uniform(0.2, 0.8, 54)
    return {
        name: Evaluation(pd.DataFrame({"nDCG@10": base + mean + chance.normal(0, 0.05, 54)}, index=[f"q{i:02}" for i in range(54)]))
        for name, mean in means.items()
    }


def test_group_is_tested_against_its_best_with_correction():
    group = _group(static=0.02, distributed=0.01, adaptive=-0.01, bad=-0.3)
    table = compare(group, "nDCG@10")
    assert list(table.index) == list(group)
    best = table["mean"].idxmax()
    assert table["best"].sum() == 1 and table.loc[best, "best"]
    assert np.isnan(table.loc[best, "p"]) and not table.loc[best, "equivalent"]
    for name in set(group) - {best}:
        alone = equivalence(group[name].scores("nDCG@10"), group[best].scores("nDCG@10"))
        assert table.loc[name, "p"] == alone.p
        assert table.loc[name, "difference"] == pytest.approx(alone.difference)
        assert table.loc[name, "corrected p"] == pytest.approx(min(1.0, 3 * alone.p))
        assert table.loc[name, "equivalent"] == (3 * alone.p < 0.05)
    assert table.loc["distributed", "mark"] == DAGGER and table.loc["bad", "mark"] == ""


def test_correction_can_take_equivalence_away():
    group = _group(static=0.0, adaptive=-0.02)
    chosen = next(
        margin
        for margin in np.linspace(0.02, 0.1, 801)
        if 0.02 < equivalence(group["adaptive"].scores("nDCG@10"), group["static"].scores("nDCG@10"), margin).p < 0.04
    )
    assert compare(group, "nDCG@10", "static", chosen).loc["adaptive", "equivalent"]
    larger = group | {f"other {i}": group["adaptive"] for i in range(2)}
    assert not compare(larger, "nDCG@10", "static", chosen)["equivalent"].any()


def test_reference_may_be_any_system():
    table = compare(_group(ours=0.0, published=-0.02), "nDCG@10", reference="published")
    assert np.isnan(table.loc["published", "p"]) and table.loc["ours", "best"] and table.loc["ours", "equivalent"]
    assert compare(_group(alone=0.0), "nDCG@10")["best"].tolist() == [True]
    for arguments, complaint in [
        (({}, "nDCG@10"), "no evaluations"),
        ((_group(a=0.0), "nDCG@10", "b"), "unknown system to compare with 'b'"),
        ((_group(a=0.0), "AP"), "measure of this evaluation 'AP'"),
    ]:
        with pytest.raises(InputError, match=complaint):
            compare(*arguments)
    group = _group(a=0.0, b=0.0)
    group["b"] = Evaluation(group["b"].per_query.iloc[1:])
    with pytest.raises(InputError, match="54 queries of 'a' and 53 of 'b', 1 have no partner, the first is 'q00'"):
        compare(group, "nDCG@10")


def test_pairs_are_corrected_over_pairs_and_measures():
    group = _group(a=0.0, b=0.01, c=-0.2)
    for each in group.values():
        each.per_query["AP"] = each.per_query["nDCG@10"] ** 2
    table = compare_pairs(group, [("b", "a"), ("c", "a")], margin=0.05, alpha=0.1)
    assert table[["measure", "system", "baseline"]].to_numpy().tolist() == [
        ["nDCG@10", "b", "a"],
        ["nDCG@10", "c", "a"],
        ["AP", "b", "a"],
        ["AP", "c", "a"],
    ]
    for row in table.to_dict("records"):
        alone = equivalence(group[row["system"]].scores(row["measure"]), group["a"].scores(row["measure"]), 0.05, 0.1)
        assert [row[name] for name in ("difference", "low", "high", "p")] == [alone.difference, alone.low, alone.high, alone.p]
        assert row["corrected p"] == pytest.approx(min(1, 4 * alone.p)) and row["equivalent"] == (row["corrected p"] < 0.1)
    assert table["equivalent"].tolist() == [True, False, True, False]
    assert compare_pairs(group, []).empty and compare_pairs({}, []).empty


SCORES = st.lists(st.tuples(*[st.floats(0, 1, width=32) | st.sampled_from([0.0, 0.5, 1.0])] * 2), min_size=1, max_size=12)


@tried_on("equivalence", SCORES, st.floats(1e-3, 0.5), st.floats(1e-3, 0.499))
def test_statistics_are_scipys(folder, pairs, margin, alpha):
    first, second = np.array(pairs, float).T
    found = equivalence(first, second, margin, alpha)
    differences = first - second
    assert found.difference == pytest.approx(differences.mean(), abs=1e-12) and found.queries == len(pairs)
    assert found.low <= found.difference + 1e-12 and found.difference <= found.high + 1e-12 and 0 <= found.p <= 1
    if np.ptp(differences) > 1e-6:
        above = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
        below = stats.ttest_1samp(differences, margin, alternative="less").pvalue
        assert found.p == pytest.approx(max(above, below), rel=1e-6, abs=1e-12)
        interval = stats.ttest_1samp(differences, 0).confidence_interval(1 - 2 * alpha)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-9)
    back = equivalence(second, first, margin, alpha)
    assert (back.p, back.low, back.high) == pytest.approx((found.p, -found.high, -found.low), rel=1e-6, abs=1e-9)


def test_ours_is_compared_with_any_run_file(tmp_path, shared_data, qrels):
    published = shared_data / "runs" / "dl20.ance.run.gz"
    ours = read_run(published)
    write_run(tmp_path / "same.run", ours, "ours")
    lexical = shared_data / "runs" / "dl20.bm25.terrier.run.gz"
    runs = {"ance": published, "written": tmp_path / "same.run", "in memory": ours, "bm25": lexical}
    table = compare_runs(runs, qrels["dl20"], "nDCG@10", reference="ance")
    assert table["equivalent"].to_dict() == {"ance": False, "written": True, "in memory": True, "bm25": False}
    assert table.loc["bm25", "mean"] == pytest.approx(0.4936, abs=5e-5)
    (tmp_path / "bad.run").write_text("q Q0\n")
    with pytest.raises(InputError, match=r"run 'bad': .*bad\.run:1"):
        compare_runs({"bad": tmp_path / "bad.run"}, qrels["dl20"], "nDCG@10")
