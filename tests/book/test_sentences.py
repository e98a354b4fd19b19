"""What computed sentences are put together from."""

from __future__ import annotations

from armbook.sentences import capital, listed_in_words, range_in_words


def test_values_stand_in_a_row() -> None:
    assert [listed_in_words(texts) for texts in (["a"], ["a", "b"], ["a", "b", "c"], (0, 1))] == [
        "a",
        "a and b",
        "a, b and c",
        "0 and 1",
    ]


def test_a_range_is_one_value_where_its_ends_look_alike() -> None:
    assert [range_in_words(values, "+.2f") for values in ([0.1, -0.1], [0.101, 0.102], [-0.3])] == [
        "-0.10 to +0.10",
        "+0.10",
        "-0.30",
    ]
    assert range_in_words((each for each in (1_000, 2_000)), ",") == "1,000 to 2,000"


def test_a_capital_changes_nothing_else() -> None:
    assert capital("in miniature: RR@10") == "In miniature: RR@10"
