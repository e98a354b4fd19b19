"""Table 2 from a real batch: numbers of armlib's losses, the highest, middle and lowest target, texts shown as they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from armbook import batch_example, tables
from armbook.batch_example import (
    TRAINED,
    UNTRAINED,
    agreement,
    beside_published,
    describe,
    examples,
    for_page,
    implied,
    implied_in_words,
    instance,
    passage_texts,
    printed_losses,
    relevance_in_words,
    see_batch,
    typical_query,
)
from armbook.claims.measured import judge_measured
from armlib.errors import InputError
from armlib.experiments.profile import Profile
from armlib.experiments.training_data import TrainingData
from armlib.losses import MarginLoss
from armlib.names import load_collection
from armlib.retrieval.encoding import encode_texts


@pytest.fixture(scope="module")
def result(small_store, small_experiment):
    return small_store.result(small_experiment)


@pytest.fixture(scope="module")
def seen(result):
    return see_batch(result)


def test_a_batch_holds_what_the_losses_compute_from_its_texts(seen, result) -> None:
    experiment, collection = result.experiment, load_collection(result.experiment.collection)
    queries, encoder = collection.queries(), result.encoder()
    texts = [[queries[query] for query in seen.ids[:, 0]]]
    texts += [[passage_texts(collection, [one])[one] for one in column] for column in seen.ids.T[1:]]
    lengths = (experiment.query_length, experiment.passage_length, experiment.passage_length)
    embeddings = [torch.from_numpy(encode_texts(encoder, *each)) for each in zip(texts, lengths, strict=True)]
    margins, targets = MarginLoss("distributed").terms(*embeddings)
    in_batch, _ = MarginLoss("adaptive", in_batch=True).terms(*embeddings)
    assert seen.key == result.key and seen.losses.shape == (16, 16)
    np.testing.assert_allclose(seen.targets, targets, atol=1e-5)
    np.testing.assert_allclose(seen.margins, margins[:, 0], atol=1e-5)
    np.testing.assert_allclose(seen.losses, (margins - targets).square(), atol=1e-5)
    np.testing.assert_allclose(seen.in_batch_losses, (in_batch - targets).square(), atol=1e-5)
    assert seen.losses.mean() == pytest.approx(float(MarginLoss("distributed")(*embeddings)), abs=1e-5)


def test_the_triples_are_training_triples_in_the_order_of_the_seed(seen, result) -> None:
    collection = load_collection(result.experiment.collection)
    left_out = TrainingData(result.experiment).validation.queries()
    training = {triple for triple in collection.triples() if triple[0] not in left_out}
    drawn = set(map(tuple, seen.ids.tolist()))
    assert drawn <= training and len(drawn) == 16
    assert np.array_equal(see_batch(result).ids, seen.ids) and not np.array_equal(see_batch(result, 1).ids, seen.ids)


def test_the_untrained_encoder_sees_the_same_batch_otherwise(seen, result) -> None:
    before = see_batch(result, trained=False)
    assert np.array_equal(before.ids, seen.ids) and before.weights == UNTRAINED != seen.weights
    assert before.targets[0, 0] != seen.targets[0, 0]
    # The training's own first batch, as its trace has it from before the first update.
    first = see_batch(result, result.experiment.seed, trained=False)
    row = result.trace.iloc[0]
    assert first.losses.mean() == pytest.approx(row.loss, abs=2e-2)  # up to dropout
    assert first.targets.mean() == pytest.approx(row.target_mean, abs=2e-2)


def test_one_batch_for_each_encoder(result, seen) -> None:
    (only,) = examples([result, result])
    np.testing.assert_array_equal(only.losses, seen.losses)


def test_the_instance_has_the_highest_the_middle_and_the_lowest_target(seen) -> None:
    for query in (None, 3):
        i = typical_query(seen) if query is None else query
        table = instance(seen, query).set_index("role")
        assert list(table.index) == ["q", "d+", "d-max", "d-mid", "d-min"]
        targets = seen.targets[i]
        assert table.target["d-max"] == targets.max() and table.target["d-min"] == targets.min()
        away = np.abs(targets - targets.mean())
        assert abs(table.target["d-mid"] - targets.mean()) == pytest.approx(away.min())
        margin = table.relevance["d+"] - seen.relevance[i, i]
        for _, row in table.iloc[2:].iterrows():
            assert row.instance_loss == pytest.approx((margin - row.target) ** 2)
            assert row.in_batch_error == pytest.approx((table.relevance["d+"] - row.relevance - row.target) ** 2)
        assert table.own.dropna().tolist() == [targets[i] == table.target[role] for role in ("d-max", "d-mid", "d-min")]
        assert f"Query {i} of 16: the margin is {margin:.2f}" in describe(seen, i)
    ranges = np.ptp(seen.targets, axis=1)
    assert ranges[typical_query(seen)] == np.sort(ranges)[7]
    with pytest.raises(InputError, match="has queries 0 to 15, not 16"):
        instance(seen, 16)


def test_the_published_instance_stands_beside_the_measured_one(seen) -> None:
    table = beside_published(seen)
    assert table.source.tolist() == ["published, distilBERT"] * 5 + [f"this copy, {seen.encoder}"] * 5
    assert table.instance_loss[2:5].tolist() == [0.06, 0.05, 0.04] and table.own[:5].isna().all()
    np.testing.assert_allclose(table.in_batch_error[2:5].astype(float), [0.0576, 0.0484, 0.0441])
    assert table.text.str.len().max() <= batch_example.WIDTH and not table.text.str.contains("\n").any()


def test_no_single_margin_has_the_printed_losses() -> None:
    printed = printed_losses().set_index("role")
    np.testing.assert_allclose((printed.margin_low - printed.target) ** 2, printed.instance_loss)
    np.testing.assert_allclose((printed.margin_high - printed.target) ** 2, printed.instance_loss)
    assert printed.in_batch_margin.round(2).tolist() == [0.45, 0.73, 0.67]
    np.testing.assert_allclose(printed.in_batch_error, printed.instance_loss, atol=0.005)


def test_agreement_averages_over_queries_as_the_judge_of_claims_does(seen, small_experiment) -> None:
    (row,) = agreement([seen]).to_dict("records")
    for name, values in (("relevance", seen.relevance), ("loss", seen.losses), ("in_batch_error", seen.in_batch_losses)):
        expected = np.mean([spearmanr(seen.targets[i], values[i]).statistic for i in range(16)])
        assert row[name] == pytest.approx(expected)
    profile = Profile("made up", small_experiment, (seen.encoder,), (0.5,), (16,), (0,), (0,), 1, "For tests.")
    for claim, name in (("relevance-follows-target", "relevance"), ("loss-follows-target", "loss")):
        (case,) = judge_measured(claim, [], profile, [seen]).cases
        assert f"{seen.encoder}: {row[name]:.2f} (" in case and "16 queries)" in case


def test_a_loss_rises_with_the_target_where_the_margin_is_below_all(seen) -> None:
    for margin, rises, share in ((-1.0, True, "margin_below"), (2.0, False, "margin_above")):
        moved = replace(seen, losses=(margin - seen.targets) ** 2, positive_relevance=margin + seen.relevance.diagonal())
        (row,) = agreement([moved]).to_dict("records")
        assert moved.loss_rises.tolist() == [rises] * 16 and row["loss_rises"] == float(rises) and row[share] == 1
        assert row["loss"] == pytest.approx(1 if rises else -1, abs=0.01)


def test_markup_in_a_text_is_shown_and_not_obeyed(seen, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("ARMLIB_FIGURES", str(tmp_path))
    hostile = "<script>alert(1)</script> **bold** $x^2$ & <b>bold</b>\nnext line is best"
    monkeypatch.setattr(batch_example, "passage_texts", lambda _, ids: dict.fromkeys(ids, hostile))
    page = tables.show(for_page(beside_published(seen)), "instance", "Made up.", digits=2).data
    page = page.replace("<wbr>", "")  # where a long word may be broken
    assert "<script>" not in page and "<b>" not in page and page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 4
    assert "&amp; &lt;b&gt;bold&lt;/b&gt; next line is best”" in page and "[...]" in page
    assert "mathjax_ignore" in page and "<th>in-batch error</th>" in page
    assert "nan" not in page.lower() and "<NA>" not in page and "<td>no</td>" in page


def test_what_cannot_be_shown_is_refused(small_store, small_experiment) -> None:
    collection = load_collection(small_experiment.collection)
    with pytest.raises(InputError, match="has no passage 'nowhere'"):
        passage_texts(collection, ["nowhere"])
    tiny = small_store.result(replace(small_experiment, batch_size=2, steps=1, evaluation=("none",), validate_every=1))
    with pytest.raises(InputError, match="batch of at least 3 triples, not 2"):
        see_batch(tiny)


def test_relevance_is_told_before_and_after_training() -> None:
    def words(before: tuple[float, float], after: tuple[float, float]) -> str:
        rows = [
            {"encoder": encoder, "weights": weights, "relevance": value, "loss_rises": 0.5 + value / 10}
            for weights, values in ((UNTRAINED, before), (TRAINED, after))
            for encoder, value in zip(("a", "b"), values, strict=True)
        ]
        return relevance_in_words(pd.DataFrame(rows))

    assert words((0.5, 0.5), (0.7, 0.9)) == (
        "Relevance follows the targets before any training (Spearman's correlation 0.50) and more closely after it (0.70 to 0.90). "
        "After training the loss rises with the target throughout, as implicit mining needs it, for 57% to 59% of the queries."
    )
    assert "and less closely after" in words((0.5, 0.6), (0.3, 0.4)) and "and about as closely after" in words(
        (0.5, 0.5), (0.52, 0.9)
    )


def test_a_query_near_its_positive_has_relevance_that_follows_the_targets() -> None:
    rng = np.random.default_rng(1)
    positive, other, *negatives = rng.standard_normal((20_002, 200))
    other -= other @ positive / (positive @ positive) * positive
    positive, other = positive / np.linalg.norm(positive), other / np.linalg.norm(other)
    for cosine in (0.0, 0.3, 0.8, 1.0):
        query = cosine * positive + np.sqrt(1 - cosine**2) * other
        unit = np.stack(negatives) / np.linalg.norm(negatives, axis=1, keepdims=True)
        assert spearmanr(unit @ query, unit @ positive).statistic == pytest.approx(implied(cosine), abs=0.03)
    assert implied(np.array([1.0, -1.0])) == pytest.approx([1, -1])


def test_what_geometry_implies_is_told_with_what_the_batch_gives(seen) -> None:
    text = implied_in_words([seen])
    assert f"positive is {seen.positive_relevance.mean():.2f} on average" in text
    assert f"correlation of {implied(seen.positive_relevance).mean():.2f}; the negatives of this batch give " in text
    assert text.endswith(f"{agreement([seen]).relevance[0]:.2f}.")
