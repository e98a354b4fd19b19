"""Counts and times as tables print them."""

from __future__ import annotations

import pytest

from armbook.counts import clock, hours_and_minutes, short_count


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (1_980_000, "1.98M"),
        (22_400_000, "22.4M"),
        (124_000_000, "124M"),
        (66_000_000, "66M"),
        (38_400, "38.4k"),
        (15_360, "15.4k"),
        (999_600, "1M"),
        (83_000_000_000, "83B"),
        (950, "950"),
        (0, "0"),
    ],
)
def test_counts_have_three_digits(count: int, text: str) -> None:
    assert short_count(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00:00"), (95, "0:01:35"), (20220, "5:37:00"), (59.6, "0:01:00"), (360_000, "100:00:00")]
)
def test_times_are_hours_minutes_and_seconds(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(54420, "15:07"), (3840, "1:04"), (29.6, "0:00"), (59.6 * 60, "1:00")])
def test_times_are_hours_and_minutes_as_in_the_paper(seconds: float, text: str) -> None:
    assert hours_and_minutes(seconds) == text
