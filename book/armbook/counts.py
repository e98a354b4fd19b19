"""Counts and times as tables print them."""

from __future__ import annotations

SIZES = ((1e9, "B"), (1e6, "M"), (1e3, "k"))
DIGITS = 3


def short_count(count: float) -> str:
    """A count with three significant digits, such as ``1.98M``, ``7.30M``, ``38.4k``, ``66M`` or ``950``."""
    for size, letter in SIZES:
        scaled = float(f"{count / size:.{DIGITS}g}")
        if scaled >= 1:
            return f"{scaled:,.{max(0, DIGITS - len(str(int(scaled))))}f}".removesuffix(".00").removesuffix(".0") + letter
    return f"{count:.{DIGITS}g}"


def clock(seconds: float) -> str:
    """A time as hours, minutes and seconds, such as ``0:01:35``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def hours_and_minutes(seconds: float) -> str:
    """A time as hours and minutes, rounded, such as ``15:07``."""
    minutes = round(seconds / 60)
    return f"{minutes // 60}:{minutes % 60:02}"
