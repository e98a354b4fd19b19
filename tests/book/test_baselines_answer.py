"""The sentences of the chapter on baselines say what the rows say, whichever way it comes out; results are made up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from armbook.baselines import BEFORE, FROM_RUN, MEASURED, Baseline, trained
from armbook.baselines_answer import (
    PAIRS,
    against_bm25,
    against_no_training,
    answer,
    beside,
    comparisons,
    does_training_pay,
    does_tuning_pay,
    headline,
    infonce,
    short,
    taught,
    what_self_distillation_lacks,
)
from armbook.baselines_gains import gains
from armbook.baselines_table import table4
from armbook.miniature import HERE, NAME
from armbook.table4_sources import Source, in_miniature, sources
from armbook.tuned_losses import NONE, TEACHER, Tuning
from armlib.errors import InputError
from armlib.experiments.profile import load_profile
from fabricated import TUNED_PROFILE, evaluation, tuned_systems

FIRST, SECOND = "docstrings/test", "msmarco-mini/dev"
NOISE = np.linspace(-0.001, 0.001, 40)


@pytest.fixture(scope="module")
def plain() -> Source:
    """Every system at .5 nDCG@10 and .7 recall, on one collection."""
    tuning = Tuning(TUNED_PROFILE, tuned_systems())
    rows = [*trained(tuning), Baseline(NONE, "BM25", "–", "–", MEASURED, {}, None)]
    empty = Source(tuning, [replace(row, evaluations={}) for row in rows], [])
    return with_scores(empty, {row.loss: (0.5, 0.7) for row in rows})


def with_scores(source: Source, scores: dict[str, tuple[float, float]], collection: str = FIRST, noise=NOISE) -> Source:
    """The source with so much nDCG@10 and recall for some rows on a collection, whether it has been there or not."""
    rows = []
    for row in source.rows:
        if row.loss in scores:
            means = dict(zip(("nDCG@10", "R@1000"), scores[row.loss], strict=True))
            # Noise that differs between rows, so that differences vary from query to query.
            found = [evaluation(means, noise * (1 if row.loss == "InfoNCE" else 2))]
            row = replace(row, evaluations={**row.evaluations, collection: found})
        rows.append(row)
    return Source(source.tuning, rows, list(dict.fromkeys([*source.collections, collection])))


@pytest.mark.parametrize(
    ("ndcg", "told"),
    [
        (0.60, "leads *adaptive*, the best self-distilled loss (+0.100)"),
        (0.40, "trails *adaptive*, the best self-distilled loss (-0.100)"),
    ],
)
def test_the_best_student_leads_or_trails(plain: Source, ndcg: float, told: str) -> None:
    students = ("MarginMSE", "MarginMSE, TAS-B", "list-wise KL", "PairDistill", "PairDistill, second round")
    source = with_scores(plain, {name: (ndcg - 0.001 * number, 0.7) for number, name in enumerate(students)})
    assert taught(source) == f"In nDCG@10, *MarginMSE*, the best student of a teacher, {told}."


def test_verdicts_are_those_of_the_test_on_each_collection(plain: Source) -> None:
    source = with_scores(plain, {"InfoNCE": (0.52, 0.7)})
    wide = np.random.default_rng(0).normal(0, 0.3, 40)
    source = with_scores(source, {row.loss: (0.5, 0.7) for row in source.rows}, SECOND, wide - wide.mean())
    told = beside(source, source.row("InfoNCE"), source.row("adaptive"), "the best")
    assert told == "leads *adaptive*, the best, on docstrings/test (+0.020) and cannot be told apart from it on dev (+0.000)"
    same = beside(plain, plain.row("MarginMSE"), plain.row("adaptive"), "the best")
    assert same == "is equivalent to *adaptive*, the best (+0.000)"


def test_infonce_stands_beside_the_best_margin_loss(plain: Source) -> None:
    source = with_scores(plain, {"InfoNCE": (0.6, 0.7), "static, tuned": (0.55, 0.7), "static, tuned, balanced": (0.9, 0.9)})
    assert infonce(source) == "In nDCG@10, InfoNCE leads *static, tuned*, the best of 6 margin losses (+0.050)."


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (
            (0.6, 0.8),
            "Plain adaptive targets are worse than no training: they lower nDCG@10 (0.600 → 0.500) and R@1000 (0.800 → 0.700).",
        ),
        (
            (0.4, 0.6),
            "Plain adaptive targets are better than no training: they raise nDCG@10 (0.400 → 0.500) and R@1000 (0.600 → 0.700).",
        ),
        ((0.4, 0.8), "lower R@1000 (0.800 → 0.700), and raise their other scores."),
    ],
)
def test_adaptive_targets_are_held_against_no_training(plain: Source, before: tuple[float, float], told: str) -> None:
    text = against_no_training(with_scores(plain, {BEFORE: before}))
    assert text.lower().startswith(("plain adaptive targets are", "against no training, plain adaptive targets lower"))
    assert text.endswith(told)


@pytest.mark.parametrize(
    ("lexical", "told"),
    [
        (0.9, "BM25 beats all 16 trained encoders (0.900; best encoder 0.600)."),
        (0.1, "BM25 beats none of the 16 trained encoders (0.100; best encoder 0.600)."),
        (0.55, "BM25 beats 15 of the 16 trained encoders (0.550; best encoder 0.600)."),
    ],
)
def test_encoders_that_bm25_beats_are_counted(plain: Source, lexical: float, told: str) -> None:
    source = with_scores(plain, {"BM25": (lexical, 0.7), "InfoNCE": (0.6, 0.7)})
    assert len(source.trained) == 16 and against_bm25(source) == told


def test_tuning_pays_everywhere_somewhere_or_nowhere(plain: Source) -> None:
    def told(ndcg: float, recall: float) -> str:
        return does_tuning_pay({HERE: with_scores(plain, {"static, tuned": (ndcg, recall)})}).splitlines()[1]

    assert told(0.6, 0.9) == (
        "- **This copy.** Yes. Over target 1, and without in-batch negatives, tuning adds 0.100 nDCG@10 and 0.200 R@1000; "
        "it adds more recall than nDCG@10 here."
    )
    assert "**This copy.** Not everywhere. " in told(0.6, 0.6) and told(0.6, 0.6).endswith("than nDCG@10 nowhere.")
    assert "**This copy.** No. " in told(0.4, 0.6)


def test_tuning_pays_as_published(plain: Source) -> None:
    printed, _ = does_tuning_pay({HERE: plain}).splitlines()
    assert printed.startswith("- **Published.** Yes. ") and "adds 0.03 to 0.05 nDCG@10 and 0.06 to 0.08 R@1000" in printed
    assert printed.endswith("on 2 of 2 collections.")


def test_rows_below_the_untrained_encoder_are_named(plain: Source) -> None:
    source = with_scores(plain, {BEFORE: (0.4, 0.65), "adaptive": (0.5, 0.6), "static(1.0)": (0.5, 0.6)})
    assert does_training_pay({HERE: source}) == (
        "- **This copy.** In nDCG@10, all 16 trained rows are above the untrained encoder. In R@1000, adaptive is below the "
        "untrained encoder on docstrings/test; static(1.0) on docstrings/test; the other 14 rows are above it."
    )


def test_a_run_file_of_one_collection_is_no_trained_row(plain: Source) -> None:
    source = with_scores(plain, {row.loss: (0.5, 0.7) for row in plain.rows}, SECOND)
    foreign = replace(plain.row("BM25"), loss="foreign", group=TEACHER, origin=FROM_RUN, triples=5)
    beside_it = Source(source.tuning, [*source.rows, foreign], source.collections)
    assert does_training_pay({HERE: beside_it}) == does_training_pay({HERE: source})
    assert taught(beside_it) == taught(source) and "foreign" not in gains({HERE: beside_it})["gain", "of"].tolist()
    assert "foreign (run file)" in table4(beside_it)["system", "loss"].tolist()


def test_what_self_distillation_lacks_is_the_distance_to_the_best(plain: Source) -> None:
    source = with_scores(plain, {"distributed": (0.55, 0.9), "BM25": (0.7, 0.8)})
    printed, told = what_self_distillation_lacks({HERE: source}).splitlines()
    assert told == "- **This copy.** In nDCG@10, 0.150 on docstrings/test (to BM25); in R@1000, nothing on docstrings/test."
    assert printed.startswith("- **Published.** In nDCG@10, 0.07 on TREC-DL 2019 (to MarginMSE, TAS-B, in-batch, Hofstätter) and")


def test_the_front_page_has_one_sentence(plain: Source) -> None:
    source = with_scores(plain, {"PairDistill": (0.6, 0.7), "BM25": (0.7, 0.7)})
    assert headline({NAME: source, HERE: plain}) == (
        "On docstrings/test (MS MARCO in miniature), the best student of a teacher leads the best self-distilled loss "
        "(+0.100 nDCG@10), and BM25 beats all 16 trained encoders (0.700; best encoder 0.600)."
    )


def test_questions_beyond_the_paper_have_a_row_for_each_collection(plain: Source) -> None:
    source = with_scores(plain, {"InfoNCE, soft labels": (0.52, 0.7), "PairDistill": (0.3, 0.7)})
    table = comparisons({NAME: source, HERE: source})
    assert len(table) == 2 * len(PAIRS) and table.source.tolist() == [NAME] * len(PAIRS) + [HERE] * len(PAIRS)
    assert table.verdict.tolist()[:4] == ["equivalent", "ahead, within 0.05", "equivalent", "behind"]
    assert table.difference.tolist()[3] == "-0.200"


def test_each_source_has_a_paragraph(plain: Source) -> None:
    first, second = answer({NAME: plain, HERE: plain}).split("\n\n")
    assert first.startswith("**MS MARCO in miniature.** In nDCG@10, ") and second.startswith("**This copy.** ")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("msmarco-mini/trec-dl-2019", "TREC-DL 2019"),
        ("msmarco-passage/trec-dl-2020/judged", "TREC-DL 2020"),
        ("msmarco-mini/dev", "dev"),
        ("published: TREC-DL 2019", "TREC-DL 2019"),
        ("beir/scifact/test", "beir/scifact/test"),
    ],
)
def test_collections_have_short_names(name: str, told: str) -> None:
    assert short(name) == told


def test_a_row_that_there_is_not_is_named(plain: Source) -> None:
    with pytest.raises(InputError, match="row of Table 4.*InfoNCE"):
        plain.row("InfoNC")


def test_what_is_shipped_stands_beside_this_copy(plain: Source) -> None:
    assert sources(plain, load_profile("small")) == {HERE: plain}
    there = in_miniature()
    assert there is not None and there.largest == "msmarco-mini/dev" and {"BM25", "InfoNCE"} <= {row.loss for row in there.rows}
    assert answer({NAME: there}).startswith("**MS MARCO in miniature.** In nDCG@10, ")
