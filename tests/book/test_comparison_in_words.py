"""Sentences on the comparison of variants say what the scores are, in every case that there is; the scores here are made up."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import pandas as pd
import pytest

from armbook.comparison import published_costs, published_scores, training_costs
from armbook.comparison_in_words import (
    answer,
    elsewhere,
    hits_in_words,
    marks_out_of_order,
    meaning,
    measured_by,
    statements,
    text_against_table,
    tuning,
)
from armbook.miniature import HERE, NAME
from armbook.results import VARIANTS
from armbook.side_by_side import PUBLISHED
from fabricated import five_variants

RECALL, HITS = "R(rel=2)@1000", "Success(rel=2)@100"
# Scores and marks in the order of VARIANTS.
STATIC_LEADS = ((0.60, "best"), (0.50, ""), (0.40, ""), (0.45, ""), (0.58, "†"))
IN_BATCH_LEADS = ((0.58, ""), (0.60, "best"), (0.40, ""), (0.45, ""), (0.54, ""))
ADAPTIVE_LEADS = ((0.58, "†"), (0.57, "†"), (0.50, ""), (0.60, "best"), (0.58, ""))
DISTRIBUTED_LEADS = ((0.58, "†"), (0.50, ""), (0.57, "†"), (0.58, "†"), (0.60, "best"))
TIED = tuple((0.853, "=") for _ in VARIANTS)
GOOD = "scores of targets without a search are the best of their encoder or equivalent to it."


def scores(groups: Mapping[tuple[str, str], tuple[tuple[float, str], ...]], encoders: tuple[str, ...] = ("a", "b")) -> pd.DataFrame:
    """Scores of encoders as `armbook.comparison.variant_scores` gives them, by (collection, measure), equal for all encoders."""
    rows = []
    for encoder, ((collection, measure), group) in product(encoders, groups.items()):
        for (target, in_batch), (mean, mark) in zip(VARIANTS, group, strict=True):
            row = {"encoder": encoder, "target": target, "in_batch": in_batch, "collection": collection}
            rows.append(row | {"measure": measure, "mean": mean, "mark": mark})
    return pd.DataFrame(rows).assign(spread=0.01, seeds=2)


def sources(ndcg=STATIC_LEADS, recall=ADAPTIVE_LEADS, source: str = HERE, **options) -> dict[str, pd.DataFrame]:
    made = scores({("docs", "nDCG@10"): ndcg, ("docs", RECALL): recall}, **options)
    return {PUBLISHED: published_scores(), source: made}


COSTS = {PUBLISHED: published_costs(), HERE: training_costs(five_variants()), NAME: training_costs(five_variants())}


def test_one_variant_that_leads_everywhere_is_named() -> None:
    text = answer(sources(IN_BATCH_LEADS, IN_BATCH_LEADS), COSTS)
    assert text.startswith(
        "**In this copy**, static targets with in-batch negatives have the highest nDCG@10 and the highest R@1000 with both "
        "encoders on docs."
    )
    assert "Distributed targets are never shown equivalent to the best (on average 0.060 nDCG@10 below it)." in text
    assert "Adaptive targets, with or without in-batch negatives, are never shown equivalent to the best (on average 0.175" in text
    assert text.endswith("In the paper, the highest nDCG@10 belongs to static targets in all 6 cases.")
    one = answer(sources(IN_BATCH_LEADS, IN_BATCH_LEADS, encoders=("a",)), COSTS)
    assert "with a on docs" in one


def test_leaders_that_differ_are_counted() -> None:
    text = answer(sources(source=NAME), COSTS)
    assert text.startswith("**In miniature**, the highest nDCG@10 on docs belongs to static targets in both cases;")
    assert "the highest R@1000 belongs to adaptive targets with in-batch negatives in both cases." in text
    assert "Distributed targets are the best or equivalent to it in both cases by nDCG@10 and in no case by R@1000" in text
    assert "(on average 0.020 nDCG@10 below it)" in text
    assert (
        "Adaptive targets with in-batch negatives are the best or equivalent to it in no case by nDCG@10 and in both cases" in text
    )
    assert "Adaptive targets are never shown equivalent to the best (on average 0.200 nDCG@10 below it)." in text
    mixed = sources()
    other = scores({("docs", "nDCG@10"): DISTRIBUTED_LEADS}, encoders=("c",))
    mixed[HERE] = pd.concat([mixed[HERE], other, scores({("docs", RECALL): TIED}, encoders=("c",))], ignore_index=True)
    text = answer(mixed, COSTS)
    assert "nDCG@10 on docs belongs to static targets in 2 of 3 cases and to distributed targets in 1 of 3 cases" in text
    assert "R@1000 belongs to adaptive targets with in-batch negatives in 2 of 3 cases (a tie in 1 of 3 cases)" in text


def test_a_leader_of_its_own_is_at_the_best_and_a_tie_belongs_to_nobody() -> None:
    text = answer(sources(DISTRIBUTED_LEADS, TIED, encoders=("a",)), COSTS)
    assert "nDCG@10 on docs belongs to distributed targets in the one case; the highest R@1000 belongs to no variant alone." in text
    assert "equivalent to it in the one case by nDCG@10 and in the one case by R@1000." in text


def test_the_cost_of_the_search_stands_beside_the_published_one() -> None:
    text = answer(sources(), COSTS)
    assert "static targets see 2 times as many triples as distributed ones (published: 3.8 to 6.2 times as long to train)" in text
    assert measured_by(COSTS) == "published in training time, this copy and MS MARCO in miniature in triples"
    early = COSTS[HERE].assign(triples=COSTS[HERE].index)
    text = answer(sources(), COSTS | {HERE: early})
    assert "static targets take 2.6 times as long to train as distributed ones (published: 3.8 to 6.2)" in text


def test_statements_are_counted_in_every_source() -> None:
    table = statements(sources(), COSTS).set_index("section 5.4")
    assert table[PUBLISHED].tolist()[:5] == ["6 of 6", "5 of 6", "3 of 6", "4 of 6", "0 of 6"]
    assert table[HERE].tolist()[:5] == ["2 of 2", "2 of 2", "0 of 2", "2 of 2", "0 of 2"]
    assert table.loc["cost, static / distributed"].tolist() == ["3.8 to 6.2×", "2×"]
    raised = statements(sources(IN_BATCH_LEADS), COSTS).set_index("section 5.4")
    assert raised.loc["in-batch negatives raise the nDCG@10 of static targets", HERE] == "2 of 2"


@pytest.mark.parametrize(
    ("ndcg", "said"),
    [
        (DISTRIBUTED_LEADS, f"all 3 {GOOD}"),
        (STATIC_LEADS, f"1 of 3 {GOOD.replace('are', 'is')} The others lie more than"),
        (((0.60, "best"), (0.50, ""), (0.57, ""), (0.58, ""), (0.58, "")), f"none of 3 {GOOD} All lie within 0.05"),
        (IN_BATCH_LEADS, f"none of 3 {GOOD} All lie more"),
        (ADAPTIVE_LEADS, "Of the others, 1 lies within 0.05 of the best, where the queries are too few to show equivalence, and 1"),
    ],
)
def test_what_it_means_is_told_in_every_case(ndcg: tuple, said: str) -> None:
    made = {PUBLISHED: published_scores(), HERE: scores({("docs", "nDCG@10"): ndcg}, encoders=("a",))}
    text = meaning(made)
    assert said in text and text.startswith("In this copy, ") and "published" not in text


def test_what_the_papers_text_counts_otherwise_is_told() -> None:
    text = text_against_table({PUBLISHED: published_scores()}, COSTS)
    assert text == (
        "The paper's text says that adaptive targets with in-batch negatives have the highest R@1000 in all cases but one (its "
        "table: in 4 of 6), and that static targets take 7 to 15 times as long as adaptive ones (its times: 4.3 to 12.7)."
    )
    agrees = published_scores()
    where = (agrees.encoder == "RoBERTa") & (agrees.collection == "TREC-DL 2020") & (agrees.measure == RECALL)
    agrees.loc[where, "mark"] = ["", "", "", "best", ""]
    assert "R@1000" not in text_against_table({PUBLISHED: agrees}, COSTS)
    seconds = published_costs()
    seconds["seconds_with_sweep"] = [70.0 if target == "static" else 10.0 for target in seconds.target]
    longer = (seconds.encoder == "MPNet") & (seconds.target == "static")
    seconds.loc[longer, "seconds_with_sweep"] = 150.0
    assert text_against_table({PUBLISHED: agrees}, {PUBLISHED: seconds}) == ""


def test_a_mark_that_is_missing_beside_a_higher_score_is_told() -> None:
    text = marks_out_of_order()
    assert text.startswith(
        "In the printed table, R@1000 of adaptive with RoBERTa on TREC-DL 2019 is 0.771 without a dagger, where 0.766 has one."
    )
    assert text.count("without a dagger") == 1


def test_hits_that_tell_nothing_apart_are_told() -> None:
    text = hits_in_words({HERE: scores({("docs", "nDCG@10"): STATIC_LEADS, ("docs", HITS): TIED})})
    assert text == "In this copy, Hits@100 is 0.853 on docs for every encoder and variant: the first stage alone decides it."
    other = hits_in_words({NAME: scores({("docs", HITS): STATIC_LEADS})})
    assert other == "In miniature, Hits@100 on docs goes from 0.400 to 0.600."


def test_collections_beside_those_of_trec_are_told() -> None:
    mini = five_variants(("mine",), collections=("mini/trec-dl-2019", "mini/dev"))
    text = elsewhere({NAME: mini, HERE: five_variants()})
    assert text.startswith("In miniature, the highest nDCG@10 on mini/dev belongs to") and text.count("In m") == 1
    assert "docstrings" not in text and "trec" not in text


def test_tuning_is_told_for_every_source() -> None:
    first, second = tuning({NAME: five_variants(("mine",)), HERE: five_variants()}).split("\n\n")
    assert first.startswith("In miniature, static targets are tuned by nDCG@10 on held out;") and second.startswith(
        "In this copy, "
    )
    assert first.endswith("The best targets are mine 0.1 (in-batch 0.3).")
