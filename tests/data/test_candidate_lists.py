"""Lists of a student's candidates in a teacher's order, and the pairs of them that are asked about."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from armlib.data.candidate_lists import StudentLists, candidate_lists, parse_lists, window_pairs
from armlib.errors import InputError


@pytest.fixture
def scored() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Queries, their candidates and the teacher's scores."""
    draw = np.random.default_rng(0)
    candidates = np.stack([draw.permutation(500)[:20] for _ in range(300)])
    return np.arange(100, 400), candidates, draw.normal(size=(300, 20)).astype(np.float32)


def test_pairs_are_at_most_a_window_apart() -> None:
    assert window_pairs(4, 2).tolist() == [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]
    assert len(window_pairs(20, 5)) == 85 and len(window_pairs(20, 19)) == len(window_pairs(20, 99)) == 190


def test_asking_for_more_pairs_than_there_are_says_so(scored) -> None:
    with pytest.warns(UserWarning, match="^a window of 5 over 20 candidates gives 85 pairs, so 85 are drawn in place of 100$"):
        found = candidate_lists(StudentLists(passages=20), *scored)
    assert (found.asked.sum(axis=(1, 2)) == 85).all()
    np.testing.assert_array_equal(np.argwhere(found.asked[7]), window_pairs(20, 5))


def test_lists_are_candidates_in_the_teachers_order_with_the_pairs_inside_them(scored) -> None:
    queries, candidates, scores = scored
    found = candidate_lists(StudentLists(passages=8, pairs=30), *scored)
    assert found.rows.shape == (300, 9) and found.rows.dtype == np.int32 and found.asked.shape == (300, 8, 8)
    np.testing.assert_array_equal(found.rows[:, 0], queries)
    assert (np.diff(found.scores, axis=1) <= 0).all()
    for number in range(300):
        own = dict(zip(candidates[number].tolist(), scores[number].tolist(), strict=True))
        assert [own[row] for row in found.rows[number, 1:].tolist()] == found.scores[number].tolist()
        ranks = np.argsort(np.argsort(-scores[number]))
        places = [ranks[candidates[number].tolist().index(row)] for row in found.rows[number, 1:]]
        for first, second in np.argwhere(found.asked[number]):
            assert 0 < places[second] - places[first] <= 5
    # 8 of 20 candidates: a pair is inside with probability (8 x 7) / (20 x 19).
    assert found.asked.sum() / 300 == pytest.approx(30 * 56 / 380, rel=0.1)


def test_passages_of_pairs_come_first_and_random_ones_fill_the_list(scored) -> None:
    one = candidate_lists(StudentLists(passages=8, pairs=1), *scored)
    assert (one.asked.sum(axis=(1, 2)) == 1).all(), "both passages of the only pair are in the list"
    none = candidate_lists(StudentLists(passages=8, pairs=0), *scored)
    assert not none.asked.any() and none.rows.shape == (300, 9)
    # All places of the teacher's order are as likely to be in a list.
    order = np.argsort(-scored[2], axis=1)
    in_order = np.take_along_axis(scored[1], order, axis=1)
    shares = np.stack([np.isin(in_order[number], none.rows[number, 1:]) for number in range(300)]).mean(axis=0)
    assert shares == pytest.approx(8 / 20, abs=4 * np.sqrt(0.4 * 0.6 / 300))


def test_draws_depend_on_the_seed_and_the_query_alone(scored) -> None:
    settings = StudentLists(passages=6, pairs=20)
    whole = candidate_lists(settings, *scored)
    part = candidate_lists(settings, *(each[50:60] for each in scored))
    for every, some in zip(whole, part, strict=True):
        np.testing.assert_array_equal(every[50:60], some)
    assert not np.array_equal(candidate_lists(StudentLists(passages=6, pairs=20, seed=1), *scored).rows, whole.rows)


def test_some_queries_are_drawn_before_the_teacher_is_asked() -> None:
    queries = np.arange(1000, 1300)
    assert StudentLists().drawn(queries) is queries and StudentLists(queries=300).drawn(queries) is queries
    some = StudentLists(queries=90).drawn(queries)
    assert len(set(some.tolist())) == 90 and set(some.tolist()) < set(queries.tolist()) and (np.diff(some) > 0).all()
    assert StudentLists(queries=90).drawn(queries).tolist() == some.tolist()
    assert StudentLists(queries=90, seed=1).drawn(queries).tolist() != some.tolist()
    assert 1100 < some.mean() < 1200, "from all of them"


def test_equal_scores_keep_the_students_order() -> None:
    found = candidate_lists(StudentLists(passages=4, depth=4, pairs=3), np.array([3]), np.array([[9, 2, 7, 5]]), np.zeros((1, 4)))
    assert found.rows.tolist() == [[3, 9, 2, 7, 5]]


def test_settings_are_written_in_one_way() -> None:
    assert parse_lists("Student( depth = 20, passages=4)") == StudentLists(passages=4)
    assert str(StudentLists()) == "student" and str(parse_lists("student(4, seed=2)")) == "student(passages=4, seed=2)"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("students", r"^unknown kind of lists 'students'; did you mean 'student'\?"),
        ("student(passages=1)", "^passages of student lists must be a whole number of at least 2, not 1$"),
        ("student(window=0)", "^window of student lists must be a whole number of at least 1, not 0$"),
        ("student(pairs=2.5)", "^pairs of student lists must be a whole number of at least 0, not 2.5$"),
        ("student(passages=30)", "^lists of 30 passages cannot be made of 20 candidates$"),
        ("student(width=3)", r"cannot be read: expected student\(passages=8, depth=20, window=5, pairs=100, queries=0, seed=0\)$"),
    ],
)
def test_settings_that_cannot_be_are_refused(text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        parse_lists(text)


def test_what_lists_cannot_be_made_of_is_refused(scored) -> None:
    queries, candidates, scores = scored
    with pytest.raises(InputError, match="^lists of 8 passages cannot be made: the collection has only 5$"):
        candidate_lists(StudentLists(), queries, candidates[:, :5], scores[:, :5])
    with pytest.raises(InputError, match="^the teacher has no score of 20 of the 6000 candidates; expected a model as teacher$"):
        candidate_lists(StudentLists(), queries, candidates, np.where(queries[:, None] == 150, np.nan, scores))


def test_a_whole_window_is_no_reason_to_warn(scored) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        candidate_lists(StudentLists(pairs=85), *scored)
