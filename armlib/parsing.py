"""Names with settings behind them in parentheses, such as ``static(0.3)``: how losses, targets and samplers are written."""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from armlib.errors import InputError, unknown

Made = TypeVar("Made")


def parse_call(text: str, kind: str, known: Mapping[str, Callable[..., Made]]) -> Made:
    """Call what a text names with the settings that it gives.

    Args:
        text: a name, alone or with numbers, truth values and quoted words in parentheses, by position or as ``name=value``.
        kind: what is named, for messages, such as ``"loss"``.
        known: by name, what takes the settings and makes the thing.

    Raises:
        InputError: the name is unknown, the text cannot be read, or a setting is unknown or missing; and whatever the
            thing itself refuses.
    """
    if not isinstance(text, str):
        raise InputError(f"a {kind} is named by a text, not by {text!r}; expected one such as {usage(*next(iter(known.items())))}")
    name = text.strip().partition("(")[0].strip().lower()
    if name not in known:
        raise unknown(kind, text, known)
    try:
        by_position, by_name = _settings(text.strip())
        inspect.signature(known[name]).bind(*by_position, **by_name)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise InputError(f"the {kind} {text!r} cannot be read: expected {usage(name, known[name])}") from error
    return known[name](*by_position, **by_name)


def _settings(text: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if "(" not in text:
        return (), {}
    call = ast.parse("settings(" + text.partition("(")[2], mode="eval").body
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or any(word.arg is None for word in call.keywords):
        raise ValueError("not a name with settings in parentheses")
    return tuple(map(_value, call.args)), {word.arg: _value(word.value) for word in call.keywords if word.arg}


def _value(node: ast.expr) -> Any:
    """A number, truth value or quoted word; anything else as it was written, for the thing itself to refuse."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def usage(name: str, make: Callable[..., object]) -> str:
    """How a name is written with its settings and their defaults, such as ``static(value, variance=0.0)``."""
    parameters = [
        each.name if each.default is each.empty else f"{each.name}={each.default!r}"
        for each in inspect.signature(make).parameters.values()
    ]
    return f"{name}({', '.join(parameters)})" if parameters else name


def written(name: str, *values: object, **settings: tuple[object, object]) -> str:
    """The text that `parse_call` reads: all values, and those of the settings, (value, default) by name, that differ."""
    parts = [repr(value) for value in values]
    parts += [f"{key}={value!r}" for key, (value, default) in settings.items() if value != default]
    return f"{name}({', '.join(parts)})" if parts else name


def whole(value: object, name: str, least: int) -> int:
    """A setting that must be a whole number of at least ``least``.

    Raises:
        InputError: it is not; ``name`` is what the sentence calls it.
    """
    if type(value) is not int or value < least:
        raise InputError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return value


def number(value: object, name: str, low: float, high: float, *, above: bool = False) -> float:
    """A setting that must be a number from ``low`` to ``high``, or with ``above`` more than ``low``.

    Raises:
        InputError: it is not; ``name`` is what the sentence calls it.
    """
    try:
        read = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        read = math.nan
    if not (math.isfinite(read) and low <= read <= high and not (above and read == low)):
        allowed = f"{'above' if above else 'of at least'} {low}" if high == math.inf else f"from {low} to {high}"
        raise InputError(f"{name} must be a number {allowed}, not {value!r}")
    return read
