"""Real triples on the circle: those that Table 2 would show, where their cosines put them."""

from __future__ import annotations

import numpy as np
import pytest

from armbook.batch_example import before_training, instance, see_batch
from armbook.explorer.circle import ROLES
from armbook.explorer.passages import placed, real_triples


def test_cosines_of_a_circle_are_met():
    numbers = np.random.default_rng(1)
    queries, positives, negatives = numbers.uniform(0, 2 * np.pi, (3, 3))
    own = np.column_stack([np.cos(queries - positives), np.cos(queries - negatives)])
    between = np.cos(positives[:, None] - negatives)
    radians, error = placed(own, between)
    assert error < 1e-6 and radians[0, 0] == pytest.approx(np.pi / 2)
    np.testing.assert_allclose(np.cos(radians[1][:, None] - radians[2]), between, atol=1e-6)


def test_the_first_query_has_the_negatives_of_table_2(small_experiment):
    example = before_training(small_experiment)
    found, table = real_triples(example, 3), instance(example, 3)
    assert found.texts["queries"][0] == " ".join(table.text[0].split())[: len(found.texts["queries"][0])]
    first_texts = {text[:10] for text in found.texts["negatives"]}
    assert {text[:10] for text in table.text[2:]} <= first_texts and 3 <= len(found.texts["queries"]) <= 4
    np.testing.assert_allclose(found.own[0], [example.positive_relevance[3], example.relevance[3, 3]])
    assert found.between[0, 0] == pytest.approx(2 * example.targets[3, 3] - 1)
    queries, positives, negatives = (np.radians(found.angles[role]) for role in ROLES)
    left = [
        np.cos([queries - positives, queries - negatives]).T - found.own,
        np.cos(positives[:, None] - negatives) - found.between,
    ]
    assert np.sqrt(np.mean(np.concatenate([each.ravel() for each in left]) ** 2)) == pytest.approx(found.error, abs=1e-3)
    lesson = found.lesson()
    assert lesson.texts == found.texts and f"within {found.spread:.0f}°" in lesson.see and f"{found.error:.2f}" in lesson.see
    assert 0 < found.spread <= 360


def test_a_batch_before_training_needs_no_result(small_store, small_experiment):
    result = small_store.result(small_experiment)
    np.testing.assert_array_equal(before_training(result.experiment).targets, see_batch(result, trained=False).targets)
