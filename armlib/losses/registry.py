"""Losses by name. A new family of losses is one module beside this one, and its line in `LOSSES`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from armlib.losses.base import Loss
from armlib.losses.contrastive import InfoNCE
from armlib.losses.distillation import ListKL, MarginMSE
from armlib.losses.margins import SETTINGS, MarginLoss
from armlib.losses.targets import TARGETS, Target
from armlib.parsing import parse_call


def _margin_loss(target: type[Target]) -> Callable[..., Loss]:
    """The margin loss with a target: it takes the target's settings by position, and those of `MarginLoss` by name too."""

    def make(*values: Any, **settings: Any) -> Loss:
        own = {name: settings.pop(name) for name in SETTINGS if name in settings}
        return MarginLoss(target(*values, **settings), **own)

    make.__signature__ = _signature(target)  # type: ignore[attr-defined]
    return make


def _signature(target: type[Target]) -> inspect.Signature:
    own = inspect.signature(target).parameters.values()
    settings = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default) for name, default in SETTINGS.items()]
    return inspect.Signature([*own, *settings])


LOSSES: dict[str, Callable[..., Loss]] = {"infonce": InfoNCE, "list-kl": ListKL, "margin-mse": MarginMSE}
"""By name, the losses that are not margin losses; those are named by their targets."""


def losses() -> dict[str, Callable[..., Loss]]:
    """All losses by name."""
    return {name: _margin_loss(target) for name, target in TARGETS.items()} | LOSSES


def parse_loss(text: str | Loss) -> Loss:
    """The loss that a string names; ``str(parse_loss(text))`` is its canonical form.

    Args:
        text: such as ``distributed``, ``static(0.3)``, ``adaptive(in_batch=True)``; a loss is returned as it is.

    Raises:
        InputError: there is no such loss, or its settings cannot be read or do not go together.

    Examples:
        >>> from armlib.losses import parse_loss
        >>> str(parse_loss("static(0.3, in_batch=True)"))
        'static(0.3, in_batch=True)'
        >>> parse_loss("infonce(20)").scale
        20.0
        >>> parse_loss("adaptiv")
        Traceback (most recent call last):
        armlib.errors.InputError: unknown loss 'adaptiv'; did you mean 'adaptive'? ...
    """
    return text if isinstance(text, Loss) else parse_call(text, "loss", losses())


def numbers_of(text: str | Loss) -> int:
    """How many numbers somebody has chosen for a loss: those that it cannot do without, such as the value of a static target or the
    scale of a softmax, and others that are not 0. Distributed and adaptive targets have none.

    Raises:
        InputError: as `parse_loss`.
    """
    loss = parse_loss(text)
    of = loss.target if isinstance(loss, MarginLoss) else loss
    parameters = inspect.signature(type(of)).parameters
    return sum(
        each.default is each.empty or (type(each.default) in (int, float) and bool(getattr(of, name)))
        for name, each in parameters.items()
    )
